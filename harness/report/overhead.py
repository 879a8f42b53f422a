"""The tables of what an operation costs: CPU, memory and context switches by role, and the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.analysis.overhead import SHOWN, Overhead, Passage, RoleCost
from harness.analysis.summary import CellResult, Summary
from harness.report import words

USE = (
    "CPU, µs: user",
    "kernel",
    "at rest, CPU ms a second",
    "peak memory, MiB",
    "switches: to wait",
    "preempted",
)
WIRE = ("bytes: there", "back", "segments: there", "back", "with payload: there", "back")
COST = "cost of a million"


@dataclass(frozen=True, slots=True)
class Row:
    """A cell: what it is called, and a line for each role, or each two roles."""

    id: str
    name: str
    load: str
    lines: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Tables:
    """What the page shows."""

    use_heads: Sequence[str]
    use: Sequence[Row]
    wire_heads: Sequence[str]
    wire: Sequence[Row]
    others: str
    """What was busy beside the run, in a sentence; empty where it was not seen."""
    price: str
    """What was paid for, in words; empty without a price."""


def tables(summary: Summary) -> Tables:
    """Of all cells that left something to say."""
    named = words.labels(summary.cells)
    price = summary.info["scenario"].get("price")
    cells = [cell for cell in summary.cells if cell.trials]
    use = [_row(cell, named, _use_lines(cell.overhead, bool(price))) for cell in cells]
    wire = [_row(cell, named, [_wire_line(p) for p in cell.overhead.passages]) for cell in cells]
    return Tables(
        (*USE, COST) if price else USE,
        [row for row in use if row.lines],
        WIRE,
        [row for row in wire if row.lines],
        _others(cells, named),
        _price(price) if price else "",
    )


def _row(
    cell: CellResult, named: Mapping[str, str], lines: Sequence[tuple[str, Sequence[str]]]
) -> Row:
    load = ", ".join([cell.info["load"]["words"], *cell.info["condition"]["asked"]])
    return Row(cell.info["id"], named[cell.info["id"]], load, lines)


def _use_lines(overhead: Overhead, priced: bool) -> list[tuple[str, list[str]]]:
    cost = overhead.cost_per_million or {}
    lines = [
        (_shown(role), _use(use) + ([_money(cost.get(role))] if priced else []))
        for role, use in overhead.roles.items()
    ]
    if priced and lines:
        apart = [role for role in ("traffic", "total") if role in cost]
        lines += [(role, [""] * len(USE) + [_money(cost[role])]) for role in apart]
    return lines


def _use(use: RoleCost) -> list[str]:
    number = words.whole_number
    return [
        number(use.user_us) if use.user_us is not None else f"{number(use.cpu_us)} in all",
        number(use.system_us),
        "–" if use.idle_ms_per_s is None else f"{use.idle_ms_per_s:,.1f}",
        "–" if use.peak_bytes is None else f"{use.peak_bytes / 2**20:,.0f}",
        _fine(use.voluntary),
        _fine(use.involuntary),
    ]


def _wire_line(passage: Passage) -> tuple[str, list[str]]:
    near, far = map(_shown, passage.between)
    figures = [words.whole_number(value) for value in passage.bytes]
    figures += [_fine(value) for value in (*passage.segments, *passage.data_segments)]
    if near == far:
        return f"between {near}s", [f if i % 2 == 0 else "–" for i, f in enumerate(figures)]
    return f"{near} ↔ {far}", figures


def _others(cells: Sequence[CellResult], named: Mapping[str, str]) -> str:
    seen = [
        (busy, f"{named[cell.info['id']]} at {cell.info['load']['words']}")
        for cell in cells
        if (busy := cell.overhead.other_busy) is not None
    ]
    if not seen:
        return ""
    most, where = max(seen)
    rest = [c.overhead.idle_other_busy for c in cells if c.overhead.idle_other_busy is not None]
    at_rest = f"; before the load {median(rest):.1%}" if rest else ""
    middle = median(busy for busy, _ in seen)
    return f"{middle:.1%} of one processor, {most:.1%} at most ({where}){at_rest}"


def _price(price: Mapping[str, float]) -> str:
    paid = {
        "core_hour": "a processor in use for an hour",
        "gib_hour": "a GiB of memory for an hour, at its peak for as long as a million take",
        "gb": "10⁹ bytes between two processes",
    }
    return "; ".join(f"{price[key]:g} for {what}" for key, what in paid.items() if price[key])


def _shown(role: str) -> str:
    return SHOWN.get(role, role)


def _fine(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _money(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}"
