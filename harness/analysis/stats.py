"""Order statistics of one trial, and their middle over trials. Pure.

A percentile ranks all operations it is about. Those that have no value (dropped, failed, timed
out) rank as +infinity, so that a system under test cannot look better by not answering.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}
Z95 = 1.96
BATCHES = 10
_SMALL_T = {1: 12.706, 2: 4.303, 3: 3.182}
CURVE_POINTS = (
    *range(1, 90),
    *(90 + tenth / 10 for tenth in range(90)),
    *(99 + hundredth / 100 for hundredth in range(90)),
    *(99.9 + thousandth / 1000 for thousandth in range(91)),
)


def resolvable(count: int, percentile: float) -> bool:
    """Whether a sample of `count` has a 95% upper bound for a percentile inside itself.

    The bound is the order statistic of rank n p + 1.96 sqrt(n p (1 - p)): the normal approximation
    to the binomial count of values below the quantile (Conover, Practical Nonparametric
    Statistics, 3rd ed., section 3.2).
    """
    share = percentile / 100
    return count * share + Z95 * math.sqrt(count * share * (1 - share)) <= count


def percentile_of(ascending: npt.NDArray[np.float64], count: int, percentile: float) -> float:
    """The nearest-rank percentile of `count` values, of which the finite ones are `ascending`.

    +infinity where the rank falls among those without a value; NaN where `count` does not resolve
    the percentile.
    """
    if not resolvable(count, percentile):
        return math.nan
    # Rounded first: 1000 * 0.999 is 999.0000000000001 in floating point.
    rank = max(1, math.ceil(round(count * percentile / 100, 6)))
    return float(ascending[rank - 1]) if rank <= len(ascending) else math.inf


def middle(values: Sequence[float]) -> float:
    """The median over trials; NaN if any trial cannot tell."""
    if not values or any(math.isnan(value) for value in values):
        return math.nan
    ranked = sorted(values)
    half = len(ranked) // 2
    if len(ranked) % 2:
        return ranked[half]
    # Two infinities have no difference, so the mean is not taken as a + (b - a) / 2.
    return (
        ranked[half - 1]
        if ranked[half - 1] == ranked[half]
        else sum(ranked[half - 1 : half + 1]) / 2
    )


@dataclass(frozen=True, slots=True)
class Distribution:
    """Percentiles of one quantity: of a trial, or the medians over a cell's trials.

    +infinity: beyond what was waited for (censored). NaN: not resolvable.
    """

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    def to_json(self) -> dict[str, float | bool | list[str] | None]:
        """As in summary.json: null for both kinds without a number, told apart beside them."""
        values = {name: getattr(self, name) for name in (*PERCENTILES, "max")}
        return {
            **{k: round(v, 6) if math.isfinite(v) else None for k, v in values.items()},
            "censored": any(math.isinf(v) for v in values.values()),
            "not_resolvable": [k for k, v in values.items() if math.isnan(v)],
        }


def distribution(values: npt.NDArray[np.float64], count: int) -> Distribution:
    """Of `count` operations, `values` (any order) being those that have one."""
    ascending = np.sort(values)
    if count == 0:
        return Distribution(math.nan, math.nan, math.nan, math.nan, math.nan)
    largest = float(ascending[-1]) if len(ascending) == count else math.inf
    marks = {
        name: percentile_of(ascending, count, percentile)
        for name, percentile in PERCENTILES.items()
    }
    return Distribution(**marks, max=largest)


def middle_distribution(trials: Sequence[Distribution]) -> Distribution:
    """Each percentile's median over trials."""
    return Distribution(
        **{n: middle([getattr(t, n) for t in trials]) for n in (*PERCENTILES, "max")}
    )


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its 95% interval; NaN bounds where the sample is too small for one."""

    value: float
    low: float
    high: float
    count: int

    def to_json(self) -> dict[str, float | int | None]:
        """As in summary.json."""
        return {
            k: round(v, 6) if math.isfinite(v) else None
            for k, v in (("value", self.value), ("low", self.low), ("high", self.high))
        } | {"count": self.count}


def mean_of(trials: Sequence[npt.NDArray[np.float64]]) -> Mean | None:
    """The mean over all values, its interval by batch means: each trial's values, in their order,
    make BATCHES batches, whose means take part as independent values (Law, Simulation Modeling and
    Analysis, 5th ed., section 9.5.3). None without values.
    """
    values = np.concatenate(trials) if trials else np.array([])
    if not len(values):
        return None
    value = float(values.mean())
    means = np.array(
        [b.mean() for t in trials if len(t) >= 2 * BATCHES for b in np.array_split(t, BATCHES)]
    )
    if len(means) < 2:
        return Mean(value, math.nan, math.nan, len(values))
    half = student_t95(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
    return Mean(value, value - half, value + half, len(values))


def student_t95(freedom: int) -> float:
    """The 97.5% point of Student's t, by its expansion in 1 / freedom (Abramowitz and Stegun,
    26.7.5); within 0.5% from four degrees of freedom on, and for fewer by table."""
    if freedom in _SMALL_T:
        return _SMALL_T[freedom]
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, 1)))


def curve(trials: Sequence[tuple[npt.NDArray[np.float64], int]]) -> list[tuple[float, float]]:
    """(percentile, median over trials) for a chart, up to the last that is resolvable and finite.

    Each trial is its values in any order and its number of operations.
    """
    ascending = [(np.sort(values), count) for values, count in trials]
    points = []
    for percentile in CURVE_POINTS:
        value = middle([percentile_of(a, n, percentile) for a, n in ascending])
        if not math.isfinite(value):
            break
        points.append((float(percentile), value))
    return points
