"""Draws panels. Every length is in CSS pixels: a panel is as wide as a narrow screen."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from harness.report.panels import Missing, Panel, Series
from harness.report.svg import colour, new_figure
from harness.report.words import clipped, percent
from harness.report.words import whole_number as number

WIDTH = 360.0
TOP, BOTTOM = 48.0, 36.0
PLOT, LINE, ROW = 190.0, 14.0, 21.0
LEFT = 38.0
TEXT, TITLE = 10.5, 12.5
CHARACTER = 6.2
"""Width of a character in the layout's font, which is wider than most systems' own."""
LONGEST_LABEL = 22
LONGEST_NAME = 26
TICKS = (50.0, 90.0, 99.0, 99.9, 99.99)
GAP, SWATCH = 18.0, 20.0
PALE = 0.5
PALE_PARTS = ("server", "from server")


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
        axes.plot(
            x, one.y, markevery=[i for i, p in enumerate(one.x) if p in TICKS], **_stroke(one)
        )
        end = (x[-1], one.y[-1])
        if one.censored_at is not None:
            start, end = end, (_nines(one.censored_at), timeout_ms)
            rise: dict[str, Any] = {
                "color": colour(one.look.colour),
                "linewidth": 1.2,
                "clip_on": False,
            }
            axes.plot(*zip(start, end, strict=True), linestyle=(0, (1, 2)), **rise)
            axes.plot(*end, marker="^", markersize=6.5, **rise)
        ends.append(end)
    _label_ends(axes, panel, ends, (low, high), wide)
    return figure


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
        axes.plot([float(x) for x in one.x], one.y, **_stroke(one))
    ends = [(float(one.x[-1]), one.y[-1]) for one in panel.series]
    _label_ends(axes, panel, ends, limits, wide)
    return figure


def _curve_frame(panel: Panel, low: float, high: float) -> tuple[Figure, Axes, float]:
    """A frame for curves with a log scale upwards, and its plot's width."""
    texts = [clipped(one.said, LONGEST_LABEL) for one in panel.series]
    right = GAP + SWATCH + 8 + CHARACTER * max(map(len, texts), default=0)
    wide = WIDTH - LEFT - right
    if not texts:
        figure, axes = _frame(panel, 0, LEFT, right, panel.missing)
        axes.set_axis_off()
        return figure, axes, wide
    figure, axes = _frame(panel, max(PLOT, LINE * len(texts)), LEFT, right, panel.missing)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=_subs(high / low), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, color=colour("line"), linewidth=0.8)
    return figure, axes, wide


def _stroke(one: Series) -> dict[str, Any]:
    return {
        "color": colour(one.look.colour),
        "linewidth": 1.7,
        "linestyle": (0, one.look.dash) if one.look.dash else "solid",
        "marker": one.look.mark,
        "markersize": 6.5,
        "markeredgecolor": colour("paper"),
        "markeredgewidth": 0.8,
        "clip_on": False,
    }


def _label_ends(
    axes: Axes,
    panel: Panel,
    ends: Sequence[tuple[float, float]],
    limits: tuple[float, float],
    wide: float,
) -> None:
    """Names beside the ends of the curves, moved apart, each with a piece of its line."""
    low, high = limits
    tall = max(PLOT, LINE * len(ends))
    height = math.log(high / low)
    wanted = [math.log(max(y, low) / low) / height for _, y in ends]
    places = _apart(wanted, LINE / tall)
    key = [1 + (GAP + part * SWATCH) / wide for part in (0, 0.5, 1)]
    for one, end, place in zip(panel.series, ends, places, strict=True):
        axes.plot(key, [place] * 3, transform=axes.transAxes, markevery=[1], **_stroke(one))
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


def _subs(ratio: float) -> tuple[float, ...]:
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


def draw_bars(panel: Panel, longest: float | None = None) -> Figure:
    """A bar a cell, its parts stacked from zero, its figures beside it.

    `longest` is the scale's end; None lets the panel decide.
    """
    if longest is None:
        longest = max([panel.planned_per_s or 0.0, *(sum(one.y) for one in panel.series)])
    figure, axes, write, wide = _row_frame(panel, longest, _beside)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        start = 0.0
        for part, value in zip(row.x, row.y, strict=True):
            alpha = PALE if part in PALE_PARTS else 1.0
            axes.barh(y, value, 0.62, start, color=colour(row.look.colour), alpha=alpha)
            start += value
        write(wide + 8, y, _beside(row))
    if panel.planned_per_s is not None and panel.series:
        axes.axvline(
            panel.planned_per_s,
            color=colour("ink"),
            linewidth=1,
            linestyle=(0, (3, 2)),
            clip_on=False,
        )
    return figure


