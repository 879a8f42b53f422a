"""Polling by a clock that only moves when it is slept on: what it adds to the work, exactly."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from clients.base import Call, DriverError, Failure, Milestone, Poll, Wire
from clients.polling import instants, polled, preference
from clients.rest_poll import RestPoll
from orders.model import Status, Update
from protos.codecs import JSON
from tests.support import ListSink, Run, order

LENGTHS = st.integers(1, 10**6)


class FakeClock:
    """Moves when somebody sleeps, and by as much."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        """See Clock.now."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """See Clock.sleep."""
        assert seconds > 0
        self.time += seconds


class FakeWork:
    """Work that is done at `end`, asked about at no cost, or at that of `takes` each time."""

    def __init__(self, clock: FakeClock, end: float, takes: float = 0.0) -> None:
        self.clock = clock
        self.end = end
        self.takes = takes
        self.asked: list[float] = []

    async def ask(self) -> float | None:
        """The instant, once the work is done."""
        self.asked.append(self.clock.time)
        self.clock.time += self.takes
        return self.clock.time if self.asked[-1] >= self.end else None


def seen(poll: Poll, end: float, takes: float = 0.0) -> tuple[float, list[float]]:
    """When work that is done at `end` is seen to be, and when it was asked about."""

    async def case() -> tuple[float, list[float]]:
        clock = FakeClock()
        work = FakeWork(clock, end, takes)
        return await polled(poll, clock, work.ask), work.asked

    return asyncio.run(case())


@given(LENGTHS, st.integers(1, 10**4))
def test_a_grid_adds_what_is_left_of_its_interval(work: int, interval: int) -> None:
    # Enough to be sure, few enough to be quick.
    interval = max(interval, work // 200)
    at, asked = seen(Poll("fixed", interval), work)
    polls = -(-work // interval)
    assert at - work == interval * polls - work
    assert asked == [interval * n for n in range(1, polls + 1)]


@pytest.mark.parametrize("interval", [0.25, 1.0, 3.0])
def test_exponential_work_on_a_grid_agrees_with_theory(interval: float) -> None:
    mean, count = 1.0, 20_000
    work = np.random.default_rng(7).exponential(mean, count)

    async def case() -> list[float]:
        at = []
        for end in work:
            clock = FakeClock()
            at.append(await polled(Poll("fixed", interval), clock, FakeWork(clock, end).ask))
        return at

    excess = np.array(asyncio.run(case())) - work
    theory = interval / (1 - math.exp(-interval / mean)) - mean
    # Of a normal distribution 99.99% lies within 3.8906 standard deviations.
    assert abs(excess.mean() - theory) <= 3.8906 * excess.std(ddof=1) / math.sqrt(count)
    assert (excess >= 0).all()
    assert (excess <= interval).all()


@given(LENGTHS, st.integers(1, 100), st.integers(1, 5_000))
def test_backoff_doubles_up_to_its_longest(work: int, interval: int, longest: int) -> None:
    longest = max(longest, work // 200)
    at, asked = seen(Poll("backoff", interval, longest), work)
    wanted, wait = [min(interval, longest)], min(interval, longest)
    while wanted[-1] < work:
        wait = min(2 * wait, longest)
        wanted.append(wanted[-1] + wait)
    assert asked == wanted
    assert at == wanted[-1]


@given(LENGTHS, st.integers(1, 10**5))
def test_long_polls_add_nothing(work: int, longest: int) -> None:
    longest = max(longest, work // 200)
    poll = Poll("long", 1.0, longest)
    clock = FakeClock()
    polls = 0

    async def ask() -> float | None:
        nonlocal polls
        polls += 1
        clock.time = min(work, clock.time + longest)
        return clock.time if clock.time == work else None

    assert asyncio.run(polled(poll, clock, ask)) == work
    assert polls == -(-work // longest)


def test_a_server_that_holds_nothing_back_is_asked_once_an_interval() -> None:
    at, asked = seen(Poll("long", 0.5, 2.0), 1.75)
    assert asked == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert at == 2.0


def test_a_slow_poll_leaves_out_what_it_has_missed_and_the_grid_stays() -> None:
    # Asked at 1, answered at 3.5; at 4, answered at 6.5; at 7.
    assert seen(Poll("fixed", 1.0), 5.0, takes=2.5)[1] == [1.0, 4.0, 7.0]
    # An answer on the grid is followed by a question at once.
    assert seen(Poll("fixed", 1.0), 4.0, takes=2.0)[1] == [1.0, 3.0, 5.0]


def test_backoff_counts_from_the_answer() -> None:
    assert seen(Poll("backoff", 1.0, 4.0), 15.0, takes=0.5)[1] == [1.0, 3.5, 8.0, 12.5, 17.0]


@given(st.integers(1, 1000), st.lists(st.integers(0, 5000), max_size=50))
def test_a_grid_moves_on_and_never_back(interval: int, waits: list[int]) -> None:
    when = instants(Poll("fixed", interval))
    last, now = 0.0, 0.0
    due = next(when)
    for wait in waits:
        assert due % interval == 0
        assert due > last
        assert due >= now
        last, now = due, due + wait
        due = when.send(now)


def test_what_the_server_is_asked_to_hold_back() -> None:
    assert preference(Poll("fixed")) == preference(Poll("backoff")) == {}
    assert preference(Poll("long", longest_s=2.5)) == {"Prefer": "wait=2"}
    assert preference(Poll("long", longest_s=0.2)) == {"Prefer": "wait=1"}
    with pytest.raises(ValueError, match="hourly"):
        next(instants(Poll("hourly")))


Answer = Callable[[web.Request], web.Response]


@contextlib.asynccontextmanager
async def answering(place: Answer, state: Answer) -> AsyncIterator[str]:
    """A server of two handlers, and its address."""

    async def placed(request: web.Request) -> web.Response:
        await request.read()
        return place(request)

    async def stated(request: web.Request) -> web.Response:
        return state(request)

    app = web.Application()
    app.router.add_post("/orders", placed)
    app.router.add_get("/{path:.*}", stated)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answer(status: int, update: Update, **headers: str) -> web.Response:
    """An update as an answer."""
    return web.Response(status=status, body=JSON.encode_update(update), headers=headers)


def standing(progress: int) -> Update:
    """Where the order k stands."""
    status = Status.CONFIRMED if progress == 100 else Status.WORKING
    return Update("o-1", "k", status, progress, progress)


class FakeHold:
    """Lanes of an operation, each its own."""

    def __init__(self) -> None:
        self.lane = 0
        self.steps: list[str] = []

    def rest(self) -> None:
        """See Held.rest."""
        assert self.lane >= 0
        self.steps.append("rest")
        self.lane = -1

    def resume(self) -> int:
        """See Held.resume."""
        assert self.lane < 0
        self.steps.append("resume")
        self.lane = self.steps.count("resume") % 2
        return self.lane


@pytest.mark.parametrize(("work", "interval"), [(1.0, 0.25), (1.125, 0.25), (0.5, 2.0)])
def test_the_driver_polls_by_its_clock(run: Run, work: float, interval: float) -> None:
    clock, sink, hold = FakeClock(), ListSink(), FakeHold()

    def state(request: web.Request) -> web.Response:
        assert request.path == "/orders/o-1"
        return answer(200, standing(min(100, int(100 * clock.time / work))))

    async def case() -> None:
        async with answering(
            lambda _: answer(202, standing(0), Location="/orders/o-1"), state
        ) as address:
            driver = RestPoll(clock)
            await driver.open(address, 1, sink, Wire(poll=Poll("fixed", interval)))
            got = await driver.place(0, order("k"), Call(3, held=hold))
            assert got.order_id == "o-1"
            await driver.close()

    run(case())
    polls = math.ceil(work / interval)
    assert clock.time == interval * polls
    assert sink.notes[3, "polls"] == polls
    assert sink.notes[3, "empty_polls"] == polls - 1
    assert [milestone for _, milestone, *_ in sink.arrivals] == [Milestone.ACKED]
    assert [update.progress for update, *_ in sink.sightings] == [
        int(100 * interval * n / work) for n in range(1, polls)
    ]
    assert hold.steps == ["rest", "resume"] * polls
    assert hold.lane >= 0


def test_progress_that_was_seen_is_not_seen_again(run: Run) -> None:
    progress = iter([0, 40, 40, 80, 100])
    sink = ListSink()

    async def case() -> None:
        async with answering(
            lambda _: answer(202, standing(0), Location="/orders/o-1"),
            lambda _: answer(200, standing(next(progress))),
        ) as address:
            driver = RestPoll(FakeClock())
            await driver.open(address, 1, sink)
            await driver.place(0, order("k"), Call(0))
            await driver.close()

    run(case())
    assert [update.progress for update, *_ in sink.sightings] == [40, 80]


@pytest.mark.parametrize("location", ["/x/1?y=2", "x/1?y=2", "http://elsewhere/x/1?y=2"])
def test_the_order_is_where_its_receipt_says(run: Run, location: str) -> None:
    paths = []

    def state(request: web.Request) -> web.Response:
        paths.append(request.path_qs)
        return answer(200, standing(100))

    async def case() -> None:
        async with answering(
            lambda _: answer(202, standing(0), Location=location), state
        ) as address:
            driver = RestPoll(FakeClock())
            await driver.open(address, 1, ListSink())
            await driver.place(0, order("k"), Call(0))
            await driver.close()

    run(case())
    assert paths == ["/x/1?y=2"]


@pytest.mark.parametrize(
    ("receipt", "failure"),
    [
        (lambda: answer(202, standing(0), Location="http://[bad"), Failure.PROTOCOL),
        (lambda: answer(202, standing(0)), Failure.PROTOCOL),
        (lambda: web.Response(status=202, body=b"{}"), Failure.PROTOCOL),
        (lambda: web.Response(status=503), Failure.OVERLOADED),
    ],
)
def test_receipts_that_are_none(
    run: Run, receipt: Callable[[], web.Response], failure: Failure
) -> None:
    async def case() -> None:
        async with answering(lambda _: receipt(), lambda _: web.Response(status=404)) as address:
            driver = RestPoll(FakeClock())
            await driver.open(address, 1, ListSink())
            with pytest.raises(DriverError) as caught:
                await driver.place(0, order("k"), Call(0))
            assert caught.value.failure is failure
            await driver.close()

    run(case())
