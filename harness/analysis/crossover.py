"""Where the figures of two cells change places, as a number grows. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.analysis.stats import middle

Trials = Mapping[float, Sequence[float]]
"""By number, the figure of each trial."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """Two curves that cross for sure: at one number every trial of the one lies below every trial
    of the other, and at a later one above."""

    before: float
    """The last number at which the first still lies on its side."""
    after: float
    """The first at which it lies on the other."""
    at: float
    """Where the medians cross, both scales being logarithmic."""


def crossovers(first: Trials, second: Trials) -> list[Crossover]:
    """All of two curves, at the numbers that both have, ascending. Figures are above zero; numbers
    at which a trial has none, NaN or infinity, are passed over."""
    numbers = sorted(n for n in first.keys() & second.keys() if _known(first[n], second[n]))
    sides = [(n, side) for n in numbers if (side := _side(first[n], second[n]))]
    found = []
    for (before, side), (after, other) in pairwise(sides):
        if side != other:
            between = [n for n in numbers if before <= n <= after]
            found.append(Crossover(before, after, _meeting(first, second, between)))
    return found


def _known(first: Sequence[float], second: Sequence[float]) -> bool:
    return bool(first and second) and all(map(math.isfinite, (*first, *second)))


def _side(first: Sequence[float], second: Sequence[float]) -> int:
    """-1 where all of the first are less than all of the second, 1 where they are more, else 0."""
    return (min(first) > max(second)) - (max(first) < min(second))


def _meeting(first: Trials, second: Trials, numbers: Sequence[float]) -> float:
    """Where the medians meet, between the first two numbers at which their order changes."""
    gaps = [math.log(middle(first[n]) / middle(second[n])) for n in numbers]
    place = next(i for i, (a, b) in enumerate(pairwise(gaps)) if a * b <= 0 and b != a)
    low, high = (math.log(n) for n in numbers[place : place + 2])
    a, b = gaps[place : place + 2]
    return math.exp(low + (high - low) * a / (a - b))
