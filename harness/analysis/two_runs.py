"""What two runs say of each other, cell by cell. Pure.

Two runs that took turns at every trial (`--interleave`) are compared within blocks, and against
what a cell of theirs differs from itself. Two that ran one after the other are not: equal seeds
give their blocks one schedule, but not one moment. Their trials are two independent samples, and
what lies between the runs is known from earlier pairs only (harness.analysis.between).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from clients import catalog
from harness.analysis.between import Between, Difference, Pair, name_of, scenario_of
from harness.analysis.effects import (
    LEAST_PAIRS,
    LEVEL,
    NO_INTERVAL,
    RESAMPLES,
    Effect,
    Repeat,
    holm,
    no_effect,
    noise_floor,
    paired_effect,
)
from harness.analysis.floors import Subject, side_by_side
from harness.analysis.ranking import step_levels
from harness.analysis.sameness import (
    machine_differences,
    setting_differences,
    software_differences,
)
from harness.analysis.stats import student_p, student_point
from harness.analysis.subjects import subject_of
from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.condition import counted

WELCH = "Welch's t"
CPU_ROLES = {"client_cpu": "generator", "server_cpu": "server", "broker_cpu": "broker"}
"""Metrics of CPU time an operation, by the role whose processes used it."""
METRICS = ("p50", "p99", "throughput", *CPU_ROLES)
"""Of latency in open loops; answers a second in closed ones; CPU time an operation in both."""
WORDS = ("words", "how", "asked")
"""What of a cell says in words what its numbers say."""


class Hindrance(StrEnum):
    """Every reason why something is not comparable."""

    MACHINE = "another machine"
    SCENARIO = "another scenario"
    MISSING = "in one run only"
    VERDICT = "verdict"
    NO_RATIO = "no ratio"
    FEW_TRIALS = "too few trials"
    NO_FLOOR = "no between-run floor"


REMEDIES = {
    Hindrance.MACHINE: "run both on one machine, as it is now",
    Hindrance.SCENARIO: "run both with the same scenario and options",
    Hindrance.MISSING: "run both with the same styles, loads and conditions",
    Hindrance.VERDICT: "the run's own report has a remedy for each of its reasons",
    Hindrance.NO_RATIO: "a lower --rate where it is censored, a longer --duration where it is not"
    " resolvable",
    Hindrance.FEW_TRIALS: f"{LEAST_PAIRS} --repeats or more in both runs",
    Hindrance.NO_FLOOR: "run the scenario twice at one commit and compare those two, which is kept"
    " for this machine; or let two commits take turns: bench.py run SCENARIO --interleave A B",
}


class Word(StrEnum):
    """All that is ever said of a cell in the second run beside the first."""

    FASTER = "faster"
    SLOWER = "slower"
    CHEAPER = "cheaper"
    DEARER = "dearer"
    NO_DIFFERENCE = "no difference"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one cell in both runs."""

    cell: str
    metric: str
    """Empty where nothing of the cell is comparable."""
    base: float
    other: float
    """Geometric means over trials; NaN where there is none."""
    effect: Effect
    adjusted_p: float
    low: float
    high: float
    """The interval at the level of its step in Holm's procedure."""
    floor: float
    """The ratio that the interval must clear; NaN where there is none."""
    word: Word
    hindrance: Hindrance | None = None
    """Why it is not comparable; None where it is."""
    detail: str = ""
    """Of the hindrance."""

    def to_json(self) -> dict[str, Any]:
        """As `compare --json` has it."""
        numbers = {
            "a": self.base,
            "b": self.other,
            "ratio": self.effect.ratio,
            "low": self.effect.low,
            "high": self.effect.high,
            "p_value": self.effect.p_value,
            "adjusted_p": self.adjusted_p,
            "adjusted_low": self.low,
            "adjusted_high": self.high,
            "floor": self.floor,
        }
        return {
            "cell": self.cell,
            "metric": self.metric or None,
            **{k: float(f"{v:.6g}") if math.isfinite(v) else None for k, v in numbers.items()},
            "method": self.effect.method,
            "verdict": self.word.value,
            "hindrance": self.hindrance.value if self.hindrance else None,
            "detail": self.detail,
            "remedy": REMEDIES[self.hindrance] if self.hindrance else None,
        }


