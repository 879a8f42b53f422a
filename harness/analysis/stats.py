"""Order statistics of one trial, and their middle over trials. Pure.

A percentile ranks all operations it is about. Those that have no value (dropped, failed, timed
out) rank as +infinity, so that a system under test cannot look better by not answering.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}
Z95 = 1.96
BATCHES = 10
MANY = 1000
CURVE_POINTS = (
    *range(1, 90),
    *(90 + tenth / 10 for tenth in range(90)),
    *(99 + hundredth / 100 for hundredth in range(90)),
    *(99.9 + thousandth / 1000 for thousandth in range(91)),
)

Curve = Sequence[tuple[float, float]]
"""(percentile, value), ascending."""


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
    rank = _rank(count, percentile)
    return float(ascending[rank - 1]) if rank <= len(ascending) else math.inf


def percentiles(
    values: npt.NDArray[np.float64], count: int, wanted: Iterable[float]
) -> dict[float, float]:
    """Each of the `wanted` percentiles of `count` values, of which the finite ones are given in any
    order; see percentile_of."""
    wanted = tuple(wanted)
    ranks = [_rank(count, p) - 1 for p in wanted if count and resolvable(count, p)]
    # Sorted no further than it takes to have these ranks right.
    places = np.unique(np.array([rank for rank in ranks if rank < len(values)], np.intp))
    ranked = np.partition(values, places)
    return {p: percentile_of(ranked, count, p) if count else math.nan for p in wanted}


def _rank(count: int, percentile: float) -> int:
    # Rounded first: 1000 * 0.999 is 999.0000000000001 in floating point.
    return max(1, math.ceil(round(count * percentile / 100, 6)))


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
    if count == 0:
        return Distribution(math.nan, math.nan, math.nan, math.nan, math.nan)
    largest = float(values.max()) if len(values) == count else math.inf
    found = percentiles(values, count, PERCENTILES.values())
    return Distribution(**dict(zip(PERCENTILES, found.values(), strict=True)), max=largest)


def middle_distribution(trials: Sequence[Distribution]) -> Distribution:
    """Each percentile's median over trials."""
    return Distribution(
        **{n: middle([getattr(t, n) for t in trials]) for n in (*PERCENTILES, "max")}
    )


def log_ms(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logarithms of times in milliseconds, of which none is shorter than a nanosecond."""
    return np.log(np.maximum(values, 1e-6))


def batch_percentiles(
    values: npt.NDArray[np.float64], percentile: float
) -> npt.NDArray[np.float64]:
    """The percentile of each batch of a trial's operations, which are in the order of time and
    +infinity where they have no value: BATCHES batches, or as many as resolve it; none if that is
    less than two."""
    count = min(BATCHES, len(values))
    while count > 1 and not resolvable(len(values) // count, percentile):
        count -= 1
    batches = np.array_split(values, count) if count > 1 else []
    found = []
    for batch in batches:
        (value,) = percentiles(batch[np.isfinite(batch)], len(batch), [percentile]).values()
        found.append(value)
    return np.array(found)


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


@dataclass(frozen=True, slots=True)
class BatchMeans:
    """A trial's values, by what their mean and its interval take."""

    count: int
    total: float
    means: npt.NDArray[np.float64]
    """Of BATCHES batches in the order of the values; none for too few of them."""


def batch_means(values: npt.NDArray[np.float64]) -> BatchMeans:
    """Of a trial's values in their order."""
    batches = np.array_split(values, BATCHES) if len(values) >= 2 * BATCHES else []
    means = np.array([batch.mean() for batch in batches])
    return BatchMeans(len(values), float(values.sum()), means)


def mean_of(trials: Sequence[BatchMeans]) -> Mean | None:
    """The mean over all values, its interval by batch means: each trial's values, in their order,
    make BATCHES batches, whose means take part as independent values (Law, Simulation Modeling and
    Analysis, 5th ed., section 9.5.3). None without values.
    """
    count = sum(trial.count for trial in trials)
    if not count:
        return None
    value = sum(trial.total for trial in trials) / count
    means = np.concatenate([trial.means for trial in trials])
    if len(means) < 2:
        return Mean(value, math.nan, math.nan, count)
    half = student_point(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
    return Mean(value, value - half, value + half, count)


def student_p(t: float, freedom: int) -> float:
    """The probability that Student's t is at least as far from 0 as `t`, on either side, by the
    finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    More than MANY degrees are taken for so many, which makes a 95% interval 0.12% too wide at most.
    """
    freedom = min(freedom, MANY)
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    total *= math.sin(angle)
    inside = 2 / math.pi * (angle + total) if odd else total
    return min(max(1 - inside, 0.0), 1.0)


@cache
def student_point(freedom: int, level: float = 0.95) -> float:
    """How far from 0 Student's t stays with probability `level`, by bisection of student_p."""
    low, high = 0.0, 1.0
    while student_p(high, freedom) > 1 - level:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        between = (low + high) / 2
        if student_p(between, freedom) > 1 - level:
            low = between
        else:
            high = between
    return high


def trial_curve(values: Mapping[float, float]) -> Curve:
    """A trial's own percentiles, CURVE_POINTS among them, up to the last that is resolvable;
    +infinity where one falls among those without a value."""
    points = []
    for percentile in CURVE_POINTS:
        value = values[percentile]
        if math.isnan(value):
            break
        points.append((float(percentile), value))
    return points


def middle_curve(trials: Sequence[Curve]) -> Curve:
    """The median over trials, up to the last percentile that all resolve and that is finite."""
    points = []
    for at, values in _together(trials):
        value = middle(values)
        if not math.isfinite(value):
            break
        points.append((at, value))
    return points


def curve_ranges(trials: Sequence[Curve]) -> list[tuple[float, float, float]]:
    """(percentile, lowest, highest) of the trials, at each percentile that all resolve."""
    return [(at, min(values), max(values)) for at, values in _together(trials)]


def _together(trials: Sequence[Curve]) -> list[tuple[float, list[float]]]:
    """Each percentile that all trials have, and their values; all begin with the same one."""
    return [(of_all[0][0], [value for _, value in of_all]) for of_all in zip(*trials, strict=False)]
