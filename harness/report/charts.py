"""From a Summary to its charts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure

from harness.analysis.stats import CURVE_POINTS, PERCENTILES, resolvable
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Status
from harness.report.drawing import draw_bars, draw_lines
from harness.report.look import Look, looks
from harness.report.panels import Chart, Missing, Panel, Series
from harness.report.svg import composed, to_svg
from harness.report.words import Group, groups, labels, milliseconds, missing, percent
from harness.report.words import whole_number as number


def make_charts(summary: Summary) -> list[Chart]:
    """Every chart of the report, in its order."""
    frame = _Frame(
        groups(summary),
        labels(summary.cells),
        looks(summary.cells),
        float(summary.info["scenario"]["timeout_s"]),
    )
    return [_latency(frame), _throughput(frame), _cpu(frame)]


def standalone(chart: Chart) -> str:
    """The chart as an SVG file that works alone, light or dark as its reader prefers."""
    return composed(chart.title, chart.alt, [panel.svg for panel in chart.panels])


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all charts of a run have in common."""

    groups: Sequence[Group]
    labels: Mapping[str, str]
    looks: Mapping[str, Look]
    timeout_s: float

    def panels(
        self, x_label: str, y_label: str, row: Callable[[CellResult], Series | Missing]
    ) -> list[Panel]:
        """A panel a group; cells that failed or were skipped are missing from each."""

        def any_row(cell: CellResult) -> Series | Missing:
            why = missing(cell)
            return self.missing(cell, why) if why else row(cell)

        return [
            Panel(g.title, g.loop, x_label, y_label, tuple(any_row(c) for c in g.cells))
            for g in self.groups
        ]

    def missing(self, cell: CellResult, why: str) -> Missing:
        return Missing(cell.info["id"], self.labels[cell.info["variant"]], why)

    def series(
        self,
        cell: CellResult,
        x: Sequence[float | str],
        y: Sequence[float],
        unit: str,
        figures: str,
        note: str = "",
        censored_at: float | None = None,
    ) -> Series:
        notes = ["invalid"] if cell.verdict.status is Status.INVALID else []
        return Series(
            cell=cell.info["id"],
            label=self.labels[cell.info["variant"]],
            style=cell.info["style"],
            look=self.looks[cell.info["id"]],
            x=tuple(x),
            y=tuple(y),
            unit=unit,
            figures=figures,
            note=", ".join([*notes, *([note] if note else [])]),
            censored_at=censored_at,
        )


def _chart(
    name: str, title: str, caption: str, panels: Sequence[Panel], draw: Callable[[Panel], Figure]
) -> Chart:
    drawn = (
        replace(panel, svg=to_svg(partial(draw, panel), f"{name}-{i}", panel.alt))
        for i, panel in enumerate(panels)
    )
    return Chart(name, title, caption, tuple(drawn))


def _latency(frame: _Frame) -> Chart:
    beyond = f"> {frame.timeout_s:g} s"

    def row(cell: CellResult) -> Series | Missing:
        censored_at = _censored_at(cell)
        if not cell.latency_by_percentile:
            why = "too few operations for any percentile"
            return frame.missing(
                cell, why if censored_at is None else f"{beyond} at every percentile"
            )
        x, y = zip(*cell.latency_by_percentile, strict=True)
        note = "" if censored_at is None else beyond
        figures = _latency_figures(cell, frame.timeout_s)
        return frame.series(cell, x, y, "ms", figures, note, censored_at)

    panels = frame.panels(
        "percentile of planned operations (log scale)", "latency, ms (log scale)", row
    )
    limits = _limits([s for panel in panels for s in panel.series], frame.timeout_s * 1e3)
    return _chart(
        "latency",
        "Latency by percentile",
        "A line shows the latency within which a share of the planned operations was answered;"
        " lower is better, and the line ends at the last percentile that the sample supports"
        f" (a dotted rise to ▲ means that the rest was not answered within {frame.timeout_s:g} s).",
        panels,
        lambda panel: draw_lines(panel, limits, frame.timeout_s * 1e3),
    )


def _censored_at(cell: CellResult) -> float | None:
    """The percentile at which a cell's curve ends, where it is the timeout that ends it."""
    curve = cell.latency_by_percentile
    after = [p for p in CURVE_POINTS if not curve or p > curve[-1][0]]
    if not after or not cell.trials:
        return None
    supported = all(resolvable(trial.counts.planned, after[0]) for trial in cell.trials)
    return float(after[0]) if supported else None


def _latency_figures(cell: CellResult, timeout_s: float) -> str:
    def figure(mark: str) -> str:
        value = getattr(cell.latency, mark)
        if math.isnan(value):
            return "not resolvable"
        return milliseconds(value, timeout_s) + (" ms" if math.isfinite(value) else "")

    return ", ".join(f"{percent(PERCENTILES[mark])} {figure(mark)}" for mark in PERCENTILES)


def _limits(series: Sequence[Series], timeout_ms: float) -> tuple[float, float, float]:
    """Lowest and highest latency (ms) and the last percentile, for all panels alike."""
    values = [value for s in series for value in s.y if value > 0]
    values += [timeout_ms for s in series if s.censored_at is not None]
    last = max((float(p) for s in series for p in (s.x[-1], s.censored_at or 0)), default=99.0)
    return min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25, last


def _throughput(frame: _Frame) -> Chart:
    def row(cell: CellResult) -> Series | Missing:
        value = cell.throughput_per_s
        if value is None:
            return frame.missing(cell, "no trial was finished")
        return frame.series(cell, ["answered"], [value], "operations/s", f"{number(value)}/s")

    panels = [
        replace(panel, planned_per_s=_planned_per_s(group))
        for panel, group in zip(
            frame.panels("operations answered a second, from 0", "operations a second", row),
            frame.groups,
            strict=True,
        )
    ]
    return _chart(
        "throughput",
        "Throughput",
        "A bar starts at zero and shows how many operations a second were answered within the"
        " measured window; a dashed line marks the planned rate of an open loop, and every panel"
        " has a scale of its own.",
        panels,
        draw_bars,
    )


def _planned_per_s(group: Group) -> float | None:
    load = group.cells[0].info["load"]
    if load["rate"] is None:
        return None
    bursts = load["burst_size"] / load["every_s"] if load["burst_size"] else 0.0
    return float(load["rate"] + bursts)


def _cpu(frame: _Frame) -> Chart:
    def row(cell: CellResult) -> Series | Missing:
        roles = {"client": "generator", "server": "server"}
        seen = {p: v for p, r in roles.items() if (v := cell.cpu_us_per_op[r]) is not None}
        absent = [part for part in roles if part not in seen]
        if not seen:
            return frame.missing(cell, "no CPU time was seen")
        note = ""
        if absent:
            has = cell.info["has_server"] or absent != ["server"]
            note = f"{absent[0]} not seen" if has else "no server"
        figures = " + ".join(f"{part} {number(value)}" for part, value in seen.items()) + " µs"
        return frame.series(cell, list(seen), list(seen.values()), "µs", figures, note)

    panels = frame.panels(
        "CPU time an operation, µs, from 0", "µs an operation: client solid + server pale", row
    )
    longest = max((sum(s.y) for panel in panels for s in panel.series), default=None)
    return _chart(
        "cpu",
        "CPU time of a completed operation",
        "A bar starts at zero and stacks the CPU time, of user and kernel together, that client"
        " (solid) and server (pale) spent on each completed operation; all panels share one scale.",
        panels,
        lambda panel: draw_bars(panel, longest),
    )
