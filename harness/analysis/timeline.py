"""How latency went along with a rate that changes. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import middle, percentile_of
from harness.results import Ints

CHANGING = ("ramp", "steps", "replay")
"""Models of load whose rate changes."""
SLICES = 40


@dataclass(frozen=True, slots=True)
class Slice:
    """Operations planned within one of SLICES equal parts of the measured window."""

    at_s: float
    """The part's middle, in seconds since the window's start."""
    planned_per_s: float
    p50_ms: float
    """+infinity where it was not answered in time, NaN where there are too few operations."""
    slowest_ms: float

    def to_json(self) -> dict[str, float | None]:
        """As in summary.json; null for what is no number."""
        return {k: round(v, 6) if math.isfinite(v) else None for k, v in asdict(self).items()}


def slices(
    planned: Ints, latency_ms: npt.NDArray[np.float64], window: tuple[int, int]
) -> tuple[Slice, ...]:
    """Of the operations planned within a window, ascending; a latency is +infinity where an
    operation was not done. Instants in nanoseconds."""
    start, end = window
    edges = np.linspace(start, end, SLICES + 1)
    places = np.searchsorted(planned, edges)
    seconds = (end - start) / 1e9 / SLICES
    found = []
    for number, (low, high) in enumerate(pairwise(places)):
        ascending = np.sort(latency_ms[low:high])
        count = len(ascending)
        found.append(
            Slice(
                (number + 0.5) * seconds,
                count / seconds,
                percentile_of(ascending, count, 50) if count else math.nan,
                float(ascending[-1]) if count else math.nan,
            )
        )
    return tuple(found)


def middle_slices(trials: Sequence[Sequence[Slice]]) -> list[Slice]:
    """Each figure's median over trials."""
    return [
        Slice(
            of_all[0].at_s,
            middle([each.planned_per_s for each in of_all]),
            middle([each.p50_ms for each in of_all]),
            middle([each.slowest_ms for each in of_all]),
        )
        for of_all in zip(*trials, strict=True)
    ]
