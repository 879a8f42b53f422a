"""Why cells are not valid, or not shown, and what would mend it."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import RULES, Code, Reason, Status
from harness.report import words


def not_shown(summary: Summary) -> list[tuple[str, str, str]]:
    """Id, name and reason of the cells that no chart shows. Of one that could not be run the reason
    says what would mend it."""
    named = cell_names(summary)
    found = []
    for cell in summary.cells:
        if why := words.missing(cell):
            lacks = [r.detail for r in cell.verdict.reasons if r.code is Code.UNAVAILABLE]
            why = f"{cell.verdict.status.value}: {'; '.join(lacks)}" if lacks else why
            found.append((cell.info["id"], named[cell.info["id"]], why))
    return found


def cell_names(summary: Summary) -> dict[str, str]:
    """What a cell is called where it stands without others of its load, by its id."""
    named = words.labels(summary.cells, whole=True)
    return {
        cell.info["id"]: f"{named[cell.info['id']]} at {group.title}"
        for group in words.groups(summary)
        for cell in group.cells
    }


@dataclass(frozen=True, slots=True)
class Explained:
    """Cells that share their verdict and every reason for it."""

    status: str
    cells: Sequence[tuple[str, str]]
    """Id and name of each."""
    reasons: Sequence[tuple[str, str, str]]
    """What, what was seen, and what to do."""


def verdict_list(summary: Summary) -> list[Explained]:
    """Every verdict but `valid`, with its cells."""
    named = cell_names(summary)
    alike: dict[tuple[Reason, ...], list[CellResult]] = {}
    for cell in summary.cells:
        if cell.verdict.status is not Status.VALID:
            alike.setdefault(cell.verdict.reasons, []).append(cell)
    return [
        Explained(
            cells[0].verdict.status.value,
            [(cell.info["id"], named[cell.info["id"]]) for cell in cells],
            [(r.code.value.replace("_", " "), r.detail, RULES[r.code][1]) for r in reasons],
        )
        for reasons, cells in alike.items()
    ]
