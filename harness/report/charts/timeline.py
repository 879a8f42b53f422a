"""Charts of latency along a rate that changes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from harness.analysis.summary import CellResult
from harness.analysis.timeline import CHANGING, Slice
from harness.report.charts.curves import draw_timeline
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.look import Look
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.words import Group, figure, missing
from harness.report.words import whole_number as number

Read = Callable[[Slice], float]
X_LABEL = "seconds from the start of the measured window"
LATENCY_LABEL = "latency, ms (log scale)"


def timeline_charts(frame: Frame) -> list[Chart]:
    """The planned rate, and below it latency, over time; none where no load's rate changes."""
    changing = [g for g in frame.groups if g.cells[0].info["load"]["model"] in CHANGING]
    charts = []
    for place, group in enumerate(changing, 1):
        beyond_ms = frame.timeout_s * 1e3
        latencies = [
            _latency(frame, group, "half of the orders", lambda s: s.p50_ms),
            _latency(frame, group, "the slowest order", lambda s: s.slowest_ms),
        ]
        values = [y for panel in latencies for one in panel.series for y in one.y if y > 0]
        heights = min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25
        last = max((t.window_s for cell in group.cells for t in cell.trials), default=1.0)
        charts.append(
            drawn_chart(
                "timeline" if len(changing) == 1 else f"timeline-{place}",
                f"Along the rate: {group.title}",
                "The planned rate over time, and the latency of what was planned then: of half of"
                " it, and of the slowest, the median over trials. What was dropped, failed or not"
                f" answered within {frame.timeout_s:g} s is drawn at {beyond_ms:,.0f} ms.",
                [_planned(frame, group), *latencies],
                partial(_draw, last_s=last, heights=heights),
            )
        )
    return charts


def _draw(panel: Panel, last_s: float, heights: tuple[float, float]) -> Figure:
    """Rates from 0, latencies on a log scale."""
    log = panel.y_label == LATENCY_LABEL
    return draw_timeline(panel, (0.0, last_s), heights if log else None)


def _planned(frame: Frame, group: Group) -> Panel:
    """The rate is the same for all: one line."""
    row: Series | Missing = frame.missing(group.cells[0], "no trial was finished")
    for cell in group.cells:
        if cell.timeline:
            x, y = zip(*((s.at_s, s.planned_per_s) for s in cell.timeline), strict=True)
            figures = f"from {number(y[0])}/s to {number(y[-1])}/s, at most {number(max(y))}/s"
            one = frame.series(cell, x, y, "operations/s", figures)
            row = replace(one, label="planned", note="", look=Look("muted", "", ()))
            break
    return Panel("Planned", group.loop, X_LABEL, "operations a second, from 0", (row,))


def _latency(frame: Frame, group: Group, what: str, read: Read) -> Panel:
    def row(cell: CellResult) -> Series | Missing:
        points = _points(cell.timeline, read, frame.timeout_s * 1e3)
        if missing(cell) or not points:
            return frame.missing(cell, missing(cell) or "too few operations")
        x, y = zip(*points, strict=True)
        figures = f"from {figure(y[0])} ms to {figure(y[-1])} ms, at most {figure(max(y))} ms"
        return frame.series(cell, x, y, "ms", figures)

    title = what[0].upper() + what[1:]
    rows = tuple(row(cell) for cell in group.cells)
    return Panel(title, group.loop, X_LABEL, LATENCY_LABEL, rows)


def _points(timeline: Sequence[Slice], read: Read, beyond_ms: float) -> list[tuple[float, float]]:
    seen = [(each.at_s, min(read(each), beyond_ms)) for each in timeline]
    return [(at, value) for at, value in seen if not math.isnan(value)]
