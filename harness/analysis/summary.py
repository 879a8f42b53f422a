"""From a run on disk to what its report says: one Cell each, trials put together. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis import accounts
from harness.analysis.accounts import Counts
from harness.analysis.stats import Distribution, curve, distribution, middle, middle_distribution
from harness.analysis.verdicts import Code, Reason, Status, Verdict
from harness.results import DONE, FAILURES, FORMAT, Run, Samples, read_samples

BUSY = 0.85
LAG_SHARE = 0.5
LAG_FLOOR_MS = 1.0


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial's measured window. Times in milliseconds unless named otherwise."""

    number: int
    counts: Counts
    failures: Mapping[str, int]
    completed_in_window: int
    window_s: float
    latency: Distribution
    latency_values: tuple[Any, int]
    ack: Distribution | None
    service_time: Distribution
    send_lag_us: Distribution
    implausible: Sequence[str]
    stopped_answering: bool
    health: Mapping[str, Any]
    cpu_ns: Mapping[str, int]
    """CPU time within the window by role; a role that was not seen is absent."""

    @property
    def throughput_per_s(self) -> float:
        """Answers that came within the window, a second."""
        return self.completed_in_window / self.window_s

    @property
    def client_busy(self) -> float:
        """The share of the window that the generator spent on its processor."""
        return self.cpu_ns.get("generator", 0) / 1e9 / self.window_s


