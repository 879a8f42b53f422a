"""The generator on operations without a server: its window, timeouts and record."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest

from clients.base import DriverError, Failure, Milestone
from harness.load.generator import Generator, Perform
from harness.load.lanes import Hold, Lanes
from harness.load.recorder import CHUNK, Recorder
from harness.results import DONE, DROPPED, OUTCOMES, TIMEOUT, Samples
from orders.alarm import Alarm, LoopAlarm, PollingAlarm, sharpest_alarm
from orders.model import Status, Update
from tests.support import LIMIT_S, Run, until

NS = 1_000_000_000


def instants(count: int, gap_ms: float) -> npt.NDArray[np.int64]:
    """Planned instants from a moment ahead."""
    start = time.monotonic_ns() + NS // 50
    return start + np.arange(count, dtype=np.int64) * round(gap_ms * 1e6)


async def open_loop(
    perform: Perform,
    planned: npt.NDArray[np.int64],
    *,
    in_flight: int = 1024,
    timeout_s: float = LIMIT_S,
    multiplexes: bool = True,
    connections: int = 2,
) -> tuple[Samples, Recorder, Lanes]:
    """One open loop, all of it measured."""
    recorder = Recorder(planned)
    lanes = Lanes(min(connections, in_flight), multiplexes)
    await Generator(perform, lanes, recorder, in_flight, timeout_s).open_loop()
    return recorder.samples((0, 2**62), {}), recorder, lanes


async def at_once(operation: int, hold: Hold) -> int:
    """The fastest service there is."""
    return 0


def sleeper(seconds: float) -> Perform:
    """A service of fixed length."""

    async def perform(operation: int, hold: Hold) -> int:
        await asyncio.sleep(seconds)
        return 1

    return perform


def test_every_operation_is_sent_after_its_instant_and_done_after_that(run: Run) -> None:
    planned = instants(200, 1)
    samples, recorder, _ = run(open_loop(at_once, planned))
    assert (samples.planned == planned).all()
    assert (samples.sent >= samples.planned).all()
    assert (samples.done >= samples.sent).all()
    assert (samples.outcome == DONE).all()
    assert (recorder.ended, recorder.not_done) == (200, 0)


def test_the_plan_does_not_wait_for_answers(run: Run) -> None:
    under_way = 0
    all_under_way = asyncio.Event()

    async def perform(operation: int, hold: Hold) -> int:
        nonlocal under_way
        under_way += 1
        if under_way == 20:
            all_under_way.set()
        # The first is answered only when the last was sent.
        await asyncio.wait_for(all_under_way.wait(), LIMIT_S)
        return 0

    samples, _, _ = run(open_loop(perform, instants(20, 1)))
    assert samples.sent.max() < samples.done.min()


def test_a_full_window_drops_and_never_queues(run: Run) -> None:
    release = asyncio.Event()
    most = 0
    now = 0

    async def perform(operation: int, hold: Hold) -> int:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1
        return 0

    async def case() -> Samples:
        planned = instants(50, 1)
        loading = asyncio.create_task(open_loop(perform, planned, in_flight=8))
        await until("the plan is over", lambda: time.monotonic_ns() > planned[-1] + NS // 20)
        release.set()
        samples, _, _ = await loading
        return samples

    samples = run(case())
    assert most == 8
    assert (samples.outcome == DROPPED).sum() == 42
    assert (samples.sent != 0).sum() == 8
    assert (samples.outcome[:8] == DONE).all()
    assert (samples.lane[8:] == -1).all()


def test_a_timeout_cancels_and_is_counted_from_sent(run: Run) -> None:
    cancelled = 0

    async def perform(operation: int, hold: Hold) -> int:
        nonlocal cancelled
        if operation % 2:
            return 0
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return 0

    samples, recorder, _ = run(open_loop(perform, instants(20, 1), timeout_s=0.1))
    assert cancelled == 10
    assert (samples.outcome == TIMEOUT).sum() == 10
    assert (samples.done[samples.outcome == TIMEOUT] == 0).all()
    assert recorder.not_done == 10


def test_an_answer_after_the_timeout_stays_timed_out_whenever_the_sweep_comes(run: Run) -> None:
    async def perform(operation: int, hold: Hold) -> int:
        time.sleep(0.05)  # the loop cannot sweep meanwhile
        return 0

    samples, _, _ = run(open_loop(perform, instants(1, 1), timeout_s=0.01))
    assert samples.outcome.tolist() == [TIMEOUT]
    assert samples.done[0] > samples.sent[0]


def test_a_driver_that_swallows_cancellation_is_judged_by_its_answer(run: Run) -> None:
    async def perform(operation: int, hold: Hold) -> int:
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError:
            return 5
        return 0

    samples, _, _ = run(open_loop(perform, instants(3, 1), timeout_s=0.05))
    assert (samples.outcome == TIMEOUT).all()
    assert (samples.done > 0).all()


def test_failures_are_counted_by_kind_and_the_unforeseen_does_not_vanish(run: Run) -> None:
    async def perform(operation: int, hold: Hold) -> int:
        if operation == 5:
            raise ZeroDivisionError("a driver's mistake")
        raise DriverError(list(Failure)[operation], f"detail {operation}")

    samples, recorder, _ = run(open_loop(perform, instants(6, 1)))
    words = [OUTCOMES[code] for code in samples.outcome]
    assert words == [*Failure, "protocol"]
    assert recorder.details["protocol", "ZeroDivisionError: a driver's mistake"] == 1
    assert (samples.sent != 0).all()


def test_a_late_start_is_send_lag_not_service_time(run: Run) -> None:
    async def case() -> tuple[Samples, int, int]:
        planned = instants(100, 1)
        loading = asyncio.create_task(open_loop(at_once, planned))
        await until("it began", lambda: time.monotonic_ns() > planned[0])
        stopped = time.monotonic_ns()
        time.sleep(0.2)  # the generator's own loop stands still
        went_on = time.monotonic_ns()
        samples, _, _ = await loading
        return samples, stopped, went_on

    samples, stopped, went_on = run(case())
    meanwhile = (samples.planned > stopped) & (samples.planned < went_on)
    assert meanwhile.sum() > 20
    # Sent after the pause, so that the pause is lag and latency but no part of the service time.
    assert (samples.sent[meanwhile] >= went_on).all()
    assert (samples.outcome[meanwhile] == DONE).all()


@pytest.mark.parametrize("multiplexes", [True, False])
def test_lanes(run: Run, multiplexes: bool) -> None:
    busy: dict[int, int] = {}

    async def perform(operation: int, hold: Hold) -> int:
        lane = hold.lane
        busy[lane] = busy.get(lane, 0) + 1
        if not multiplexes:
            assert busy[lane] == 1, "a lane of one operation at a time carries two"
        await asyncio.sleep(0.05)
        busy[lane] -= 1
        return 0

    planned = np.repeat(instants(1, 1), 10)
    samples, _, lanes = run(open_loop(perform, planned, multiplexes=multiplexes, connections=3))
    assert (samples.outcome == DONE).all()
    assert lanes.opened == (3 if multiplexes else 10)
    assert len(set(samples.lane.tolist())) == lanes.opened


def test_which_lane_is_next() -> None:
    shared = Lanes(3, multiplexes=True)
    assert [shared.take() for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    single = Lanes(2, multiplexes=False)
    first, second, third = single.take(), single.take(), single.take()
    assert {first, second} == {0, 1}
    assert (third, single.opened) == (2, 3)
    single.give(second)
    single.give(first)
    assert single.take() == first


def test_lanes_never_exceed_the_window(run: Run) -> None:
    planned = instants(200, 0.2)
    samples, _, lanes = run(
        open_loop(sleeper(0.01), planned, multiplexes=False, connections=4, in_flight=6)
    )
    assert lanes.opened <= 6
    assert samples.lane.max() < 6


def test_a_closed_loop_keeps_its_users_busy_and_no_more(run: Run) -> None:
    most = now = 0

    async def perform(operation: int, hold: Hold) -> int:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        return 0

    async def case() -> Samples:
        recorder = Recorder()
        generator = Generator(perform, Lanes(2, True), recorder, 64, LIMIT_S)
        await generator.closed_loop(5, 0.0, time.monotonic_ns() + NS // 5)
        return recorder.samples((0, 2**62), {})

    samples = run(case())
    assert most == 5
    assert len(samples) > 5
    assert (samples.outcome == DONE).all()
    # No user is ready again before it was answered: at any instant five at most are open.
    events = sorted([(t, 1) for t in samples.planned] + [(t, -1) for t in samples.done])
    assert max(np.cumsum([step for _, step in events])) <= 5


def test_a_closed_loop_user_goes_on_after_a_timeout(run: Run) -> None:
    async def perform(operation: int, hold: Hold) -> int:
        await asyncio.sleep(LIMIT_S if operation < 3 else 0)
        return 0

    async def case() -> Samples:
        recorder = Recorder()
        generator = Generator(perform, Lanes(3, False), recorder, 64, 0.05)
        await generator.closed_loop(3, 0.001, time.monotonic_ns() + NS // 4)
        return recorder.samples((0, 2**62), {})

    samples = run(case())
    assert (samples.outcome == TIMEOUT).sum() == 3
    assert (samples.outcome == DONE).sum() > 3


def test_an_unfinished_operation_is_never_written() -> None:
    recorder = Recorder(np.array([1, 2], dtype=np.int64))
    recorder.drop(0)
    with pytest.raises(RuntimeError, match="1 operations have no outcome"):
        recorder.samples((0, 10), {})


def test_the_recorder_grows_with_a_closed_loop() -> None:
    recorder = Recorder()
    for number in range(70_000):
        assert recorder.add(number + 1) == number
        recorder.sent[number] = number + 1
        recorder.finish(number, 0, number + 2)
    samples = recorder.samples((11, 21), {})
    assert len(samples) == 70_000
    assert samples.measured.sum() == 10
    assert (samples.done - samples.planned == 1).all()


def test_late_and_stray_arrivals() -> None:
    recorder = Recorder(np.array([1, 2, 3], dtype=np.int64))
    recorder.time_out(0)
    recorder.arrived(0, Milestone.DONE, 50)
    recorder.arrived(0, Milestone.DONE, 60)
    recorder.arrived(1, Milestone.ACKED, 40)
    recorder.arrived(1, Milestone.ACKED, 41)
    recorder.arrived(7, Milestone.DONE, 70)
    recorder.arrived(-1, Milestone.DONE, 70)
    assert recorder.done[0] == 50
    assert recorder.acked[1] == 40
    assert recorder.stray == 4
    assert recorder.outcome[0] == TIMEOUT


def test_steps_are_counted_for_each_operation() -> None:
    recorder = Recorder()
    for number in range(CHUNK + 5):
        recorder.add(number + 1)
        recorder.finish(number, 0, number + 2)
        if number in (3, CHUNK + 1):
            recorder.noted(number, "polls")
            recorder.noted(number, "polls")
    recorder.noted(CHUNK + 4, "retries", by=3)
    recorder.noted(0, "retries")
    notes = recorder.samples((0, 10), {}).notes
    assert set(notes) == {"polls", "retries"}
    for name, expected in (("polls", {3: 2, CHUNK + 1: 2}), ("retries", {0: 1, CHUNK + 4: 3})):
        assert len(notes[name]) == CHUNK + 5
        assert {int(n): int(notes[name][n]) for n in np.flatnonzero(notes[name])} == expected


def test_steps_that_were_taken_before_it_grew_are_as_long_as_the_rest() -> None:
    recorder = Recorder()
    recorder.add(1)
    recorder.noted(0, "polls")
    recorder.finish(0, 0, 2)
    for number in range(1, CHUNK + 1):
        recorder.add(number)
        recorder.finish(number, 0, number + 1)
    polls = recorder.samples((0, 10), {}).notes["polls"]
    assert (len(polls), polls.tolist().count(1), polls[0]) == (CHUNK + 1, 1, 1)


def test_an_acknowledgement_ends_nothing() -> None:
    recorder = Recorder(np.array([1], dtype=np.int64))
    recorder.sent[0] = 2
    recorder.arrived(0, Milestone.ACKED, 40)
    assert (recorder.ended, recorder.outcome[0], recorder.done[0]) == (0, -1, 0)
    with pytest.raises(RuntimeError, match="have no outcome"):
        recorder.samples((0, 10), {})
    recorder.time_out(0)
    samples = recorder.samples((0, 10), {})
    assert (samples.acked[0], samples.done[0], samples.outcome[0]) == (40, 0, TIMEOUT)


def test_what_subscribers_saw_is_kept_beside_the_operations() -> None:
    recorder = Recorder(np.array([1, 2], dtype=np.int64), "mine-")
    for key in ("mine-1", "yours-1", "mine-0"):
        recorder.saw(Update("o", key, Status.CONFIRMED, 100, 5), 1000, 9)
    assert recorder.sightings.sightings().operation.tolist() == [1, 0]
    assert recorder.sightings.strangers == 1
    assert (recorder.ended, recorder.stray) == (0, 0)


def test_the_kinds_of_failure_are_the_outcomes() -> None:
    assert tuple(Failure) == OUTCOMES[3:]


def reached(fired: list[int], number: int) -> bool:
    """Whether the alarm has fired that often."""
    return len(fired) >= number


Make = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm]


@pytest.mark.parametrize("make", [sharpest_alarm, LoopAlarm, PollingAlarm])
def test_an_alarm_is_never_early_and_comes_once_an_arming(run: Run, make: Make) -> None:
    async def case() -> None:
        fired: list[int] = []
        at = 0

        def due() -> None:
            fired.append(time.monotonic_ns() - at)
            alarm.disarm()

        alarm = make(asyncio.get_running_loop(), due)
        # So many that an alarm that learns how late it wakes up has learned it.
        delays_ms = (0, 1, 7, -5, *(0.3 for _ in range(100)))
        for number, delay_ms in enumerate(delays_ms, 1):
            at = time.monotonic_ns() + round(delay_ms * 1e6)
            alarm.arm(at)
            await until("the alarm goes off", partial(reached, fired, number))
        await asyncio.sleep(0.02)
        alarm.close()
        assert len(fired) == len(delays_ms)
        # The event loop's own clock has steps of a millisecond.
        assert min(fired) >= (-1_000_000 if make is LoopAlarm else 0)

    run(case())


@pytest.mark.parametrize("first", [True, False])
def test_an_alarm_that_has_gone_off_and_is_set_anew_waits_for_its_new_instant(
    run: Run, first: bool
) -> None:
    async def case() -> None:
        loop = asyncio.get_running_loop()
        rung: list[int] = []
        at = time.monotonic_ns()

        def set_anew() -> None:
            nonlocal at
            other.disarm()
            at = time.monotonic_ns() + 30_000_000
            alarm.arm(at)

        def due() -> None:
            rung.append(time.monotonic_ns() - at)
            alarm.disarm()

        made = [sharpest_alarm(loop, due if first == (i == 0) else set_anew) for i in range(2)]
        alarm, other = made if first else reversed(made)
        for each in made:
            each.arm(at)
        time.sleep(0.001)  # both have gone off when the loop looks
        await until("the alarm set anew goes off", lambda: time.monotonic_ns() > at and bool(rung))
        for each in made:
            each.close()
        assert min(rung) >= 0

    run(case())


def test_an_alarm_that_never_sleeps_gives_way_to_other_threads(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a library that reads its sockets in a thread of its own would hear of arrivals too late,
    and of several in any order."""
    asked, given = 0, 0

    def clock() -> int:
        nonlocal asked
        asked += 1
        return asked

    def give_way() -> None:
        nonlocal given
        given += 1

    monkeypatch.setattr("orders.alarm.time.monotonic_ns", clock)
    monkeypatch.setattr("orders.alarm.os.sched_yield", give_way)

    async def wait() -> None:
        due = asyncio.Event()
        PollingAlarm(asyncio.get_running_loop(), due.set).arm(10)
        await due.wait()

    run(wait())
    assert given == asked - 1 == 9
