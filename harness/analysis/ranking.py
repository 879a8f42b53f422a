"""What the cells of a run let one say of each other: which is faster, and where there is nothing to
be said. Pure.

Compared are cells at one load that are asked for the same and promise the same durability. A
difference is said only where it is surer than that one of so many pairs would show it by chance,
and larger than what one cell shows against itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.analysis.effects import LEVEL, RESAMPLES, Effect, holm, paired_effect
from harness.analysis.floors import METRICS, POWER, SOUGHT, Floor, Subject, floors, side_by_side


class Word(StrEnum):
    """All that is ever said of the second of a pair beside the first."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference found"
    NOT_RANKED = "not ranked"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second of two cells over the first."""

    cells: tuple[str, str]
    metric: str
    effect: Effect
    adjusted_p: float
    """Holm's, over all comparisons of the run."""
    low: float
    high: float
    """The interval at the level of its step in Holm's procedure."""
    floor: float
    """The ratio that the interval must clear; NaN where there is none."""
    word: Word
    why: str
    """It is not ranked; else empty."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a run lets one say of its cells beside each other."""

    comparisons: Sequence[Comparison]
    floors: Sequence[Floor]

    @property
    def repeats_needed(self) -> Mapping[str, int | None]:
        """For each metric whose noise is known: the most repeats that a family and load asks for to
        find a ratio of SOUGHT; None for more than a scenario may have."""
        found: dict[str, list[int | None]] = {}
        for floor in self.floors:
            if floor.noise is not None:
                found.setdefault(floor.metric, []).append(floor.repeats_needed)
        return {
            metric: None if None in needs else max(need for need in needs if need is not None)
            for metric, needs in found.items()
        }

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        return {
            "comparisons": [_comparison_json(each) for each in self.comparisons],
            "noise_floors": [_floor_json(floor) for floor in self.floors],
            "repeats_needed": {"ratio": SOUGHT, "power": POWER, "by_metric": self.repeats_needed},
        }


def find(subjects: Sequence[Subject]) -> Findings:
    """The comparisons that these cells allow, and the floors that they are held against."""
    pairs = [
        (first, second, metric)
        for first, second in side_by_side(s for s in subjects if s.usable and not s.again)
        if not first.same(second)
        for metric in METRICS
        if metric in first.repeats and metric in second.repeats
    ]
    # So many that Holm's severest step has two of them beyond each end.
    resamples = max(RESAMPLES, round(4 * len(pairs) / (1 - LEVEL)))

    def effect_of(pair: tuple[Subject, Subject, str], level: float) -> Effect:
        first, second, metric = pair
        return paired_effect(first.repeats[metric], second.repeats[metric], level, None, resamples)

    bars = floors(subjects, max(len(pairs), 1))
    effects = [effect_of(pair, LEVEL) for pair in pairs]
    p_values = [effect.p_value for effect in effects]
    adjusted, levels = holm(p_values), step_levels(p_values)
    found = []
    for pair, effect, p, level in zip(pairs, effects, adjusted, levels, strict=True):
        first, second, metric = pair
        known = [_bar(bars, subject, metric) for subject in (first, second)]
        inner = effect_of(pair, level)
        why = "; ".join(dict.fromkeys(filter(None, [effect.reason, *(why for _, why in known)])))
        floor = math.nan if why else max(ratio for ratio, _ in known)
        word = Word.NOT_RANKED if why else _word(inner, p, floor, metric)
        cells = (first.id, second.id)
        found.append(Comparison(cells, metric, effect, p, inner.low, inner.high, floor, word, why))
    return Findings(found, bars)


def step_levels(p_values: Sequence[float]) -> list[float]:
    """For each comparison the level of the interval that contains 1 exactly where Holm's procedure
    says nothing: that of its own step, or of the step at which the procedure stopped."""
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    levels = [LEVEL] * len(p_values)
    share, stopped = 1 - LEVEL, False
    for step, (p, i) in enumerate(order):
        if not stopped:
            share = (1 - LEVEL) / (len(order) - step)
            stopped = p > share
        levels[i] = 1 - share
    return levels


def _bar(bars: Sequence[Floor], subject: Subject, metric: str) -> tuple[float, str]:
    """The largest floor of the cell's family at its load; NaN, and why, where there is none."""
    own = [
        b for b in bars if (b.family, b.load, b.metric) == (subject.family, subject.load, metric)
    ]
    ratios = [bar.ratio for bar in own if not math.isnan(bar.ratio)]
    if ratios:
        return max(ratios), ""
    reasons = [f"A/A of the family {subject.family}: {bar.effect.reason}" for bar in own]
    return math.nan, reasons[0] if reasons else f"no A/A of the family {subject.family}"


def _word(effect: Effect, adjusted_p: float, floor: float, metric: str) -> Word:
    """What an effect with its interval lets one say above a floor."""
    larger = effect.low > floor
    smaller = effect.high < 1 / floor
    if adjusted_p > 1 - LEVEL or not (larger or smaller):
        return Word.NO_DIFFERENCE
    # More time is slower, more answers a second are faster.
    return Word.FASTER if larger == (metric == "throughput") else Word.SLOWER


def _comparison_json(each: Comparison) -> dict[str, Any]:
    return {
        "cells": list(each.cells),
        "metric": each.metric,
        **_effect_json(each.effect),
        "adjusted_p": _number(each.adjusted_p),
        "adjusted_low": _number(each.low),
        "adjusted_high": _number(each.high),
        "floor": _number(each.floor),
        "word": each.word.value,
        "why": each.why,
    }


def _floor_json(floor: Floor) -> dict[str, Any]:
    return {
        "family": floor.family,
        "load": floor.load,
        "metric": floor.metric,
        "cells": list(floor.cells),
        **_effect_json(floor.effect),
        "reason": floor.effect.reason,
        "floor": _number(floor.ratio),
        "noise": _number(floor.noise.deviation) if floor.noise else None,
        "repeats_needed": floor.repeats_needed,
    }


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {
        **{name: _number(getattr(effect, name)) for name in ("ratio", "low", "high", "p_value")},
        **{name: getattr(effect, name) for name in ("pairs", "left_out", "method")},
    }


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
