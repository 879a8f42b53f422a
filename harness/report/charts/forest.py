"""A forest plot: how many times the first cell's figure each other one has, with its interval and
what is no difference here."""

import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from harness.analysis.ranking import Comparison, Word
from harness.analysis.summary import CellResult, Summary
from harness.report.charts.curves import short_number, subs
from harness.report.charts.drawing import lower, row_frame
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.charts.svg import colour
from harness.report.findings import AT, FOUND, any_ranked, comparison_words, names, parts

OF = {
    "p50": "the median latency",
    "p99": "the latency at 99 %",
    "throughput": "the answers a second",
}
NARROWEST = 1.25
"""The scale reaches at least so far to both sides of 1."""
WIDEST = 4
"""It reaches at most so many times beyond what is marked; an interval that goes on has an arrow."""


def forest_charts(frame: Frame, summary: Summary) -> list[Chart]:
    """A panel for each metric of cells that may be compared; none where nothing is ranked."""
    if not any_ranked(summary):
        return []
    # The class of durability stands in the titles.
    frame = replace(frame, labels=names(summary))
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
            " are right together 95 times in 100; an arrow says that it goes on. The pale band is"
            " the floor: up to there, equal cells differed here. A difference was found, and the"
            " mark is filled, only where the line clears both 1 and the band. All panels share one"
            " scale, a logarithmic one.",
            panels,
            lambda panel: _draw(panel, limits),
        )
    ]


def _panel(frame: Frame, title: str, metric: str, part: Sequence[Comparison]) -> Panel | None:
    cells = {cell.info["id"]: cell for cell in frame.cells}
    first = part[0].cells[0]
    rows = [_row(frame, cells[each.cells[1]], each) for each in part if each.cells[0] == first]
    if not any(isinstance(row, Series) for row in rows):
        return None
    beside = frame.labels[first]
    loop = "closed loop" if cells[first].info["load"]["model"] == "closed" else "open loop"
    return Panel(
        f"{title}, {AT[metric]}",
        loop,
        f"times {OF[metric]} of {beside} (log scale)",
        f"left of 1: less than {beside}",
        tuple(rows),
    )


def _row(frame: Frame, cell: CellResult, each: Comparison) -> Series | Missing:
    if each.word is Word.NOT_RANKED or math.isnan(each.low):
        return frame.missing(cell, f"not ranked: {each.why}")
    known = (each.effect.ratio, each.low, each.high, each.floor)
    one = frame.series(
        cell, ("ratio", "low", "high", "floor"), known, "times", comparison_words(each)
    )
    return replace(one, marked=(each.effect.ratio, 0.0) if each.word in FOUND else None)


def _limits(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and the highest ratio of all panels' scale."""
    ratios = [1 / NARROWEST, NARROWEST, *(one.y[0] for one in series)]
    ends = [end for one in series for _, low, high, floor in [one.y] for end in (low, high, floor)]
    ends += [1 / one.y[3] for one in series]
    low, high = min(ratios) / WIDEST, max(ratios) * WIDEST
    return max(low, min([*ratios, *ends])) / 1.05, min(high, max([*ratios, *ends])) * 1.05


def _beside(one: Series) -> str:
    ratio, low, high, _ = one.y
    word = one.figures.rpartition("] ")[2].partition(" found")[0]
    return f"{_times(ratio)} [{_times(low)}, {_times(high)}] {word}"


def _times(ratio: float) -> str:
    if ratio < 0.01:
        return "< 0.01"
    return f"{ratio:.2f}" if ratio < 100 else "> 100"


def _draw(panel: Panel, limits: tuple[float, float]) -> Figure:
    low, high = limits
    figure, axes = row_frame(panel, 1.0, _beside)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=subs(high / low), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_minor_locator(NullLocator())
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        at, tall = lower(y)
        ratio, start, end, floor = row.y
        within = min(floor, high / low)
        axes.barh(at, within - 1 / within, 1.1 * tall, 1 / within, color=colour("line"))
        axes.plot((1, 1), (at - tall / 2, at + tall / 2), color=colour("muted"), linewidth=1)
        ink = colour(row.look.colour)
        shown = max(start, low), min(end, high)
        axes.plot(shown, (at, at), color=ink, linewidth=1.7, solid_capstyle="butt")
        for beyond, edge, arrow in ((start < low, low, "<"), (end > high, high, ">")):
            if beyond:
                axes.plot(edge, at, marker=arrow, markersize=5, color=ink, clip_on=False)
        axes.plot(
            ratio,
            at,
            marker=row.look.mark,
            markersize=row.look.size(7.5),
            color=ink,
            markerfacecolor=ink if row.marked else colour("paper"),
            markeredgewidth=1.4,
            clip_on=False,
        )
    return figure
