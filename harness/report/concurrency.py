"""What more users bring in a closed loop, in sentences."""

import math
from collections.abc import Sequence

from harness.analysis.knee import knee
from harness.analysis.summary import CellResult
from harness.condition import counted
from harness.report.words import Group, labels, ms, without
from harness.report.words import whole_number as number

ENOUGH = 3
"""Numbers of users from which on there is a curve."""


def concurrency_words(groups: Sequence[Group], named_among: Sequence[CellResult]) -> list[str]:
    """A sentence for each variant whose users grow, of those in `groups`; `named_among` are all
    cells of the run."""
    named = labels(named_among)
    lines: dict[tuple[str, ...], dict[float, CellResult]] = {}
    for group in groups:
        for cell in group.cells:
            if cell.info["load"]["users"] is not None and cell.throughput_per_s:
                words = (
                    named[cell.info["id"]],
                    *without(cell.info["load"]["words"].split(", "), "user"),
                    *cell.info["condition"]["asked"],
                )
                lines.setdefault(words, {})[float(cell.info["load"]["users"])] = cell
    every = [set(words[1:]) for words in lines]
    said = []
    for (name, *asked), cells in lines.items():
        if len(cells) < ENOUGH:
            continue
        own = [part for part in asked if not all(part in each for each in every)]
        said.append(f"{', '.join([name, *own])}: {_curve(dict(sorted(cells.items())))}.")
    return said


def _curve(cells: dict[float, CellResult]) -> str:
    found = knee({users: cell.throughput_per_s or 0.0 for users, cell in cells.items()})
    assert found is not None
    (fewest, first), *_, (most, last) = cells.items()
    best = max(cells, key=lambda users: cells[users].throughput_per_s or 0.0)
    waits = [cell.latency.p50 for cell in (first, last)]
    told = (
        f"with {most:g} half of their orders take {ms(waits[1])} instead of {ms(waits[0])}"
        if all(map(math.isfinite, waits))
        else f"with {most:g} there are {number(last.throughput_per_s)}/s"
    )
    still = ", or further on, since more users still brought more" if found.rising else ""
    return (
        f"{number(first.throughput_per_s)}/s with {counted(int(fewest), 'user')}, at most"
        f" {number(found.per_s)}/s with {best:g}; from about {found.users:,.2g} users on{still},"
        f" they wait for each other: {told}"
    )
