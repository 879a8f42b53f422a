"""What the generator does with a driver: one order, or one change that many see."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from clients.base import PLAIN, Call, DriverError, Failure, Poll, Sink, Wire
from harness.load.__main__ import dropping, way_to_ask, wire_of
from harness.load.contexts import Contexts
from harness.load.lanes import Hold, Lanes
from harness.load.messages import OrderSpec, WireSpec
from harness.load.operations.place import Ask, Place, Retry
from harness.load.operations.watch import AT_ONCE, Watch
from harness.load.orders import DRAWS, OrderBook, work_times_us
from harness.load.sightings import SightingLog
from orders.model import Confirmation, Order, Status, Update
from orders.pricing import total_cents
from protos.context import NOTHING, Context
from tests.support import ListSink, Run, until

PREFIX = "p-"
SHORT_S = 0.02
PLAIN_ORDERS = OrderSpec()
ONCE = Retry()


def book(spec: OrderSpec = PLAIN_ORDERS, seed: int = 1, block: int = 0) -> OrderBook:
    """Orders of one trial."""
    return OrderBook(spec, PREFIX, seed, block)


def answer(order: Order, processed_ns: int = 77) -> Confirmation:
    """The right answer to an order."""
    key = order.idempotency_key
    return Confirmation("o-1", key, Status.CONFIRMED, total_cents(order), processed_ns)


def change(operation: int, at_ns: int = 5, prefix: str = PREFIX) -> Update:
    """What a subscriber is told of an operation."""
    return Update("o", f"{prefix}{operation}", Status.CONFIRMED, 100, at_ns)


@dataclass
class Asked:
    """A driver's way to ask, which remembers how it was asked; `then` answers."""

    then: Callable[[int, Order, Call], Awaitable[Confirmation]]
    calls: list[tuple[int, Order, Call]] = field(default_factory=list)
    cancelled: int = 0

    async def __call__(self, lane: int, order: Order, call: Call) -> Confirmation:
        self.calls.append((lane, order, call))
        try:
            return await self.then(lane, order, call)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def right(lane: int, order: Order, call: Call) -> Confirmation:
    """The best service there is."""
    return answer(order)


async def never(lane: int, order: Order, call: Call) -> Confirmation:
    """The worst."""
    await asyncio.Event().wait()
    return answer(order)


def placing(
    ask: Ask, sink: Sink | None = None, retry: Retry = ONCE, request_ids: bool = False
) -> Place:
    """The operation on an ask of one's own."""
    contexts = Contexts(request_ids, False, "salt")
    return Place(ask, book(), contexts, sink or ListSink(), retry)


def hold() -> Hold:
    """A lane."""
    return Lanes(4, multiplexes=False).hold()


def test_an_order_is_placed_on_its_lane_with_its_context(run: Run) -> None:
    asked = Asked(right)
    lane = hold()
    assert run(placing(asked, request_ids=True).perform(12, lane)) == 77
    ((used, order, call),) = asked.calls
    assert used == lane.lane
    assert order == book().order(12)
    assert (call.operation, call.context, call.held) == (12, Context("salt-12"), lane)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"idempotency_key": "p-13"}, "another order"), ({"total_cents": 1}, "the total is not")],
)
def test_an_answer_that_is_not_the_orders_is_wrong(
    run: Run, change: dict[str, object], words: str
) -> None:
    async def wrong(lane: int, order: Order, call: Call) -> Confirmation:
        return replace(answer(order), **change)  # type: ignore[arg-type]

    with pytest.raises(DriverError, match=words) as caught:
        run(placing(wrong).perform(12, hold()))
    assert caught.value.failure is Failure.WRONG_REPLY


def test_a_call_that_does_not_answer_is_made_again_under_the_same_id(run: Run) -> None:
    async def third(lane: int, order: Order, call: Call) -> Confirmation:
        if len(asked.calls) < 3:
            return await never(lane, order, call)
        await asyncio.sleep(2 * SHORT_S)  # the last attempt has no limit of its own
        return answer(order)

    asked, sink = Asked(third), ListSink()
    place = placing(asked, sink, Retry(3, SHORT_S), request_ids=True)
    lane = hold()
    assert run(place.perform(12, lane)) == 77
    assert asked.cancelled == 2
    assert sink.notes == {(12, "retries"): 2}
    first = asked.calls[0]
    assert first[2].context == Context("salt-12")
    assert asked.calls == [first] * 3
    assert lane.lane == first[0]


