"""O2: a producer's window, its batches and its record, over a driver that lives in the test."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from clients.base import PLAIN, Call, DriverError, Failure, Ingests, Milestone, Sink, Wire
from harness.load.consumption import conclude, read_rows
from harness.load.contexts import Contexts
from harness.load.messages import OrderSpec
from harness.load.orders import OrderBook
from harness.load.outbox import Outbox
from harness.load.producing import BATCH, Producing
from harness.load.recorder import Recorder
from harness.results import DONE, DROPPED, OUTCOMES, TIMEOUT, Arrivals, Samples
from orders.model import Order
from protos.arrivals import ROW
from protos.arrivals import Arrivals as Rows
from tests.support import LIMIT_S, Run

PRODUCER = 7
Batch = Sequence[tuple[Order, Call]]


class FakeProducer:
    """Remembers what it is handed, and tells the sink what it is told to."""

    multiplexes = True
    producer = PRODUCER

    def __init__(self, then: Callable[[Sink, Batch], None]) -> None:
        self._then = then
        self.batches: list[list[tuple[Order, Call]]] = []
        self._busy = False

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        self.sink = sink

    async def drop(self, lane: int) -> None:
        pass

    async def close(self) -> None:
        pass

    async def submit(self, batch: Batch) -> None:
        assert not self._busy, "a batch was handed over before the one before it was taken"
        self._busy = True
        self.batches.append(list(batch))
        self._then(self.sink, batch)
        await asyncio.sleep(0)
        self._busy = False


def acknowledge(sink: Sink, batch: Batch) -> None:
    for _, call in batch:
        sink.arrived(call.operation, Milestone.ACKED, time.monotonic_ns())


def hold(sink: Sink, batch: Batch) -> None:
    """Tell nothing."""


def producing(
    driver: FakeProducer,
    recorder: Recorder,
    in_flight: int = 100,
    timeout_s: float = LIMIT_S,
    keys: int = 3,
) -> tuple[Producing, Outbox]:
    assert isinstance(driver, Ingests)
    outbox = Outbox(recorder, in_flight, timeout_s)
    driver.sink = outbox
    book = OrderBook(OrderSpec(), "p-", 1, 0)
    contexts = Contexts.fresh(False, False)
    return Producing(driver, book, contexts, recorder, outbox, keys), outbox


def planned(count: int, gap_ns: int = 0) -> Recorder:
    return Recorder(time.monotonic_ns() + np.arange(count, dtype=np.int64) * gap_ns)


def concluded(
    recorder: Recorder, arrivals: Arrivals, acknowledges: bool = True, timeout_s: float = LIMIT_S
) -> Samples:
    conclude(recorder, arrivals, PRODUCER, acknowledges, timeout_s)
    return recorder.samples((0, 2**62), {})


def arrived(rows: Sequence[tuple[int, int, int, bool]], path: Path) -> Arrivals:
    """Rows (producer, sequence, at, intact), by way of a worker's file."""
    worker = Rows(4)
    for producer, sequence, at, intact in rows:
        worker.add(producer, sequence, at, 2, intact)
    worker.write(path)
    return read_rows([path])


def test_every_message_is_handed_over_once_in_order_about_its_key(run: Run) -> None:
    async def case() -> None:
        recorder = planned(2 * BATCH + 3)
        driver = FakeProducer(acknowledge)
        load, outbox = producing(driver, recorder, in_flight=10 * BATCH)
        await load.open_loop()
        calls = [call for batch in driver.batches for _, call in batch]
        assert [call.operation for call in calls] == list(range(2 * BATCH + 3))
        assert [call.key for call in calls[:4]] == ["p-key-0", "p-key-1", "p-key-2", "p-key-0"]
        assert max(map(len, driver.batches)) <= BATCH
        keys = [order.idempotency_key for batch in driver.batches for order, _ in batch]
        assert keys == [f"p-{n}" for n in range(2 * BATCH + 3)]
        assert (outbox.outstanding, outbox.settled) == (0, recorder.count)

    run(case())


def test_what_finds_the_window_full_is_dropped_and_counted(run: Run, tmp_path: Path) -> None:
    async def case() -> None:
        recorder = planned(50)
        load, outbox = producing(FakeProducer(hold), recorder, in_flight=20, timeout_s=0.2)
        await load.open_loop()
        samples = concluded(recorder, arrived([], tmp_path / "a"), timeout_s=0.2)
        assert (samples.outcome[:20] == TIMEOUT).all()
        assert (samples.outcome[20:] == DROPPED).all()
        assert (samples.sent[20:] == 0).all()
        assert outbox.outstanding == 0

    run(case())


