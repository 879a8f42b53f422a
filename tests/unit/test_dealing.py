"""One schedule dealt over several generators (issue 8.3): what each has, by which numbers, and that
all together are the whole."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.base import Call, DriverError, Failure, Milestone
from harness.cli.dealing import dealt
from harness.load.consumption import conclude, read_rows
from harness.load.contexts import Contexts
from harness.load.dealing import WHOLE, Share
from harness.load.generator import Generator
from harness.load.lanes import Hold, Lanes
from harness.load.messages import LoadSpec, OrderSpec
from harness.load.orders import OrderBook
from harness.load.outbox import Outbox
from harness.load.producing import Producing
from harness.load.recorder import Recorder
from harness.load.schedule import planned_instants
from harness.plan import make_plan
from harness.results import DONE, TIMEOUT, Samples
from harness.rig.placement import Placement, place_on
from harness.scenario import Scenario
from orders.model import Order
from protos.arrivals import Arrivals as Rows
from tests.support import LIMIT_S, Run

PARTS = st.integers(1, 9)
LOADS = st.one_of(
    st.builds(LoadSpec, st.sampled_from(["constant", "poisson"]), st.floats(1, 500), st.none(),
              st.just(0.0), st.just(0), st.just(0.0)),
    st.builds(LoadSpec, st.just("burst"), st.floats(1, 100), st.none(), st.just(0.0),
              st.integers(1, 40), st.floats(0.1, 1.0)),
)  # fmt: skip


def shares(parts: int) -> list[Share]:
    """All of them."""
    return [Share(part, parts) for part in range(parts)]


@given(PARTS, st.integers(0, 10_000))
def test_every_operation_is_one_parts_own(parts: int, number: int) -> None:
    own = [share for share in shares(parts) if share.row(number) >= 0]
    assert [share.part for share in own] == [number % parts]
    assert own[0].number(own[0].row(number)) == number


@given(PARTS, st.lists(st.integers(-50, 500), max_size=40))
def test_many_are_numbered_as_each_is(parts: int, values: list[int]) -> None:
    given_ = np.array(values, np.int64)
    for share in shares(parts):
        rows = [share.row(value) if value >= 0 else -1 for value in values]
        assert share.rows(given_).tolist() == [max(row, -1) for row in rows]
        numbers = [share.number(value) if value >= 0 else -1 for value in values]
        assert share.numbers(given_).tolist() == numbers
    assert share.numbers(given_.astype(np.int32)).dtype == np.int32


@given(PARTS, st.integers(0, 100_000))
def test_what_is_counted_is_dealt_fairly_and_adds_up(parts: int, whole: int) -> None:
    amounts = [share.amount(whole) for share in shares(parts)]
    assert sum(amounts) == whole
    assert max(amounts) - min(amounts) <= 1
    # What a part starts with never exceeds what it may have open.
    for other in (whole // 2, whole + 3):
        for share in shares(parts):
            smaller = min(share.amount(whole), share.amount(other))
            assert smaller == share.amount(min(whole, other))


@given(PARTS, LOADS, st.integers(0, 99), st.integers(0, 9))
def test_the_parts_of_a_schedule_are_the_schedule(
    parts: int, load: LoadSpec, seed: int, block: int
) -> None:
    whole = planned_instants(load, 2.0, seed, block)
    together = np.zeros_like(whole)
    for share in shares(parts):
        own = share.of(planned_instants(load, 2.0, seed, block))
        assert (np.diff(own) >= 0).all()
        together[share.numbers(np.arange(len(own)))] = own
    assert together.tolist() == whole.tolist()


def test_one_generator_has_the_whole() -> None:
    assert WHOLE.of(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert [WHOLE.number(3), WHOLE.row(3), WHOLE.amount(3)] == [3, 3, 3]


async def sent_by(share: Share, planned: np.typing.NDArray[np.int64]) -> tuple[Samples, list[int]]:
    """What a part's generator leaves of an open loop, and which operations it performed."""
    performed = []

    async def perform(operation: int, hold: Hold) -> int:
        performed.append(operation)
        await asyncio.sleep(0)
        return 1

    recorder = Recorder(share.of(planned), share=share)
    await Generator(perform, Lanes(2, False), recorder, 64, LIMIT_S).open_loop()
    return recorder.samples((0, 2**62), {}), performed


