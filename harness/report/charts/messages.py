"""Charts of messages: acknowledgements a second, and how far workers were behind."""

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.summary import CellResult
from harness.report.charts.curves import draw_timeline
from harness.report.charts.drawing import draw_bars
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.happened import fault_words, happened
from harness.report.charts.panels import Chart, Missing, Series
from harness.report.words import planned_per_s
from harness.report.words import whole_number as number

Lag = Sequence[tuple[float, int]]
MOST_POINTS = 120
"""Points of a line of the lag; of more, the highest of neighbours stay."""


def acknowledged_charts(frame: Frame) -> list[Chart]:
    """Acknowledgements a second, where messages are acknowledged."""
    if not frame.ingests or all(cell.acked_per_s is None for cell in frame.cells):
        return []

    def row(cell: CellResult) -> Series | Missing:
        value = cell.acked_per_s
        if value is None:
            return frame.missing(cell, "nothing is acknowledged")
        return frame.series(cell, ["acknowledged"], [value], "messages/s", f"{number(value)}/s")

    panels = frame.panels("messages acknowledged a second, from 0", "messages a second", row)
    rates = [planned_per_s(group.cells[0]) for group in frame.groups]
    return [
        drawn_chart(
            "acknowledged",
            "Messages acknowledged",
            "A bar starts at zero and shows how many messages a second the broker acknowledged"
            " within the measured window, whether or not workers kept up; a dashed line marks the"
            " planned rate of an open loop, and every panel has a scale of its own.",
            [replace(p, planned_per_s=rate) for p, rate in zip(panels, rates, strict=True)],
            draw_bars,
        )
    ]


def lag_charts(frame: Frame) -> list[Chart]:
    """How many messages the workers were behind, over time, where workers told."""
    lags = {cell.info["id"]: middle_lag(cell) for cell in frame.cells}
    if not any(lags.values()):
        return []

    def row(cell: CellResult) -> Series | Missing:
        lag = lags[cell.info["id"]]
        if not lag:
            return frame.missing(cell, "no worker told")
        x, y = zip(*thinned(lag), strict=True)
        figures = f"at most {max(y):,.0f} behind, {y[-1]:,.0f} at the end"
        return replace(frame.series(cell, x, y, "messages", figures), instants=happened(cell))

    last = max(lag[-1][0] for lag in lags.values() if lag)
    panels = frame.panels(
        "seconds from the start of the measured window", "messages behind, from 0", row
    )
    return [
        drawn_chart(
            "lag",
            "Messages that workers were behind",
            "Messages that the broker had and the workers had not done, over time, the drain after"
            " the load included; of several trials the one with the middle peak. Every panel has a"
            f" scale of its own.{fault_words(panels)}",
            panels,
            lambda panel: draw_timeline(panel, (0.0, max(last, 1e-3))),
        )
    ]


def middle_lag(cell: CellResult) -> Lag:
    """Of the trial whose peak is the middle one: what was told since the window's start. Empty
    where nothing was."""
    told = [[(at, behind) for at, behind in trial if at >= 0] for trial in cell.lag]
    by_peak = sorted((t for t in told if t), key=lambda t: max(behind for _, behind in t))
    return by_peak[(len(by_peak) - 1) // 2] if by_peak else []


def thinned(lag: Lag) -> Lag:
    """At most MOST_POINTS of it, and the last: of neighbours the one that is furthest behind."""
    step = -(-len(lag) // MOST_POINTS)
    parts = [lag[start : start + step] for start in range(0, len(lag), step)]
    points = [max(part, key=lambda point: point[1]) for part in parts]
    return points if points[-1] == lag[-1] else [*points, lag[-1]]