@dataclass(frozen=True, slots=True)
class CellResult:
    """A cell, its trials put together."""

    info: Mapping[str, Any]
    """The cell as run.json has it."""
    trials: Sequence[TrialResult]
    counts: Counts
    throughput_per_s: float | None
    latency: Distribution
    ack: Distribution | None
    service_time: Distribution
    send_lag_us: Distribution
    lanes_opened: int | None
    cpu_us_per_op: Mapping[str, float | None]
    latency_by_percentile: Sequence[tuple[float, float]]
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        lag = self.send_lag_us.to_json()
        return {
            **self.info,
            "trials": len(self.trials),
            "counts": asdict(self.counts),
            "throughput_per_s": _rounded(self.throughput_per_s),
            "latency_ms": self.latency.to_json(),
            "ack_ms": self.ack.to_json() if self.ack else None,
            "service_time_ms": self.service_time.to_json(),
            "send_lag_us": {"p50": lag["p50"], "p99": lag["p99"]},
            "lanes_opened": self.lanes_opened,
            "client_cpu_us_per_op": _rounded(self.cpu_us_per_op["generator"]),
            "server_cpu_us_per_op": _rounded(self.cpu_us_per_op["server"]),
            "latency_by_percentile_ms": [[p, round(v, 6)] for p, v in self.latency_by_percentile],
            "verdict": self.verdict.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """A run, cell by cell."""

    info: Mapping[str, Any]
    """run.json."""
    cells: Sequence[CellResult]

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        return {
            "format": FORMAT,
            "run": self.info["run"],
            "cells": [cell.to_json() for cell in self.cells],
        }

    @property
    def failed(self) -> bool:
        """Whether a style failed or an account does not balance."""
        return any(
            c.verdict.status is Status.FAILED
            or any(r.code is Code.ACCOUNTS for r in c.verdict.reasons)
            for c in self.cells
        )

    @property
    def skipped(self) -> bool:
        """Whether a cell was not run at all."""
        return any(c.verdict.status is Status.SKIPPED for c in self.cells)


def summarize(run: Run) -> Summary:
    """Everything that the report says. Raises ValueError for a trial file that cannot be read."""
    cells = []
    timeout_s = run.info["scenario"]["timeout_s"]
    for info in run.info["cells"]:
        trials = [
            summarize_trial(
                read_samples(path), int(path.stem), timeout_s, _cpu_ns(run, info["id"], path)
            )
            for path in run.trials[info["id"]]
        ]
        cells.append(_cell(run, info, trials))
    return Summary(run.info, cells)


def summarize_trial(
    samples: Samples, number: int, timeout_s: float, cpu_ns: Mapping[str, int] | None = None
) -> TrialResult:
    """One trial's measured window; operations had `timeout_s` seconds each."""
    measured = samples.measured
    done = measured & (samples.outcome == DONE)
    sent = measured & (samples.sent != 0)
    acked = measured & (samples.acked != 0)
    start, end = samples.meta["window"]
    counts = accounts.count(samples)
    latency = (samples.done[done] - samples.planned[done]) / 1e6
    within = (samples.outcome == DONE) & (samples.done >= start) & (samples.done < end)
    return TrialResult(
        number=number,
        counts=counts,
        failures=accounts.failures(samples),
        completed_in_window=int(within.sum()),
        window_s=(end - start) / 1e9,
        latency=distribution(latency, counts.planned),
        latency_values=(latency, counts.planned),
        ack=(
            distribution((samples.acked[acked] - samples.planned[acked]) / 1e6, counts.planned)
            if acked.any()
            else None
        ),
        service_time=distribution((samples.done[done] - samples.sent[done]) / 1e6, counts.sent),
        send_lag_us=distribution((samples.sent[sent] - samples.planned[sent]) / 1e3, counts.sent),
        implausible=accounts.implausible(samples),
        stopped_answering=accounts.silent_at_the_end(samples, timeout_s),
        health=samples.meta["health"],
        cpu_ns=cpu_ns or {},
    )


def _cpu_ns(run: Run, cell: str, path: Path) -> dict[str, int]:
    marks: dict[tuple[str, str], int] = {
        (row["role"], row["mark"]): row["cpu_ns"]
        for row in run.telemetry
        if row["cell"] == cell and row["trial"] == int(path.stem) and row["mark"]
    }
    return {
        role: marks[role, "window_end"] - marks[role, "window_start"]
        for role, mark in marks
        if mark == "window_start" and (role, "window_end") in marks
    }


def _cell(run: Run, info: Mapping[str, Any], trials: Sequence[TrialResult]) -> CellResult:
    counts = sum((t.counts for t in trials), Counts())
    acks = [t.ack for t in trials if t.ack is not None]
    return CellResult(
        info=info,
        trials=trials,
        counts=counts,
        throughput_per_s=middle([t.throughput_per_s for t in trials]) if trials else None,
        latency=middle_distribution([t.latency for t in trials]),
        ack=middle_distribution(acks) if acks else None,
        service_time=middle_distribution([t.service_time for t in trials]),
        send_lag_us=middle_distribution([t.send_lag_us for t in trials]),
        lanes_opened=max((t.health["lanes_opened"] for t in trials), default=None),
        cpu_us_per_op={role: _cpu_per_op(trials, role) for role in ("generator", "server")},
        latency_by_percentile=curve([t.latency_values for t in trials]),
        verdict=_verdict(run, info, trials, counts),
    )


def _cpu_per_op(trials: Sequence[TrialResult], role: str) -> float | None:
    seen = [t for t in trials if role in t.cpu_ns]
    completed = sum(t.completed_in_window for t in seen)
    return sum(t.cpu_ns[role] for t in seen) / 1e3 / completed if completed else None


def _verdict(
    run: Run, info: Mapping[str, Any], trials: Sequence[TrialResult], counts: Counts
) -> Verdict:
    events = [e for e in run.events if e["cell"] == info["id"]]
    reasons = [
        Reason(code, f"trial {event['trial']}: {event['detail']}")
        for code in (Code.TRIAL_FAILED, Code.SERVER_DIED)
        for event in events
        if event["kind"] == code.value
    ]
    if not trials and not reasons:
        return Verdict((Reason(Code.NOT_RUN, "the run ended before its first trial"),))
    reasons += [Reason(Code.ACCOUNTS, words) for words in counts.imbalances]
    reasons += _failure_reasons(trials, counts)
    for trial in trials:
        reasons += [
            Reason(Code.IMPLAUSIBLE, f"trial {trial.number}: {words}")
            for words in trial.implausible
        ]
    reasons += _generator_reasons(info, trials)
    if counts.done and counts.dropped + counts.timed_out:
        reasons.append(
            Reason(
                Code.OVERLOADED,
                f"{counts.dropped} of {counts.planned} operations were dropped because"
                f" {info['condition']['in_flight']} were in flight, {counts.timed_out} timed out",
            )
        )
    planned_trials = run.info["scenario"]["repeats"]
    if 0 < len(trials) < planned_trials:
        reasons.append(
            Reason(Code.FEWER_TRIALS, f"{len(trials)} of {planned_trials} trials were finished")
        )
    smallest = min((t.counts.planned for t in trials), default=0)
    if any(np.isnan(t.latency.p99) for t in trials):
        reasons.append(
            Reason(Code.UNDER_SAMPLED, f"p99 is not resolvable from {smallest} operations")
        )
    if run.info["placement"]["shared"] and info["has_server"]:
        reasons.append(Reason(Code.SHARED_CORE, "server and generator share a processor"))
    return Verdict(tuple(reasons))


def _failure_reasons(trials: Sequence[TrialResult], counts: Counts) -> list[Reason]:
    reasons = []
    for word in FAILURES:
        number = sum(t.failures.get(word, 0) for t in trials)
        if not number:
            continue
        first = next(
            (
                text
                for trial in trials
                for kind, text, _ in trial.health["failure_details"]
                if kind == word
            ),
            "",
        )
        code = Code.OVERLOADED if word == "overloaded" else Code(word)
        reasons.append(Reason(code, f"{number} of {counts.sent} operations: {first}"))
    if trials and counts.planned and not counts.done:
        reasons.append(
            Reason(Code.NO_COMPLETIONS, f"none of {counts.planned} operations was answered rightly")
        )
    else:
        reasons += [
            Reason(Code.STOPPED_ANSWERING, f"trial {t.number}: the last operations had no answer")
            for t in trials
            if t.stopped_answering
        ]
    return reasons


def _generator_reasons(info: Mapping[str, Any], trials: Sequence[TrialResult]) -> list[Reason]:
    if info["load"]["model"] == "closed":
        return [
            Reason(
                Code.CLIENT_LIMITED,
                f"trial {t.number}: the client used {t.client_busy:.0%} of a processor",
            )
            for t in trials
            if t.client_busy > BUSY and info["has_server"]
        ]
    details = []
    for trial in trials:
        lag_ms, latency_ms = trial.send_lag_us.p99 / 1e3, trial.latency.p99
        if trial.client_busy > BUSY and trial.counts.dropped:
            said = f"the generator used {trial.client_busy:.0%} of its processor and dropped"
            details.append(f"trial {trial.number}: {said}")
        elif lag_ms > LAG_FLOOR_MS and lag_ms > LAG_SHARE * latency_ms:
            said = f"send lag p99 {lag_ms:.1f} ms of a latency p99 of {latency_ms:.1f} ms"
            details.append(f"trial {trial.number}: {said}")
    # The median over trials leaves a minority out.
    code = Code.GENERATOR_BOUND if 2 * len(details) >= len(trials) else Code.DISTURBED
    return [Reason(code, detail) for detail in details]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 3)
