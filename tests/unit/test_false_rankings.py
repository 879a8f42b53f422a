"""How often a page ranks what is alike, and finds what differs, with noise recorded on a machine
(issue 6, "must be seen"): seeded simulations, so rates have bounds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis import ranking
from harness.analysis.effects import Repeat
from harness.analysis.floors import Subject
from harness.analysis.ranking import Comparison, Findings, Word, find

NOISE = Path(__file__).parent / "data" / "noise.json"
"""Trials of variants against themselves; benchmarks/noise.py made it."""
TRUE = 1.1
PILOT = 10
"""Repeats of the run that says how many it takes."""
PAGES = 2
"""Pages that believe one pilot."""
ALIKE = ("base", "one", "two", "three", "four")
LONGER = "longer"
CONDITION: Mapping[str, Any] = {"asked": [], "how": []}


@cache
def recorded() -> Mapping[str, list[Repeat]]:
    """Trials by what they are of: style, rate and percentile."""
    found = json.loads(NOISE.read_text(encoding="utf-8"))
    return {
        name: [Repeat(value, np.array(batches)) for value, batches in trials]
        for name, trials in found["trials"].items()
    }


def page(pool: list[Repeat], repeats: int, rng: np.random.Generator) -> Findings:
    """What a page says of cells whose trials are all drawn from one pool, of which one takes TRUE
    times as long and one is there to be held against the first."""

    def cell(name: str, variant: str, factor: float = 1.0) -> Subject:
        picks = [pool[i] for i in rng.integers(len(pool), size=repeats)]
        trials = {
            block: Repeat(factor * each.value, factor * each.batches)
            for block, each in enumerate(picks)
        }
        again = name != variant
        return Subject(name, variant, "sync", "", CONDITION, "valid", again, {"p50": trials})

    cells = [cell(name, name) for name in ALIKE]
    return find([*cells, cell(LONGER, LONGER, TRUE), cell("again", ALIKE[0])])


@dataclass(frozen=True, slots=True)
class Simulated:
    """Comparisons of many pages, each with as many repeats as a pilot of its own asked for."""

    asked: list[int]
    alike: list[Comparison]
    differ: list[Comparison]


@cache
def simulated(name: str, pilots: int) -> Simulated:
    """PAGES pages for each pilot, with noise of this name."""
    rng = np.random.default_rng(1)
    pool = recorded()[name]
    made = Simulated([], [], [])
    for _ in range(pilots):
        asked = page(pool, PILOT, rng).repeats_needed["p50"]
        assert asked is not None
        made.asked.append(asked)
        for _ in range(PAGES):
            for each in page(pool, asked, rng).comparisons:
                (made.differ if LONGER in each.cells else made.alike).append(each)
    return made


POOLS = ("rest 500/s, 3 items p50", "grpc-unary 500/s, 3 items p50", "rabbitmq 500/s, 3 items p50")
PILOTS = 40
"""Of each noise: in all 2,400 pairs that are alike, and 1,200 of which one takes a tenth longer.
Many pilots with few pages each, for the pages that believe one pilot find or miss together."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough resamples for the severest step among fifteen pairs."""
    monkeypatch.setattr(ranking, "RESAMPLES", 1200)


def test_what_is_alike_is_not_ranked() -> None:
    alike = [each for name in POOLS for each in simulated(name, PILOTS).alike]
    assert len(alike) >= 2000
    ranked = sum(each.word is not Word.NO_DIFFERENCE for each in alike)
    assert ranked / len(alike) <= 0.06
    # Nor do the intervals that stand beside them miss the truth more often than they say.
    missed = sum(not each.effect.low <= 1 <= each.effect.high for each in alike)
    assert missed / len(alike) <= 0.06


def test_a_tenth_more_is_found_with_the_repeats_that_the_program_asks_for() -> None:
    differ = [each for name in POOLS for each in simulated(name, PILOTS).differ]
    found = sum(each.word in (Word.FASTER, Word.SLOWER) for each in differ)
    assert found / len(differ) >= 0.9
    for each in differ:
        assert each.word is not (Word.FASTER if each.cells[1] == LONGER else Word.SLOWER)
