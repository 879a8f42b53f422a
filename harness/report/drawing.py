"""Draws panels with a row a cell, and the frame of all panels. Every length is in CSS pixels: a
panel is as wide as a narrow screen."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from harness.report.panels import Missing, Panel, Series
from harness.report.svg import colour, new_figure
from harness.report.words import clipped, short
from harness.report.words import whole_number as number

WIDTH = 360.0
TOP, BOTTOM = 48.0, 36.0
LINE, ROW = 14.0, 21.0
TEXT, TITLE = 10.5, 12.5
CHARACTER = 6.2
"""Width of a character in the layout's font, which is wider than most systems' own."""
LONGEST_NAME = 26
PALE = 0.5
PALE_PARTS = ("server", "from server")
OUTLINED_PARTS = ("broker",)


def draw_bars(panel: Panel, longest: float | None = None) -> Figure:
    """A bar a cell, its parts stacked from zero, its figures beside it.

    `longest` is the scale's end; None lets the panel decide.
    """
    if longest is None:
        longest = max([panel.planned_per_s or 0.0, *(sum(one.y) for one in panel.series)])
    figure, axes, write, wide = row_frame(panel, longest, _beside)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        start = 0.0
        for part, value in zip(row.x, row.y, strict=True):
            ink = colour(row.look.colour)
            if part in OUTLINED_PARTS:
                axes.barh(y, value, 0.54, start, facecolor="none", edgecolor=ink, linewidth=1.4)
            else:
                alpha = PALE if part in PALE_PARTS else 1.0
                axes.barh(y, value, 0.62, start, color=ink, alpha=alpha)
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


def row_frame(
    panel: Panel,
    longest: float,
    beside: Callable[[Series], str] = lambda one: one.figures,
    tall: float = ROW,
) -> tuple[Figure, Axes, _Write, float]:
    """A frame with a row a cell, each so `tall`, named at its left with its mark, and its plot's
    width."""
    names = [
        clipped(f"{row.label} (invalid)" if _invalid(row) else row.label, LONGEST_NAME)
        for row in panel.rows
    ]
    left = 26 + CHARACTER * max(map(len, names))
    right = 14 + CHARACTER * max((len(beside(one)) for one in panel.series), default=0)
    wide = WIDTH - left - right
    figure, axes = framed(panel, tall * len(names), left, right)
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


def draw_steps(panel: Panel, named: Sequence[str]) -> Figure:
    """A line a cell from 0 to the last of its steps: a dot for sent, `|` accepted, a ring for
    processed, the style's mark for seen; beside it those that are `named`."""

    def beside(one: Series) -> str:
        known = dict(zip(one.x, one.y, strict=True))
        return " / ".join(short(known.get(name)) for name in named)

    longest = max((one.y[-1] for one in panel.series), default=1.0)
    figure, axes, write, wide = row_frame(panel, longest, beside)
    for y, row in enumerate(panel.rows):
        if isinstance(row, Missing):
            continue
        ink = colour(row.look.colour)
        axes.plot((0, row.y[-1]), (y, y), color=ink, linewidth=1.2, alpha=PALE)
        for step, value in zip(row.x, row.y, strict=True):
            style: dict[str, Any] = {"color": ink, "clip_on": False, "linestyle": "none"}
            match step:
                case "sent":
                    axes.plot(value, y, marker=".", markersize=4, **style)
                case "accepted" | "acknowledged":
                    axes.plot(value, y, marker="|", markersize=11, markeredgewidth=1.8, **style)
                case "processed":
                    axes.plot(value, y, marker="o", markersize=6.5, markerfacecolor="none", **style)
                case _:
                    axes.plot(value, y, marker=row.look.mark, markersize=6.5, **style)
        write(wide + 8, y, beside(row))
    return figure


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
    for i, words in enumerate(reversed(below)):
        write(LINE * i + 3, clipped(words, most), style="italic")
    return figure, axes
