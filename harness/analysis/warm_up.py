"""Whether a trial's warm-up was enough: is the start of its measured window still slower? Pure."""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from harness.results import Ints

BATCHES = 20
START = 2
"""So many batches are the start: a tenth of the window."""
CHANCE = 0.025
MATERIAL = 1.1
LEAST = 200


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


def warm_up_enough(
    latency_ms: npt.NDArray[np.float64], planned_ns: Ints, window: tuple[int, int]
) -> WarmUp | None:
    """Whether the warm-up before `window` (its start and end, ns) was enough; None where fewer than
    LEAST operations, or a batch without any, cannot tell.

    For open loops at a constant mean rate. `latency_ms` are the latencies of operations, +infinity
    for one that has none, and `planned_ns` their planned instants; those outside of the window are
    left out.

    It was not enough if the start is slower both clearly and materially. Clearly: the window is cut
    into BATCHES batches of equal time, and the medians of the first START rank so high among all
    that chance alone would place them there with a probability of CHANCE or less, by the exact
    one-sided rank-sum test (Wilcoxon, Biometrics Bulletin 1 (1945) 80; Mann and Whitney, Annals of
    Mathematical Statistics 18 (1947) 50). Batches stand for operations because neighbours depend on
    each other, and batches hardly do (Law, Simulation Modeling and Analysis, 5th ed., section
    9.5.3). Materially: the median of the start is at least MATERIAL times that of the rest.

    A start that is faster, or a drift later on, says nothing about warm-up. Medians do not see a
    transient that few operations feel, or that is over in the first twentieth of the window.
    """
    start_ns, end_ns = window
    batch = (planned_ns - start_ns) * BATCHES // (end_ns - start_ns)
    parts = [latency_ms[batch == number] for number in range(BATCHES)]
    if sum(map(len, parts)) < LEAST or not all(map(len, parts)):
        return None
    start_ms = float(np.median(np.concatenate(parts[:START])))
    rest_ms = float(np.median(np.concatenate(parts[START:])))
    medians = [float(np.median(part)) for part in parts]
    slower = start_ms >= MATERIAL * rest_ms and _chance_of_the_first(medians, START) <= CHANCE
    return WarmUp(not slower, start_ms, rest_ms)


def _chance_of_the_first(values: list[float], count: int) -> float:
    """The probability that `count` values taken at random rank as high as the first ones do."""
    ranks = [sum(v < one for v in values) + sum(v <= one for v in values) for one in values]
    sums = [sum(some) for some in combinations(ranks, count)]
    return sum(one >= sums[0] for one in sums) / len(sums)
