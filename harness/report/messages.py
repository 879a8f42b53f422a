"""What became of messages, as the report says it: each cell's headline and its row of a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.ledger import Ledger
from harness.analysis.summary import CellResult, Summary
from harness.report.words import labels, share
from harness.report.words import whole_number as number

HEADLINE = "acknowl\u00adedged and lost"
HEADS = (
    "sent",
    "acknowl\u00adedged",
    "arrived",
    "lost, not acknowl\u00adedged",
    "duplicated",
    "reordered within its key",
    "unexpected",
    "recovered",
    "corrupted",
    "refused",
    "still at the broker",
    "longest gap, ms",
    "can be read again",
)
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Missing:
    """Messages that did not arrive. What the broker still held is late, and not lost."""

    acknowledged: int
    """Acknowledged and lost."""
    unacknowledged: int
    """Lost without an acknowledgement."""
    held: int
    """Still at the broker."""


def missing_of(cell: CellResult) -> Missing:
    """The messages of all of a cell's trials that did not arrive."""
    acknowledged = unacknowledged = held = 0
    for trial in cell.trials:
        if trial.ledger is None:
            continue
        left, kept = trial.seen.left, trial.ledger
        acknowledged += max(0, kept.lost_acknowledged - left)
        late = max(0, left - kept.lost_acknowledged)
        unacknowledged += max(0, kept.lost_unacknowledged - late)
        held += left
    return Missing(acknowledged, unacknowledged, held)


def headline(cell: CellResult) -> str:
    """What a cell lost, as in `lost none of 1,000 acknowledged messages`; empty without messages."""
    kept = cell.ledger
    if kept is None:
        return ""
    missing = missing_of(cell)
    if not kept.sent:
        said = "sent no message"
    elif not kept.acknowledges:
        said = f"acknowledges nothing and lost {_of(missing.unacknowledged, kept.sent, 'sent')}"
    elif not kept.acknowledged:
        said = f"acknowledged none of {kept.sent:,} sent messages"
    else:
        said = f"lost {_of(missing.acknowledged, kept.acknowledged, 'acknowledged')}"
    return f"{said}, and still held {missing.held:,}" if missing.held else said


def _of(count: int, whole: int, which: str) -> str:
    noun = "message" if whole == 1 else "messages"
    return f"{f'{count:,}' if count else 'none'} of {whole:,} {which} {noun}"


def blemishes(cell: CellResult, disorder: bool = True) -> list[str]:
    """What else went wrong with a cell's messages, shortly. `disorder`: with what was repeated and
    what came behind a later message of its key."""
    kept = cell.ledger
    if kept is None:
        return []
    unacknowledged = missing_of(cell).unacknowledged if kept.acknowledges else 0
    said = [
        (unacknowledged, "lost without an acknowledgement"),
        (kept.corrupted, "damaged"),
        (kept.unexpected, "never sent here"),
    ]
    if disorder:
        said += [(kept.duplicated, "repeated"), (kept.reordered, "behind a later one of their key")]
    return [f"{count:,} {words}" for count, words in said if count]


@dataclass(frozen=True, slots=True)
class Fate:
    """A cell as the table of messages shows it."""

    id: str
    name: str
    load: str
    lost: str
    """Acknowledged and lost: the headline."""
    alarming: bool
    """Whether the headline is a number above 0."""
    figures: Sequence[str]
    """Under HEADS."""
    said: Sequence[str]
    """Sentences without full stops, the worst first."""


def fates(summary: Summary) -> list[Fate]:
    """A row for every cell whose messages were counted, whatever its verdict."""
    named = labels(summary.cells)
    return [
        _fate(cell, cell.ledger, named[cell.info["id"]])
        for cell in summary.cells
        if cell.ledger is not None
    ]


def _fate(cell: CellResult, kept: Ledger, name: str) -> Fate:
    missing = missing_of(cell)
    said = list(kept.words)
    if missing.held:
        said.append(
            f"the broker still held {missing.held:,} when the drain had lasted as long as it may:"
            " those are late, and not lost"
        )
    return Fate(
        id=cell.info["id"],
        name=name,
        load=", ".join([cell.info["load"]["words"], *cell.info["condition"]["asked"]]),
        lost=f"{missing.acknowledged:,}" if kept.acknowledges else NOTHING,
        alarming=missing.acknowledged > 0,
        figures=[
            f"{kept.sent:,}",
            f"{kept.acknowledged:,}" if kept.acknowledges else NOTHING,
            f"{kept.arrived:,}",
            f"{missing.unacknowledged:,}",
            f"{kept.duplicated:,}",
            f"{kept.reordered:,}",
            f"{kept.unexpected:,}",
            f"{kept.recovered:,}",
            f"{kept.corrupted:,}",
            f"{kept.refused:,}",
            f"{missing.held:,}",
            number(kept.longest_gap_ms if math.isfinite(kept.longest_gap_ms) else None),
            NOTHING if cell.read_again is None else share(cell.read_again),
        ],
        said=said,
    )
