"""How much two cells differ, how sure that is, and what it takes to be surer. Pure.

Everything is done on natural logarithms: times and rates differ by factors, and a factor and its
inverse are as far from 1. The unit of observation is the trial, for most of what varies does so
between trials and not inside of them (Kalibera and Jones, Rigorous Benchmarking in Reasonable
Time, ISMM 2013); trials of one block ran under one schedule and are compared as a pair.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import student_p, student_point

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
LEAST_PAIRS = 3
BOOTSTRAP_PAIRS = 10
RESAMPLES = 4000
INNER = 500
TRIES = 10_000
MOST_REPEATS = 1000
PIVOTS_COST = 3
"""Degrees of freedom: a bootstrap-t interval of n normal values is about as wide as Student's with
n - 1 - PIVOTS_COST of them (from 10 to 30 values and 95 % to 99.9 %, by simulation)."""
NO_INTERVAL = "no interval"
PAIRED_T = "paired t"
BOOTSTRAP = "hierarchical bootstrap"


@dataclass(frozen=True, slots=True)
class Repeat:
    """One trial's value of a statistic, and the same statistic of each of its batches, in the order
    of time. Values are positive; +infinity where it was censored, NaN where it cannot be told."""

    value: float
    batches: Floats = field(default_factory=lambda: np.array([]))


@dataclass(frozen=True, slots=True)
class Effect:
    """How much larger a statistic is in one cell than in another.

    Bounds are NaN without an interval, `p_value` is for a ratio of 1 and NaN without one.
    """

    ratio: float
    low: float
    high: float
    p_value: float
    pairs: int
    """Blocks that both sides have."""
    method: str
    """`no interval`, `paired t` or `hierarchical bootstrap`."""
    left_out: int = 0
    """Trials whose block the other side lacks."""
    reason: str = ""
    """Why there is no interval, or not even a ratio, which is NaN then; empty where there is."""


def paired_effect(
    base: Mapping[int, Repeat],
    other: Mapping[int, Repeat],
    level: float = LEVEL,
    rng: np.random.Generator | None = None,
    resamples: int = RESAMPLES,
) -> Effect:
    """`other` over `base`, whose trials are given by their block: the geometric mean of the ratios
    within blocks, with an interval of so high a `level`.

    Below LEAST_PAIRS pairs there is no interval; below BOOTSTRAP_PAIRS it is Student's for the mean
    of the paired differences of logarithms; from there on it is a bootstrap (see _pivots), drawn
    from `rng`, by default the same draws for the same data. A pair of which one side is infinite,
    not a number or not positive has no ratio; then the effect has none, for leaving that pair out
    would favour whoever answered worst.
    """
    blocks = sorted(base.keys() & other.keys())
    left_out = len(base.keys() ^ other.keys())
    if reason := _no_ratio(blocks, base, other):
        return no_effect(reason, len(blocks), left_out)
    differences = np.array([math.log(other[b].value / base[b].value) for b in blocks])
    count, mean = len(blocks), float(differences.mean())
    if count < LEAST_PAIRS:
        few = f"{count} of the {LEAST_PAIRS} pairs of trials that an interval takes"
        return replace(no_effect(few, count, left_out), ratio=math.exp(mean))
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    if not error > 1e-12 * abs(mean):
        # All pairs say exactly the same.
        ratio, p_value = math.exp(mean), 0.0 if mean else 1.0
        method = PAIRED_T if count < BOOTSTRAP_PAIRS else BOOTSTRAP
        return Effect(ratio, ratio, ratio, p_value, count, method, left_out)
    if count < BOOTSTRAP_PAIRS:
        method, freedom = PAIRED_T, count - 1
        most = student_point(freedom, level)
        least, p_value = -most, student_p(mean / error, freedom)
    else:
        method = BOOTSTRAP
        inside = _inside([base[b].batches for b in blocks], [other[b].batches for b in blocks])
        batches = 0 if inside is None else inside.shape[1]
        draws = _draws(rng, count, batches, resamples) if rng else _usual(count, batches, resamples)
        pivots = _pivots(differences, inside, draws)
        # Not between two of them: the outermost may be infinite.
        least = float(np.quantile(pivots, (1 - level) / 2, method="lower"))
        most = float(np.quantile(pivots, (1 + level) / 2, method="higher"))
        beyond = min((pivots >= mean / error).sum(), (pivots <= mean / error).sum())
        p_value = min(2 * (int(beyond) + 1) / (resamples + 1), 1.0)
    return Effect(
        math.exp(mean),
        _exp(mean - most * error),
        _exp(mean - least * error),
        p_value,
        count,
        method,
        left_out,
    )


def _exp(exponent: float) -> float:
    """e to this power; +infinity where no float is so large."""
    return math.exp(exponent) if exponent < 700 else math.inf


def no_effect(reason: str, pairs: int = 0, left_out: int = 0) -> Effect:
    """Nothing that can be told, and why."""
    nothing = math.nan
    return Effect(nothing, nothing, nothing, nothing, pairs, NO_INTERVAL, left_out, reason)


def _no_ratio(
    blocks: Sequence[int], base: Mapping[int, Repeat], other: Mapping[int, Repeat]
) -> str:
    """Why there is no ratio; empty where there is one."""
    if not blocks:
        return "no block has a trial of both"
    values = [side[block].value for block in blocks for side in (base, other)]
    found = []
    for what, number in (
        ("censored", sum(math.isinf(v) for v in values)),
        ("not resolvable", sum(math.isnan(v) for v in values)),
        ("not positive", sum(v <= 0 for v in values)),
    ):
        if number:
            found.append(f"{what} in {number} of {len(values)} trials")
    return "; ".join(found)


def _inside(base: Sequence[Floats], other: Sequence[Floats]) -> Floats | None:
    """How far each batch's difference of logarithms is from its trial's mean, a row a trial; None
    where not all trials have the same number of batches, two or more, all with a logarithm."""
    sizes = {len(batches) for batches in (*base, *other)}
    if len(sizes) > 1 or min(sizes) < 2:
        return None
    both = np.array([base, other])
    if not (np.isfinite(both) & (both > 0)).all():
        return None
    found = np.log(both[1] / both[0])
    deviations: Floats = found - found.mean(axis=1, keepdims=True)
    return deviations


class _Draws(NamedTuple):
    """What is drawn for the resamples of so many pairs, whatever their values are."""

    batches: npt.NDArray[np.int64]
    """INNER rows of a trial's batches."""
    pairs: npt.NDArray[np.int64]
    """A row a resample: of each drawn pair its place among all, or, with batches, the place of one
    of its INNER resamples among those of all pairs."""


