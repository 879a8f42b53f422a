"""From a cell to what is compared of it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis.effects import Repeat
from harness.analysis.floors import Subject
from harness.analysis.stats import BATCHES
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Verdict


def subject_of(info: Mapping[str, Any], trials: Sequence[TrialResult], verdict: Verdict) -> Subject:
    """A cell as it is compared; `info` as run.json has it. Runs from before there were families
    have no A/A either, and compare nothing."""
    repeats = {
        name: {trial.number: _latency(trial, name) for trial in trials} for name in ("p50", "p99")
    }
    if info["load"]["model"] == "closed":
        repeats["throughput"] = {trial.number: _throughput(trial) for trial in trials}
    return Subject(
        id=info["id"],
        variant=info["variant"].partition("=")[0],
        family=info.get("family") or "",
        load=info["load"]["words"],
        condition=info["condition"],
        verdict=verdict.status.value,
        again=bool(info.get("again")),
        repeats=repeats,
    )


def _latency(trial: TrialResult, name: str) -> Repeat:
    batches = trial.latency_batches.get(name, np.array([]))
    return Repeat(getattr(trial.latency, name), batches)


def _throughput(trial: TrialResult) -> Repeat:
    """Its batches are equal parts of the window."""
    return Repeat(trial.throughput_per_s, trial.answers * BATCHES / trial.window_s)
