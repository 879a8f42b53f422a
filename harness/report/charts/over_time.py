"""How every cell went along: what was done a second, latency, lag and CPU over the window."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from harness.analysis.overhead import CLIENT
from harness.analysis.summary import CellResult
from harness.analysis.timeline import Slice
from harness.report.charts.curves import PALEST, name_instants, stroke
from harness.report.charts.drawing import lower, row_frame
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.happened import fault_words, happened
from harness.report.charts.messages import middle_lag, thinned
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.charts.svg import colour
from harness.report.words import Group, missing, short

X_LABEL = "seconds of the measured window"
TALL = 48.0
"""Of a row, in pixels."""
CPU = ((CLIENT, "client"), ("server", "server"), ("gateway", "gateway"), ("broker", "broker"))
"""Roles whose CPU is shown, and what they are called."""

Points = Sequence[tuple[float, float]]
Read = Callable[[CellResult], Points]


@dataclass(frozen=True, slots=True)
class _Quantity:
    title: str
    unit: str
    read: Read
    log: bool = False
    concerns: Callable[[CellResult], bool] = lambda _: True
    """Whether a cell may have it."""


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Where a value stands between the ends, from 0 to 1."""
        if not self.log:
            return value / self.high
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)


def over_time_charts(frame: Frame, groups: Sequence[Group]) -> list[Chart]:
    """A chart a group, with a row a cell in each of its panels; folded where nothing happened on
    purpose. None of cells whose trials left nothing to tell."""
    told = [group for group in groups if any(cell.timeline for cell in group.cells)]
    return [
        _chart(frame, group, "over-time" if len(told) == 1 else f"over-time-{place}")
        for place, group in enumerate(told, 1)
    ]


def _chart(frame: Frame, group: Group, name: str) -> Chart:
    quantities = [_done(), _latency(frame, group), *_lag(frame, group), *_cpu(group)]
    found = [_panel(frame, group, each) for each in quantities]
    panels = [panel for panel, _ in found]
    scales = {panel.title: scale for panel, scale in found}
    last_s = max((t.window_s for cell in group.cells for t in cell.trials), default=1.0)
    drawn = drawn_chart(
        name,
        f"Over time: {group.title}",
        "Each row is a cell over the seconds of the measured window, with its least and its most at"
        " the right; all rows of a panel share one scale. Every point is the median over trials of"
        " a fortieth of the window: what was done in it, the latency and the send lag of what was"
        " planned in it, and the CPU time of the processes, read four times a second."
        f"{_lag_words(frame)}{fault_words(panels)}",
        panels,
        lambda panel: _draw(panel, scales[panel.title], last_s),
    )
    return replace(drawn, folded=not any(one.instants for one in drawn.series))


def _lag_words(frame: Frame) -> str:
    if not frame.ingests:
        return ""
    return " How far workers were behind is of the trial with the middle peak."


def _done() -> _Quantity:
    return _Quantity("Done", "operations a second", _of_slices(lambda s: s.done_per_s))


def _latency(frame: Frame, group: Group) -> _Quantity:
    """At 99 % where every part of the window resolves it; else the slowest."""
    beyond_ms = frame.timeout_s * 1e3
    every = [each for cell in group.cells if not missing(cell) for each in cell.timeline]
    if not any(math.isnan(each.p99_ms) for each in every):
        read = _of_slices(lambda s: min(s.p99_ms, beyond_ms))
        return _Quantity("Latency at 99 %", "ms", read, log=True)
    read = _of_slices(lambda s: min(s.slowest_ms, beyond_ms))
    return _Quantity("The slowest", "latency, ms", read, log=True)


def _lag(frame: Frame, group: Group) -> list[_Quantity]:
    """Of workers, where messages are sent; of the generator, where it has a schedule."""
    if frame.ingests:
        return [_Quantity("Workers' lag", "messages behind", _workers_lag)]
    if group.loop == "closed loop":
        return []
    return [_Quantity("The last to be sent", "send lag, ms", _of_slices(lambda s: s.lag_ms), True)]


def _workers_lag(cell: CellResult) -> Points:
    window_s = max((trial.window_s for trial in cell.trials), default=0.0)
    lag = [(at, behind) for at, behind in middle_lag(cell) if at <= window_s]
    return [(at, float(behind)) for at, behind in thinned(lag)] if lag else []


def _cpu(group: Group) -> list[_Quantity]:
    seen = {role for cell in group.cells for role in _roles(cell)}
    return [
        _Quantity(
            f"CPU of the {name}",
            "% of a processor",
            _of_slices(partial(_busy, role)),
            concerns=partial(_has, role),
        )
        for role, name in CPU
        if role in seen
    ]


def _roles(cell: CellResult) -> set[str]:
    return {role for each in cell.timeline for role in each.busy}


def _has(role: str, cell: CellResult) -> bool:
    """Not every cell has a gateway or a broker."""
    return role in (CLIENT, "server") or role in _roles(cell)


def _busy(role: str, each: Slice) -> float:
    return 100 * each.busy.get(role, math.nan)


def _of_slices(read: Callable[[Slice], float]) -> Read:
    def points(cell: CellResult) -> Points:
        seen = [(each.at_s, read(each)) for each in cell.timeline]
        return [(at, value) for at, value in seen if not math.isnan(value)]

    return points


def _panel(frame: Frame, group: Group, quantity: _Quantity) -> tuple[Panel, _Scale]:
    cells = [cell for cell in group.cells if quantity.concerns(cell)]
    rows = tuple(_row(frame, cell, quantity) for cell in cells)
    values = [value for row in rows if isinstance(row, Series) for value in row.y]
    scale = _scale(values, quantity.log)
    ends = f"{short(scale.low)} to {short(scale.high)}"
    said = f"{quantity.unit}; rows {ends}" + (" (log scale)" if scale.log else "")
    return Panel(quantity.title, group.loop, X_LABEL, said, rows), scale


def _row(frame: Frame, cell: CellResult, quantity: _Quantity) -> Series | Missing:
    points = [] if missing(cell) else quantity.read(cell)
    if not points:
        return frame.missing(cell, missing(cell) or "not seen")
    x, y = zip(*points, strict=True)
    one = frame.series(cell, x, y, quantity.unit, f"{short(min(y))} to {short(max(y))}")
    return replace(one, instants=happened(cell))


def _scale(values: Sequence[float], log: bool) -> _Scale:
    if not log:
        return _Scale(0.0, max(values, default=0.0) or 1.0, log)
    above = [value for value in values if value > 0] or [1.0]
    # A scale that is as wide as the noise would make much of it.
    return _Scale(min(above), max(max(above), 2 * min(above)), log)


def _draw(panel: Panel, scale: _Scale, last_s: float) -> Figure:
    figure, axes = row_frame(panel, last_s, _beside, TALL)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        middle, tall = lower(y, TALL)
        base = middle + tall / 2
        heights = [base - tall * scale.share(value) for value in row.y]
        seconds = [float(x) for x in row.x]
        ink = colour(row.look.colour)
        axes.axhline(base, color=colour("line"), linewidth=0.8)
        if not scale.log:
            outline = [seconds[0], *seconds, seconds[-1]], [base, *heights, base]
            axes.fill(*outline, color=ink, alpha=PALEST, linewidth=0)
        axes.plot(seconds, heights, **(stroke(row) | {"marker": "", "linewidth": 1.3}))
        dashed: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (3, 2))}
        for at, _ in row.instants:
            axes.plot((at, at), (base - tall, base), color=colour("ink"), **dashed)
    name_instants(axes, panel)
    return figure


def _beside(row: Series) -> str:
    return row.figures.replace(" to ", "–")
