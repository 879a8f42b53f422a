"""A run in short, for a terminal and for a pull request: its answer, a row a cell, and what stands
between cells and the verdict "valid"."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import RULES, Code, Status
from harness.report.findings import repeats_words
from harness.report.headline import figures, headline
from harness.report.instrument import quoted
from harness.report.messages import account
from harness.report.words import groups, labels, milliseconds

NAMED = 3
"""Cells that are named for one kind of reason."""
LOST = "acked, lost"


@dataclass(frozen=True, slots=True)
class Row:
    """A cell."""

    name: str
    load: str
    figures: Sequence[str]
    """Under Brief.heads."""
    status: Status
    lost: bool
    """Whether acknowledged messages were lost."""


@dataclass(frozen=True, slots=True)
class Brief:
    """See above."""

    answer: Sequence[str]
    heads: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str]
    """Sentences for below the table."""


def brief(summary: Summary) -> Brief:
    """A run in short. Of a search the rates between which it ended; the report has the others."""
    counted = any(cell.ledger for cell in summary.cells)
    timeout_s = float(summary.info["scenario"]["timeout_s"])
    shown = _shown(summary)
    named = labels(summary.cells)
    instrument = quoted(summary.info)
    return Brief(
        [*headline(summary), *figures(summary)],
        (
            "p50 ms",
            "p99 ms",
            *(("acked/s", LOST) if counted else ()),
            "done/s",
            "client µs",
            "server µs",
        ),
        [
            _row(cell, named[cell.info["id"]], group.title, counted, timeout_s)
            for group in groups(shown.once)
            for cell in group.cells
        ],
        [
            *([f"Instrument: {instrument}."] if instrument else []),
            *_reasons(shown, named),
            *filter(None, [repeats_words(summary)]),
        ],
    )


def latency_words(value: float, timeout_s: float) -> str:
    """A latency in ms without its unit, `> 2 s`, or `not resolvable`."""
    return "not resolvable" if math.isnan(value) else milliseconds(value, timeout_s)


def _shown(summary: Summary) -> Summary:
    ends = [probe.cell for found in summary.capacities for probe in found.ends]
    return Summary(summary.info, ends) if summary.capacities else summary


def _row(cell: CellResult, name: str, load: str, counted: bool, timeout_s: float) -> Row:
    messages = account(cell.trials) if counted else None
    lost = messages.lost_acknowledged if messages and messages.kept.acknowledges else None
    figures = [
        latency_words(getattr(cell.latency, mark), timeout_s) if cell.trials else "–"
        for mark in ("p50", "p99")
    ]
    if counted:
        figures += ["–", "–"] if lost is None else [_per_s(cell.acked_per_s), f"{lost:,}"]
    figures.append(_per_s(cell.throughput_per_s))
    for role in ("generator", "server"):
        used = cell.cpu_us_per_op[role]
        figures.append("–" if used is None else f"{used:.0f}")
    return Row(name, load, figures, cell.verdict.status, bool(lost))


def _reasons(summary: Summary, named: dict[str, str]) -> list[str]:
    """A sentence for each kind of reason, with the first cell's details and the remedy."""
    by_code: dict[Code, list[CellResult]] = {}
    for cell in summary.cells:
        for code in dict.fromkeys(reason.code for reason in cell.verdict.reasons):
            by_code.setdefault(code, []).append(cell)
    said = []
    for code, cells in by_code.items():
        names = [f"{named[c.info['id']]}, {c.info['load']['words']}" for c in cells[:NAMED]]
        if len(cells) > NAMED:
            names.append(f"{len(cells) - NAMED} more")
        details = "; ".join(r.detail for r in cells[0].verdict.reasons if r.code is code)
        first = "" if len(cells) == 1 else "the first: "
        said.append(f"{'; '.join(names)}: {code}: {first}{details}. Remedy: {RULES[code][1]}.")
    return said


def _per_s(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
