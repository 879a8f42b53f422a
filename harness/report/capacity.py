"""What searches for capacity found: sentences, table and chart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis.capacity import Capacity, Ending
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Status
from harness.report.charts.curves import draw_knees
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.words import figure, labels, milliseconds, missing, percent
from harness.report.words import whole_number as number


@dataclass(frozen=True, slots=True)
class Row:
    """A search: what it is called, a figure for each of HEADS, and how it ended, in words."""

    id: str
    name: str
    figures: Sequence[str]
    said: str


HEADS = (
    "holds up to, per s",
    "no more at, per s",
    "latency there, ms",
    "trials",
    "generator's CPU, µs an operation",
    "generator's ceiling, per s",
)


def capacity_table(summary: Summary) -> list[Row]:
    """A row a search."""
    named = labels(summary.cells)
    timeout_s = float(summary.info["scenario"]["timeout_s"])
    return [
        Row(
            found.cell.info["id"],
            ", ".join([named[found.cell.info["id"]], *_asked(found, summary.capacities)]),
            [
                _rate(found.found.held),
                _rate(found.found.missed),
                milliseconds(found.held.latency_ms, timeout_s) if found.held else "–",
                str(sum(len(probe.outcomes) for probe in found.probes)),
                number(found.generator_us),
                number(found.generator_per_s),
            ],
            f"{_how_it_ended(found)}{_disturbed(found)}",
        )
        for found in summary.capacities
    ]


def capacity_words(summary: Summary) -> list[str]:
    """The answer to a search's question, in sentences; none where nothing was searched for."""
    if not summary.capacities:
        return []
    named = labels(summary.cells)
    by_asked: dict[tuple[str, ...], list[Capacity]] = {}
    for found in summary.capacities:
        by_asked.setdefault(tuple(_asked(found, summary.capacities)), []).append(found)
    said = []
    for asked, searches in by_asked.items():
        each = "; ".join(
            f"{named[s.cell.info['id']]} {_how_it_ended(s)}{_disturbed(s)}" for s in searches
        )
        within = f"{objective_words(summary)} and nothing left undone"
        said.append(f"{', '.join([*asked, within])}: {each}.")
    ceilings = "; ".join(
        f"{named[found.cell.info['id']]} {number(found.generator_per_s)}/s"
        f" ({number(found.generator_us)} µs each)"
        for found in summary.capacities
        if found.generator_us
    )
    if ceilings:
        processors = summary.capacities[0].processors
        by = "one processor" if processors == 1 else f"{processors} processors"
        said.append(
            f"What the generator could send at most, {by} by the CPU time that an operation"
            f" took it at that rate: {ceilings}. Where a capacity comes near it, the client decides"
            " and not the service."
        )
    said.append(
        "A majority of their trials decided the two rates of each. Where those of two styles touch"
        " or overlap, this run shows no difference."
    )
    return said


def objective_words(summary: Summary) -> str:
    """The objective, as in a sentence; empty without one."""
    objective = summary.info["scenario"].get("objective")
    if not objective:
        return ""
    return f"{percent(objective['percentile'])} within {objective['latency_ms']:g} ms"


def capacity_charts(frame: Frame, summary: Summary) -> list[Chart]:
    """Latency against rate, for each thing that was asked; none where nothing was searched for."""
    searches = summary.capacities
    if not searches:
        return []
    objective = summary.info["scenario"]["objective"]
    at = percent(objective["percentile"])
    level = (float(objective["latency_ms"]), f"objective: {objective['latency_ms']:g} ms")
    panels: dict[str, list[Series | Missing]] = {}
    for found in searches:
        title = ", ".join(["Latency against rate", *_asked(found, searches)])
        panels.setdefault(title, []).append(_row(frame, found))
    beyond_ms = frame.timeout_s * 1e3
    values = [level[0]]
    for row in (row for rows in panels.values() for row in rows if isinstance(row, Series)):
        values += [*row.y, *([beyond_ms] if row.censored_at is not None else [])]
    limits = min(values) / 1.25, max(values) * 1.25
    return [
        drawn_chart(
            "capacity",
            "How much each carries",
            f"The latency within which {at} of the planned operations were answered, at every rate"
            " that was tried, the median over its trials. A ring marks the highest rate at which"
            " the objective holds and nothing is dropped, failed or timed out; a dotted rise to ▲"
            f" means that the percentile was not answered within {frame.timeout_s:g} s. Grey points"
            " would say more about the generator than about the service.",
            [
                Panel(
                    title,
                    "open loop",
                    "planned operations a second (log scale)",
                    f"latency of {at}, ms (log scale)",
                    tuple(rows),
                    level=level,
                )
                for title, rows in panels.items()
            ],
            lambda panel: draw_knees(panel, limits, beyond_ms),
        )
    ]


def _row(frame: Frame, found: Capacity) -> Series | Missing:
    seen = [probe for probe in found.probes if probe.outcomes]
    ended = next((i for i, probe in enumerate(seen) if not math.isfinite(probe.latency_ms)), None)
    drawn = seen[:ended]
    if not drawn:
        why = missing(found.cell) or f"> {frame.timeout_s:g} s at every rate"
        return frame.missing(found.cell, why)
    # The line is that of a cell that holds; where none does it is grey.
    held = [probe for probe in drawn if probe.cell.verdict.status is not Status.INVALID]
    return replace(
        frame.series(
            (held or drawn)[0].cell,
            [probe.rate for probe in drawn],
            [probe.latency_ms for probe in drawn],
            "ms",
            _how_it_ended(found),
            censored_at=None if ended is None else seen[ended].rate,
        ),
        marked=(found.held.rate, found.held.latency_ms) if found.held else None,
    )


def _asked(found: Capacity, others: Sequence[Capacity]) -> list[str]:
    """What tells a search's condition from that of others."""
    every = [other.cell.info["condition"]["asked"] for other in others]
    asked = found.cell.info["condition"]["asked"]
    return [part for part in asked if not all(part in each for each in every)]


def _how_it_ended(search: Capacity) -> str:
    held, missed = search.found.held, search.found.missed
    match search.ending:
        case Ending.FOUND:
            return f"up to {_rate(held)}/s, no more at {_rate(missed)}/s"
        case Ending.LIMIT:
            return f"at least {_rate(held)}/s, the highest rate that was asked for"
        case Ending.BELOW:
            return f"not even {_rate(missed)}/s, the lowest rate that was asked for"
        case Ending.GENERATOR if held is None:
            return f"is not known: at {_rate(missed)}/s already the generator was late"
        case Ending.GENERATOR:
            return f"at least {_rate(held)}/s: at {_rate(missed)}/s the generator was late"
        case Ending.NOT_RUN:
            return missing(search.cell) or "was not tried"
    if held is None:
        return "is not known: there were too few trials"
    if missed is None:
        return f"at least {_rate(held)}/s, as far as its trials went"
    return f"between {_rate(held)}/s and {_rate(missed)}/s, as far as its trials went"


def _disturbed(search: Capacity) -> str:
    return " (other programs were busy there: it may be more)" if search.disturbed else ""


def _rate(value: float | None) -> str:
    return "–" if value is None else figure(value) if value < 10 else f"{value:,.4g}"
