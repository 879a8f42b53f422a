"""Whether the trials of a cell agree with each other. Pure."""

import math
from collections.abc import Sequence

from harness.analysis.stats import log_ms, middle, student_point
from harness.analysis.trial import TrialResult

APART = 2.0
FEW = 0.2


def disagreements(trials: Sequence[TrialResult]) -> list[str]:
    """The trials whose median or 99th percentile is APART times the cell's, or as small a part of
    it, in words; none if they are not more than FEW of all.

    The cell's is the median over trials, which leaves such trials out and hides that there are two
    regimes and not one with noise. Of three trials the furthest is that far from the middle one
    when their logarithms deviate by 0.6: an interval of the ratio to another such cell would then
    reach from an eighth to eight times. That a short trial is far off by its own noise counts for
    nothing: the interval of its batch means (Law, Simulation Modeling and Analysis, 5th ed.,
    section 9.5.3) must leave the cell's figure out.
    """
    return [words for name in ("p50", "p99") for words in _apart_from_most(trials, name)]


def _apart_from_most(trials: Sequence[TrialResult], name: str) -> list[str]:
    values: list[float] = [getattr(trial.latency, name) for trial in trials]
    typical = middle(values)
    said = [
        f"trial {trial.number}: {name} {_ms(value)}, of all trials {_ms(typical)}"
        for trial, value in zip(trials, values, strict=True)
        if _apart(value, typical) and _clearly(trial, name, typical)
    ]
    return said if len(said) > FEW * len(trials) else []


def _apart(value: float, typical: float) -> bool:
    if math.isnan(value) or math.isnan(typical):
        return False
    return value != typical and max(value, typical) >= APART * min(value, typical)


def _clearly(trial: TrialResult, name: str, typical: float) -> bool:
    """Whether a trial's figure is surely not the typical one."""
    if math.isinf(typical) or math.isinf(getattr(trial.latency, name)):
        return True
    logarithms = log_ms(trial.latency_batches[name])
    if len(logarithms) < 2 or not all(map(math.isfinite, logarithms)):
        return False
    deviation = float(logarithms.std(ddof=1)) / math.sqrt(len(logarithms))
    half = student_point(len(logarithms) - 1) * deviation
    return abs(float(logarithms.mean()) - math.log(typical)) > half


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if math.isfinite(value) else "beyond the timeout"
