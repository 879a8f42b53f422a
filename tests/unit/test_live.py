"""Live figures: every operation is told once, and times are known to 1 %."""

import time

import numpy as np
import pytest

from clients.base import DriverError, Failure, Milestone
from harness.load.live import Live, buckets
from harness.load.recorder import Recorder

MS = 1_000_000


def recorder_of(count: int) -> Recorder:
    """Operations that are all due."""
    return Recorder(time.monotonic_ns() - 10**9 + np.arange(count, dtype=np.int64))


def finish(recorder: Recorder, operation: int, ms: float) -> None:
    recorder.finish(operation, 1, recorder.planned[operation] + round(ms * MS))


def test_each_operation_is_told_once_whatever_the_order() -> None:
    recorder = recorder_of(6)
    live = Live(recorder)
    assert live.figures() == []
    finish(recorder, 3, 2.0)
    finish(recorder, 0, 1.0)
    (first,) = live.figures()
    assert (first["milestone"], first["count"], first["failed"]) == ("done", 2, {})
    assert (first["sum_us"], first["min_us"], first["max_us"]) == (3000, 1000, 2000)
    assert live.figures() == []
    recorder.drop(1)
    recorder.time_out(2)
    recorder.fail(4, DriverError(Failure.REJECTED, "no"))
    finish(recorder, 5, 4.0)
    (second,) = live.figures()
    assert second["count"] == 4
    assert second["failed"] == {"dropped": 1, "timeout": 1, "rejected": 1}
    assert sum(count for _, count in second["times"]) == 1
    assert live.figures(whole=True) == []


def test_what_is_not_due_is_not_looked_at() -> None:
    recorder = Recorder(np.array([time.monotonic_ns() + 3600 * 10**9]))
    recorder.drop(0)
    live = Live(recorder)
    assert live.figures() == []
    assert live.figures(whole=True)[0]["count"] == 1


def test_an_acknowledgement_that_comes_after_the_end_is_told_at_last() -> None:
    recorder = recorder_of(2)
    live = Live(recorder)
    recorder.arrived(0, Milestone.ACKED, recorder.planned[0] + MS)
    finish(recorder, 0, 2.0)
    recorder.time_out(1)
    assert {row["milestone"]: row["count"] for row in live.figures()} == {"acked": 1, "done": 2}
    recorder.arrived(1, Milestone.ACKED, recorder.planned[1] + 5 * MS)
    assert live.figures() == []
    (last,) = live.figures(whole=True)
    assert (last["milestone"], last["count"], last["max_us"]) == ("acked", 1, 5000)


def test_messages_are_decided_when_the_load_is_over() -> None:
    recorder = recorder_of(3)
    live = Live(recorder, ["acked"])
    for number in range(3):
        recorder.arrived(number, Milestone.ACKED, recorder.planned[number] + MS)
    finish(recorder, 1, 3.0)
    assert [row["milestone"] for row in live.figures()] == ["acked"]
    assert [row["milestone"] for row in live.figures(whole=True)] == ["done"]


def test_a_closed_loop_grows_under_it() -> None:
    recorder = Recorder()
    live = Live(recorder)
    told = 0
    for _ in range(5):
        for _ in range(30_000):
            finish(recorder, recorder.add(time.monotonic_ns()), 1.0)
        told += sum(row["count"] for row in live.figures())
    assert told == recorder.count == 150_000


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_percentiles_of_buckets_are_those_of_the_times(share: float) -> None:
    """Issue 8: percentiles merged from histograms equal those of the same raw samples to 1 %."""
    times = np.random.default_rng(1).lognormal(7.0, 2.0, 50_000).astype(np.int64) + 1
    merged: dict[int, int] = {}
    for batch in np.array_split(times, 37):
        for us, count in buckets(batch):
            merged[us] = merged.get(us, 0) + count
    assert sum(merged.values()) == len(times)
    assert len(merged) < 2_500
    spread = np.repeat(sorted(merged), [merged[us] for us in sorted(merged)])
    wanted = np.percentile(times, 100 * share, method="inverted_cdf")
    assert np.percentile(spread, 100 * share, method="inverted_cdf") == pytest.approx(
        wanted, rel=0.01
    )


def test_microseconds_are_exact_while_they_are_few() -> None:
    us = np.arange(256)
    assert buckets(us) == [(n, 1) for n in range(256)]
