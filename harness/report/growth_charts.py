"""Charts of a figure against a number that a scenario lets grow: subscribers, items an order."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.analysis.summary import CellResult
from harness.analysis.verdicts import Status
from harness.report.drawing import draw_growth
from harness.report.frame import Frame, drawn_chart
from harness.report.panels import Chart, Missing, Panel, Series
from harness.report.words import Group, missing
from harness.report.words import whole_number as number


@dataclass(frozen=True, slots=True)
class Growth:
    """What is drawn: a median in ms for each value of one key of the condition."""

    title: str
    y_label: str
    key: str
    x_label: str
    unit: str
    """What the numbers count."""
    value: Callable[[CellResult], float]


def _knew(mark: str) -> Callable[[CellResult], float]:
    def value(cell: CellResult) -> float:
        return math.nan if cell.watched is None else float(getattr(cell.watched, mark).p50)

    return value


WATCH = [
    Growth(
        f"The {mark} subscriber",
        f"ms until the {mark} knew (log scale)",
        "subscribers",
        "subscribers (log scale)",
        "subscribers",
        _knew(mark),
    )
    for mark in ("last", "first")
]
PAYLOAD = Growth(
    "Half of the orders",
    "ms until half were answered (log scale)",
    "items",
    "items an order (log scale)",
    "items",
    lambda cell: cell.latency.p50,
)
ENOUGH = 3
"""Values of a key that are worth a curve."""


def watch_charts(frame: Frame) -> list[Chart]:
    """How long until the last, and until the first subscriber knew, by their number."""
    caption = (
        "Median time from the change in the server until the last, and until the first, of so many"
        " subscribers had it. All of them live in one process, whose own receiving is part of it:"
        " see the bare loop in the table of steps."
    )
    return [_chart("deliveries", "From a change to its subscribers", caption, frame, WATCH)]


def payload_charts(frame: Frame) -> list[Chart]:
    """Latency by the size of orders, where a scenario has enough sizes."""
    sizes = {cell.info["condition"]["items"] for cell in frame.cells}
    if len(sizes) < ENOUGH:
        return []
    caption = "Median latency by the number of items in an order: where the curves meet, the size"
    caption += " of the order decides and not the style."
    return [_chart("payload", "Latency by size of the order", caption, frame, [PAYLOAD])]


def _chart(name: str, title: str, caption: str, frame: Frame, kinds: Sequence[Growth]) -> Chart:
    panels = [panel for kind in kinds for panel in _panels(frame, kind)]
    values = [value for panel in panels for s in panel.series for value in s.y]
    limits = min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25
    return drawn_chart(name, title, caption, panels, lambda panel: draw_growth(panel, limits))


def _panels(frame: Frame, kind: Growth) -> list[Panel]:
    found = []
    for group in _alike_but_for(kind.key, frame):
        rows: list[Series | Missing] = []
        for label, cells in _lines(frame, group).items():
            usable = {
                float(cell.info["condition"][kind.key]): cell for cell in cells if not missing(cell)
            }
            points = {
                x: value for x in sorted(usable) if math.isfinite(value := kind.value(usable[x]))
            }
            if not points:
                rows.append(frame.missing(cells[0], missing(cells[0]) or "not within the timeout"))
                continue
            figures = ", ".join(f"{x:,.0f} {kind.unit} {number(y)} ms" for x, y in points.items())
            held = [x for x in points if usable[x].verdict.status is not Status.INVALID]
            broken = ", ".join(f"{x:,.0f}" for x in points if x not in held)
            note = f"invalid at {broken}" if held and broken else ""
            # The line is that of a cell that holds; where none does it is grey.
            cell = usable[(held or list(points))[0]]
            one = frame.series(cell, list(points), list(points.values()), "ms", figures, note)
            rows.append(replace(one, label=label))
        title = ", ".join([kind.title, group.title])
        found.append(Panel(title, group.loop, kind.x_label, kind.y_label, tuple(rows)))
    return found


def _alike_but_for(key: str, frame: Frame) -> list[Group]:
    """Groups of cells that were asked the same but for one number."""
    merged: dict[tuple[str, ...], list[CellResult]] = {}
    loops: dict[tuple[str, ...], str] = {}
    every = [asked for cell in frame.cells for asked in cell.info["condition"]["asked"]]
    for group in frame.groups:
        for cell in group.cells:
            counted = {"items": "item", "subscribers": "subscriber"}[key]
            asked = [
                part
                for part in cell.info["condition"]["asked"]
                if part.rstrip("s").split(" ")[-1] != counted
                and every.count(part) < len(frame.cells)
            ]
            words = (cell.info["load"]["words"], *asked)
            merged.setdefault(words, []).append(cell)
            loops[words] = group.loop
    return [Group(", ".join(words), loops[words], cells) for words, cells in merged.items()]


def _lines(frame: Frame, group: Group) -> dict[str, list[CellResult]]:
    lines: dict[str, list[CellResult]] = {}
    for cell in group.cells:
        lines.setdefault(frame.labels[cell.info["id"]], []).append(cell)
    return lines