def test_a_closed_window_is_never_larger_than_it_shall_be(run: Run) -> None:
    async def case() -> None:
        recorder = Recorder()
        unheard: set[int] = set()
        most = 0

        def then(sink: Sink, batch: Batch) -> None:
            nonlocal most
            unheard.update(call.operation for _, call in batch)
            most = max(most, len(unheard))
            for _, call in batch:
                asyncio.get_running_loop().call_later(0.001, tell, call.operation)

        def tell(operation: int) -> None:
            unheard.discard(operation)
            outbox.arrived(operation, Milestone.ACKED, time.monotonic_ns())

        load, outbox = producing(FakeProducer(then), recorder, in_flight=7)
        await load.closed_loop(time.monotonic_ns() + 100_000_000)
        assert recorder.count > 7
        assert most == 7
        assert outbox.outstanding == 0
        assert np.frombuffer(recorder.acked, np.int64, recorder.count).all()

    run(case())


def test_news_may_come_from_a_thread(run: Run) -> None:
    async def case() -> None:
        recorder = Recorder()
        threads = []

        def then(sink: Sink, batch: Batch) -> None:
            thread = threading.Thread(target=acknowledge, args=(sink, list(batch)))
            threads.append(thread)
            thread.start()
            thread.join()

        load, outbox = producing(FakeProducer(then), recorder, in_flight=32)
        await load.closed_loop(time.monotonic_ns() + 50_000_000)
        assert outbox.settled == recorder.count > 32
        assert len(threads) > 1

    run(case())


def test_news_of_what_is_settled_or_was_never_sent_is_stray(run: Run) -> None:
    async def case() -> None:
        recorder = planned(2)
        load, outbox = producing(FakeProducer(acknowledge), recorder)
        await load.open_loop()
        outbox.arrived(0, Milestone.ACKED, 5)
        outbox.failed(1, DriverError(Failure.DISCONNECTED, "gone"))
        outbox.arrived(2, Milestone.ACKED, 5)
        outbox.failed(-1, DriverError(Failure.DISCONNECTED, "gone"))
        assert recorder.stray == 4
        assert recorder.details == {}

    run(case())


def test_an_ingest_is_done_when_it_is_acknowledged_and_processed(tmp_path: Path) -> None:
    recorder = Recorder(np.arange(1, 9, dtype=np.int64))
    for number in range(8):
        recorder.sent[number] = 10
    recorder.sent[7] = 0
    recorder.drop(7)
    for number, at in ((0, 20), (1, 60), (2, 20), (5, 20), (6, 20)):
        recorder.acked[number] = at
    recorder.fail(4, DriverError(Failure.DISCONNECTED, "gone"))
    rows = [
        (PRODUCER, 0, 50, True),
        (PRODUCER, 1, 50, True),
        (PRODUCER, 3, 50, True),  # never acknowledged
        (PRODUCER, 4, 50, True),  # its producer was told that it had failed
        (PRODUCER, 5, 50, False),  # damaged
        (PRODUCER, 6, 2_000_000_020, True),  # two seconds later
        (PRODUCER, 0, 55, True),  # again
        (PRODUCER + 1, 2, 50, True),  # somebody else's
        (PRODUCER, 2**63 + 2, 50, True),
        (PRODUCER, 8, 50, True),
    ]
    samples = concluded(recorder, arrived(rows, tmp_path / "a"), timeout_s=1.0)
    words = [OUTCOMES[code] for code in samples.outcome]
    assert words == [
        "done", "done", "timeout", "timeout", "disconnected", "timeout", "timeout", "dropped",
    ]  # fmt: skip
    assert samples.done.tolist() == [50, 60, 0, 0, 0, 0, 2_000_000_020, 0]
    assert samples.processed.tolist() == [50, 50, 0, 50, 50, 0, 2_000_000_020, 0]


def test_where_nobody_acknowledges_processed_is_done(tmp_path: Path) -> None:
    recorder = Recorder(np.array([1, 2], np.int64))
    recorder.sent[0] = recorder.sent[1] = 10
    rows = arrived([(PRODUCER, 1, 50, True)], tmp_path / "a")
    samples = concluded(recorder, rows, acknowledges=False)
    assert samples.outcome.tolist() == [TIMEOUT, DONE]
    assert samples.done.tolist() == [0, 50]


def test_files_of_several_workers_are_one_after_the_other(tmp_path: Path) -> None:
    first, second = Rows(1), Rows(2)
    first.add(5, 6, 7, 8, True)
    second.add(0, 0, 9, 3, False)
    first.write(tmp_path / "1")
    second.write(tmp_path / "2")
    got = read_rows([tmp_path / "1", tmp_path / "2"])
    assert got.producer.tolist() == [5, 0]
    assert got.sequence.tolist() == [6, 0]
    assert got.at.tolist() == [7, 9]
    assert got.partition.tolist() == [8, 3]
    assert got.worker.tolist() == [1, 2]
    assert got.intact.tolist() == [True, False]
    assert len(read_rows([])) == 0


def test_a_file_cut_short_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2 * ROW.size - 1))
    with pytest.raises(ValueError, match="not whole"):
        read_rows([tmp_path / "a"])
