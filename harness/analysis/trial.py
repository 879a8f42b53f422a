"""From one trial's samples to its figures. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis import accounts
from harness.analysis.accounts import Counts
from harness.analysis.delay import own_delay
from harness.analysis.deliveries import Watched, progress_ms, watched
from harness.analysis.ledger import Ledger, ledger
from harness.analysis.spread import Spread, spread
from harness.analysis.stats import (
    BATCHES,
    CURVE_POINTS,
    PERCENTILES,
    BatchMeans,
    Distribution,
    batch_means,
    batch_percentiles,
    distribution,
    percentiles,
)
from harness.analysis.timeline import Slice, slices
from harness.analysis.usage import Idle, Spent, Used
from harness.analysis.warm_up import WarmUp, warm_up_enough
from harness.results import DONE, Arrivals, Samples, Sightings, clock_error_ns


@dataclass(frozen=True, slots=True)
class Seen:
    """What the harness saw of a trial from outside."""

    cpu_ns: Mapping[str, int] = field(default_factory=dict)
    """CPU time within the window by role; a role that was not seen is absent."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """The server's resident bytes at each mark: `before_open`, `window_start`, `window_end`."""
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """What each role used; see harness.analysis.usage."""
    counted: tuple[int, int] | None = None
    """The instants between which context switches were counted."""
    idle: Idle | None = None
    """What was used at rest, before the load; None where that was not seen."""
    other_busy: float | None = None
    """Processors busy within the window with what was none of the run's; None where unknown."""
    wire: Mapping[str, Any] | None = None
    """See harness.observe.wire.Wire, with the instants `from` and `to`; the first runs had bytes
    and segments to and from the server instead of flows."""
    orders_worked: int | None = None
    """Orders on which the server did its work, warm-up included."""
    left: int | None = 0
    """Messages that a broker still held when its workers had drained it for as long as they may;
    None where it did not say."""
    read_again: int | None = None
    """Messages that a further consumer could read after all were consumed."""
    lag: Sequence[tuple[int, int]] = ()
    """(instant, messages that the workers were behind)."""
    used: Mapping[str, Sequence[Used]] = field(default_factory=dict)
    """The CPU time of each process of a role, over time."""
    faults: Sequence[tuple[int, str]] = ()
    """(instant, what was done on purpose: `killed`, `restarted`)."""
    busiest_ns: int | None = None
    """CPU time of generators within the window, on that of their processors where it was most; None
    where it is not told apart from that of all."""
    worker_lost: bool = False
    """Whether a worker on another machine was lost, so that its part of the operations is not among
    the trial's, though the service did work for them."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial's measured window. Times in milliseconds unless named otherwise."""

    number: int
    counts: Counts
    failures: Mapping[str, int]
    completed_in_window: int
    window_s: float
    window_start_ns: int
    latency: Distribution
    latency_at: Mapping[float, float]
    """By percentile: those of CURVE_POINTS, and the objective's."""
    latency_of_done: Mapping[str, float]
    """p50 and p99 of the operations that were done, alone; empty without any."""
    answers: npt.NDArray[np.int64]
    """How many were done in each of BATCHES equal parts of the window."""
    sent_in_all: int
    """Operations sent, warm-up included."""
    ack: Distribution | None
    round_trip_ms: float
    """The mean from sent to the receipt; NaN without receipts."""
    service_time: Distribution
    send_lag_us: Distribution
    implausible: Sequence[str]
    stopped_answering: bool
    health: Mapping[str, Any]
    processed: Distribution
    """From planned to the end of the work in the server."""
    excess_ms: BatchMeans
    """From the end of the work to its result in the client's hands."""
    notes: Mapping[str, float]
    """What the style counted, a completed operation."""
    progress_ms: Distribution | None
    """How old updates of jobs were when they were seen."""
    watched: Watched | None
    acked_in_window: int
    """Acknowledgements that came within the window."""
    ledger: Ledger | None
    """What became of every message, where messages were sent."""
    warm_up: WarmUp | None
    seen: Seen
    latency_batches: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """p50 and p99 of the latency in each of its batches in the order of time; see
    stats.batch_percentiles."""
    own_delay: Distribution | None = None
    """What the generator added to latency; see harness.analysis.delay."""
    sent_in_window: int = 0
    """Operations that were sent within the window, whenever they were planned."""
    quickest_ms: float = math.inf
    """The shortest time from sent to done."""
    processed_elsewhen: int = 0
    """See accounts.processed_elsewhen."""
    clock_error_ms: float | None = None
    """How far off a time between generator and server may be, where those are not on one machine's
    clock."""
    timeline: Sequence[Slice] = ()
    spread: Spread | None = None
    """How messages were spread over partitions."""
    done_on_wire: int = 0
    """Operations of the whole trial that were done while `seen.wire` was counted."""
    done_while_counted: int = 0
    """Likewise, while `seen.counted` was."""

    @property
    def acked_per_s(self) -> float:
        """Acknowledgements that came within the window, a second."""
        return self.acked_in_window / self.window_s

    @property
    def throughput_per_s(self) -> float:
        """Answers that came within the window, a second."""
        return self.completed_in_window / self.window_s

    def since_start_s(self, at_ns: int) -> float:
        """An instant in seconds since the window's start."""
        return (at_ns - self.window_start_ns) / 1e9

    @property
    def client_busy(self) -> float:
        """The share of the window that the generator spent on its processor; of several on the one
        where it is most."""
        used = self.seen.busiest_ns
        used = self.seen.cpu_ns.get("generator", 0) if used is None else used
        return used / 1e9 / self.window_s