def test_a_part_sends_its_own_operations_by_their_numbers(run: Run) -> None:
    planned = time.monotonic_ns() + np.arange(20, dtype=np.int64) * 1_000_000
    samples, performed = run(sent_by(Share(1, 3), planned))
    assert performed == samples.numbers.tolist() == list(range(1, 20, 3))
    assert samples.planned.tolist() == planned[1::3].tolist()
    assert (samples.outcome == DONE).all()
    # Lanes are numbered as operations are, so that no two parts have the same.
    assert set(samples.lane.tolist()) <= {1, 4}


def test_a_part_may_have_nothing_to_send(run: Run) -> None:
    samples, performed = run(sent_by(Share(1, 2), np.array([1], np.int64)))
    assert (len(samples), performed) == (0, [])


def test_users_of_a_part_take_numbers_that_no_other_part_takes(run: Run) -> None:
    async def case(share: Share) -> tuple[Samples, list[int]]:
        performed = []

        async def perform(operation: int, hold: Hold) -> int:
            performed.append(operation)
            await asyncio.sleep(0.001)
            return 1

        recorder = Recorder(share=share)
        generator = Generator(perform, Lanes(2, True), recorder, 64, LIMIT_S)
        await generator.closed_loop(2, 0.0, time.monotonic_ns() + 50_000_000)
        return recorder.samples((0, 2**62), {}), performed

    for share in shares(2):
        samples, performed = run(case(share))
        assert performed == samples.numbers.tolist() == list(range(share.part, 2 * len(samples), 2))


def test_what_a_driver_tells_is_of_an_operation_by_its_number() -> None:
    recorder = Recorder(np.array([5, 6, 7], np.int64), share=Share(1, 2))
    recorder.arrived(3, Milestone.ACKED, 9)
    recorder.noted(5, "polls", 4)
    recorder.time_out(2)
    recorder.arrived(5, Milestone.DONE, 11)
    assert recorder.stray == 0
    for others in (0, 4, 7, -1):
        recorder.arrived(others, Milestone.ACKED, 9)
    assert recorder.stray == 4
    recorder.finish(0, 1, 2)
    recorder.finish(1, 1, 2)
    samples = recorder.samples((0, 10), {})
    assert samples.numbers.tolist() == [1, 3, 5]
    assert samples.acked.tolist() == [0, 9, 0]
    assert samples.done.tolist() == [2, 2, 11]
    assert samples.notes["polls"].tolist() == [0, 0, 4]


class Stamping:
    """A producer that acknowledges at once, and remembers what it was handed."""

    producer = 7

    def __init__(self) -> None:
        self.handed: list[tuple[str, int, str]] = []
        self.sink: Outbox

    async def submit(self, batch: Sequence[tuple[Order, Call]]) -> None:
        """See Ingests.submit; the last of all fails."""
        for order, call in batch:
            self.handed.append((order.idempotency_key, call.operation, call.key))
            if call.operation == 10:
                self.sink.failed(10, DriverError(Failure.REJECTED, "no"))
            else:
                self.sink.arrived(call.operation, Milestone.ACKED, time.monotonic_ns())


def test_messages_of_a_part_are_stamped_keyed_and_concluded_by_their_numbers(
    run: Run, tmp_path: Path
) -> None:
    share, driver = Share(1, 3), Stamping()
    recorder = Recorder(share.of(np.arange(1, 12, dtype=np.int64)), share=share)

    async def case() -> None:
        driver.sink = outbox = Outbox(recorder, 64, LIMIT_S)
        book = OrderBook(OrderSpec(), "p-", 1, 0)
        contexts = Contexts.fresh(False, False)
        await Producing(driver, book, contexts, recorder, outbox, 6).open_loop()  # type: ignore[arg-type]

    run(case())
    assert driver.handed == [(f"p-{n}", n, f"p-key-{n % 6}") for n in (1, 4, 7, 10)]
    assert recorder.stray == 0
    rows = Rows(4)
    for producer, sequence in ((7, 1), (7, 4), (7, 5), (8, 7)):
        rows.add(producer, sequence, recorder.sent[0] + sequence, 0, True)
    rows.write(tmp_path / "rows")
    conclude(recorder, read_rows([tmp_path / "rows"]), 7, True, LIMIT_S)
    samples = recorder.samples((0, 2**62), {})
    rejected = 3
    assert samples.outcome.tolist() == [DONE, DONE, TIMEOUT, rejected]
    assert samples.processed.tolist() == [recorder.sent[0] + 1, recorder.sent[0] + 4, 0, 0]