@dataclass(frozen=True, slots=True)
class TwoRuns:
    """All that may be said of two runs."""

    base: Summary
    other: Summary
    changed: Sequence[str]
    """Versions that differ, maybe on purpose."""
    interleaved: bool
    rows: Sequence[Row]

    @property
    def pair(self) -> Pair:
        """What they add to what is known of the machine, if they are of the same."""
        subjects = {cell.info["id"]: cell.info for cell in self.base.cells}
        return Pair(
            (name_of(self.base.info), name_of(self.other.info)),
            scenario_of(self.base.info),
            tuple(
                Difference(
                    family_of(subjects[row.cell]),
                    subjects[row.cell]["load"]["words"],
                    row.metric,
                    math.log(row.effect.ratio),
                )
                for row in self.rows
                if math.isfinite(row.effect.ratio)
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """As `compare --json` has it."""
        return {
            "a": self.base.info["run"],
            "b": self.other.info["run"],
            "interleaved": self.interleaved,
            "changed": list(self.changed),
            "rows": [row.to_json() for row in self.rows],
        }


def compare(base: Summary, other: Summary, between: Between) -> TwoRuns:
    """The second run over the first. `between`: what is known of the machine of both."""
    machine = "; ".join(machine_differences(base.info, other.info))
    setting = "; ".join(setting_differences(base.info, other.info))
    interleaved = were_interleaved(base.info, other.info)
    runs = (name_of(base.info), name_of(other.info))
    known = between.of(scenario_of(base.info), runs)
    floors = _own_floors(base, other) if interleaved else known.floor
    rows, asked = [], []
    ours, theirs = (
        {cell.info["id"]: cell for cell in run.cells if not cell.info.get("again")}
        for run in (base, other)
    )
    for cell in dict.fromkeys([*ours, *theirs]):
        if machine:
            rows.append(_silent(cell, Hindrance.MACHINE, machine))
        elif setting:
            rows.append(_silent(cell, Hindrance.SCENARIO, setting))
        elif why := _unlike(ours.get(cell), theirs.get(cell)):
            rows.append(_silent(cell, *why))
        else:
            asked.append((ours[cell], theirs[cell]))
    rows += _rows(asked, floors, interleaved)
    place = {cell: number for number, cell in enumerate(dict.fromkeys([*ours, *theirs]))}
    rows.sort(key=lambda row: place[row.cell])
    changed = software_differences(base.info, other.info)
    return TwoRuns(base, other, changed, interleaved, rows)


def were_interleaved(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two runs (as run.json has them) took turns."""
    ours, theirs = (run.get("interleaved") or {} for run in (a, b))
    return bool(ours) and ours["id"] == theirs.get("id")


def same_code(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two runs certainly measured the same: one commit, nothing changed, one set of
    versions."""
    projects = [run["environment"].get("project", {}) for run in (a, b)]
    known = all(p.get("commit") and p.get("changed") is False for p in projects)
    return known and not software_differences(a, b)


def family_of(info: Mapping[str, Any]) -> str:
    """A cell's family, which the first runs did not note; empty for one that has none."""
    if info.get("family") is not None:
        return str(info["family"])
    return next((e.family for e in catalog.ENTRIES if e.style == info["style"]), "")


def measured(cell: CellResult) -> dict[str, dict[int, Repeat]]:
    """What is compared of a cell: for each of METRICS that it has, its trials by their block."""
    found = dict(_subject(cell).repeats)
    if "throughput" in found:
        found = {"throughput": found["throughput"]}
    for metric, role in CPU_ROLES.items():
        seen = {t.number: Repeat(_cpu_us(t, role)) for t in cell.trials if role in t.seen.cpu_ns}
        if seen:
            found[metric] = seen
    return {metric: dict(found[metric]) for metric in METRICS if metric in found}


def welch_effect(
    base: Mapping[int, Repeat], other: Mapping[int, Repeat], level: float = LEVEL
) -> Effect:
    """`other` over `base` as two independent samples: the ratio of their geometric means, with
    Student's interval for the difference of two means of logarithms whose variances may differ
    (Welch, Biometrika 34 (1947) 28; Welch and Satterthwaite's degrees of freedom, rounded down).

    Below LEAST_PAIRS trials on one side there is no interval. A value that is infinite, not a
    number or not positive leaves the effect without a ratio.
    """
    sides = [[repeat.value for repeat in side.values()] for side in (base, other)]
    count = min(map(len, sides))
    values = [value for side in sides for value in side]
    if not count:
        return no_effect("one run has no trial")
    for what, odd in (
        ("censored", math.isinf),
        ("not resolvable", math.isnan),
        ("not positive", lambda value: value <= 0),
    ):
        if number := sum(map(odd, values)):
            return no_effect(f"{what} in {number} of {len(values)} trials", count)
    logs = [np.log(side) for side in sides]
    mean = float(logs[1].mean() - logs[0].mean())
    if count < LEAST_PAIRS:
        return Effect(math.exp(mean), math.nan, math.nan, math.nan, count, NO_INTERVAL)
    parts = [float(side.var(ddof=1)) / len(side) for side in logs]
    error = math.sqrt(sum(parts))
    if not error > 1e-12 * abs(mean):
        ratio = math.exp(mean)
        return Effect(ratio, ratio, ratio, 0.0 if mean else 1.0, count, WELCH)
    freedom = math.floor(
        sum(parts) ** 2 / sum(p**2 / (len(s) - 1) for p, s in zip(parts, logs, strict=True))
    )
    most = student_point(freedom, level) * error
    p_value = student_p(mean / error, freedom)
    return Effect(
        math.exp(mean), math.exp(mean - most), math.exp(mean + most), p_value, count, WELCH
    )


Floors = Callable[[str, str, str], float]
"""(family, load, metric) -> the ratio to be cleared; NaN where there is none."""


def _rows(
    asked: Sequence[tuple[CellResult, CellResult]], floors: Floors, interleaved: bool
) -> list[Row]:
    pairs = [
        (ours, metric, base[metric], other[metric])
        for ours, theirs in asked
        for base, other in [(measured(ours), measured(theirs))]
        for metric in base
        if metric in other
    ]
    # So many that Holm's severest step has two of them beyond each end.
    resamples = max(RESAMPLES, round(4 * len(pairs) / (1 - LEVEL)))

    def effect_of(base: Mapping[int, Repeat], other: Mapping[int, Repeat], level: float) -> Effect:
        if interleaved:
            return paired_effect(base, other, level, None, resamples)
        return welch_effect(base, other, level)

    effects = [effect_of(base, other, LEVEL) for _, _, base, other in pairs]
    p_values = [effect.p_value for effect in effects]
    rows = []
    for (cell, metric, base, other), effect, p, level in zip(
        pairs, effects, holm(p_values), step_levels(p_values), strict=True
    ):
        inner = effect_of(base, other, level)
        floor = floors(family_of(cell.info), cell.info["load"]["words"], metric)
        row = Row(
            cell.info["id"],
            metric,
            _geometric_mean(base),
            _geometric_mean(other),
            effect,
            p,
            inner.low,
            inner.high,
            floor,
            Word.NO_DIFFERENCE,
        )
        rows.append(_judged(row))
    return rows


def _judged(row: Row) -> Row:
    found = None
    if row.effect.reason:
        found = Hindrance.NO_RATIO, row.effect.reason
    elif math.isnan(row.low):
        found = Hindrance.FEW_TRIALS, f"no interval from {counted(row.effect.pairs, 'trial')}"
    elif math.isnan(row.floor):
        found = Hindrance.NO_FLOOR, "for this machine, scenario, load and family of styles"
    if found:
        return replace(row, word=Word.NOT_COMPARABLE, hindrance=found[0], detail=found[1])
    larger, smaller = row.low > row.floor, row.high < 1 / row.floor
    if row.adjusted_p > 1 - LEVEL or not (larger or smaller):
        return row
    if row.metric in CPU_ROLES:
        return replace(row, word=Word.DEARER if larger else Word.CHEAPER)
    # More time is slower, more answers a second are faster.
    faster = larger == (row.metric == "throughput")
    return replace(row, word=Word.FASTER if faster else Word.SLOWER)


def _own_floors(*summaries: Summary) -> Floors:
    """What cells of these runs differ from themselves under a second label; no difference where
    there is no such cell: what lies between two runs that took turns is in both."""
    found: dict[tuple[str, str, str], float] = {}
    for summary in summaries:
        cells = {cell.info["id"]: cell for cell in summary.cells}
        subjects = [s for s in map(_subject, summary.cells) if s.usable]
        for first, second in side_by_side(subjects):
            if not first.same(second):
                continue
            ours, theirs = measured(cells[first.id]), measured(cells[second.id])
            for metric in ours.keys() & theirs.keys():
                floor = noise_floor(paired_effect(ours[metric], theirs[metric]))
                key = (first.family, first.load, metric)
                if not math.isnan(floor):
                    found[key] = max(floor, found.get(key, 1.0))
    return lambda *key: found.get(key, 1.0)


def _unlike(ours: CellResult | None, theirs: CellResult | None) -> tuple[Hindrance, str] | None:
    """Why nothing of a cell is comparable; None where something is."""
    if ours is None or theirs is None:
        return Hindrance.MISSING, f"only in {'B' if ours is None else 'A'}"
    unusable = [
        f"{run} is {cell.verdict.status.value} ({codes})"
        for run, cell in (("A", ours), ("B", theirs))
        if not _subject(cell).usable
        for codes in [", ".join(dict.fromkeys(r.code.value for r in cell.verdict.reasons))]
    ]
    if unusable:
        return Hindrance.VERDICT, "; ".join(unusable)
    different = [
        f"{part}.{key}: {a[key]} / {b[key]}"
        for part in ("load", "condition")
        for a, b in [(ours.info[part], theirs.info[part])]
        for key in a
        if key not in WORDS and key in b and a[key] != b[key]
    ]
    return (Hindrance.SCENARIO, "; ".join(different)) if different else None


def _subject(cell: CellResult) -> Subject:
    return subject_of(cell.info, cell.trials, cell.verdict)


def _cpu_us(trial: TrialResult, role: str) -> float:
    completed = trial.completed_in_window
    return trial.seen.cpu_ns[role] / 1e3 / completed if completed else math.nan


def _geometric_mean(side: Mapping[int, Repeat]) -> float:
    values = [repeat.value for repeat in side.values()]
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        return math.nan
    return math.exp(sum(map(math.log, values)) / len(values))


def _silent(cell: str, hindrance: Hindrance, detail: str) -> Row:
    none = math.nan
    effect = no_effect(detail)
    word = Word.NOT_COMPARABLE
    return Row(cell, "", none, none, effect, none, none, none, none, word, hindrance, detail)