def _draws(rng: np.random.Generator, count: int, batches: int, resamples: int) -> _Draws:
    inner = INNER if batches else 1
    rows = rng.integers(max(batches, 1), size=(inner, batches))
    return _Draws(rows, rng.integers(count * inner, size=(resamples, count)))


@lru_cache(maxsize=4)
def _usual(count: int, batches: int, resamples: int) -> _Draws:
    return _draws(np.random.default_rng(0), count, batches, resamples)


def _pivots(differences: Floats, inside: Floats | None, draws: _Draws) -> Floats:
    """(resample's mean - mean) / resample's standard error, for each hierarchical resample.

    Pairs are drawn with replacement, and batches within each (Kalibera and Jones 2013): a drawn
    pair is moved by the mean deviation of its drawn batches. What is read off is not the resamples'
    means but Student's ratio of each (bootstrap-t: Efron and Tibshirani, An Introduction to the
    Bootstrap, section 12.5). The plain percentiles of Kalibera and Jones miss the truth in 9% of
    cases with ten pairs instead of 5%, and in 1.5% instead of 0.1% at the levels that Holm's
    correction asks for; and they count what varies inside of trials twice, which Student's ratio
    divides out.
    """
    count = len(differences)
    around = differences - differences.mean()
    if inside is not None:
        around = around[:, None] + inside[:, draws.batches].mean(axis=2)
    drawn = around.ravel()[draws.pairs]
    shifts = drawn.mean(axis=1)
    squares = np.einsum("ij,ij->i", drawn, drawn) - count * shifts**2
    errors = np.sqrt(np.maximum(squares, 0.0) / (count - 1) / count)
    # Nothing but rounding is no spread.
    errors[errors < 1e-6 * abs(around).max()] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots: Floats = np.nan_to_num(shifts / errors, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return pivots


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted for being one of all these, in their order (Holm, A Simple Sequentially
    Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979) 65). NaN stays,
    and does not count."""
    adjusted = [math.nan] * len(p_values)
    left = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for step, (p, i) in enumerate(left):
        largest = max(largest, min((len(left) - step) * p, 1.0))
        adjusted[i] = largest
    return adjusted


def noise_floor(same: Effect) -> float:
    """The ratio up to which two cells that are the same were seen to differ: the 95% upper bound of
    |ln ratio| of an A/A effect, exponentiated. NaN where it has no interval.

    The bound is the end of the 95% interval that is farther from no difference. One end is beyond
    the truth with a probability of 2.5%, so this bound holds with 95% whichever sign the truth has,
    and is never smaller than what was seen.
    """
    return max(same.high, 1 / same.low if same.low else math.inf)


@dataclass(frozen=True, slots=True)
class Noise:
    """How much the ratio of two cells varies from block to block."""

    deviation: float
    """Standard deviation of the logarithm of a pair's ratio."""
    freedom: float
    """The degrees of freedom by which it is known: as many as would leave a variance of normal
    logarithms as uncertain."""


