"""How much a cell differs from itself: the same variant under two labels (A/A). Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from harness.analysis.effects import (
    Effect,
    Noise,
    Repeat,
    no_effect,
    noise_floor,
    noise_of,
    paired_effect,
    repeats_needed,
)
from harness.analysis.verdicts import Status

METRICS = ("p50", "p99", "throughput")
"""Latency's percentiles, and in closed loops the answers a second."""
SOUGHT = 1.1
POWER = 0.9


@dataclass(frozen=True, slots=True)
class Subject:
    """A cell, as far as it is compared."""

    id: str
    variant: str
    """Without its label."""
    family: str
    """As in clients.catalog; empty for one that is compared with none."""
    load: str
    condition: Mapping[str, Any]
    verdict: str
    again: bool
    """Whether it is there for its A/A pair alone."""
    repeats: Mapping[str, Mapping[int, Repeat]]
    """For each of METRICS that it has: its trials by their block."""

    @property
    def usable(self) -> bool:
        """Whether its verdict lets its figures be compared."""
        return self.verdict in (Status.VALID, Status.QUALIFIED)

    @property
    def group(self) -> tuple[str, tuple[str, ...], str]:
        """What two cells must share to be compared: load, what is asked, class of durability."""
        asked = tuple(self.condition["asked"])
        return self.load, asked, str(self.condition.get("durability", "A"))

    def same(self, other: "Subject") -> bool:
        """Whether it differs from another of its group in nothing but the label."""
        return (self.variant, self.condition) == (other.variant, other.condition)


def side_by_side(subjects: Iterable[Subject]) -> Iterator[tuple[Subject, Subject]]:
    """All pairs that may be compared, in the order of the run."""
    groups: dict[Any, list[Subject]] = {}
    for subject in subjects:
        if subject.family:
            groups.setdefault(subject.group, []).append(subject)
    for group in groups.values():
        yield from combinations(group, 2)


@dataclass(frozen=True)
class Floor:
    """What an A/A pair shows."""

    family: str
    load: str
    metric: str
    cells: tuple[str, str]
    effect: Effect
    noise: Noise | None
    """Of pairs of its family at its load; None where it cannot be told."""
    comparisons: int
    """As many as are made at once."""

    @property
    def ratio(self) -> float:
        """Up to which nothing is called a difference; NaN without an interval."""
        return noise_floor(self.effect)

    @cached_property
    def repeats_needed(self) -> int | None:
        """To find a ratio of SOUGHT with a probability of POWER; None for more than a scenario may
        have, or where the noise cannot be told."""
        if self.noise is None:
            return None
        return repeats_needed(self.noise, self.comparisons, SOUGHT, POWER)


def floors(subjects: Sequence[Subject], comparisons: int) -> list[Floor]:
    """One for each A/A pair and metric, where so many `comparisons` are made at once."""
    return [
        _floor(pair, metric, subjects, comparisons)
        for pair in side_by_side(subjects)
        if pair[0].same(pair[1])
        for metric in METRICS
        if all(metric in subject.repeats for subject in pair)
    ]


def _floor(
    pair: tuple[Subject, Subject], metric: str, subjects: Sequence[Subject], comparisons: int
) -> Floor:
    first, second = pair
    unusable = [f"{each.id} is {each.verdict}" for each in pair if not each.usable]
    if unusable:
        effect, noise = no_effect("; ".join(unusable)), None
    else:
        effect = paired_effect(first.repeats[metric], second.repeats[metric])
        alike = (
            each.repeats[metric]
            for each in subjects
            if each.usable and (each.family, each.group) == (first.family, first.group)
        )
        noise = noise_of([repeats for repeats in alike if _whole(repeats)])
    cells = (first.id, second.id)
    return Floor(first.family, first.load, metric, cells, effect, noise, comparisons)


def _whole(repeats: Mapping[int, Repeat]) -> bool:
    """Whether every trial has a value whose logarithm can be taken."""
    values = [repeat.value for repeat in repeats.values()]
    return bool(values) and all(math.isfinite(value) and value > 0 for value in values)
