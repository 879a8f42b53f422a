"""Whether a run meets a gate's rules, cell by cell. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.analysis.summary import CellResult, Summary
from harness.analysis.two_runs import Row, TwoRuns, Word
from harness.analysis.verdicts import Status
from harness.gate import Gate, Rule

OBJECTIVES = {
    "p50_ms": lambda cell: cell.latency.p50,
    "p90_ms": lambda cell: cell.latency.p90,
    "p99_ms": lambda cell: cell.latency.p99,
    "p99_9_ms": lambda cell: cell.latency.p99_9,
    "throughput_per_s": lambda cell: cell.throughput_per_s,
    "client_cpu_us": lambda cell: cell.cpu_us_per_op["generator"],
    "server_cpu_us": lambda cell: cell.cpu_us_per_op["server"],
}
"""What a cell has under each key of harness.gate.Objectives."""
MORE_IS_BETTER = ("throughput_per_s", "throughput")
WORSE = (Word.SLOWER, Word.DEARER)


class Outcome(StrEnum):
    """What became of a rule for a cell; only the first passes."""

    MET = "met"
    NOT_MET = "not met"
    NOT_TOLD = "cannot be told"


@dataclass(frozen=True, slots=True)
class Check:
    """One rule and one cell."""

    cell: str
    rule: Rule
    outcome: Outcome
    said: str
    """What was found, beside the limit."""


def check(gate: Gate, summary: Summary, against: TwoRuns | None = None) -> list[Check]:
    """All rules, for every cell that one is for. `against`: this run beside its baseline."""
    found = []
    for rule in gate.objectives:
        cells = [c for c in summary.cells if rule.matches(c.info["id"]) and not c.info.get("again")]
        found += [_objective(rule, cell) for cell in cells] or [_for_none(rule)]
    for rule in gate.regressions:
        rows = [
            row
            for row in (against.rows if against is not None else ())
            if rule.matches(row.cell) and row.metric in ("", rule.key)
        ]
        found += [_regression(rule, row) for row in rows] or [_for_none(rule)]
    return found


def all_met(checks: Sequence[Check]) -> bool:
    """Whether a gate is met: every rule, for every cell."""
    return all(check.outcome is Outcome.MET for check in checks)


def _for_none(rule: Rule) -> Check:
    patterns = ", ".join(rule.patterns)
    return Check(patterns, rule, Outcome.NOT_TOLD, "no cell like this has what the rule is about")


def _objective(rule: Rule, cell: CellResult) -> Check:
    name, status = cell.info["id"], cell.verdict.status
    if status not in (Status.VALID, Status.QUALIFIED):
        codes = ", ".join(dict.fromkeys(reason.code.value for reason in cell.verdict.reasons))
        return Check(name, rule, Outcome.NOT_TOLD, f"the cell is {status.value} ({codes})")
    value = OBJECTIVES[rule.key](cell)
    if value is None or math.isnan(value):
        said = "not resolvable" if rule.key.startswith("p") else "not measured"
        return Check(name, rule, Outcome.NOT_TOLD, f"{said}; the limit is {rule.limit:g}")
    if rule.key in MORE_IS_BETTER:
        met, limit = value >= rule.limit, "at least"
    else:
        met, limit = value <= rule.limit, "at most"
    shown = "beyond what was waited for" if math.isinf(value) else f"{value:.4g}"
    outcome = Outcome.MET if met else Outcome.NOT_MET
    return Check(name, rule, outcome, f"{shown}; the limit is {limit} {rule.limit:g}")


def _regression(rule: Rule, row: Row) -> Check:
    """Not met is a difference that was found and that is larger than allowed. What was not found is
    met, with the interval that says how well it was looked for."""
    if row.hindrance is not None:
        said = f"not comparable: {row.hindrance.value}: {row.detail}"
        return Check(row.cell, rule, Outcome.NOT_TOLD, said)
    ratio = row.effect.ratio
    beyond = ratio < rule.limit if rule.key in MORE_IS_BETTER else ratio > rule.limit
    outcome = Outcome.NOT_MET if row.word in WORSE and beyond else Outcome.MET
    said = (
        f"{row.word.value}: {ratio:.3f} times the baseline, from {row.low:.3f} to {row.high:.3f};"
        f" {rule.limit:g} is allowed, the floor is {row.floor:.3f}"
    )
    return Check(row.cell, rule, outcome, said)