def noise_of(cells: Sequence[Mapping[int, Repeat]]) -> Noise | None:
    """The noise of pairs among these cells, over the blocks that all of them have; None where these
    are too few, or a value has no logarithm.

    It is what is left of the logarithms when each cell's and each block's mean are taken off, the
    residual of a randomized complete block design (Montgomery, Design and Analysis of Experiments,
    9th ed., section 4.1), with twice its variance, as a pair has two sides. Of two cells it is the
    deviation of their differences. A variance of n values has itself the variance of 2 / freedom +
    kurtosis / n, in units of its square (Cramer, Mathematical Methods of Statistics, 1946, chapter
    27): the longer the tails, the less it is known.
    """
    if len(cells) < 2:
        return None
    blocks = sorted(set.intersection(*(set(cell) for cell in cells)))
    values = np.array([[cell[block].value for block in blocks] for cell in cells])
    if len(blocks) < 2 or not (np.isfinite(values) & (values > 0)).all():
        return None
    freedom = (len(cells) - 1) * (len(blocks) - 1)
    logs = np.log(values)
    left = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    square = float((left**2).mean())
    if not square:
        return Noise(0.0, freedom)
    seen = float((left**4).mean()) / square**2 - 3
    # A residual is a sum of many values, and so nearer to a normal one than each.
    kurtosis = max(seen / (_kept(len(cells)) * _kept(len(blocks))), 0.0)
    known = 2 / (2 / freedom + kurtosis / left.size)
    return Noise(math.sqrt(2 * square * left.size / freedom), known)


def _kept(count: int) -> float:
    """The share of their excess kurtosis that `count` values keep when their mean is taken off."""
    rest = 1 - 1 / count
    return (rest**4 + (count - 1) / count**4) / rest**2


def repeats_needed(
    noise: Noise, comparisons: int, ratio: float = 1.1, power: float = 0.9
) -> int | None:
    """How many pairs it takes to find a true `ratio` with a probability of `power`; None for more
    than MOST_REPEATS.

    Found: the interval at the severest step of Holm's correction for so many `comparisons` clears
    the floor that an A/A pair of as many repeats leaves. Both are taken as Student's on normal
    logarithms, and the probability as the rule's over TRIES seeded draws of means and deviations.
    The true deviation is drawn as well, from what `noise.freedom` degrees tell of it (as in
    assurance: O'Hagan, Stevens and Campbell, Pharmaceutical Statistics 4 (2005) 187), for to plan
    with one from few repeats as if it were true asks for too few of them half of the time.
    """
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, TRIES))
    deviations = noise.deviation * np.sqrt(noise.freedom / rng.chisquare(noise.freedom, TRIES))
    distances = abs(math.log(ratio)) / np.maximum(deviations, 1e-12)

    def enough(count: int) -> bool:
        draws = np.random.default_rng(count)
        own, floor = np.sqrt(draws.chisquare(count - 1, size=(2, TRIES)) / (count - 1))
        freedom = count - 1 - (PIVOTS_COST if count >= BOOTSTRAP_PAIRS else 0)
        point = student_point(freedom, 1 - (1 - LEVEL) / comparisons)
        least = distances * math.sqrt(count) + first - point * own
        most = abs(second) + student_point(freedom) * floor
        return bool((least > most).mean() >= power)

    low, high = LEAST_PAIRS - 1, LEAST_PAIRS
    while not enough(high):
        if high == MOST_REPEATS:
            return None
        low, high = high, min(2 * high, MOST_REPEATS)
    while high - low > 1:
        between = (low + high) // 2
        low, high = (low, between) if enough(between) else (between, high)
    return high
