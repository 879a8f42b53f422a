"""What a call's cost is made of: floor + codec + client library + server library = measured, with
the rest that is not explained. Pure.

It takes five variants of a style, C and S being the libraries whose call is taken apart:

    floor           null + null
    codec           asyncio + asyncio  -  null + null
    client library  C + asyncio        -  asyncio + asyncio
    server library  asyncio + S        -  asyncio + asyncio
    rest            C + S              -  what the four come to

Floor, then two factors and their interaction, as in a 2 x 2 factorial design (Montgomery, Design
and Analysis of Experiments, 8th ed., section 5.1). The codec's part has what is done about the
order in it, which is the same in all styles. Each difference is one between trials of the same
block, which had the same schedule; a part is the median over blocks, and may be below zero.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.analysis.verdicts import RULES, Code, Status

if TYPE_CHECKING:
    from harness.analysis.summary import CellResult
    from harness.analysis.trial import TrialResult

PARTS = ("floor", "codec", "client library", "server library", "rest")
FLOOR = ("null", "null")
RAW = ("asyncio", "asyncio")
_WHOLE = (Status.VALID, Status.QUALIFIED)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is taken apart."""

    name: str
    unit: str
    of: "Callable[[TrialResult], float]"
    """Its value in a trial; NaN where that was not seen."""


@dataclass(frozen=True, slots=True)
class Part:
    """The median over blocks, the least and the most."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """As in summary.json."""
        return [round(each, 6) for each in (self.value, self.low, self.high)]


@dataclass(frozen=True, slots=True)
class Stack:
    """One quantity of one cell, taken apart."""

    cell: "CellResult"
    quantity: Quantity
    blocks: int
    parts: Mapping[str, Part]
    """By the names of PARTS; the medians come to that of `measured`."""
    measured: Part

    def to_json(self) -> dict[str, Any]:
        """As in summary.json: [median over blocks, least, most] of each part."""
        return {
            "cell": self.cell.info["id"],
            "quantity": self.quantity.name,
            "unit": self.quantity.unit,
            "blocks": self.blocks,
            "parts": {name: part.to_json() for name, part in self.parts.items()},
            "measured": self.measured.to_json(),
        }


def _latency(trial: "TrialResult") -> float:
    return trial.latency.p50


def _cpu(role: str) -> "Callable[[TrialResult], float]":
    def of(trial: "TrialResult") -> float:
        used, completed = trial.seen.cpu_ns.get(role), trial.completed_in_window
        return used / 1e3 / completed if used is not None and completed else math.nan

    return of


QUANTITIES = (
    Quantity("latency p50", "ms", _latency),
    Quantity("client CPU", "µs", _cpu("generator")),
    Quantity("server CPU", "µs", _cpu("server")),
)


def libraries(cell: "CellResult") -> tuple[str, str]:
    """Client and server of a cell's variant, as the catalog names them."""
    client, _, server = cell.info["variant"].partition("=")[0].partition(":")[2].partition("+")
    return client, server


def stacks(cells: "Sequence[CellResult]") -> list[Stack]:
    """Every quantity of every cell whose floor and four companions are among `cells` and usable."""
    return [
        stack
        for measured, others in _taken_apart(cells)
        if not _unusable((measured, *others))
        for quantity in QUANTITIES
        if (stack := _stack(measured, others, quantity)) is not None
    ]


def broken(cells: "Sequence[CellResult]") -> "list[tuple[CellResult, str]]":
    """Cells that cannot be taken apart though the cells for it are there, and why."""
    return [
        (measured, why)
        for measured, others in _taken_apart(cells)
        if (why := _unusable((measured, *others)))
    ]


def _taken_apart(
    cells: "Sequence[CellResult]",
) -> "list[tuple[CellResult, tuple[CellResult, ...]]]":
    """Each cell of two libraries, with its floor, its raw one, and one raw on either side."""
    at: dict[Any, CellResult] = {}
    for cell in cells:
        if "=" not in cell.info["variant"] and cell.info["load"]["model"] != "closed":
            at[_asked(cell), libraries(cell)] = cell
    found = []
    for (asked, (client, server)), cell in at.items():
        needed = [FLOOR, RAW, (client, RAW[1]), (RAW[0], server)]
        if (client, server) not in needed and all((asked, each) in at for each in needed):
            found.append((cell, tuple(at[asked, each] for each in needed)))
    return found


def _asked(cell: "CellResult") -> tuple[str, ...]:
    condition = cell.info["condition"]
    parts = [*condition["asked"], "", *condition["how"]]
    return (cell.info["style"], cell.info["load"]["words"], *parts)


def _unusable(cells: "Sequence[CellResult]") -> str:
    for cell in cells:
        for reason in cell.verdict.reasons:
            if RULES[reason.code][0] not in _WHOLE and reason.code is not Code.NULL:
                return f"{cell.info['variant']} is {RULES[reason.code][0].value}: {reason.detail}"
    return ""


def _stack(
    measured: "CellResult", others: "Sequence[CellResult]", quantity: Quantity
) -> Stack | None:
    rows = []
    for values in _by_block((measured, *others), quantity):
        whole, floor, raw, client, server = values
        parts = (floor, raw - floor, client - raw, server - raw)
        rows.append((*parts, whole - sum(parts), whole))
    if not rows:
        return None
    columns = [Part(median(v), min(v), max(v)) for v in zip(*rows, strict=True)]
    *known, rest, measured_part = columns
    # Medians do not add up by themselves; what they lack is not explained either.
    left = measured_part.value - sum(part.value for part in known)
    parts_by_name = dict(zip(PARTS, (*known, Part(left, rest.low, rest.high)), strict=True))
    return Stack(measured, quantity, len(rows), parts_by_name, measured_part)


def _by_block(cells: "Sequence[CellResult]", quantity: Quantity) -> list[list[float]]:
    """The values of all cells in each block in which all have one."""
    by_cell = [{trial.number: quantity.of(trial) for trial in cell.trials} for cell in cells]
    blocks = sorted(set.intersection(*map(set, by_cell)))
    rows = [[values[block] for values in by_cell] for block in blocks]
    return [row for row in rows if all(map(math.isfinite, row))]
