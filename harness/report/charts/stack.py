"""What a call is made of: chart, table and sentences of harness.analysis.stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.figure import Figure

from harness.analysis.stack import PARTS, QUANTITIES, Part, Quantity, Stack, broken, libraries
from harness.analysis.stack import stacks as taken_apart
from harness.analysis.summary import Summary
from harness.report.charts.drawing import lower, row_frame
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.charts.svg import colour
from harness.report.words import groups, labels

ALPHAS = (1.0, 0.72, 0.5, 0.3)
"""Of the parts but the rest, which is an outline."""


@dataclass(frozen=True, slots=True)
class Row:
    """A quantity of a cell: what it is called, and a figure for each head of the table."""

    id: str
    name: str
    load: str
    figures: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """What the page shows."""

    heads: Sequence[str]
    rows: Sequence[Row]
    broken: Sequence[str]
    """Why a cell is not taken apart, a sentence each."""


def stack_charts(frame: Frame) -> list[Chart]:
    """A panel for each quantity at each load, where cells can be taken apart."""
    found = taken_apart(frame.cells)
    why = {cell.info["id"]: reason for cell, reason in broken(frame.cells)}
    if not found:
        return []
    panels = []
    for group in frame.groups:
        ids = [cell.info["id"] for cell in group.cells]
        for quantity in QUANTITIES:
            rows: list[Series | Missing] = [
                _series(frame, stack)
                for stack in found
                if stack.quantity is quantity and stack.cell.info["id"] in ids
            ]
            rows += [
                frame.missing(c, why[c.info["id"]]) for c in group.cells if c.info["id"] in why
            ]
            if rows:
                title = f"{_named(quantity)}, {group.title}"
                said = f"{quantity.unit} an operation, from 0"
                panels.append(Panel(title, group.loop, said, _HOW_TO_READ, tuple(rows)))
    return [
        drawn_chart(
            "stack",
            "What a call is made of",
            "From left to right, ever paler: the floor (the protocol alone, nothing read or done),"
            " the codec with what is done about the order, the client library, the server library;"
            " outlined, what these do not explain. Each is the difference between two variants that"
            " ran in the same blocks, the median over blocks; what is below zero is drawn to the"
            " left of it. The line across is what was measured.",
            panels,
            draw_stack,
        )
    ]


_HOW_TO_READ = "floor, codec, client, server paler; rest outlined"


def draw_stack(panel: Panel) -> Figure:
    """A bar a row: its parts one behind the other, those below zero from zero to the left; a line
    where they come to."""
    ends = [_ends(one.y) for one in panel.series] or [(0.0, 1.0)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    figure, axes = row_frame(panel, high, _measured)
    axes.set_xlim(low, high)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        ink = colour(row.look.colour)
        at, tall = lower(y)
        above = below = 0.0
        for place, value in enumerate(row.y):
            start = above if value >= 0 else below
            if place < len(ALPHAS):
                axes.barh(at, value, tall, start, color=ink, alpha=ALPHAS[place])
            else:
                outline: dict[str, Any] = {"facecolor": "none", "edgecolor": ink, "linewidth": 1.4}
                axes.barh(at, value, 0.9 * tall, start, **outline)
            if value >= 0:
                above += value
            else:
                below += value
        total = sum(row.y)
        across = (at - 0.65 * tall, at + 0.65 * tall)
        axes.plot((total, total), across, color=colour("ink"), linewidth=1.6)
        axes.plot((0, 0), across, color=colour("muted"), linewidth=1)
    return figure


def _measured(row: Series) -> str:
    return row.figures.partition(" =")[0]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """How far a bar reaches below and above zero."""
    return sum(v for v in values if v < 0), sum(v for v in values if v > 0)


def _series(frame: Frame, stack: Stack) -> Series:
    unit = stack.quantity.unit
    parts = ", ".join(f"{name} {_figure(p.value, unit)}" for name, p in stack.parts.items())
    figures = f"{_figure(stack.measured.value, unit)} = {parts} {unit}"
    values = [part.value for part in stack.parts.values()]
    cell = stack.cell
    return replace(
        frame.series(cell, PARTS, values, unit, figures, parts=len(PARTS)),
        label=f"{cell.info['style']}: {' + '.join(libraries(cell))}",
    )


def stack_table(summary: Summary) -> Table:
    """A row for each quantity that was taken apart."""
    titles = _titles(summary)
    named = labels(summary.cells)
    rows = [
        Row(
            stack.cell.info["id"],
            named[stack.cell.info["id"]],
            f"{titles[stack.cell.info['id']]}: {_named(stack.quantity)}, {stack.quantity.unit}",
            [
                *(_ranged(part, stack.quantity.unit) for part in stack.parts.values()),
                _ranged(stack.measured, stack.quantity.unit),
            ],
        )
        for stack in taken_apart(summary.cells)
    ]
    told = [f"{named[c.info['id']]} is not taken apart: {why}." for c, why in broken(summary.cells)]
    return Table((*PARTS, "measured"), rows, told)


def stack_words(summary: Summary) -> list[str]:
    """A sentence for each cell that was taken apart."""
    titles = _titles(summary)
    by_cell: dict[str, list[Stack]] = {}
    for stack in taken_apart(summary.cells):
        by_cell.setdefault(stack.cell.info["id"], []).append(stack)
    said = []
    for name, found in by_cell.items():
        info = found[0].cell.info
        client, server = libraries(found[0].cell)
        told = "; ".join(_told(stack, client, server) for stack in found)
        said.append(f"{titles[name]}, {info['style']}: {told}.")
    return said


def _titles(summary: Summary) -> Mapping[str, str]:
    """Loads by the ids of cells."""
    return {cell.info["id"]: group.title for group in groups(summary) for cell in group.cells}


def _told(stack: Stack, client: str, server: str) -> str:
    unit = stack.quantity.unit
    shown = {name: _figure(part.value, unit) for name, part in stack.parts.items()}
    return (
        f"{_named(stack.quantity)} {_figure(stack.measured.value, unit)} {unit} ="
        f" {shown['floor']} the protocol alone + {shown['codec']} codec and order"
        f" + {shown['client library']} {client} + {shown['server library']} {server}"
        f" + {shown['rest']} not explained"
    )


def _named(quantity: Quantity) -> str:
    return {"latency p50": "latency for half"}.get(quantity.name, quantity.name)


def _ranged(part: Part, unit: str) -> str:
    between = f"{_figure(part.low, unit)} to {_figure(part.high, unit)}"
    return f"{_figure(part.value, unit)} ({between})"


def _figure(value: float, unit: str) -> str:
    """With two decimals in ms, none in µs; a true minus."""
    text = f"{value:,.2f}" if unit == "ms" else f"{value:,.0f}"
    return text.replace("-", "−")
