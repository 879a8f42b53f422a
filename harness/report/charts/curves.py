"""Draws curves. Every length is in CSS pixels, as in drawing."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from harness.report.charts.drawing import CHARACTER, LINE, TEXT, WIDTH, framed, text_width
from harness.report.charts.panels import Panel, Series
from harness.report.charts.svg import colour
from harness.report.words import clipped, percent

PLOT = 220.0
LEFT = 38.0
LONGEST_LABEL = 24
TICKS = (50.0, 90.0, 99.0, 99.9, 99.99)
GAP, SWATCH = 16.0, 16.0
SPACE = 2.0
"""Between two points of a band, which needs no more of them."""
PALEST = 0.13
"""Of a band, so that several of them can be told apart where they overlap."""


def draw_lines(panel: Panel, limits: tuple[float, float, float], timeout_ms: float) -> Figure:
    """Latency by percentile. `limits`: lowest and highest latency in ms, the last percentile."""
    low, high, last = limits
    figure, axes, wide = _curve_frame(panel, low, high)
    if not panel.series:
        return figure
    ticks = _legible([tick for tick in TICKS if tick <= last], wide / _nines(last))
    axes.set_xlim(0, _nines(last))
    axes.xaxis.set_major_locator(FixedLocator([_nines(tick) for tick in ticks]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, i: percent(ticks[i or 0])))
    ends = []
    for one in panel.series:
        x = [_nines(p) for p in one.x]
        if one.band:
            _shade(axes, one, x, timeout_ms, wide / _nines(last))
        axes.plot(x, one.y, markevery=[i for i, p in enumerate(one.x) if p in TICKS], **stroke(one))
        end = (x[-1], one.y[-1])
        if one.censored_at is not None:
            start, end = end, (_nines(one.censored_at), timeout_ms)
            _rise(axes, one, start, end)
        ends.append(end)
    _label_ends(axes, panel, ends, _log_heights(ends, (low, high)), wide)
    return figure


def _shade(axes: Axes, one: Series, x: Sequence[float], highest: float, scale: float) -> None:
    """From the lowest trial to the highest; one that was not answered in time is at `highest`.
    `scale`: pixels for 1 of `x`."""
    kept = spaced([at * scale for at in x])
    low, high = ([min(one.band[i][end], highest) for i in kept] for end in (0, 1))
    there = [x[i] for i in kept]
    axes.fill(
        [*there, *reversed(there)],
        [*low, *reversed(high)],
        color=colour(one.look.colour),
        alpha=PALEST,
        linewidth=0,
    )


def spaced(pixels: Sequence[float]) -> list[int]:
    """The places of the first, the last, and those in between that are SPACE apart."""
    kept = [0]
    for place, at in enumerate(pixels[:-1]):
        if at - pixels[kept[-1]] >= SPACE:
            kept.append(place)
    return [*kept, len(pixels) - 1] if len(pixels) > 1 else kept


def draw_growth(panel: Panel, limits: tuple[float, float]) -> Figure:
    """A quantity against a number that grows by powers, both on log scales. `limits`: the lowest
    and highest quantity."""
    low, high = limits
    figure, axes, wide = _curve_frame(panel, low, high)
    if not panel.series:
        return figure
    numbers = sorted({float(x) for one in panel.series for x in one.x})
    axes.set_xscale("log")
    axes.set_xlim(numbers[0] / 1.15, numbers[-1] * 1.15 if len(numbers) == 1 else numbers[-1])
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    for one in panel.series:
        axes.plot([float(x) for x in one.x], one.y, **stroke(one))
        _ring(axes, one)
    ends = [(float(one.x[-1]), one.y[-1]) for one in panel.series]
    _label_ends(axes, panel, ends, _log_heights(ends, limits), wide)
    return figure


def draw_knees(panel: Panel, limits: tuple[float, float], timeout_ms: float) -> Figure:
    """Latency against rate, both on log scales, with the panel's level; a ring around the point of
    each that stands out. `limits`: lowest and highest latency in ms."""
    low, high = limits
    figure, axes, wide = _curve_frame(panel, low, high)
    if not panel.series:
        return figure
    rates = [float(x) for one in panel.series for x in (*one.x, one.censored_at or one.x[0])]
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 1.1, max(rates) * 1.1)
    ratio = max(rates) / min(rates) * 1.2
    axes.xaxis.set_major_locator(LogLocator(subs=subs(ratio), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.xaxis.set_minor_locator(NullLocator())
    if panel.level is not None:
        _mark_level(axes, *panel.level)
    ends = []
    for one in panel.series:
        points = {float(x): y for x, y in zip(one.x, one.y, strict=True)}
        axes.plot(list(points), list(points.values()), **stroke(one, 5.0))
        end = list(points.items())[-1]
        if one.censored_at is not None:
            start, end = end, (one.censored_at, timeout_ms)
            _rise(axes, one, start, end)
        _ring(axes, one)
        ends.append(end)
    _label_ends(axes, panel, ends, _log_heights(ends, limits), wide)
    return figure


def _mark_level(axes: Axes, at: float, what: str) -> None:
    ink = colour("muted")
    axes.axhline(at, color=ink, linewidth=1, linestyle=(0, (3, 2)))
    axes.annotate(
        what,
        (0, at),
        xycoords=axes.get_yaxis_transform(),
        xytext=(3, 3),
        textcoords="offset points",
        va="bottom",
        fontsize=TEXT,
        color=ink,
    )


def _ring(axes: Axes, one: Series) -> None:
    """Around the point of a series that stands out."""
    if one.marked is None:
        return
    hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.4}
    ink = colour(one.look.colour)
    axes.plot(*one.marked, marker="o", markersize=11, color=ink, clip_on=False, **hollow)


def _rise(axes: Axes, one: Series, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From the last that was answered to the first that was not, within the timeout."""
    ink: dict[str, Any] = {
        "color": colour(one.look.colour),
        "linewidth": 1.2,
        "clip_on": False,
    }
    axes.plot(*zip(start, end, strict=True), linestyle=(0, (1, 2)), **ink)
    axes.plot(*end, marker="^", markersize=6.5, **ink)


