"""O2 and O3: what the contract promises of producers and subscribers, on fakes; at real brokers in
test_kafka.py and test_rabbitmq.py."""

from collections import Counter

import numpy as np

from clients.base import Call, Driver, Ingests, Milestone, Places, Watches
from harness.load.recorder import Recorder
from harness.results import DONE
from tests.conformance.fakes import FakeInbox, FakeWatcher
from tests.support import ListSink, Run, order, until


def test_protocols_tell_drivers_apart() -> None:
    assert isinstance(FakeInbox(), Driver)
    assert isinstance(FakeInbox(), Ingests)
    assert not isinstance(FakeInbox(), Places)
    assert isinstance(FakeWatcher(), Watches)
    assert not isinstance(FakeWatcher(), Ingests)


def test_every_submitted_operation_is_acknowledged_through_the_sink(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        inbox = FakeInbox()
        await inbox.open("", 1, sink)
        await inbox.submit([(order(f"k{n}"), Call(n)) for n in range(50)])
        await until("all are done", lambda: len(sink.arrivals) == 105)
        await inbox.close()

    run(case())
    acked = [o for o, milestone, *_ in sink.arrivals if milestone is Milestone.ACKED]
    assert sorted(acked) == list(range(50))


def test_the_recorder_takes_acknowledgements_and_counts_repeats(run: Run) -> None:
    recorder = Recorder(np.arange(1, 51, dtype=np.int64))

    async def case() -> None:
        inbox = FakeInbox()
        await inbox.open("", 1, recorder)
        for number in range(50):
            recorder.sent[number] = 100 + number
            recorder.finish(number, 0, 10**18)
        await inbox.submit([(order(f"k{n}"), Call(n)) for n in range(50)])
        await until("repeats are counted", lambda: recorder.stray == 55)
        await inbox.close()

    run(case())
    samples = recorder.samples((0, 100), {})
    assert (samples.acked > 0).all()
    assert (samples.outcome == DONE).all()


def test_watchers_each_see_every_event(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        watcher = FakeWatcher(events=3)
        await watcher.open("", 4, sink)
        for lane in range(4):
            await watcher.watch(lane)
        await watcher.close()

    run(case())
    assert Counter(lane for _, lane, _ in sink.sightings) == dict.fromkeys(range(4), 3)
