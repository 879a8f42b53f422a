"""Which rate to try next when the highest one that holds is searched for. Pure.

The search keeps two loads: the highest that holds, and the lowest above it that does not. A load
holds when more than half of its trials do, and the search ends when the two are neighbours and each
has its majority: what MLRsearch (RFC draft-ietf-bmwg-mlrsearch, sections 4 and 5) calls the
relevant lower and upper bound, its exceed ratio one half and its width that of neighbours here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

Z95 = 1.96
SHORT = 4.0
"""Standard deviations by which a Poisson count may fall short of what was meant."""


def operations_to_judge(percentile: float) -> float:
    """So many operations, on average, that a trial almost never has fewer than a percentile needs
    to be bounded: z^2 p / (1 - p), see analysis.stats.resolvable."""
    share = percentile / 100
    needed = Z95**2 * share / (1 - share)
    return float((SHORT / 2 + math.sqrt(needed + SHORT**2 / 4)) ** 2)


class Outcome(StrEnum):
    """What became of one trial at a rate."""

    HELD = "held"
    MISSED = "missed"
    GENERATOR = "generator"
    """Missed, and it was the generator that was late."""


Outcomes = Mapping[float, Sequence[Outcome]]
"""By rate, in the order of the trials."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known so far."""

    held: float | None
    """The highest rate at which the objective holds; None where it does not at the lowest."""
    missed: float | None
    """The lowest rate above it at which it does not; None where it holds at the highest."""
    settled: bool
    """Whether the two are neighbours, and each has the majority of its trials."""
    by_generator: bool
    """Whether it was the generator that could not go further."""


@dataclass(frozen=True)
class Search:
    """From `lowest` by doubling to the first rate that misses, then by halves of the ratio in
    between: rates are of one grid, so that different services are tried at the same ones.

    What disturbs a trial makes it miss, and hardly anything makes it hold by mistake. So one trial
    that holds is enough to go on upwards, and a majority must have missed before the search goes
    on below.
    """

    lowest: float
    highest: float
    width: float
    """Neighbours of the grid differ by this share at most."""
    repeats: int

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """The grid, in operations a second, ascending: the same number of rates in each doubling,
        of four digits."""
        below = []
        rate = self.lowest
        while rate < self.highest:
            below.append(rate)
            rate = float(f"{self.lowest * 2 ** (len(below) / self._per_doubling):.4g}")
        return (*below, self.highest)

    @property
    def most(self) -> int:
        """Trials at most: the longest way without contradictions, and a rate's more for what chance
        brings."""
        doublings = math.ceil((len(self.rates) - 1) / self._per_doubling)
        halvings = round(math.log2(self._per_doubling))
        to_miss, to_hold = (self.repeats + 1) // 2, self.repeats // 2 + 1
        return doublings + (1 + halvings) * to_miss + to_hold - 1 + self.repeats

    def following(self, outcomes: Outcomes) -> float | None:
        """The rate of the next trial; None when there is nothing left to ask."""
        if sum(map(len, outcomes.values())) >= self.most:
            return None
        low, high = self._bounds(outcomes)
        if high is not None and not self._has_majority(outcomes, high):
            return self.rates[high]
        if low is None:
            return None if high == 0 else self.rates[0]
        if high is None and low != self._last:
            return self.rates[min(low + self._per_doubling, self._last)]
        if high is not None and high - low > 1:
            return self.rates[(low + high) // 2]
        return None if self._has_majority(outcomes, low) else self.rates[low]

    def found(self, outcomes: Outcomes) -> Found:
        """What the trials so far say."""
        low, high = self._bounds(outcomes)
        ended = high == 0 or low == self._last
        neighbours = low is not None and high is not None and high - low == 1
        certain = all(self._has_majority(outcomes, n) for n in (low, high) if n is not None)
        missed = None if high is None else self.rates[high]
        late = outcomes.get(missed, ()) if missed is not None else ()
        return Found(
            held=None if low is None else self.rates[low],
            missed=missed,
            settled=(ended or neighbours) and certain,
            by_generator=late.count(Outcome.GENERATOR) > late.count(Outcome.MISSED),
        )

    @cached_property
    def _per_doubling(self) -> int:
        """Rates in a doubling: a power of two, which halves evenly. Rounding to four digits takes
        up to a thousandth of the width."""
        return 1 << math.ceil(math.log2(math.log(2) / math.log(1 + self.width - 0.0011)))

    @property
    def _last(self) -> int:
        return len(self.rates) - 1

    def _bounds(self, outcomes: Outcomes) -> tuple[int | None, int | None]:
        """Places in the grid: the highest that holds so far below the lowest that does not."""
        holds = {
            place: 2 * outcomes[rate].count(Outcome.HELD) > len(outcomes[rate])
            for place, rate in enumerate(self.rates)
            if outcomes.get(rate)
        }
        high = min((place for place, held in holds.items() if not held), default=None)
        below = [place for place, held in holds.items() if held and (high is None or place < high)]
        return max(below, default=None), high

    def _has_majority(self, outcomes: Outcomes, place: int) -> bool:
        """Whether no further trial at a rate could turn what its trials say."""
        trials = outcomes[self.rates[place]]
        held = trials.count(Outcome.HELD)
        return 2 * held > self.repeats or 2 * (len(trials) - held) >= self.repeats