def draw_timeline(
    panel: Panel, limits: tuple[float, float], heights: tuple[float, float] | None = None
) -> Figure:
    """A quantity over time; what happened to a line is marked in its colour. `limits`: the first
    and the last second; `heights`: the lowest and highest quantity on a log scale, from 0 on a
    plain one where they are not given."""
    high = max((value for one in panel.series for value in one.y), default=0.0) * 1.05 or 1.0
    low, high = heights or (0.0, high)
    figure, axes, wide = _curve_frame(panel, low, high, log=heights is not None)
    if not panel.series:
        return figure
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, int(wide // 40)), steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for one in panel.series:
        axes.plot([float(x) for x in one.x], one.y, **(stroke(one) | {"marker": ""}))
        for at, _ in one.instants:
            axes.axvline(at, color=colour(one.look.colour), linewidth=1, linestyle=(0, (3, 2)))
    name_instants(axes, panel)
    ends = [(float(one.x[-1]), one.y[-1]) for one in panel.series]
    wanted = _log_heights(ends, heights) if heights else [y / high for _, y in ends]
    _label_ends(axes, panel, ends, wanted, wide)
    return figure


def name_instants(axes: Axes, panel: Panel) -> None:
    """Above the plot, what happened where the first line for it stands: of two, what came first to
    the left of its line and the other to the right."""
    first: dict[str, float] = {}
    for at, what in sorted(each for one in panel.series for each in one.instants):
        first.setdefault(what, at)
    for place, (what, at) in enumerate(first.items()):
        axes.annotate(
            what,
            (at, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(2 if place else -2, 1),
            textcoords="offset points",
            ha="left" if place else "right",
            va="bottom",
            fontsize=TEXT,
            color=colour("muted"),
            annotation_clip=False,
        )


def _log_heights(ends: Sequence[tuple[float, float]], limits: tuple[float, float]) -> list[float]:
    """Where the ends stand between the limits of a log scale, from 0 to 1."""
    low, high = limits
    return [math.log(max(y, low) / low) / math.log(high / low) for _, y in ends]


def short_number(value: float, _: int | None) -> str:
    """A tick's number, so short that it fits."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= max(size, 10_000):
            return f"{value / size:,g}{unit}"
    return f"{value:,g}"


def _curve_frame(
    panel: Panel, low: float, high: float, log: bool = True
) -> tuple[Figure, Axes, float]:
    """A frame for curves, and its plot's width. `log`: the scale upwards."""
    texts = [clipped(one.said, LONGEST_LABEL) for one in panel.series]
    right = GAP + SWATCH + 10 + max(map(text_width, texts), default=0.0)
    wide = WIDTH - LEFT - right
    if not texts:
        figure, axes = framed(panel, 0, LEFT, right, panel.missing)
        axes.set_axis_off()
        return figure, axes, wide
    figure, axes = framed(panel, max(PLOT, LINE * len(texts)), LEFT, right, panel.missing)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=subs(high / low), numticks=20))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(FuncFormatter(short_number))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, color=colour("line"), linewidth=0.8)
    return figure, axes, wide


