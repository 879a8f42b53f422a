"""A forest plot: how many times the first cell's figure each other one has, with its interval and
what is no difference here."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from harness.analysis.ranking import Comparison, Word
from harness.analysis.summary import Summary
from harness.report.curves import short_number, subs
from harness.report.drawing import row_frame
from harness.report.findings import AT, any_ranked, comparison_words, parts
from harness.report.frame import Frame, drawn_chart
from harness.report.panels import Chart, Missing, Panel, Series
from harness.report.svg import colour

OF = {
    "p50": "the median latency",
    "p99": "the latency at 99 %",
    "throughput": "the answers a second",
}
NARROWEST = 1.25
"""The scale reaches at least so far to both sides of 1."""


def forest_charts(frame: Frame, summary: Summary) -> list[Chart]:
    """A panel for each metric of cells that may be compared; none where nothing is ranked."""
    if not any_ranked(summary):
        return []
    panels = [
        panel
        for title, by_metric in parts(summary).items()
        for metric, part in by_metric.items()
        if (panel := _panel(frame, title, metric, part)) is not None
    ]
    limits = _limits([one for panel in panels for one in panel.series])
    return [
        drawn_chart(
            "ratios",
            "How many times as much",
            "A mark is the ratio of a cell's figure to that of the first one of its load, the"
            " geometric mean over blocks, and its line the interval at which all pairs of this run"
            " are right together 95 times in 100. The pale band is the floor: up to there, equal"
            " cells differed here. A difference was found only where the line clears both 1 and"
            " the band. All panels share one scale, a logarithmic one.",
            panels,
            lambda panel: _draw(panel, limits),
        )
    ]


def _panel(frame: Frame, title: str, metric: str, part: Sequence[Comparison]) -> Panel | None:
    cells = {cell.info["id"]: cell for cell in frame.cells}
    first = part[0].cells[0]
    rows = [_row(frame, each) for each in part if each.cells[0] == first]
    if not any(isinstance(row, Series) for row in rows):
        return None
    beside = frame.labels[first]
    loop = "closed loop" if cells[first].info["load"]["model"] == "closed" else "open loop"
    return Panel(
        f"{title}, {AT[metric]}",
        loop,
        f"times {OF[metric]} of {beside} (log scale)",
        f"beside {beside}: ratio and interval",
        tuple(rows),
    )


def _row(frame: Frame, each: Comparison) -> Series | Missing:
    cell = next(cell for cell in frame.cells if cell.info["id"] == each.cells[1])
    if each.word is Word.NOT_RANKED or math.isnan(each.low):
        return frame.missing(cell, f"not ranked: {each.why}")
    known = (each.effect.ratio, each.low, each.high, each.floor)
    return frame.series(
        cell, ("ratio", "low", "high", "floor"), known, "times", comparison_words(each)
    )


def _limits(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and highest ratio of all panels; a floor without bound has no end to show."""
    ends = [value for one in series for value in (*one.y, 1 / one.y[3])]
    known = [value for value in ends if math.isfinite(value) and value > 0]
    return min([1 / NARROWEST, *known]) / 1.05, max([NARROWEST, *known]) * 1.05


def _beside(one: Series) -> str:
    ratio, low, high, _ = one.y
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}]"


def _draw(panel: Panel, limits: tuple[float, float]) -> Figure:
    low, high = limits
    figure, axes, write, wide = row_frame(panel, 1.0, _beside)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=subs(high / low), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1, color=colour("muted"), linewidth=1)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        ratio, start, end, floor = row.y
        within = min(floor, high, 1 / low)
        axes.barh(y, within - 1 / within, 0.8, 1 / within, color=colour("line"))
        ink = colour(row.look.colour)
        axes.plot((start, end), (y, y), color=ink, linewidth=1.7, solid_capstyle="butt")
        axes.plot(ratio, y, marker=row.look.mark, markersize=6.5, color=ink, clip_on=False)
        write(wide + 8, y, _beside(row))
    return figure
