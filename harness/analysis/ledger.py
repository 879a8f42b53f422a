"""What became of every message of a trial, from its producer's side and its consumers'. Pure.

The whole trial counts, warm-up included: a message is a message.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from harness.results import FAILURES, OUTCOMES, TIMEOUT, Arrivals, Ints, Samples

Mask = npt.NDArray[np.bool_]

_FIRST_FAILURE = OUTCOMES.index(FAILURES[0])
REFUSALS = tuple(OUTCOMES.index(word) for word in ("rejected", "overloaded"))
"""The outcomes by which a producer knows that a message was not taken."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Messages counted by what became of them, and the rows of workers by what they are.

    A row is *ours* if it has the producer's number and the sequence of a message that was sent. A
    message has *arrived* if one of our rows of it is intact, and the first of those, by the instant
    at which a worker was done with it, is its first arrival.

    Three accounts must balance, with sides from different columns:

    - sent (instants of sending) = arrived + spoiled (rows) + lost_acknowledged (acknowledgements
      without rows) + lost_unacknowledged + refused (outcomes without rows);
    - rows = arrived + duplicated + corrupted + unexpected;
    - sent = acknowledged (acknowledgements) + unacknowledged (outcomes); where nobody acknowledges,
      acknowledged = 0 instead.
    """

    acknowledges: bool
    """Whether an acknowledgement can exist; not in durability class A."""
    sent: int
    """Messages that have an instant of sending."""
    acknowledged: int
    """Messages that have an instant of acknowledgement, be it late."""
    unacknowledged: int
    """Messages without acknowledgement that timed out or failed; 0 where nobody acknowledges."""
    arrived: int
    """Messages that arrived intact, once or more."""
    lost_acknowledged: int
    """Messages that were acknowledged and never arrived, not even damaged."""
    lost_unacknowledged: int
    """Messages that were sent, neither acknowledged nor refused, timed out or failed, and never
    arrived, not even damaged."""
    refused: int
    """Messages of outcome REFUSALS that were never acknowledged and never arrived: their producer
    knows, and nothing is lost."""
    spoiled: int
    """Messages all of whose rows are damaged. They explain themselves and are not lost."""
    recovered: int
    """Messages that arrived although their outcome is a failure, or although they were never
    acknowledged where that is done."""
    rows: int
    """All rows of all workers."""
    duplicated: int
    """Intact rows of ours beyond a message's first arrival."""
    corrupted: int
    """Rows of ours with a body that is not the one that was stamped."""
    unexpected: int
    """Rows that are not ours: of another producer, without a stamp that can be read, or of a
    sequence that was never sent."""
    reordered: int
    """Messages whose first arrival comes after that of a later message of their key."""
    longest_gap_ms: float
    """The longest time from one first arrival to the next one while messages were outstanding.

    It begins at the former arrival, or when the earliest message that had not arrived by then was
    sent, if that is later: time in which nothing could arrive does not count. A message that never
    arrives is outstanding from its sending on. 0 for fewer than two arrivals.
    """

    @property
    def clean(self) -> bool:
        """Nothing is lost, duplicated, reordered, unexpected or corrupted."""
        return not (
            self.lost_acknowledged
            or self.lost_unacknowledged
            or self.duplicated
            or self.reordered
            or self.unexpected
            or self.corrupted
        )

    @property
    def imbalances(self) -> list[str]:
        """What does not add up, in words."""
        wrong = []
        ends = self.arrived + self.spoiled + self.lost_acknowledged
        if self.sent != ends + self.lost_unacknowledged + self.refused:
            wrong.append(
                f"sent {self.sent} is not arrived {self.arrived} + spoiled {self.spoiled}"
                f" + lost {self.lost_acknowledged} acknowledged"
                f" and {self.lost_unacknowledged} not + refused {self.refused}"
            )
        if self.rows != self.arrived + self.duplicated + self.corrupted + self.unexpected:
            wrong.append(
                f"rows {self.rows} is not arrived {self.arrived} + duplicated {self.duplicated}"
                f" + corrupted {self.corrupted} + unexpected {self.unexpected}"
            )
        if self.acknowledges and self.sent != self.acknowledged + self.unacknowledged:
            wrong.append(
                f"sent {self.sent} is not acknowledged {self.acknowledged}"
                f" + unacknowledged {self.unacknowledged}"
            )
        if not self.acknowledges and self.acknowledged:
            wrong.append(f"acknowledged {self.acknowledged} where nobody acknowledges")
        return wrong

    @property
    def words(self) -> list[str]:
        """Sentences for a report, without full stops, the worst first."""
        if not self.sent and not self.rows:
            return ["no message was sent"]
        lost, recovered = self.lost_unacknowledged, self.recovered
        if self.acknowledges:
            lost_words = f"{_of(lost, self.unacknowledged, 'unacknowledged')} lost"
            recovered_words = "there after a failure, or without an acknowledgement"
        else:
            lost_words = f"{_of(lost, self.sent, 'sent')} lost, where nobody acknowledges"
            recovered_words = "there after a failure"
        behind = "behind a later one of the same key"
        said = [
            (
                self.lost_acknowledged,
                f"{_of(self.lost_acknowledged, self.acknowledged, 'acknowledged')} lost",
            ),
            (self.corrupted, f"{_many(self.corrupted, 'arrival')} damaged"),
            (lost, lost_words),
            (self.unexpected, f"{_many(self.unexpected, 'arrival')} of no message sent here"),
            (self.duplicated, f"{_many(self.duplicated, 'arrival')} a repeat of an earlier one"),
            (self.reordered, f"{_of(self.reordered, self.arrived, 'arrived')} {behind}"),
            (recovered, f"{_of(recovered, self.sent, 'sent')} {recovered_words}"),
            (
                self.refused,
                f"{_of(self.refused, self.sent, 'sent')} refused, which is known",
            ),
        ]
        sentences = [words for number, words in said if number]
        if self.clean and self.arrived:
            whole = f"{_of(self.arrived, self.sent, 'sent')} there, once, intact and in order"
            sentences.insert(0, whole)
        return sentences

    def to_json(self) -> dict[str, int | float | bool]:
        """As in summary.json."""
        return asdict(self) | {"longest_gap_ms": round(self.longest_gap_ms, 6)}


