"""From a Summary to its charts."""

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.stats import CURVE_POINTS, PERCENTILES, curve_ranges, resolvable
from harness.analysis.summary import CellResult, Summary
from harness.report.capacity import capacity_charts
from harness.report.charts.curves import draw_lines
from harness.report.charts.drawing import draw_bars
from harness.report.charts.forest import forest_charts
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.growth import payload_charts, scaling_charts, watch_charts
from harness.report.charts.messages import acknowledged_charts, lag_charts
from harness.report.charts.over_time import over_time_charts
from harness.report.charts.panels import Chart, Missing, Series
from harness.report.charts.rates import rate_charts
from harness.report.charts.stack import stack_charts
from harness.report.charts.steps import early, step_charts, traffic_charts
from harness.report.charts.svg import composed
from harness.report.charts.timeline import timeline_charts
from harness.report.words import (
    Group,
    durability_words,
    milliseconds,
    percent,
    planned_per_s,
    spread,
)
from harness.report.words import whole_number as number


def make_charts(summary: Summary) -> list[Chart]:
    """Every chart of the report, in its order."""
    said = durability_words(summary.cells)
    frame = Frame.of(summary)
    charts = _of_searches(frame, summary) or _charts(frame, summary)
    return [replace(chart, durability=said) for chart in charts]


def _of_searches(frame: Frame, summary: Summary) -> list[Chart]:
    """Of all rates that were tried, and over time of those that held."""
    held = [found.held.cell for found in summary.capacities if found.held]
    group = Group("at the highest rate that held", "open loop", held)
    return [*capacity_charts(frame, summary), *over_time_charts(frame, [group])]


def _charts(frame: Frame, summary: Summary) -> list[Chart]:
    over_time = over_time_charts(frame, frame.groups)
    folded = [chart for chart in over_time if chart.folded]
    if frame.operation == "watch":
        return [*watch_charts(frame), _cpu(frame), *folded]
    steps = step_charts(frame)
    first = early(frame)
    return [
        *stack_charts(frame),
        *timeline_charts(frame),
        *forest_charts(frame, summary),
        *(steps if first else []),
        *acknowledged_charts(frame),
        *(chart for chart in over_time if not chart.folded),
        *rate_charts(frame, summary.info["scenario"]),
        *scaling_charts(frame),
        *lag_charts(frame),
        *payload_charts(frame),
        _latency(frame),
        *([] if first else steps),
        _throughput(frame),
        _cpu(frame),
        *traffic_charts(frame),
        *folded,
    ]


def standalone(chart: Chart) -> str:
    """The chart as an SVG file that works alone, light or dark as its reader prefers."""
    return composed(chart.title, chart.alt, [panel.svg for panel in chart.panels], chart.durability)


def _latency(frame: Frame) -> Chart:
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
        one = frame.series(cell, x, y, "ms", figures, note, censored_at)
        return replace(one, band=_band(cell))

    panels = frame.panels(
        "percentile of planned operations (log scale)", "latency, ms (log scale)", row
    )
    done = "both acknowledged and processed" if frame.ingests else "answered"
    beyond_ms = frame.timeout_s * 1e3
    banded = ""
    if any(s.band for panel in panels for s in panel.series):
        banded = (
            " A line is the median over trials, and the pale band around it reaches from the lowest"
            " trial to the highest at each percentile."
        )
    return drawn_chart(
        "latency",
        "Latency by percentile",
        f"A line shows the latency within which a share of the planned operations was {done};"
        " lower is better, and the line ends at the last percentile that the sample supports"
        f" (a dotted rise to ▲ means that the rest was not {done} within {frame.timeout_s:g} s)."
        f"{banded} Every panel has a scale of its own.",
        panels,
        lambda panel: draw_lines(panel, _limits(panel.series, beyond_ms), beyond_ms),
    )


def _band(cell: CellResult) -> tuple[tuple[float, float], ...]:
    """The lowest and the highest trial at each point of a cell's line; none of a single trial."""
    if len(cell.trials) < 2:
        return ()
    ranges = [(low, high) for _, low, high in curve_ranges(cell.latency_curves)]
    return tuple(ranges[: len(cell.latency_by_percentile)])


