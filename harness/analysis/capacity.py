"""The highest rate at which an objective holds, from the trials of a search. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from harness.analysis.instrument import late_generator
from harness.analysis.stats import middle
from harness.analysis.trial import TrialResult, whole
from harness.analysis.verdicts import Code
from harness.results import generator_places
from harness.search import Found, Outcome, Search

if TYPE_CHECKING:
    from harness.analysis.summary import CellResult

Objective = Mapping[str, float]
"""`percentile` and `latency_ms`, as run.json has them."""


class Ending(StrEnum):
    """How a search ended."""

    FOUND = "found"
    LIMIT = "limit"
    """The objective holds at the highest rate that was asked for."""
    GENERATOR = "generator"
    """Beyond what holds it was the generator that was late."""
    BELOW = "below"
    """The objective does not hold at the lowest rate that was asked for."""
    UNFINISHED = "unfinished"
    """There were not enough trials, or the run was interrupted."""
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True)
class Probe:
    """What was seen at one rate."""

    rate: float
    latency_ms: float
    """At the objective's percentile, the median over trials; +infinity, NaN: see judged_ms."""
    outcomes: Sequence[Outcome]
    cell: "CellResult"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search found for one variant under one condition."""

    probes: Sequence[Probe]
    """By rate, ascending."""
    found: Found
    highest: float
    """The highest rate that was asked for."""
    processors: int = 1
    """Those that the generators had."""

    @property
    def cell(self) -> "CellResult":
        """The one at the lowest rate: what the search is named by."""
        return self.probes[0].cell

    @property
    def ending(self) -> Ending:
        """How the search ended."""
        found = self.found
        if not any(probe.outcomes for probe in self.probes):
            return Ending.NOT_RUN
        if not found.settled:
            return Ending.UNFINISHED
        if found.by_generator:
            return Ending.GENERATOR
        if found.held is None:
            return Ending.BELOW
        return Ending.LIMIT if found.missed is None else Ending.FOUND

    @property
    def held(self) -> Probe | None:
        """What was seen at the highest rate at which the objective holds."""
        return next((probe for probe in self.probes if probe.rate == self.found.held), None)

    @property
    def ends(self) -> Sequence[Probe]:
        """What was seen at the two rates between which the search ended."""
        ends = (self.found.held, self.found.missed)
        return [probe for probe in self.probes if probe.rate in ends] or self.probes[:1]

    @property
    def disturbed(self) -> bool:
        """Whether other programs were busy at one of these two rates, which makes trials miss and
        the search end too low."""
        return any(
            reason.code is Code.RIVAL_BUSY
            for probe in self.ends
            for reason in probe.cell.verdict.reasons
        )

    @property
    def generator_us(self) -> float | None:
        """CPU time that the generator took for an operation at that rate."""
        return self.held.cell.cpu_us_per_op["generator"] if self.held else None

    @property
    def generator_per_s(self) -> float | None:
        """Operations a second for which the generators' processors suffice, at the time each took
        there: their own ceiling with this driver."""
        return self.processors * 1e6 / self.generator_us if self.generator_us else None

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        info = self.cell.info
        ceiling, used = self.generator_per_s, self.generator_us
        return {
            "style": info["style"],
            "variant": info["variant"],
            "condition": info["condition"],
            "ending": self.ending.value,
            "disturbed": self.disturbed,
            "held_per_s": self.found.held,
            "missed_per_s": self.found.missed,
            "generator_cpu_us_per_op": used and round(used, 3),
            "generator_ceiling_per_s": ceiling and round(ceiling, 3),
            "probes": [
                {
                    "cell": probe.cell.info["id"],
                    "rate": probe.rate,
                    "latency_ms": (
                        round(probe.latency_ms, 6) if math.isfinite(probe.latency_ms) else None
                    ),
                    "outcomes": [each.value for each in probe.outcomes],
                }
                for probe in self.probes
            ],
        }


def judged_ms(trial: TrialResult, percentile: float) -> float:
    """A trial's latency at the objective's percentile, of planned operations; +infinity where it
    falls among those that were not done, NaN where it is not resolvable."""
    return trial.latency_at[percentile]


def outcome(trial: TrialResult, objective: Objective) -> Outcome:
    """Whether the objective held in a trial, and nothing was left undone. Where the generator was
    late and it did not, nothing is said of the service. One that lost a worker was not at its rate:
    as one without samples it has missed, however well the others' operations were answered."""
    if trial.seen.worker_lost:
        return Outcome.MISSED
    all_done = trial.counts.done == trial.counts.planned
    if all_done and judged_ms(trial, objective["percentile"]) <= objective["latency_ms"]:
        return Outcome.HELD
    return Outcome.GENERATOR if late_generator(trial) else Outcome.MISSED


def capacities(info: Mapping[str, Any], cells: Sequence["CellResult"]) -> list[Capacity]:
    """What a run's searches found, worked out again from their trials; none where it had none.
    `info` is run.json."""
    scenario = info["scenario"]
    shape, objective = scenario.get("capacity"), scenario.get("objective")
    if not shape or not objective:
        return []
    lowest = scenario["load"][0]["rate"][0]
    search = Search(lowest, shape["limit"], shape["width"], scenario["repeats"])
    searched: dict[str, list[CellResult]] = {}
    for cell in cells:
        what = json.dumps([cell.info["variant"], cell.info["condition"]], sort_keys=True)
        searched.setdefault(what, []).append(cell)
    processors = len(set(generator_places(info)))
    return [_capacity(search, objective, of_one, processors) for of_one in searched.values()]


def _capacity(
    search: Search, objective: Objective, cells: Sequence["CellResult"], processors: int
) -> Capacity:
    probes = [
        Probe(
            cell.info["load"]["rate"],
            middle([judged_ms(trial, objective["percentile"]) for trial in whole(cell.trials)]),
            _outcomes(cell, objective),
            cell,
        )
        for cell in sorted(cells, key=lambda cell: float(cell.info["load"]["rate"]))
    ]
    found = search.found({probe.rate: probe.outcomes for probe in probes})
    return Capacity(probes, found, search.highest, processors)


def _outcomes(cell: "CellResult", objective: Objective) -> list[Outcome]:
    """In the order of the trials; one that left no samples has missed."""
    by_number = {trial.number: outcome(trial, objective) for trial in cell.trials}
    failed = sum(reason.code is Code.TRIAL_FAILED for reason in cell.verdict.reasons)
    numbers = range(1, len(by_number) + failed + 1)
    return [by_number.get(number, Outcome.MISSED) for number in numbers]
