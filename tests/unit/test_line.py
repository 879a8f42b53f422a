"""Work that waits in line (issue 6.8): the truth server's departures, with injected clocks."""

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.line import NO_WORK_US, STALL_EVERY, Lateness, Line, Queue, latenesses, turn
from orders.service import OrderService
from orders.store import MemoryStore
from tests.support import Run, order

US = 1_000
MS = 1_000_000


def departures(line: Line, work_us: int, *at_us: int) -> list[float]:
    return [line.departure(at * US, work_us * US) / US for at in at_us]


def test_one_worker_takes_one_order_at_a_time() -> None:
    assert departures(Line(1), 10, 0, 1, 2, 50) == [10, 20, 30, 60]


def test_two_workers_take_two() -> None:
    assert departures(Line(2), 10, 0, 1, 2, 3) == [10, 11, 20, 21]


def test_an_order_without_work_neither_waits_nor_is_waited_for() -> None:
    line = Line(1)
    assert departures(line, 10, 0) == [10]
    assert departures(line, NO_WORK_US, 1, 2) == [1 + NO_WORK_US, 2 + NO_WORK_US]
    assert departures(line, 10, 3) == [20]


def test_every_thousandth_order_stalls_the_line() -> None:
    line = Line(1, stall_ns=500 * US)
    left = departures(line, 2, *(10 * n for n in range(STALL_EVERY + 1)))
    assert left[STALL_EVERY - 2] == 10 * (STALL_EVERY - 2) + 2
    assert left[STALL_EVERY - 1] == 10 * (STALL_EVERY - 1) + 502
    assert left[STALL_EVERY] == left[STALL_EVERY - 1] + 2


Orders = st.lists(
    st.tuples(st.integers(0, 100), st.integers(NO_WORK_US + 1, 100)), min_size=1, max_size=60
)


@given(Orders, st.integers(1, 4))
def test_no_worker_does_two_things_at_once(gaps_and_work: list[tuple[int, int]], n: int) -> None:
    line, now = Line(n), 0
    busy: list[tuple[int, int]] = []
    for gap, work in gaps_and_work:
        now += gap * US
        left = line.departure(now, work * US)
        assert left >= now + work * US
        busy.append((left - work * US, left))
    starts = [start for start, _ in busy]
    assert starts == sorted(starts), "who came first is served first"
    for instant in starts:
        assert sum(start <= instant < end for start, end in busy) <= n


@pytest.mark.parametrize(
    ("text", "leaves"),
    [("100us", 101_000), ("1.5ms", 1_501_000), ("5%", 1_040)],
)
def test_what_is_late_on_purpose(text: str, leaves: int) -> None:
    assert Lateness.parse(text).later(200, 1_000) == leaves


@pytest.mark.parametrize("text", ["", "5", "-1ms", "1 s", "%", "1e3us", "none", "1ms,5%"])
def test_a_lateness_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="none of 100us, 1ms, 5%"):
        Lateness.parse(text)


def test_kinds_of_orders_take_turns() -> None:
    on_time, late, later = latenesses("100us,5%")
    assert (on_time, late, later) == (Lateness(), Lateness(100_000), Lateness(0, 0.05))
    assert latenesses("") == (Lateness(),)
    with pytest.raises(ValueError, match="none of 100us, 1ms, 5%"):
        latenesses("100us,")


@given(kinds=st.integers(1, 7), start=st.integers(0, 10_000))
def test_each_kind_has_its_turn(kinds: int, start: int) -> None:
    first = start * kinds
    assert sorted(turn(n, kinds) for n in range(first, first + kinds)) == list(range(kinds))


@given(kinds=st.integers(2, 7), start=st.integers(0, 7))
def test_no_kind_keeps_step_with_lanes(kinds: int, start: int) -> None:
    """Whatever serves every eighth order serves all kinds."""
    assert {turn(n, kinds) for n in range(start, 8 * 400, 8)} == set(range(kinds))


def test_two_kinds_are_thue_morse() -> None:
    assert [turn(n, 2) for n in range(16)] == [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0]


class Clock:
    """A clock, and the alarm that goes by it."""

    name = "hand"

    def __init__(self) -> None:
        self.now = 0
        self.armed: int | None = None
        self._due: Callable[[], None]

    def __call__(self) -> int:
        return self.now

    def alarm(self, _: asyncio.AbstractEventLoop, due: Callable[[], None]) -> "Clock":
        self._due = due
        return self

    def arm(self, at_ns: int) -> None:
        self.armed = at_ns

    def disarm(self) -> None:
        self.armed = None

    def close(self) -> None:
        self.disarm()

    async def reach(self, now: int) -> None:
        """Let time pass, the alarm go off where it is due, and those run who are let go."""
        self.now = now
        if self.armed is not None and self.armed <= now:
            self._due()
        for _ in range(5):
            await asyncio.sleep(0)


def test_an_order_leaves_at_its_departure_and_never_before(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        queue = Queue(Line(1), [Lateness.parse("1ms")], clock, clock.alarm)
        left: list[str] = []

        async def go(name: str) -> None:
            await queue.work(0.010)
            left.append(name)

        tasks = [asyncio.create_task(go("first"))]
        await clock.reach(0)
        assert clock.armed == 11 * MS
        await clock.reach(3 * MS)
        tasks.append(asyncio.create_task(go("second")))
        await clock.reach(3 * MS)
        await clock.reach(11 * MS - 1)
        assert (left, clock.armed) == ([], 11 * MS)
        await clock.reach(11 * MS)
        assert (left, clock.armed) == (["first"], 21 * MS)
        await clock.reach(30 * MS)
        assert left == ["first", "second"]
        assert clock.armed is None
        await asyncio.gather(*tasks)

    run(case())


def test_an_order_of_another_worker_may_leave_first(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        queue = Queue(Line(2), clock=clock, alarm=clock.alarm)
        long = asyncio.create_task(queue.work(0.010))
        await clock.reach(0)
        short = asyncio.create_task(queue.work(0.002))
        await clock.reach(0)
        assert clock.armed == 2 * MS, "the alarm is set forward"
        await clock.reach(2 * MS)
        assert (short.done(), long.done(), clock.armed) == (True, False, 10 * MS)
        await clock.reach(10 * MS)
        await long

    run(case())


def test_who_gave_up_holds_nobody_else_up(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        queue = Queue(Line(1), clock=clock, alarm=clock.alarm)
        gone = asyncio.create_task(queue.work(0.001))
        stays = asyncio.create_task(queue.work(0.001))
        await clock.reach(0)
        gone.cancel()
        await clock.reach(2 * MS)
        assert stays.done()

    run(case())


def test_a_service_with_a_queue_works_on_one_order_after_the_other(run: Run) -> None:
    async def case() -> list[int]:
        service = OrderService(MemoryStore(), 0.004, queue=Queue(Line(1)))
        began = time.monotonic_ns()
        answers = await asyncio.gather(*(service.place(order(f"k{n}")) for n in range(5)))
        assert [a.order_id for a in answers] == [f"o-{n}" for n in range(1, 6)]
        return [answer.processed_ns - began for answer in answers]

    for number, took in enumerate(run(case()), 1):
        assert took >= number * 4 * MS


def test_a_queue_without_work_answers_all_the_same(run: Run) -> None:
    async def case() -> None:
        service = OrderService(MemoryStore(), queue=Queue(Line(1)))
        first = await service.place(order("k"))
        assert await service.place(order("k")) == first
        assert service.placed == 1

    run(case())