def _censored_at(cell: CellResult) -> float | None:
    """The percentile at which a cell's curve ends, where it is the timeout that ends it."""
    curve = cell.latency_by_percentile
    after = [p for p in CURVE_POINTS if not curve or p > curve[-1][0]]
    planned = [trial.counts.planned for trial in cell.trials]
    if not after or not any(planned):
        return None
    supported = all(count and resolvable(count, after[0]) for count in planned)
    return float(after[0]) if supported else None


def _latency_figures(cell: CellResult, timeout_s: float) -> str:
    def figure(mark: str) -> str:
        value = getattr(cell.latency, mark)
        if math.isnan(value):
            return "not resolvable"
        each = spread([getattr(trial.latency, mark) for trial in cell.trials])
        return milliseconds(value, timeout_s) + (f" ms{each}" if math.isfinite(value) else "")

    return ", ".join(f"{percent(PERCENTILES[mark])} {figure(mark)}" for mark in PERCENTILES)


def _limits(series: Sequence[Series], timeout_ms: float) -> tuple[float, float, float]:
    """Lowest and highest latency (ms) and the last percentile."""
    values = [value for s in series for value in s.y if value > 0]
    ends = [end for s in series for trials in s.band for end in trials]
    values += [min(end, timeout_ms) for end in ends if end > 0]
    values += [timeout_ms for s in series if s.censored_at is not None]
    last = max((float(p) for s in series for p in (s.x[-1], s.censored_at or 0)), default=99.0)
    return min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25, last


def _throughput(frame: Frame) -> Chart:
    done = "completed" if frame.ingests else "answered"
    meaning = ": both acknowledged and processed" if frame.ingests else ""

    def row(cell: CellResult) -> Series | Missing:
        value = cell.throughput_per_s
        if value is None:
            return frame.missing(cell, "no trial was finished")
        return frame.series(cell, [done], [value], "operations/s", f"{number(value)}/s")

    panels = [
        replace(panel, planned_per_s=planned_per_s(group.cells[0]))
        for panel, group in zip(
            frame.panels(f"operations {done} a second, from 0", "operations a second", row),
            frame.groups,
            strict=True,
        )
    ]
    return drawn_chart(
        "throughput",
        "Throughput",
        f"A bar starts at zero and shows how many operations a second were {done} within the"
        f" measured window{meaning}; a dashed line marks the planned rate of an open loop, and"
        " every panel has a scale of its own.",
        panels,
        draw_bars,
    )


def _cpu(frame: Frame) -> Chart:
    gateways, brokers = (
        any(cell.cpu_us_per_op.get(role) is not None for cell in frame.cells)
        for role in ("gateway", "broker")
    )

    def row(cell: CellResult) -> Series | Missing:
        roles = {"client": "generator", "server": "server"}
        if gateways:
            roles["gateway"] = "gateway"
        if brokers and cell.info["condition"].get("broker"):
            roles["broker"] = "broker"
        seen = {p: v for p, r in roles.items() if (v := cell.cpu_us_per_op.get(r)) is not None}
        if not seen:
            return frame.missing(cell, "no CPU time was seen")
        absent = [part for part in roles if part not in seen and part != "gateway"]
        note = f"{', '.join(absent)} not seen" if absent else ""
        if absent == ["server"] and not cell.info["has_server"]:
            note = "no server"
        figures = " + ".join(f"{part} {number(value)}" for part, value in seen.items()) + " µs"
        known = list(seen), list(seen.values())
        return frame.series(cell, *known, "µs", figures, note, parts=len(roles))

    shown = "client solid, server pale, broker outlined" if brokers else ""
    panels = frame.panels(
        "CPU time an operation, µs, from 0",
        f"µs: {shown}" if shown else "µs an operation: client solid + server pale",
        row,
    )
    longest = max((sum(s.y) for panel in panels for s in panel.series), default=None)
    third = ", server (pale) and broker (outlined)" if brokers else " and server (pale)"
    return drawn_chart(
        "cpu",
        "CPU time of a completed operation",
        "A bar starts at zero and stacks the CPU time, of user and kernel together, that client"
        f" (solid){third} spent on each completed operation; all panels share one scale.",
        panels,
        lambda panel: draw_bars(panel, longest),
    )
