"""How much two runs of the same differ on one machine. Pure.

Trials of a run share what stays as it is while the run goes on: where memory lies, how hot the
processor is, what else is at work. Two runs of one commit therefore differ by more than their
trials vary, and no number of trials shows by how much: only pairs of runs do.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from harness.analysis.sameness import settings
from harness.analysis.stats import student_point
from harness.results import generators_of


@dataclass(frozen=True, slots=True)
class Difference:
    """The logarithm of a cell's ratio between two runs that should be the same."""

    family: str
    load: str
    metric: str
    log_ratio: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs of one scenario at one commit."""

    runs: tuple[str, str]
    """As name_of has them."""
    scenario: str
    """As scenario_of has it."""
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        rows = [[d.family, d.load, d.metric, d.log_ratio] for d in self.differences]
        return {"runs": list(self.runs), "scenario": self.scenario, "differences": rows}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read to_json()'s form. Raises LookupError, TypeError or ValueError."""
        first, second = kept["runs"]
        differences = tuple(Difference(*row) for row in kept["differences"])
        return cls((first, second), kept["scenario"], differences)


@dataclass(frozen=True, slots=True)
class Between:
    """What is known of a machine."""

    pairs: tuple[Pair, ...] = ()

    def of(self, scenario: str, runs: tuple[str, str]) -> Self:
        """What of it may judge two runs of a scenario: other pairs of the same."""
        return type(self)(
            tuple(p for p in self.pairs if p.scenario == scenario and set(p.runs) != set(runs))
        )

    def floor(self, family: str, load: str, metric: str) -> float:
        """The ratio up to which two runs that are the same differ; NaN where none were compared."""
        return bound([
            d.log_ratio
            for pair in self.pairs
            for d in pair.differences
            if (d.family, d.load, d.metric) == (family, load, metric)
        ])  # fmt: skip

    def with_pair(self, pair: Pair) -> Self:
        """The same with one pair more; without it where the difference of its two runs follows from
        those that are known."""
        first, second = pair.runs
        reached = {first}
        links = [set(each.runs) for each in self.pairs if each.scenario == pair.scenario]
        while more := set().union(*(link for link in links if link & reached)) - reached:
            reached |= more
        return self if second in reached else type(self)((*self.pairs, pair))


def bound(log_ratios: Sequence[float]) -> float:
    """The ratio that the next two runs will not differ by more than, with 95%, exponentiated.

    Which of two runs comes first is a matter of names, so the mean logarithm is 0 and their root
    mean square is the deviation, known by as many degrees as there are values; the next value over
    it is Student's (a prediction interval with a known mean: Hahn and Meeker, Statistical
    Intervals, section 4.7). NaN without any.
    """
    if not log_ratios:
        return math.nan
    count = len(log_ratios)
    deviation = math.sqrt(sum(value**2 for value in log_ratios) / count)
    return math.exp(student_point(count) * deviation)


def name_of(info: Mapping[str, Any]) -> str:
    """A run, by run.json, as told from all others of its machine."""
    return f"{info['run']} {info['started_at']}"


def scenario_of(info: Mapping[str, Any]) -> str:
    """What two runs must share to be the same question, in a few digits."""
    asked = settings(info["scenario"])
    if (generators := generators_of(info)) > 1:
        asked["generators"] = generators
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