def test_an_answer_in_time_is_not_asked_for_twice(run: Run) -> None:
    asked, sink = Asked(right), ListSink()
    run(placing(asked, sink, Retry(3, 60.0)).perform(12, hold()))
    assert len(asked.calls) == 1
    assert not sink.notes


def test_a_refusal_is_an_answer_and_not_made_again(run: Run) -> None:
    async def refuse(lane: int, order: Order, call: Call) -> Confirmation:
        raise DriverError(Failure.DISCONNECTED, "gone")

    asked, sink = Asked(refuse), ListSink()
    with pytest.raises(DriverError, match="gone"):
        run(placing(asked, sink, Retry(3, 60.0)).perform(12, hold()))
    assert len(asked.calls) == 1
    assert not sink.notes


def test_the_generators_timeout_ends_all_attempts(run: Run) -> None:
    asked = Asked(never)

    async def case() -> None:
        task = asyncio.create_task(placing(asked, retry=Retry(3, 60.0)).perform(12, hold()))
        await until("it is asked", lambda: bool(asked.calls))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(case())
    assert (len(asked.calls), asked.cancelled) == (1, 1)


@pytest.mark.parametrize("resumes", [True, False])
def test_a_retry_takes_the_lane_that_the_operation_holds_then(run: Run, resumes: bool) -> None:
    lanes = Lanes(2, multiplexes=False)
    mine = lanes.hold()
    first_lane = mine.lane

    async def rests(lane: int, order: Order, call: Call) -> Confirmation:
        if len(asked.calls) == 2:
            return answer(order)
        call.rest()
        assert lanes.take() == first_lane  # another operation has it from now on
        if resumes:
            assert call.resume(lane) != first_lane
        return await never(lane, order, call)

    asked = Asked(rests)
    run(placing(asked, retry=Retry(2, SHORT_S)).perform(12, mine))
    assert asked.calls[1][0] == mine.lane
    assert mine.lane not in (first_lane, -1)