class _Write(Protocol):
    def __call__(self, x: float, y: int, text: str, ink: str = "ink", **more: Any) -> None:
        """Text at `x` pixels from the plot's left edge, in row `y`."""


def _row_frame(
    panel: Panel, longest: float, beside: Callable[[Series], str] = lambda one: one.figures
) -> tuple[Figure, Axes, _Write, float]:
    """A frame with a row a cell, named at its left with its mark, and its plot's width."""
    names = [
        clipped(f"{row.label} (invalid)" if _invalid(row) else row.label, LONGEST_NAME)
        for row in panel.rows
    ]
    left = 26 + CHARACTER * max(map(len, names))
    right = 14 + CHARACTER * max((len(beside(one)) for one in panel.series), default=0)
    wide = WIDTH - left - right
    figure, axes = _frame(panel, ROW * len(names), left, right, ())
    axes.set_xlim(0, longest or 1.0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, int(wide // 50)), steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_visible(bool(panel.series))
    axes.grid(True, axis="x", color=colour("line"), linewidth=0.8)
    across = axes.get_yaxis_transform()

    def write(x: float, y: int, text: str, ink: str = "ink", **more: Any) -> None:
        axes.text(
            x / wide,
            y,
            text,
            transform=across,
            va="center",
            fontsize=TEXT,
            color=colour(ink),
            **more,
        )

    for y, (row, name) in enumerate(zip(panel.rows, names, strict=True)):
        write(-22, y, name, ha="right")
        if isinstance(row, Missing):
            most = int((wide + right) / CHARACTER)
            write(4, y, clipped(row.why, most), "muted", style="italic")
            continue
        axes.plot(
            -12 / wide,
            y,
            transform=across,
            color=colour(row.look.colour),
            marker=row.look.mark,
            markersize=6.5,
            clip_on=False,
        )
    return figure, axes, write, wide


def _invalid(row: Series | Missing) -> bool:
    return isinstance(row, Series) and row.look.colour == "invalid"


def _beside(one: Series) -> str:
    """A bar's figures, part by part; a part of it that was not measured is a dash."""
    if one.parts == 1:
        return number(one.y[0])
    return " + ".join([*map(number, one.y), *["–"] * (one.parts - len(one.y))])


def draw_steps(panel: Panel, longest: float) -> Figure:
    """A line a cell from 0 to the last of its steps: `|` accepted, a ring for processed, the
    style's mark for seen. `longest` is the scale's end."""
    figure, axes, write, wide = _row_frame(panel, longest)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        ink = colour(row.look.colour)
        axes.plot((0, row.y[-1]), (y, y), color=ink, linewidth=1.2, alpha=PALE)
        for step, value in zip(row.x, row.y, strict=True):
            style: dict[str, Any] = {"color": ink, "clip_on": False, "linestyle": "none"}
            match step:
                case "accepted":
                    axes.plot(value, y, marker="|", markersize=11, markeredgewidth=1.8, **style)
                case "processed":
                    axes.plot(value, y, marker="o", markersize=6.5, markerfacecolor="none", **style)
                case _:
                    axes.plot(value, y, marker=row.look.mark, markersize=6.5, **style)
        write(wide + 8, y, row.figures)
    return figure


def _frame(
    panel: Panel, tall: float, left: float, right: float, below: Sequence[Missing]
) -> tuple[Figure, Axes]:
    """A figure with its heading and empty axes, and what is not shown named below."""
    height = TOP + tall + BOTTOM + LINE * len(below)
    figure = new_figure(WIDTH, height)
    bottom = BOTTOM + LINE * len(below)
    axes = figure.add_axes(
        (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, tall / height)
    )
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=colour("muted"), pad=5)

    def write(y: float, text: str, x: float = 2.0, **more: Any) -> None:
        figure.text(x / WIDTH, y / height, text, color=colour("muted"), fontsize=TEXT, **more)

    loop = "" if panel.title.startswith(panel.loop) else f"{panel.loop} · "
    most = int(WIDTH / CHARACTER)
    figure.text(
        2 / WIDTH,
        1 - 14 / height,
        clipped(panel.title, int(most * TEXT / TITLE)),
        fontsize=TITLE,
        weight="bold",
        color=colour("ink"),
    )
    write(height - 31, clipped(loop + panel.y_label, most))
    if panel.series:
        write(bottom - 31, panel.x_label, min(left, WIDTH - CHARACTER * len(panel.x_label)))
    for i, each in enumerate(reversed(below)):
        words = clipped(f"Not shown: {each.label}, {each.why}", most)
        write(LINE * i + 3, words, style="italic")
    return figure, axes
