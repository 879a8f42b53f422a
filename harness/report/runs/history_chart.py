"""A small chart of a cell's figure, run by run. Drawn by hand: an index may have hundreds, and
matplotlib takes longer for each than all runs take to be read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.condition import counted
from harness.report import words
from harness.report.runs.history import METRICS, CellHistory, Point

FRAME = {"width": 360, "height": 132, "left": 46, "right": 354, "top": 28, "bottom": 106}
"""Of the picture and, but for its size, of the plot in it, in pixels."""
MARK = 8.5
"""Width of a mark."""
ROOM = 11.0
"""Width that a mark takes with what is around it."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MOST_TICKS = 4
LEAST = 1e-9
"""What is less than that is nothing."""
SAID = {"p50": "p50", "p99": "p99", "throughput_per_s": "throughput"}


@dataclass(frozen=True, slots=True)
class Dot:
    """A run's figure, in pixels."""

    x: float
    y: float
    whisker: tuple[float, float] | None
    """From the most to the least over its trials."""
    grey: bool
    link: str
    said: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure over runs, from zero up."""

    title: str
    ticks: Sequence[tuple[float, str]]
    """Height in pixels, and what stands there."""
    dots: Sequence[Dot]
    lines: Sequence[tuple[Dot, Dot]]
    """Between runs that follow each other and are both usable."""
    ends: tuple[str, str]
    """The days of the first and the last run."""
    scale: float
    """Of marks: less than 1 where they would cover each other."""
    alt: str


def plots(history: CellHistory) -> list[Plot]:
    """A chart for each metric that has a figure."""
    return [_plot(history.points, metric) for metric in history.metrics]


def head_of(metric: str) -> str:
    """A metric and its unit."""
    return f"{SAID[metric]}, {METRICS[metric]}"


def when(point: Point) -> str:
    """The minute at which a run began."""
    return point.run.started.strftime("%Y-%m-%d %H:%M")


def figure_of(point: Point, metric: str) -> str:
    """In words, with its range over trials."""
    value = point.value(metric)
    if value is None:
        return _instead(point, metric)
    ends = point.range(metric)
    if metric == "throughput_per_s":
        said = f" ({'–'.join(map(words.whole_number, ends))})" if ends else ""
        return words.whole_number(value) + said
    return words.figure(value) + (words.spread(ends) if ends else "")


def _instead(point: Point, metric: str) -> str:
    if point.failed or metric == "throughput_per_s":
        return "–"
    if metric in point.cell.latency_ms.not_resolvable:
        return "n/r"
    return f"> {point.run.info.scenario.timeout_s:g} s"


def _plot(points: Sequence[Point], metric: str) -> Plot:
    top = max(
        edge
        for point in points
        if (value := point.value(metric)) is not None
        for edge in (value, *(point.range(metric) or ()))
    )
    ticks = list(_ticks(top))
    per_unit = (FRAME["bottom"] - FRAME["top"]) / ticks[-1]
    step = (FRAME["right"] - FRAME["left"]) / len(points)

    def height(value: float) -> float:
        return round(FRAME["bottom"] - value * per_unit, 1)

    dots: list[Dot | None] = []
    for number, point in enumerate(points):
        value, ends = point.value(metric), point.range(metric)
        if value is None:
            dots.append(None)
            continue
        said = f"{when(point)}, {point.run.name}: {figure_of(point, metric)} {METRICS[metric]}"
        dots.append(
            Dot(
                round(FRAME["left"] + (number + 0.5) * step, 1),
                height(value),
                (height(ends[1]), height(ends[0])) if ends else None,
                point.invalid,
                point.run.link(point.cell.id),
                f"{said}, invalid" if point.invalid else said,
            )
        )
    without = dots.count(None)
    return Plot(
        head_of(metric) + (f" – {without} of {len(points)} runs without" if without else ""),
        [(height(tick), f"{tick:g}") for tick in ticks],
        [dot for dot in dots if dot],
        [(a, b) for a, b in pairwise(dots) if a and b and not (a.grey or b.grey)],
        (when(points[0])[:10], when(points[-1])[:10]),
        round(min(1.0, step / ROOM), 2),
        _alt(points, metric),
    )


def _ticks(top: float) -> Iterator[float]:
    """From zero to the first that is not below `top`."""
    unit = 10 ** math.floor(math.log10(top / MOST_TICKS)) if top > LEAST else 1.0
    step = next(unit * each for each in STEPS if top <= unit * each * MOST_TICKS)
    for number in range(max(1, math.ceil(round(top / step, 6))) + 1):
        yield number * step


def _alt(points: Sequence[Point], metric: str) -> str:
    """What the chart shows; every figure stands in the table below it."""
    shown = [(value, point) for point in points if (value := point.value(metric)) is not None]
    least, most = (words.figure(end(value for value, _ in shown)) for end in (min, max))
    newest = shown[-1][1]
    return (
        f"{SAID[metric]} in {METRICS[metric]} in {counted(len(shown), 'run')}, {when(shown[0][1])}"
        f" to {when(newest)}: from {least} to {most}, in the newest {figure_of(newest, metric)}"
    )
