"""Draws panels with a row a cell, and the frame of all panels. Every length is in CSS pixels: a
panel is as wide as a narrow screen."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from harness.report.charts.panels import Missing, Panel, Series
from harness.report.charts.svg import colour, new_figure
from harness.report.words import clipped, short
from harness.report.words import whole_number as number

WIDTH = 360.0
TOP, BOTTOM = 48.0, 36.0
LINE, ROW = 14.0, 34.0
APART = 8.0
"""Between a row and the next."""
SIDE, MARK, NAME = 12.0, 4.0, 14.0
"""Beside a plot with rows; from its left edge to a row's mark, and to its name."""
TEXT, TITLE = 10.5, 12.5
CHARACTER = 6.2
"""Width of a character in the layout's font, which is wider than most systems' own."""
PALE = 0.5
PALE_PARTS = ("server", "from server")
OUTLINED_PARTS = ("broker",)


def draw_bars(panel: Panel, longest: float | None = None) -> Figure:
    """A bar a cell, its parts stacked from zero, its figures beside it.

    `longest` is the scale's end; None lets the panel decide.
    """
    if longest is None:
        longest = max([panel.planned_per_s or 0.0, *(sum(one.y) for one in panel.series)])
    figure, axes = row_frame(panel, longest, _beside)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        draw_parts(axes, y, row)
        if panel.planned_per_s is not None:
            middle, tall = lower(y)
            axes.plot(
                [panel.planned_per_s] * 2,
                (middle - 0.65 * tall, middle + 0.65 * tall),
                color=colour("ink"),
                linewidth=1.2,
                linestyle=(0, (3, 2)),
                clip_on=False,
            )
    return figure


def draw_parts(axes: Axes, y: int, row: Series) -> None:
    """A row's bar from zero, its parts one behind the other."""
    middle, tall = lower(y)
    ink = colour(row.look.colour)
    start = 0.0
    for part, value in zip(row.x, row.y, strict=True):
        if part in OUTLINED_PARTS:
            outline: dict[str, Any] = {"facecolor": "none", "edgecolor": ink, "linewidth": 1.4}
            axes.barh(middle, value, 0.9 * tall, start, **outline)
        else:
            alpha = PALE if part in PALE_PARTS else 1.0
            axes.barh(middle, value, tall, start, color=ink, alpha=alpha)
        start += value


def row_frame(
    panel: Panel,
    longest: float,
    beside: Callable[[Series], str] = lambda one: one.figures,
    tall: float = ROW,
) -> tuple[Figure, Axes]:
    """A frame with a row a cell, each so `tall`: in its upper part its mark, its name and, at the
    right, its figures; its lower part is the plot's, as wide as the panel: see `lower`."""
    figure, axes = framed(panel, tall * len(panel.rows), SIDE, SIDE)
    wide = WIDTH - 2 * SIDE
    axes.set_xlim(0, longest or 1.0)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, int(wide // 60)), steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_visible(bool(panel.series))
    axes.grid(True, axis="x", color=colour("line"), linewidth=0.8)
    across = axes.get_yaxis_transform()

    def write(x: float, y: float, text: str, ink: str = "ink", **more: Any) -> None:
        more = {"va": "center", "fontsize": TEXT, "color": colour(ink), **more}
        axes.text(x / wide, y, text, transform=across, **more)

    for y, row in enumerate(panel.rows):
        at = y - 0.5 + LINE / 2 / tall
        if isinstance(row, Missing):
            write(NAME, at, fitted(row.label, wide - NAME))
            why = fitted(row.why, wide - NAME)
            write(NAME, at + LINE / tall, why, "muted", style="italic")
            continue
        figures = beside(row)
        name = f"{row.label} (invalid)" if row.look.colour == "invalid" else row.label
        axes.plot(
            MARK / wide,
            at,
            transform=across,
            color=colour(row.look.colour),
            marker=row.look.mark,
            markersize=row.look.size(6.5),
            clip_on=False,
        )
        write(NAME, at, fitted(name, wide - NAME - text_width(figures) - 8))
        write(wide, at, figures, ha="right")
    return figure, axes


def lower(y: int, tall: float = ROW) -> tuple[float, float]:
    """The middle and the height of what row `y` leaves to the plot, in rows."""
    left = (tall - LINE - APART) / tall
    return y - 0.5 + LINE / tall + left / 2, left


def _beside(one: Series) -> str:
    """A bar's figures, part by part; a part of it that was not measured is a dash."""
    if one.parts == 1:
        return number(one.y[0])
    return " + ".join([*map(number, one.y), *["–"] * (one.parts - len(one.y))])


def draw_steps(panel: Panel, named: Sequence[str]) -> Figure:
    """A line a cell from 0 to the last of its steps: a dot for sent, `|` accepted, a ring for
    processed, the style's mark for seen; beside it those that are `named`."""

    def beside(one: Series) -> str:
        known = dict(zip(one.x, one.y, strict=True))
        return " / ".join(short(known.get(name)) for name in named)

    longest = max((one.y[-1] for one in panel.series), default=1.0)
    figure, axes = row_frame(panel, longest, beside)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        ink = colour(row.look.colour)
        at, _ = lower(y)
        axes.plot((0, row.y[-1]), (at, at), color=ink, linewidth=1.2, alpha=PALE)
        for step, value in zip(row.x, row.y, strict=True):
            style: dict[str, Any] = {"color": ink, "clip_on": False, "linestyle": "none"}
            match step:
                case "sent":
                    axes.plot(value, at, marker=".", markersize=4, **style)
                case "accepted" | "acknowledged":
                    axes.plot(value, at, marker="|", markersize=11, markeredgewidth=1.8, **style)
                case "processed":
                    axes.plot(
                        value, at, marker="o", markersize=6.5, markerfacecolor="none", **style
                    )
                case _:
                    size = row.look.size(6.5)
                    axes.plot(value, at, marker=row.look.mark, markersize=size, **style)
    return figure


@cache
def text_width(text: str, size: float = TEXT) -> float:
    """In the layout's font, which is wider than most systems' own."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


def fitted(text: str, wide: float, size: float = TEXT) -> str:
    """As much of a text as has room, its middle left out."""
    most = len(text)
    while most > 1 and text_width(clipped(text, most), size) > wide:
        most -= 1
    return clipped(text, most)


def framed(
    panel: Panel, tall: float, left: float, right: float, missing: Sequence[Missing] = ()
) -> tuple[Figure, Axes]:
    """A figure with its heading and empty axes; below them the panel's notes, and what is not
    shown."""
    below = [*panel.notes, *(f"Not shown: {each.label}, {each.why}" for each in missing)]
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
    wide = WIDTH - 4
    figure.text(
        2 / WIDTH,
        1 - 14 / height,
        fitted(panel.title, 0.9 * wide, TITLE),
        fontsize=TITLE,
        weight="bold",
        color=colour("ink"),
    )
    write(height - 31, fitted(loop + panel.y_label, wide))
    if panel.series:
        write(bottom - 31, panel.x_label, min(left, wide - text_width(panel.x_label)))
    for i, words in enumerate(reversed(below)):
        write(LINE * i + 3, fitted(words, wide), style="italic")
    return figure, axes