def stroke(one: Series, size: float = 6.5) -> dict[str, Any]:
    """How a series' line is drawn, with marks of such a size."""
    return {
        "color": colour(one.look.colour),
        "linewidth": 1.7,
        "linestyle": (0, one.look.dash) if one.look.dash else "solid",
        "marker": one.look.mark,
        "markersize": one.look.size(size),
        "markeredgecolor": colour("paper"),
        "markeredgewidth": 0.8,
        "clip_on": False,
    }


def _label_ends(
    axes: Axes,
    panel: Panel,
    ends: Sequence[tuple[float, float]],
    wanted: Sequence[float],
    wide: float,
) -> None:
    """Names beside the ends of the curves, each with a piece of its line; near the height, 0 to 1,
    that is wanted, and moved apart."""
    tall = max(PLOT, LINE * len(ends))
    places = _apart(wanted, LINE / tall)
    key = [1 + (GAP + part * SWATCH) / wide for part in (0, 0.5, 1)]
    for one, end, place in zip(panel.series, ends, places, strict=True):
        axes.plot(key, [place] * 3, transform=axes.transAxes, markevery=[1], **stroke(one))
        axes.annotate(
            "",
            end,
            (key[0], place),
            textcoords="axes fraction",
            annotation_clip=False,
            # Thin and grey: in the line's own colour it would look like more of the line.
            arrowprops={
                "arrowstyle": "-",
                "color": colour("invalid"),
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )
        axes.text(
            key[2] + 4 / wide,
            place,
            clipped(one.said, LONGEST_LABEL),
            transform=axes.transAxes,
            va="center",
            fontsize=TEXT,
            color=colour("ink"),
        )


def _nines(percentile: float | str) -> float:
    return -math.log10(1 - float(percentile) / 100)


def _legible(ticks: Sequence[float], scale: float) -> list[float]:
    """The ticks whose labels do not touch, from the highest down; `scale` is pixels a nine."""
    kept: list[float] = []
    room = math.inf
    for tick in reversed(ticks):
        half = CHARACTER * len(percent(tick)) / 2
        if _nines(tick) * scale + half < room:
            kept.insert(0, tick)
            room = _nines(tick) * scale - half
    return kept


def subs(ratio: float) -> tuple[float, ...]:
    """Where a log scale that spans such a ratio has its ticks, as multiples of a power of ten."""
    if ratio < 10:
        return (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    return (1.0, 2.0, 5.0) if ratio < 300 else (1.0,)


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions from 0 to 1 near the wanted ones, in their order, at least `gap` apart."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = 0.0
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = 1.0
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed
