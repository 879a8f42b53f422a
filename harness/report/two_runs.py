"""What two runs say of each other, on the console."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.analysis.gate import Check, Outcome
from harness.analysis.two_runs import REMEDIES, Hindrance, Row, TwoRuns, Word
from harness.condition import counted
from harness.report.words import labels

METRICS = {
    "p50": "p50 ms",
    "p99": "p99 ms",
    "throughput": "done/s",
    "client_cpu": "client µs",
    "server_cpu": "server µs",
    "broker_cpu": "broker µs",
}
COLOURS = {
    Word.FASTER: "green",
    Word.CHEAPER: "green",
    Word.SLOWER: "red",
    Word.DEARER: "red",
    Word.NO_DIFFERENCE: "default",
    Word.NOT_COMPARABLE: "yellow",
}
SHOWN = 3
"""Cells that are named for one hindrance."""


def print_two_runs(found: TwoRuns, console: Console) -> None:
    """What changed, the answer in sentences, a table with a row a metric, and what hinders."""
    for sentence in (_which(found), _changed(found), *sentences(found)):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    compared = [row for row in found.rows if row.metric]
    if compared:
        console.print(_table(found, compared))
        console.print(
            "A and B: the geometric mean over trials. Interval: of B / A, at its step in"
            " Holm's procedure. Floor: up to which runs of the same differ here.",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )
    for line in _hindrances(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_gate(checks: Sequence[Check], console: Console) -> None:
    """How many of a gate's checks are met, and each that is not."""
    missed = [check for check in checks if check.outcome is not Outcome.MET]
    console.print(
        f"gate: {len(checks) - len(missed)} of {counted(len(checks), 'check')} met",
        style="red" if missed else "green",
        highlight=False,
    )
    for each in missed:
        said = f"{each.cell}: {each.rule.where} {each.outcome.value}: {each.said}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def sentences(found: TwoRuns) -> list[str]:
    """What is different in B, and how much was looked at."""
    named = _named(found)
    said = []
    for word in (Word.SLOWER, Word.DEARER, Word.FASTER, Word.CHEAPER):
        rows = [row for row in found.rows if row.word is word]
        if rows:
            what = "; ".join(
                f"{named[row.cell]}, {METRICS[row.metric].split()[0]} × {row.effect.ratio:.3g}"
                f" [{row.low:.3g}, {row.high:.3g}]"
                for row in rows
            )
            said.append(f"B is {word.value}: {what}.")
    same = sum(row.word is Word.NO_DIFFERENCE for row in found.rows)
    silent = sum(row.word is Word.NOT_COMPARABLE for row in found.rows)
    said.append(
        f"No difference found in {same} of {counted(len(found.rows), 'comparison')}"
        + (f"; {silent} could not be made." if silent else ".")
    )
    return said


def _which(found: TwoRuns) -> str:
    how = "which took turns" if found.interleaved else "one after the other"
    return f"A is {found.base.info['run']}, B is {found.other.info['run']}, {how}."


def _changed(found: TwoRuns) -> str:
    if not found.changed:
        return "Both have the same commit and versions."
    return f"Changed (A / B): {'; '.join(found.changed)}."


def _named(found: TwoRuns) -> Mapping[str, str]:
    """Each cell's style and load, by its id."""
    cells = {cell.info["id"]: cell for run in (found.other, found.base) for cell in run.cells}
    styles = labels(list(cells.values()))
    return {
        name: ", ".join(
            [styles[name], cell.info["load"]["words"], *cell.info["condition"]["asked"]]
        )
        for name, cell in cells.items()
    }


def _table(found: TwoRuns, rows: Sequence[Row]) -> Table:
    named = _named(found)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("cell", "metric"):
        table.add_column(name)
    for name in ("A", "B", "B / A", "interval", "floor"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    before = ""
    for row in rows:
        table.add_row(
            escape(named[row.cell]) if row.cell != before else "",
            METRICS[row.metric],
            _figure(row.base),
            _figure(row.other),
            _ratio(row.effect.ratio),
            "–" if math.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}",
            _ratio(row.floor),
            f"[{COLOURS[row.word]}]{row.word.value}[/]",
        )
        before = row.cell
    return table


def _hindrances(found: TwoRuns) -> list[str]:
    named = _named(found)
    by_reason: dict[tuple[Hindrance, str], list[str]] = {}
    for row in found.rows:
        if row.hindrance is not None:
            metric = f", {METRICS[row.metric].split()[0]}" if row.metric else ""
            cells = by_reason.setdefault((row.hindrance, row.detail), [])
            cells.append(f"{named[row.cell]}{metric}")
    lines = []
    for (hindrance, detail), cells in by_reason.items():
        which = "; ".join(cells[:SHOWN])
        more = f"; {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
        said = f"not comparable: {hindrance.value}: {detail}"
        lines.append(f"{which}{more}: {said}. Remedy: {REMEDIES[hindrance]}.")
    return lines


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.3f}" if value < 100 else f"{value:,.0f}"


def _ratio(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
