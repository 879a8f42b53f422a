"""Latency against the rate of an open loop, where a scenario has enough of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.capacity import judged_ms, outcome
from harness.analysis.stats import middle
from harness.analysis.summary import CellResult
from harness.analysis.verdicts import Status
from harness.report.charts.curves import draw_knees
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.growth import ENOUGH
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.words import missing, percent, planned_per_s
from harness.report.words import whole_number as number
from harness.search import Outcome

USUAL = 99.0
"""The percentile that is shown where no objective names one."""
STEADY = ("constant", "poisson")

Objective = Mapping[str, float]


def rate_charts(frame: Frame, scenario: Mapping[str, Any]) -> list[Chart]:
    """A panel for each thing that was asked at several rates."""
    objective: Objective | None = scenario.get("objective")
    asked: dict[tuple[str, ...], dict[str, list[CellResult]]] = {}
    for cell in frame.cells:
        if cell.info["load"]["model"] in STEADY:
            lines = asked.setdefault(tuple(cell.info["condition"]["asked"]), {})
            lines.setdefault(frame.labels[cell.info["id"]], []).append(cell)
    alike = set.intersection(*map(set, asked)) if asked else set()
    panels = [
        _panel(
            frame, [part for part in parts if part not in alike], list(lines.values()), objective
        )
        for parts, lines in asked.items()
        if len({planned_per_s(cell) for cells in lines.values() for cell in cells}) >= ENOUGH
    ]
    if not panels:
        return []
    beyond_ms = frame.timeout_s * 1e3
    values = [value for panel in panels for one in panel.series for value in one.y]
    values += [objective["latency_ms"]] if objective else []
    if any(one.censored_at is not None for panel in panels for one in panel.series):
        values.append(beyond_ms)
    limits = min(values, default=0.1) / 1.25, max(values, default=10.0) * 1.25
    ring = (
        " A ring marks the highest rate up to which the objective holds in most trials and nothing"
        " is dropped, failed or timed out."
        if objective
        else ""
    )
    return [
        drawn_chart(
            "rates",
            "Latency against rate",
            f"The latency within which {percent(_percentile(objective))} of the planned operations"
            f" were done, at every rate, the median over trials.{ring} A dotted rise to ▲ means"
            f" that the percentile was not done within {frame.timeout_s:g} s.",
            panels,
            lambda panel: draw_knees(panel, limits, beyond_ms),
        )
    ]


def _percentile(objective: Objective | None) -> float:
    return objective["percentile"] if objective else USUAL


def _panel(
    frame: Frame,
    asked: Sequence[str],
    lines: Sequence[Sequence[CellResult]],
    objective: Objective | None,
) -> Panel:
    at = percent(_percentile(objective))
    level = None
    if objective:
        level = objective["latency_ms"], f"objective: {objective['latency_ms']:g} ms"
    return Panel(
        ", ".join(["By rate", *asked]),
        "open loop",
        "planned operations a second (log scale)",
        f"latency of {at}, ms (log scale)",
        tuple(_row(frame, cells, objective) for cells in lines),
        level=level,
    )


def _row(
    frame: Frame, cells: Sequence[CellResult], objective: Objective | None
) -> Series | Missing:
    shown = {rate: cell for cell in cells if not missing(cell) and (rate := planned_per_s(cell))}
    latency = {rate: _latency_ms(shown[rate], objective) for rate in sorted(shown)}
    ended = next((rate for rate, value in latency.items() if math.isinf(value)), None)
    points = {
        rate: value
        for rate, value in latency.items()
        if math.isfinite(value) and (ended is None or rate < ended)
    }
    if not points:
        beyond = f"> {frame.timeout_s:g} s at every rate" if ended else "too few operations"
        return frame.missing(cells[0], missing(cells[0]) or beyond)
    held = [rate for rate in points if shown[rate].verdict.status is not Status.INVALID]
    broken = ", ".join(f"{rate:,g}" for rate in points if rate not in held)
    highest = _highest_held(shown, latency, objective)
    figures = ", ".join(f"{rate:,g}/s {number(value)} ms" for rate, value in points.items())
    if objective:
        figures += f", holds up to {highest:,g}/s" if highest else ", holds at none"
    one = frame.series(
        # The line is that of a cell that holds; where none does it is grey.
        shown[(held or list(points))[0]],
        list(points),
        list(points.values()),
        "ms",
        figures,
        f"invalid at {broken}" if held and broken else "",
        ended,
    )
    return replace(one, marked=(highest, points[highest]) if highest in points else None)


def _latency_ms(cell: CellResult, objective: Objective | None) -> float:
    return middle([judged_ms(trial, _percentile(objective)) for trial in cell.trials])


def _highest_held(
    cells: Mapping[float, CellResult], latency: Mapping[float, float], objective: Objective | None
) -> float | None:
    """The last of the rates from the lowest on at which the objective held in most trials; those
    that do not resolve its percentile are passed over."""
    highest = None
    for rate in sorted(cells) if objective else ():
        if math.isnan(latency[rate]):
            continue
        outcomes = [outcome(trial, objective) for trial in cells[rate].trials if objective]
        if 2 * outcomes.count(Outcome.HELD) <= len(outcomes):
            break
        highest = rate
    return highest