@dataclass
class Shop:
    """A service whose changes reach its subscribers when the test says so."""

    sink: SightingLog
    told_at_once: bool = True
    reads: dict[int, bool] = field(default_factory=dict)
    now: int = 0
    most: int = 0
    refuses: int = -1
    multiplexes: bool = False

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""

    async def close(self) -> None:
        """See Driver.close."""

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if lane == self.refuses:
            raise DriverError(Failure.DISCONNECTED, "no more")
        self.reads[lane] = reads

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place; who reads hears of it before the answer is there."""
        if self.told_at_once:
            self.tell(call.operation)
        return answer(order)

    def tell(self, operation: int) -> None:
        """All who read see a change."""
        for lane, reads in self.reads.items():
            if reads:
                self.sink.saw(change(operation), lane, 100 + lane)


def watching(shop: Shop, subscribers: int, ask: Ask | None = None) -> Watch:
    """The operation on a shop."""
    return Watch(shop, placing(ask or shop.place), shop.sink, 1000, subscribers)


def test_subscribers_have_lanes_of_their_own_and_the_last_stall(run: Run) -> None:
    shop = Shop(SightingLog(PREFIX))
    run(watching(shop, 5).subscribe(stalled=2))
    assert shop.reads == {1000: True, 1001: True, 1002: True, 1003: False, 1004: False}


def test_subscriptions_are_opened_a_few_at_a_time(run: Run) -> None:
    shop = Shop(SightingLog(PREFIX))
    run(watching(shop, AT_ONCE + 8).subscribe(stalled=0))
    assert len(shop.reads) == AT_ONCE + 8
    assert shop.most <= AT_ONCE
    shop.refuses = 1003
    with pytest.raises(DriverError, match="no more"):
        run(watching(shop, 5).subscribe(stalled=0))


def test_a_change_is_done_when_the_last_who_reads_has_seen_it(run: Run) -> None:
    shop = Shop(SightingLog(PREFIX), told_at_once=False)
    watch = watching(shop, 3)

    async def case() -> int:
        await watch.subscribe(stalled=1)
        task = asyncio.create_task(watch.perform(7, hold()))
        await asyncio.sleep(0)
        shop.sink.saw(change(7), 1000, 100)
        shop.sink.saw(change(7), 1000, 101)
        shop.sink.saw(change(8), 1001, 102)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        shop.sink.saw(change(7), 1001, 103)
        return await task

    assert run(case()) == 77
    assert shop.sink.repeated == 1
    assert shop.sink.sightings().operation.tolist() == [7, 7, 8, 7]


def test_subscribers_may_see_a_change_before_its_answer_is_there(run: Run) -> None:
    shop = Shop(SightingLog(PREFIX))
    watch = watching(shop, 3)

    async def case() -> int:
        await watch.subscribe(stalled=0)
        return await watch.perform(7, hold())

    assert run(case()) == 77
    assert shop.sink.sightings().subscriber.tolist() == [1000, 1001, 1002]


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
def test_nobody_is_waited_for_when_an_operation_has_ended_otherwise(run: Run, ends: str) -> None:
    async def fail(lane: int, order: Order, call: Call) -> Confirmation:
        raise DriverError(Failure.REJECTED, "no")

    shop = Shop(SightingLog(PREFIX), told_at_once=False)
    watch = watching(shop, 2, fail if ends == "fails" else None)

    async def case() -> None:
        await watch.subscribe(stalled=0)
        task = asyncio.create_task(watch.perform(7, hold()))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((DriverError, asyncio.CancelledError)):
            await task
        shop.tell(7)
        shop.tell(7)

    run(case())
    assert shop.sink.repeated == 0  # those were not waited for any more
    assert len(shop.sink.sightings()) == 4


def test_sightings_are_rows_and_those_of_strangers_are_counted() -> None:
    log = SightingLog(PREFIX)
    assert len(log.sightings()) == 0
    log.saw(change(3, at_ns=10), 1001, 20)
    log.saw(change(3, prefix="q-"), 1001, 30)
    log.saw(change(12, at_ns=11), 1000, 40)
    seen = log.sightings()
    assert log.strangers == 1
    assert seen.operation.tolist() == [3, 12]
    assert seen.subscriber.tolist() == [1001, 1000]
    assert seen.happened.tolist() == [10, 11]
    assert seen.seen.tolist() == [20, 40]


def test_where_nobody_reads_nobody_is_waited_for(run: Run) -> None:
    async def case() -> None:
        await SightingLog(PREFIX).by_all(1, set())

    run(case())


def test_the_orders_of_a_block_are_the_same_for_every_style() -> None:
    spec = OrderSpec(2, attachment_bytes=100, work_time="exponential", work_mean_ms=5.0)
    first, again, later, other = book(spec), book(spec), book(spec, block=1), book(spec, seed=2)
    for n in (0, 63, 64, 1000):
        order = first.order(n)
        assert order.idempotency_key == f"{PREFIX}{n}"
        assert len(order.items) == 2
        assert len(order.attachment) == 100
        assert order.work_us > 0
        assert again.order(n) == order
        assert first.total_cents(n) == total_cents(order)
        assert later.order(n).items == order.items
        assert other.order(n).items != order.items
        assert other.order(n).attachment != order.attachment
    work = [[each.order(n).work_us for n in range(20)] for each in (first, later, other)]
    assert len({tuple(times) for times in work}) == 3


def test_work_leaves_nothing_to_the_service() -> None:
    assert work_times_us(OrderSpec(), 1, 0) == []
    assert book().order(5).work_us == 0
    assert work_times_us(OrderSpec(work_time="fixed", work_mean_ms=2.5), 1, 0) == [2500]
    assert work_times_us(OrderSpec(work_time="fixed", work_mean_ms=0.0001), 1, 0) == [1]
    drawn = work_times_us(OrderSpec(work_time="exponential", work_mean_ms=2.5), 1, 0)
    assert len(drawn) == DRAWS
    assert min(drawn) >= 1
    # Drawn from a seed, so the same on every machine: mean and deviation are both the mean's.
    assert np.mean(drawn) == pytest.approx(2500, rel=0.02)
    assert np.std(drawn) == pytest.approx(2500, rel=0.02)
    fixed = OrderSpec(work_time="fixed", work_mean_ms=2.5, work_between=2)
    assert work_times_us(fixed, 1, 0) == [2500, 1, 1]
    some = np.array(work_times_us(OrderSpec(None, None, 0, "exponential", 2.5, 9), 1, 0))
    assert len(some) % 10 == 0, "used in turn, every tenth stays the tenth"
    assert some[::10].tolist() == drawn[: len(some) : 10]
    assert set(some[np.arange(len(some)) % 10 > 0]) == {1}
    with pytest.raises(ValueError, match="none of none, fixed, exponential"):
        work_times_us(OrderSpec(work_time="gamma"), 1, 0)


def test_orders_of_a_file_are_used_in_turn(tmp_path: Path) -> None:
    lines = [
        {"customer_id": f"c{n}", "items": [{"sku": "s", "quantity": 1, "unit_price_cents": n}]}
        for n in (1, 2)
    ]
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    from_file = book(OrderSpec(items=None, file=str(path)))
    assert [from_file.order(n).customer_id for n in range(4)] == ["c1", "c2", "c1", "c2"]
    assert [from_file.total_cents(n) for n in range(4)] == [1, 2, 1, 2]


def test_what_is_not_asked_for_does_not_travel() -> None:
    assert Contexts.fresh(False, False).of(1) is NOTHING
    assert Contexts(True, False, "salt").of(1) == Context("salt-1", "")


def test_a_context_follows_from_its_operation() -> None:
    contexts = Contexts.fresh(True, True)
    assert contexts.of(5) == contexts.of(5)
    made = [contexts.of(n) for n in range(50)]
    assert len({each.request_id for each in made}) == 50
    assert len({each.traceparent for each in made}) == 50
    for n, each in enumerate(made):
        # W3C Trace Context, level 1, section 3.2.2
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", each.traceparent)
        assert each.traceparent == f"00-{contexts.trace_id(n)}-{contexts.span_id(n)}-01"
        assert set(contexts.span_id(n)) != {"0"}
    assert Contexts.fresh(True, True).of(5) != contexts.of(5)


def test_a_lane_that_rests_is_free_for_others() -> None:
    lanes = Lanes(2, multiplexes=False)
    first, second = lanes.hold(), lanes.hold()
    lane = first.lane
    first.rest()
    assert first.lane == -1
    third = lanes.hold()
    assert third.lane == lane
    assert first.resume() == first.lane == 2  # all are busy: a further one, and nobody waits
    assert first.resume() == 2
    assert lanes.opened == 3
    held = [first, second, third]
    for each in held:
        each.release()
    assert sorted(lanes.take() for _ in held) == [0, 1, 2]


@pytest.mark.parametrize("rests", [1, 2])
def test_a_lane_is_given_back_once(rests: int) -> None:
    lanes = Lanes(1, multiplexes=False)
    held = lanes.hold()
    for _ in range(rests):
        held.rest()
    held.release()
    assert [lanes.take(), lanes.take()] == [0, 1]


def test_a_connection_for_every_operation_is_never_shared() -> None:
    for multiplexes in (False, True):
        lanes = Lanes(4, multiplexes, kept=False)
        assert lanes.opened == 0
        held = lanes.hold()
        held.rest()
        assert held.resume() == held.lane == 0
        held.release()
        assert [lanes.take() for _ in range(3)] == [1, 2, 3]
        assert lanes.opened == 4


def test_a_call_that_holds_nothing_keeps_its_lane() -> None:
    call = Call(1)
    call.rest()
    assert call.resume(3) == 3
    lanes = Lanes(1, multiplexes=False)
    call = Call(1, held=lanes.hold())
    call.rest()
    assert call.resume(0) == 0


def test_connections_that_are_not_kept_are_dropped_however_the_operation_ends(run: Run) -> None:
    dropped: list[int] = []

    class Dropping(Shop):
        async def drop(self, lane: int) -> None:
            dropped.append(lane)

    async def perform(operation: int, held: Hold) -> int:
        if operation:
            raise DriverError(Failure.REJECTED, "no")
        return 5

    async def case() -> None:
        lanes = Lanes(4, multiplexes=False, kept=False)
        once = dropping(Dropping(SightingLog("")), perform)
        assert await once(0, lanes.hold()) == 5
        with pytest.raises(DriverError):
            await once(1, lanes.hold())
        await until("both are dropped", lambda: dropped == [0, 1])

    run(case())


def test_long_work_is_asked_for_by_the_way_that_a_style_has_for_it() -> None:
    class Working(Shop):
        async def work(self, lane: int, order: Order, call: Call) -> Confirmation:
            return answer(order)

    class Watching:
        multiplexes = False
        open, drop, close, watch = Shop.open, Shop.drop, Shop.close, Shop.watch

    plain, working = Shop(SightingLog("")), Working(SightingLog(""))
    assert way_to_ask(working, "job") == working.work
    assert way_to_ask(working, "place") == working.place
    assert way_to_ask(plain, "job") == plain.place
    with pytest.raises(TypeError, match="Watching places no orders"):
        way_to_ask(Watching(), "place")


def test_the_wire_reaches_the_driver_whole() -> None:
    spec = WireSpec("json", "ca.pem", True, "long", 0.25, 4.0, kept=False)
    assert wire_of(spec) == Wire("json", "ca.pem", True, Poll("long", 0.25, 4.0))
    assert wire_of(WireSpec()) == PLAIN
    assert wire_of(WireSpec(), 2) == replace(PLAIN, part=2)
