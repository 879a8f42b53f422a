"""Charts of changes on their way to many subscribers."""

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.summary import CellResult
from harness.report.drawing import draw_growth
from harness.report.frame import Frame, drawn_chart
from harness.report.panels import Chart, Missing, Panel, Series
from harness.report.words import Group, missing
from harness.report.words import whole_number as number

MARKS = {"last": "the last", "first": "the first"}


def watch_charts(frame: Frame) -> list[Chart]:
    """How long until the last, and until the first subscriber knew, by their number."""
    panels = [panel for mark in MARKS for panel in _panels(frame, mark)]
    values = [value for panel in panels for s in panel.series for value in s.y]
    limits = min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25
    return [
        drawn_chart(
            "deliveries",
            "From a change to its subscribers",
            "Median time from the change in the server until the last, and until the first, of so"
            " many subscribers had it; the whole way of subscribers in one process, whose own"
            " receiving is part of it: see the floor in the table.",
            panels,
            lambda panel: draw_growth(panel, limits),
        )
    ]


def _panels(frame: Frame, mark: str) -> list[Panel]:
    found = []
    for group in _without_number(frame.groups):
        rows: list[Series | Missing] = []
        for label, cells in _lines(frame, group).items():
            points = {}
            for cell in cells:
                if not missing(cell) and cell.watched is not None:
                    value = getattr(cell.watched, mark).p50
                    if math.isfinite(value):
                        points[float(cell.info["condition"]["subscribers"])] = value
            if not points:
                rows.append(frame.missing(cells[0], missing(cells[0]) or "not seen by all"))
                continue
            figures = ", ".join(f"{n:,.0f} subscribers {number(v)} ms" for n, v in points.items())
            one = frame.series(cells[0], list(points), list(points.values()), "ms", figures)
            rows.append(replace(one, label=label))
        found.append(
            Panel(
                f"{MARKS[mark].capitalize()} subscriber, {group.title}",
                group.loop,
                "subscribers (log scale)",
                f"ms until {MARKS[mark]} knew (log scale)",
                tuple(rows),
            )
        )
    return found


def _without_number(groups: Sequence[Group]) -> list[Group]:
    """Groups that differ in nothing but the number of subscribers, as one."""
    merged: dict[tuple[str, ...], list[CellResult]] = {}
    loops: dict[tuple[str, ...], str] = {}
    for group in groups:
        for cell in group.cells:
            asked = [a for a in cell.info["condition"]["asked"][1:] if "subscriber" not in a]
            key = (cell.info["load"]["words"], *asked)
            merged.setdefault(key, []).append(cell)
            loops[key] = group.loop
    return [Group(", ".join(key), loops[key], cells) for key, cells in merged.items()]


def _lines(frame: Frame, group: Group) -> dict[str, list[CellResult]]:
    lines: dict[str, list[CellResult]] = {}
    for cell in group.cells:
        lines.setdefault(frame.labels[cell.info["id"]], []).append(cell)
    return lines