def _of(number: int, whole: int, which: str) -> str:
    """As in `3 of 1,000 acknowledged messages are`."""
    noun = "message" if whole == 1 else "messages"
    return f"{number:,} of {whole:,} {which} {noun} {'is' if number == 1 else 'are'}"


def _many(number: int, noun: str) -> str:
    """As in `3 arrivals are`."""
    return f"1 {noun} is" if number == 1 else f"{number:,} {noun}s are"


def ledger(
    samples: Samples, arrivals: Arrivals, producers: Sequence[int], keys: int, acknowledges: bool
) -> Ledger:
    """The ledger of one trial, of which message n is about key n % `keys`, and was sent by the one
    of `producers` in whose turn it was.

    Rows of several workers may stand one after the other; rows of the same instant count in the
    order in which they stand. `acknowledges`: see Ledger.
    """
    sent, acked = samples.sent != 0, samples.acked != 0
    row = samples.rows(arrivals.sequence)
    ours = (row >= 0) & (
        arrivals.producer == np.array(producers)[arrivals.sequence % len(producers)]
    )
    ours[ours] = sent[row[ours]]
    intact = ours & arrivals.intact
    damaged = ours & ~arrivals.intact

    order = np.flatnonzero(intact)
    order = order[np.argsort(arrivals.at[order], kind="stable")]
    first = _first_of_each(row[order], len(samples))
    message, at = row[order][first], arrivals.at[order][first]
    arrived = np.zeros(len(samples), np.bool_)
    arrived[message] = True
    spoiled = np.zeros(len(samples), np.bool_)
    spoiled[row[damaged]] = True
    spoiled &= ~arrived

    missing = sent & ~arrived & ~spoiled
    failed = samples.outcome >= _FIRST_FAILURE
    unanswered = ~acked & (failed | (samples.outcome == TIMEOUT))
    refused = ~acked & np.isin(samples.outcome, REFUSALS)
    unheard = failed | ~acked if acknowledges else failed
    return Ledger(
        acknowledges=acknowledges,
        sent=_number(sent),
        acknowledged=_number(acked),
        unacknowledged=_number(unanswered) if acknowledges else 0,
        arrived=_number(arrived),
        lost_acknowledged=_number(missing & acked),
        lost_unacknowledged=_number(missing & unanswered & ~refused),
        refused=_number(missing & refused),
        spoiled=_number(spoiled),
        recovered=_number(arrived & unheard),
        rows=len(arrivals),
        duplicated=_number(~first),
        corrupted=_number(damaged),
        unexpected=_number(~ours),
        reordered=_reordered(arrivals.sequence[order][first], keys),
        longest_gap_ms=_longest_gap(message, at, samples.sent, sent & ~arrived) / 1e6,
    )


def combine(ledgers: Sequence[Ledger]) -> Ledger | None:
    """The ledger of a cell, from those of its trials: sums, and the longest gap of all. None
    without trials."""
    if not ledgers:
        return None
    columns = {name: [getattr(one, name) for one in ledgers] for name in asdict(ledgers[0])}
    return Ledger(
        **{name: sum(values) for name, values in columns.items()}
        | {
            "acknowledges": all(columns["acknowledges"]),
            "longest_gap_ms": max(columns["longest_gap_ms"]),
        }
    )


def _number(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _first_of_each(values: Ints, below: int) -> Mask:
    """Where a value, 0 to `below` - 1, occurs for the first time."""
    places = np.arange(len(values))
    first = np.empty(below, np.int64)
    # Of several assignments to one element the last one stays.
    first[values[::-1]] = places[::-1]
    is_first: Mask = first[values] == places
    return is_first


def _reordered(sequence: Ints, keys: int) -> int:
    """How many of `sequence` (each once) stand behind a larger one of the same key."""
    if not len(sequence):
        return 0
    key = sequence % keys
    by_key = np.argsort(key, kind="stable")
    # A key's values are all above those of the keys before it, so that one running maximum does.
    rank = key[by_key] * (int(sequence.max()) + 1) + sequence[by_key]
    return _number(rank < np.maximum.accumulate(rank))


def _longest_gap(message: Ints, at: Ints, sent: Ints, never: Mask) -> int:
    """See Ledger.longest_gap_ms, in ns: of first arrivals in their order, the instants of sending
    of all messages, and which of them never arrived."""
    if len(message) < 2:
        return 0
    outstanding = np.minimum.accumulate(sent[message][:0:-1])[::-1]
    if never.any():
        outstanding = np.minimum(outstanding, sent[never].min())
    return max(0, int((at[1:] - np.maximum(at[:-1], outstanding)).max()))