def test_orders_of_a_part_are_those_of_the_whole() -> None:
    spec = OrderSpec(work_time="exponential", work_mean_ms=5.0)
    whole = [OrderBook(spec, "p-", 1, 2).order(n) for n in range(12)]
    dealt_out = [OrderBook(spec, "p-", 1, 2).order(Share(1, 4).number(row)) for row in range(3)]
    assert dealt_out == whole[1::4]


@pytest.mark.parametrize(
    ("cpus", "generators", "placed", "own"),
    [
        ([0, 1], 2, Placement((0,), (1,), 2), [(0,), (0,)]),
        ([0, 1, 2, 3], 1, Placement((1,), (3,)), [(1,)]),
        ([0, 1, 2, 3], 2, Placement((1, 2), (3,), 2), [(1,), (2,)]),
        ([0, 1, 2, 3], 3, Placement((1, 2), (3,), 3), [(1,), (2,), (1,)]),
        ([5], 2, Placement(None, None, 2), [None, None]),
    ],
)
def test_generators_have_processors_of_their_own_where_there_are_enough(
    cpus: list[int], generators: int, placed: Placement, own: list[tuple[int, ...] | None]
) -> None:
    found = place_on(cpus, generators)
    assert found == placed
    assert [found.of_generator(part) for part in range(generators)] == own


@pytest.mark.parametrize(
    ("placed", "words", "places"),
    [
        (Placement((1,), (3,)), "", (0,)),
        (Placement((1, 2), (3,), 2), "2 generators on processors 1, 2", (0, 1)),
        (
            Placement((0,), (1,), 2),
            "2 generators share processor 0: they send no more than 1",
            (0, 0),
        ),
        (Placement(None, None, 2), "2 generators, where the system puts them", (0, 1)),
        (
            Placement(None, (1,), 3, elsewhere=True, of_workers=(0, 0, 1)),
            "3 generators share 2 processors of their workers: they send no more than 2",
            (0, 0, 1),
        ),
        (
            Placement((0,), (1,), 2, of_workers=(0, 1)),
            "2 generators on 2 processors of their workers",
            (0, 1),
        ),
    ],
)
def test_where_several_generators_are_is_said(
    placed: Placement, words: str, places: tuple[int, ...]
) -> None:
    assert placed.words.startswith(words)
    assert bool(placed.words) == bool(words)
    assert placed.places == places


def problems(workers: int, **changes: object) -> list[str]:
    """What speaks against dealing a scenario."""
    fields = {
        "question": "?",
        "noise": False,
        "styles": ["rest"],
        "load": [{"model": "closed", "users": [4, 8]}, {"model": "constant", "rate": 9}],
    }
    found: list[str] = []
    plan = make_plan(Scenario.model_validate({**fields, **changes}))
    after = dealt(plan, workers, found)
    assert after.generators == workers
    return found


def test_what_can_be_dealt_is() -> None:
    assert problems(1, connection={"connections": 1, "in_flight": 8}) == []
    assert problems(4) == []
    assert problems(2, operation="job") == []


def test_what_cannot_be_dealt_is_refused_with_the_reason() -> None:
    assert [said.partition(" cannot")[0] for said in problems(5)] == [
        "--workers: connection.connections = 4",
        "--workers: load.users = 4",
    ]
    few = problems(9, connection={"connections": 9, "in_flight": 8})
    assert few[0] == (
        "--workers: connection.in_flight = 8 cannot be dealt to 9 generators, each of which needs"
        " one; raise it, or --workers 8"
    )
    (watch,) = problems(2, operation="watch", styles=["websocket"])
    assert "watch is not dealt" in watch
    kafka = {"operation": "ingest", "styles": ["kafka"]}
    assert problems(4, **kafka) == []
    (keys,) = problems(3, **kafka)
    assert "ingest.keys = 1000 cannot be dealt evenly to 3" in keys
    assert "take 999 keys" in keys
