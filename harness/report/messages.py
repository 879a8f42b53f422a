"""What became of messages, as the report says it: their account in a sentence, and as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.analysis.ledger import Ledger, combine
from harness.analysis.summary import Summary
from harness.analysis.trial import TrialResult
from harness.report.words import groups, labels, share
from harness.report.words import whole_number as number

HEADLINE = "acknowledged and lost"
HEADS = (
    "sent",
    "acknowledged",
    "arrived",
    "lost, not acknowledged",
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
class Account:
    """What became of the messages of some trials. What the broker still held when its workers had
    drained it for as long as they may is late, and not lost."""

    kept: Ledger
    lost_acknowledged: int
    lost_unacknowledged: int
    held: int
    """Messages that were still at the broker."""
    read_again: float | None
    """The share of what arrived that a further consumer could read when all had been consumed; None
    where none tried, or where not all had been."""

    @property
    def headline(self) -> str:
        """What was lost, as in `lost none of 1,000 acknowledged messages`."""
        kept = self.kept
        if not kept.sent:
            said = "sent no message"
        elif not kept.acknowledges:
            lost = _of(self.lost_unacknowledged, kept.sent, "sent")
            said = f"acknowledges nothing and lost {lost}"
        elif not kept.acknowledged:
            said = f"acknowledged none of {kept.sent:,} sent messages"
        else:
            said = f"lost {_of(self.lost_acknowledged, kept.acknowledged, 'acknowledged')}"
        return f"{said}, and the broker still held {self.held:,}" if self.held else said

    def blemishes(self, disorder: bool) -> list[str]:
        """What else went wrong, shortly. `disorder`: with what was repeated, and what came behind a
        later message of its key."""
        kept = self.kept
        lost = self.lost_unacknowledged if kept.acknowledges else 0
        said = [
            (lost, "lost without an acknowledgement"),
            (kept.corrupted, "damaged"),
            (kept.unexpected, "never sent here"),
        ]
        if disorder:
            said += [(kept.duplicated, "repeated"), (kept.reordered, BEHIND)]
        return [f"{count:,} {words}" for count, words in said if count]


BEHIND = "behind a later one of their key"


def _of(count: int, whole: int, which: str) -> str:
    noun = "message" if whole == 1 else "messages"
    return f"{f'{count:,}' if count else 'none'} of {whole:,} {which} {noun}"


def account(trials: Iterable[TrialResult]) -> Account | None:
    """The account of those that counted their messages; None where none did."""
    counted = [(t.ledger, t.seen) for t in trials if t.ledger is not None]
    kept = combine([each for each, _ in counted])
    if kept is None:
        return None
    read = [
        (seen.read_again, each)
        for each, seen in counted
        if seen.read_again is not None and seen.left == 0
    ]
    arrived = sum(each.arrived for _, each in read)
    held = [_held(each, seen.left) for each, seen in counted]
    ledgers = [each for each, _ in counted]
    return Account(
        kept,
        sum(max(0, each.lost_acknowledged - n) for each, n in zip(ledgers, held, strict=True)),
        sum(
            max(0, each.lost_unacknowledged - max(0, n - each.lost_acknowledged))
            for each, n in zip(ledgers, held, strict=True)
        ),
        sum(held),
        sum(again for again, _ in read) / arrived if arrived else None,
    )


def _held(kept: Ledger, left: int | None) -> int:
    """What a broker still had; all that is missing where it did not say."""
    return kept.lost_acknowledged + kept.lost_unacknowledged if left is None else left


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
        Fate(
            id=cell.info["id"],
            name=named[cell.info["id"]],
            load=group.title,
            lost=f"{found.lost_acknowledged:,}" if found.kept.acknowledges else NOTHING,
            alarming=found.lost_acknowledged > 0,
            figures=_figures(found),
            said=_said(found),
        )
        for group in groups(summary)
        for cell in group.cells
        if (found := account(cell.trials)) is not None
    ]


def _figures(found: Account) -> list[str]:
    kept = found.kept
    counts = (
        kept.arrived,
        found.lost_unacknowledged,
        kept.duplicated,
        kept.reordered,
        kept.unexpected,
        kept.recovered,
        kept.corrupted,
        kept.refused,
        found.held,
    )
    return [
        f"{kept.sent:,}",
        f"{kept.acknowledged:,}" if kept.acknowledges else NOTHING,
        *(f"{count:,}" for count in counts),
        number(kept.longest_gap_ms),
        NOTHING if found.read_again is None else share(found.read_again),
    ]


def _said(found: Account) -> list[str]:
    # What the broker still held is not called lost.
    said = replace(
        found.kept,
        lost_acknowledged=found.lost_acknowledged,
        lost_unacknowledged=found.lost_unacknowledged,
    ).words
    if found.held:
        said.append(
            f"the broker still held {found.held:,} when the drain had lasted as long as it may: up"
            " to so many of those that did not arrive are late, and not lost"
        )
    return said
