"""Whether latency drifted while it was measured, over all trials of a cell. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import BATCHES, log_ms, middle

CHANCE = 0.01
MATERIAL = 1.5
"""By less than that machines wander: the ratios of trials of 4 s whose service does not drift had
logarithms that deviate by 0.27 on two quiet virtual processors."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """How latency changed from the start of a measured window to its end."""

    ratio: float
    """End over start, the median over trials; +infinity where it grew beyond what was waited for.
    """
    chance: float
    """The probability that a latency without a trend shows as much of one."""

    @property
    def found(self) -> bool:
        """Whether there is one, clearly and materially."""
        material = max(self.ratio, 1 / self.ratio if self.ratio else math.inf) >= MATERIAL
        return material and self.chance <= CHANCE


def drift(trials: Sequence[Floats]) -> Drift | None:
    """Of each trial the median latency of each of BATCHES parts of its window, in the order of time
    and +infinity where most of a part has no value; None without a trial of so many.

    For windows whose load is the same throughout. There is a drift if latency changed both clearly
    and materially. Clearly: by the trend test of Mann and Kendall on each trial, put together over
    trials as Hirsch, Slack and Smith (Water Resources Research 18 (1982) 107) put seasons together:
    sums of Kendall's S and of its variance, ties and continuity corrected, against CHANCE on both
    sides. What is common to all trials adds up; what each has of its own does not. Parts stand for
    operations because neighbours depend on each other and parts hardly do. Materially: the trials'
    ratios, each by the slope of Theil and Sen (Journal of the American Statistical Association 63
    (1968) 1379) of the logarithms, have a median of MATERIAL or more, or its inverse: the figure of
    the whole window is then a fifth off what it is at either end.

    Where latency remembers for longer than a part lasts (a queue that is busy for nine tenths or
    more, a window of few such memories) a trend is found more often than CHANCE says: there the
    window is too short to stand for what comes after it, and the remedy is the same. A change that
    comes and goes again within the window is no drift, and is not found.
    """
    whole = [batches for batches in trials if len(batches) == BATCHES]
    if not whole:
        return None
    scores, variances = zip(*map(_kendall, whole), strict=True)
    ratio = middle([math.exp(_change(batches)) for batches in whole])
    return Drift(ratio, _chance(sum(scores), sum(variances)))


def _kendall(values: Floats) -> tuple[int, float]:
    """Kendall's S of a series against its order, and its variance without a trend (Kendall, Rank
    Correlation Methods, 4th ed., chapter 4)."""
    score = sum(int(b > a) - int(b < a) for a, b in combinations(values, 2))

    def pairs(n: int) -> int:
        return n * (n - 1) * (2 * n + 5)

    _, ties = np.unique(values, return_counts=True)
    return score, (pairs(len(values)) - sum(map(pairs, map(int, ties)))) / 18


def _chance(score: int, variance: float) -> float:
    """Of a score as far from 0, on either side, by the normal law."""
    if not score or not variance:
        return 1.0
    return math.erfc((abs(score) - 1) / math.sqrt(2 * variance))


def _change(values: Floats) -> float:
    """The change of the logarithm over a whole window, by the median slope between two parts."""
    levels = log_ms(values).tolist()
    slopes = [
        0.0 if levels[i] == levels[j] else (levels[j] - levels[i]) / (j - i)
        for i, j in combinations(range(len(levels)), 2)
    ]
    return len(levels) * middle(slopes)
