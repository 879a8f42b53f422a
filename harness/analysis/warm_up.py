"""Whether a trial's warm-up was enough: is the start of its measured window still slower? Pure."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import BATCHES, log_ms, student_point

CHANCE = 0.025
MATERIAL = 1.1


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What the start of a measured window was like, beside its rest."""

    enough: bool
    start_ms: float
    """The median latency of the start; +infinity where most of it has no value."""
    rest_ms: float
    """The median latency of the rest."""

    def to_json(self) -> dict[str, float | bool | None]:
        """As in summary.json."""
        return {
            "enough": self.enough,
            "start_ms": round(self.start_ms, 6) if math.isfinite(self.start_ms) else None,
            "rest_ms": round(self.rest_ms, 6) if math.isfinite(self.rest_ms) else None,
        }


def warm_up_enough(medians_ms: npt.NDArray[np.float64]) -> WarmUp | None:
    """Whether the warm-up before a window was enough, by the median latency of each of BATCHES
    parts of it in the order of time, +infinity where most of a part has no value; None for fewer.

    For windows whose load is the same throughout. It was not enough if the first part is slower
    both clearly and materially. Clearly: its logarithm lies above what the others let one expect of
    one more, by the upper end of a prediction interval, which a new value exceeds with a
    probability of CHANCE (Hahn and Meeker, Statistical Intervals, section 4.7). Parts stand for
    operations because neighbours depend on each other, and parts hardly do (Law, Simulation
    Modeling and Analysis, 5th ed., section 9.5.3); where they do, the others spread as widely.
    Materially: it is at least MATERIAL times their median, the smallest effect that a run is asked
    to find.

    A start that is faster, or a drift later on, says nothing about warm-up. Medians do not see a
    transient that few operations feel, or that is over in the first twentieth of the window.
    """
    if len(medians_ms) != BATCHES:
        return None
    start_ms, others = float(medians_ms[0]), medians_ms[1:]
    rest_ms = float(np.median(others))
    slower = start_ms >= MATERIAL * rest_ms and _beyond(start_ms, others)
    return WarmUp(not slower, start_ms, rest_ms)


def _beyond(value: float, others: npt.NDArray[np.float64]) -> bool:
    """Whether a value is clearly above others, all of them positive."""
    if not np.isfinite(others).all():
        return False
    logarithms = log_ms(others)
    half = student_point(len(others) - 1, 1 - 2 * CHANCE) * math.sqrt(1 + 1 / len(others))
    return bool(log_ms(np.array([value])) > logarithms.mean() + half * logarithms.std(ddof=1))