def whole(trials: Iterable[TrialResult]) -> list[TrialResult]:
    """Those that lost no worker. Half of a trial is not what was asked for, and what a service did
    in it has no number of operations to be divided by."""
    return [trial for trial in trials if not trial.seen.worker_lost]


def summarize_trial(
    samples: Samples,
    number: int,
    timeout_s: float,
    sightings: Sightings | None = None,
    readers: int = 0,
    seen: Seen | None = None,
    arrivals: Arrivals | None = None,
    steady: bool = False,
    objective: float | None = None,
) -> TrialResult:
    """One trial's measured window; operations had `timeout_s` seconds each, and `readers`
    subscribers were to see every change. `steady`: whether the load's rate is the same throughout,
    and nothing is broken on purpose. `objective`: the percentile that one is about.

    What is kept of a trial does not grow with its operations.
    """
    measured = samples.measured
    done = measured & (samples.outcome == DONE)
    sent = measured & (samples.sent != 0)
    acked = measured & (samples.acked != 0)
    processed = done & (samples.processed != 0)
    start, end = samples.meta["window"]
    seen = seen or Seen()
    done_ns = np.sort(samples.done[samples.outcome == DONE])
    lag_ms = np.where(samples.sent != 0, (samples.sent - samples.planned) / 1e6, math.nan)
    counts = accounts.count(samples)
    latency = (samples.done[done] - samples.planned[done]) / 1e6
    send_lag_ms = lag_ms[sent]
    wire, counted = seen.wire, seen.counted
    off = clock_error_ns(samples.meta)
    ages = progress_ms(samples, sightings)
    edges = start + (end - start) * np.arange(BATCHES + 1) / BATCHES
    of_every = _latency(samples)
    batches = {
        name: batch_percentiles(of_every[measured], PERCENTILES[name]) for name in ("p50", "p99")
    }
    return TrialResult(
        number=number,
        counts=counts,
        failures=accounts.failures(samples),
        completed_in_window=_between(done_ns, start, end),
        window_s=(end - start) / 1e9,
        window_start_ns=start,
        latency=distribution(latency, counts.planned),
        latency_at=percentiles(
            latency, counts.planned, [*CURVE_POINTS, *([] if objective is None else [objective])]
        ),
        latency_of_done=of_the_done(latency),
        answers=np.histogram(done_ns, edges)[0],
        sent_in_all=int((samples.sent != 0).sum()),
        ack=(
            distribution((samples.acked[acked] - samples.planned[acked]) / 1e6, counts.planned)
            if acked.any()
            else None
        ),
        round_trip_ms=float((samples.acked[acked] - samples.sent[acked]).mean() / 1e6)
        if acked.any()
        else math.nan,
        service_time=distribution((samples.done[done] - samples.sent[done]) / 1e6, counts.sent),
        send_lag_us=distribution(1e3 * send_lag_ms, counts.sent),
        implausible=accounts.implausible(samples),
        stopped_answering=accounts.silent_at_the_end(samples, timeout_s),
        health=samples.meta["health"],
        processed=distribution(
            (samples.processed[processed] - samples.planned[processed]) / 1e6, counts.planned
        ),
        excess_ms=batch_means((samples.done[processed] - samples.processed[processed]) / 1e6),
        notes={
            name: float(column[done].mean()) if done.any() else 0.0
            for name, column in samples.notes.items()
        },
        progress_ms=distribution(ages, len(ages)) if len(ages) else None,
        watched=watched(samples, sightings, readers) if readers else None,
        acked_in_window=int(((samples.acked >= start) & (samples.acked < end)).sum()),
        ledger=_ledger(samples, arrivals) if arrivals is not None else None,
        warm_up=warm_up_enough(batches["p50"]) if steady else None,
        seen=seen,
        latency_batches=batches,
        own_delay=distribution(own_delay(send_lag_ms), counts.sent),
        sent_in_window=accounts.sent_within(samples),
        quickest_ms=accounts.quickest_ms(samples),
        processed_elsewhen=accounts.processed_elsewhen(samples),
        clock_error_ms=None if off is None else off / 1e6,
        timeline=slices(samples.planned, of_every, lag_ms, done_ns, seen.used, (start, end)),
        spread=spread(arrivals, len(_producers(samples))) if arrivals is not None else None,
        done_on_wire=_between(done_ns, wire["from"], wire["to"]) if wire else 0,
        done_while_counted=_between(done_ns, *counted) if counted else 0,
    )


def of_the_done(latency: npt.NDArray[np.float64]) -> dict[str, float]:
    """See TrialResult.latency_of_done."""
    if not len(latency):
        return {}
    return {name: float(np.percentile(latency, PERCENTILES[name])) for name in ("p50", "p99")}


def _between(instants: npt.NDArray[np.int64], start: int, end: int) -> int:
    """How many of ascending instants lie from `start` on and before `end`."""
    low, high = np.searchsorted(instants, [start, end])
    return int(high - low)


def _ledger(samples: Samples, arrivals: Arrivals) -> Ledger:
    meta = samples.meta
    return ledger(samples, arrivals, _producers(samples), meta["keys"], meta["acknowledges"])


def _producers(samples: Samples) -> Sequence[int]:
    """Of several generators each has its own number."""
    found: Sequence[int] = samples.meta.get("producers") or [samples.meta["producer"]]
    return found


def _latency(samples: Samples) -> npt.NDArray[np.float64]:
    """Of every operation, +infinity where it was not done."""
    return np.where(samples.outcome == DONE, (samples.done - samples.planned) / 1e6, math.inf)
