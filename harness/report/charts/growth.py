"""Charts of a figure against a number that a scenario lets grow: subscribers, items, workers..."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from harness.analysis.crossover import crossovers
from harness.analysis.knee import Knee, knee
from harness.analysis.summary import CellResult
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Status
from harness.condition import counted
from harness.report.charts.curves import draw_growth
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.words import Group, labels, missing, short, without
from harness.report.words import whole_number as number


@dataclass(frozen=True, slots=True)
class Growth:
    """What is drawn: a figure of cells that differ in one number."""

    title: str
    y_label: str
    thing: str
    """What the number counts, as conditions say it: `item`."""
    x_label: str
    unit: str
    """What the numbers count, beside them."""
    grown: Callable[[CellResult], float | None]
    """The number; None for a cell that has none."""
    value: Callable[[CellResult], float]
    """The figure; NaN or infinity where there is none."""
    measure: str = "ms"
    nothing: str = "not within the timeout"
    """Why a cell has no figure."""
    bends: Callable[[Mapping[float, float]], Knee | None] = lambda _: None
    """Where a curve of figures by number bends, where that is known."""
    of_trial: Callable[[TrialResult], float] | None = None
    """The figure of one trial, where it is to be said which curves change places."""


def _knew(mark: str) -> Callable[[CellResult], float]:
    def value(cell: CellResult) -> float:
        return math.nan if cell.watched is None else float(getattr(cell.watched, mark).p50)

    return value


def _condition(key: str) -> Callable[[CellResult], float | None]:
    def grown(cell: CellResult) -> float | None:
        value = cell.info["condition"][key]
        return None if value is None else float(value)

    return grown


def _broker(key: str) -> Callable[[CellResult], float | None]:
    def grown(cell: CellResult) -> float | None:
        way = cell.info["condition"].get("broker")
        return None if way is None else float(way[key])

    return grown


def _users(cell: CellResult) -> float | None:
    users = cell.info["load"]["users"]
    return None if users is None else float(users)


def _rate(cell: CellResult) -> float:
    return math.nan if cell.throughput_per_s is None else cell.throughput_per_s


def _acked_rate(cell: CellResult) -> float:
    return math.nan if cell.acked_per_s is None else cell.acked_per_s


WATCH = [
    Growth(
        f"The {mark} subscriber",
        f"ms until the {mark} knew (log scale)",
        "subscriber",
        "subscribers (log scale)",
        "subscribers",
        _condition("subscribers"),
        _knew(mark),
    )
    for mark in ("last", "first")
]
PAYLOAD = Growth(
    "Half of the orders",
    "ms until half were answered (log scale)",
    "item",
    "items an order (log scale)",
    "items",
    _condition("items"),
    lambda cell: cell.latency.p50,
    of_trial=lambda trial: trial.latency.p50,
)
USERS = Growth(
    "By users",
    "operations a second (log scale)",
    "user",
    "users (log scale)",
    "users",
    _users,
    _rate,
    "/s",
    "no trial was finished",
    knee,
)
WAITING = [
    Growth(
        title,
        "ms until they were answered (log scale)",
        "user",
        "users (log scale)",
        "users",
        _users,
        value,
    )
    for title, value in (
        ("Half of the orders", lambda cell: cell.latency.p50),
        ("99 % of the orders", lambda cell: cell.latency.p99),
    )
]
IN_FLIGHT = Growth(
    "By messages in flight",
    "acknowledged a second (log scale)",
    "user",
    "messages without an acknowledgement (log scale)",
    "in flight",
    _users,
    _acked_rate,
    "/s",
    "nothing is acknowledged",
)
AT_BROKERS = [
    Growth(
        f"By {name}",
        "completed a second (log scale)",
        thing,
        f"{name} (log scale)",
        name,
        _broker(key),
        _rate,
        "/s",
        "no trial was finished",
    )
    for key, thing, name in (
        ("workers", "worker", "workers"),
        ("partitions", "partition", "partitions"),
        ("prefetch", "prefetch", "prefetched messages"),
    )
]
BENDS = (
    "A ring marks where the two bounds of a closed loop meet: as many times the throughput of the"
    " fewest users as there are users, and the most that was seen. Beyond it users wait for each"
    " other."
)
MOST_PLACES = 5
"""Pairs of curves that change places and are named."""
ENOUGH = 3
"""Values of a number that are worth a curve."""


def watch_charts(frame: Frame) -> list[Chart]:
    """How long until the last, and until the first subscriber knew, by their number."""
    caption = (
        "Median time from the change in the server until the last, and until the first, of so many"
        " subscribers had it. All of them live in one process, whose own receiving is part of it:"
        " see the bare loop in the table of steps."
    )
    return [_chart("deliveries", "From a change to its subscribers", caption, frame, WATCH)]


def payload_charts(frame: Frame) -> list[Chart]:
    """Latency by the size of orders, where a scenario has enough sizes."""
    if not _grows(frame, PAYLOAD):
        return []
    caption = (
        "Median latency by the number of items in an order: where the curves meet, the size of the"
        " order decides and not the style. Two styles change places where at one size every trial"
        " of the one was quicker than every trial of the other, and at a later size slower."
    )
    return [_chart("payload", "Latency by size of the order", caption, frame, [PAYLOAD])]


def scaling_charts(frame: Frame) -> list[Chart]:
    """Throughput by users, workers, partitions or prefetch, where a scenario has enough of them."""
    kinds = [IN_FLIGHT if frame.ingests else USERS, *AT_BROKERS]
    used = [kind for kind in kinds if _grows(frame, kind)]
    if not used:
        return []
    caption = (
        "What was done a second in the measured window, by a number that the scenario lets grow;"
        " in an open loop it cannot be more than the planned rate."
    )
    charts = [_chart("scaling", "Throughput by a number that grows", caption, frame, used)]
    if USERS in used:
        charts[0] = replace(charts[0], caption=f"{caption} {BENDS}")
        waiting = "How long users wait for their answer, by the number of them who do."
        charts.append(_chart("waiting", "Latency by users", waiting, frame, WAITING))
    return charts


def _grows(frame: Frame, kind: Growth) -> bool:
    return len({kind.grown(cell) for cell in frame.cells} - {None}) >= ENOUGH


def _chart(name: str, title: str, caption: str, frame: Frame, kinds: Sequence[Growth]) -> Chart:
    panels = [panel for kind in kinds for panel in _panels(frame, kind)]
    values = [value for panel in panels for s in panel.series for value in s.y if value > 0]
    limits = min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25
    return drawn_chart(name, title, caption, panels, lambda panel: draw_growth(panel, limits))


def _panels(frame: Frame, kind: Growth) -> list[Panel]:
    found = []
    named = labels(frame.cells, but=kind.thing)
    for group in _alike_but_for(kind, frame):
        rows: list[Series | Missing] = []
        holding: dict[str, dict[float, CellResult]] = {}
        for label, cells in _lines(named, group).items():
            usable = {x: c for c in cells if not missing(c) and (x := kind.grown(c)) is not None}
            points = {
                x: value
                for x in sorted(usable)
                if math.isfinite(value := kind.value(usable[x])) and value > 0
            }
            if not points:
                why = missing(cells[0]) or kind.nothing
                rows.append(replace(frame.missing(cells[0], why), label=label))
                continue
            space = "" if kind.measure.startswith("/") else " "
            figures = ", ".join(
                f"{x:,.0f} {kind.unit} {number(y)}{space}{kind.measure}" for x, y in points.items()
            )
            held = [x for x in points if usable[x].verdict.status is not Status.INVALID]
            broken = ", ".join(f"{x:,.0f}" for x in points if x not in held)
            note = f"invalid at {broken}" if held and broken else ""
            holding[label] = {x: usable[x] for x in held}
            # The line is that of a cell that holds; where none does it is grey.
            cell = usable[(held or list(points))[0]]
            unit = kind.measure.replace("/s", "a second")
            bend = kind.bends({x: points[x] for x in held})
            if bend is not None:
                figures += f", bends at about {bend.users:,.2g} {kind.unit}"
            one = frame.series(cell, list(points), list(points.values()), unit, figures, note)
            marked = None if bend is None else (bend.users, bend.per_s)
            rows.append(replace(one, label=label, marked=marked))
        title = ", ".join(part for part in (kind.title, group.title) if part)
        notes = tuple(_places(kind, holding)) if kind.of_trial else ()
        found.append(Panel(title, group.loop, kind.x_label, kind.y_label, tuple(rows), notes=notes))
    return found


def _places(kind: Growth, lines: Mapping[str, Mapping[float, CellResult]]) -> list[str]:
    """Which curves change places, and how far apart all of them are at both ends."""
    read = kind.of_trial
    assert read is not None
    figures = {
        label: {x: [read(trial) for trial in cell.trials] for x, cell in cells.items()}
        for label, cells in lines.items()
    }
    crossed = [
        f"{one} and {other} change places at about {short(each.at)} {kind.unit}"
        for (one, first), (other, second) in combinations(figures.items(), 2)
        for each in crossovers(first, second)
    ]
    said = crossed[:MOST_PLACES]
    if len(crossed) > MOST_PLACES:
        said.append(f"{len(crossed) - MOST_PLACES} more pairs change places")
    if len(lines) > 1 and not crossed:
        said.append("no two of them surely change places")
    common = sorted(set.intersection(*map(set, lines.values()))) if len(lines) > 1 else []
    apart = []
    for x in common[:1] + common[1:][-1:]:
        values = [kind.value(cells[x]) for cells in lines.values()]
        apart.append(f"{max(values) / min(values):.2g} at {counted(round(x), kind.thing)}")
    return [*said, f"the slowest over the quickest: {', '.join(apart)}"] if apart else said


def _alike_but_for(kind: Growth, frame: Frame) -> list[Group]:
    """Groups of cells that were asked the same but for one number; those without it are left
    out."""
    merged: dict[tuple[str, ...], list[CellResult]] = {}
    loops: dict[tuple[str, ...], str] = {}
    every = [asked for cell in frame.cells for asked in cell.info["condition"]["asked"]]
    for group in frame.groups:
        for cell in group.cells:
            if kind.grown(cell) is None:
                continue
            asked = [
                part
                for part in without(cell.info["condition"]["asked"], kind.thing)
                if every.count(part) < len(frame.cells)
            ]
            # The load's words have the users, which lie on one curve.
            load = without(cell.info["load"]["words"].split(", "), kind.thing)
            words = (", ".join(load), *asked)
            merged.setdefault(words, []).append(cell)
            loops[words] = group.loop
    return [Group(", ".join(words), loops[words], cells) for words, cells in merged.items()]


def _lines(named: dict[str, str], group: Group) -> dict[str, list[CellResult]]:
    lines: dict[str, list[CellResult]] = {}
    for cell in group.cells:
        lines.setdefault(named[cell.info["id"]], []).append(cell)
    return lines
