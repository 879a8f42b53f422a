"""The ledger: each fault by its own name, nothing where there is none, and slow arithmetic that
agrees."""

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.ledger import Ledger, combine, ledger
from harness.results import DONE, DROPPED, OUTCOMES, TIMEOUT, Arrivals, Samples

PRODUCER, STRANGER, UNSTAMPED = 7, 8, 0
START = 10**9
APART, TRIP = 1_000, 500_000
MESSAGES, KEYS, WORKERS = 10_000, 100, 4
FAULTS = (
    "lost_acknowledged",
    "lost_unacknowledged",
    "duplicated",
    "reordered",
    "unexpected",
    "corrupted",
)
NOTABLE = (*FAULTS, "recovered", "refused", "spoiled")


@dataclass(frozen=True)
class Row:
    """A worker's row, as a value."""

    sequence: int
    at: int
    worker: int = 0
    intact: bool = True
    producer: int = PRODUCER


@dataclass(frozen=True)
class Message:
    """What its producer knows of a message."""

    sent: int
    acked: int
    outcome: int


def samples_of(messages: list[Message]) -> Samples:
    """As the generator leaves them; the planned instants say nothing here."""
    count = len(messages)
    return Samples(
        planned=START + np.arange(count, dtype=np.int64) * APART,
        sent=np.array([m.sent for m in messages], np.int64),
        acked=np.array([m.acked for m in messages], np.int64),
        processed=np.zeros(count, np.int64),
        done=np.zeros(count, np.int64),
        outcome=np.array([m.outcome for m in messages], np.int8),
        measured=np.ones(count, np.bool_),
        lane=np.zeros(count, np.int32),
        meta={},
    )


def arrivals_of(rows: list[Row]) -> Arrivals:
    """Rows as columns."""
    return Arrivals(
        producer=np.array([r.producer for r in rows], np.int64),
        sequence=np.array([r.sequence for r in rows], np.int64),
        at=np.array([r.at for r in rows], np.int64),
        partition=np.array([r.worker for r in rows], np.int32),
        worker=np.array([r.worker for r in rows], np.int32),
        intact=np.array([r.intact for r in rows], np.bool_),
    )


def healthy(count: int = MESSAGES, keys: int = KEYS) -> tuple[Samples, Arrivals]:
    """All sent, acknowledged and processed, by several workers with keys of their own."""
    number = np.arange(count, dtype=np.int64)
    sent = START + number * APART
    worker = ((number % keys) % WORKERS).astype(np.int32)
    sequence = np.argsort(worker, kind="stable").astype(np.int64)
    samples = Samples(
        planned=sent - 100,
        sent=sent,
        acked=sent + 2 * APART,
        processed=sent + TRIP,
        done=sent + TRIP,
        outcome=np.full(count, DONE, np.int8),
        measured=np.ones(count, np.bool_),
        lane=np.zeros(count, np.int32),
        meta={},
    )
    arrivals = Arrivals(
        producer=np.full(count, PRODUCER, np.int64),
        sequence=sequence,
        at=sent[sequence] + TRIP,
        partition=worker[sequence],
        worker=worker[sequence],
        intact=np.ones(count, np.bool_),
    )
    return samples, arrivals


def picked(arrivals: Arrivals, rows: np.typing.NDArray[np.int64]) -> Arrivals:
    """The rows of these numbers, in this order."""
    return Arrivals(*(getattr(arrivals, name)[rows] for name in asdict(arrivals)))


def dropped(arrivals: Arrivals, row: int) -> Arrivals:
    """A consumer that loses a message."""
    return picked(arrivals, np.delete(np.arange(len(arrivals)), row))


def repeated(arrivals: Arrivals, row: int) -> Arrivals:
    """A consumer that does one message twice, the second time at once."""
    return picked(arrivals, np.insert(np.arange(len(arrivals)), row, row))


def swapped(arrivals: Arrivals, row: int) -> Arrivals:
    """A consumer that does the next message of a key before this one."""
    alike = np.flatnonzero(arrivals.sequence % KEYS == arrivals.sequence[row] % KEYS)
    place = min(int(np.searchsorted(alike, row)), len(alike) - 2)
    first, second = alike[place], alike[place + 1]
    sequence = arrivals.sequence.copy()
    sequence[[first, second]] = sequence[[second, first]]
    return replace(arrivals, sequence=sequence)


def corrupted(arrivals: Arrivals, row: int) -> Arrivals:
    """A message whose body changed on its way."""
    intact = arrivals.intact.copy()
    intact[row] = False
    return replace(arrivals, intact=intact)


def notable(found: Ledger) -> dict[str, int]:
    """What is wrong or strange, without what is not."""
    return {name: getattr(found, name) for name in NOTABLE if getattr(found, name)}


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        (dropped, {"lost_acknowledged": 1}),
        (repeated, {"duplicated": 1}),
        (swapped, {"reordered": 1}),
        (corrupted, {"corrupted": 1, "spoiled": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@settings(max_examples=40)
@given(row=st.integers(0, MESSAGES - 1))
def test_one_fault_in_ten_thousand_is_found_by_its_own_name_alone(
    fault: Callable[[Arrivals, int], Arrivals], names: dict[str, int], row: int
) -> None:
    samples, arrivals = healthy()
    found = ledger(samples, fault(arrivals, row), [PRODUCER], KEYS, True)
    assert notable(found) == names
    assert not found.clean
    assert found.imbalances == []
    assert len(found.words) == 1


def test_a_healthy_million_is_clean() -> None:
    samples, arrivals = healthy(1_000_000, 1_000)
    found = ledger(samples, arrivals, [PRODUCER], 1_000, True)
    assert found.clean
    assert notable(found) == {}
    assert found.imbalances == []
    assert found.sent == found.acknowledged == found.arrived == found.rows == 1_000_000
    assert found.longest_gap_ms == APART / 1e6
    assert found.words == [
        "1,000,000 of 1,000,000 sent messages are there, once, intact and in order"
    ]


def slowly(
    messages: list[Message], rows: list[Row], keys: int, acknowledges: bool
) -> dict[str, int | float]:
    """The ledger's counts, message by message."""
    refusals = [OUTCOMES.index("rejected"), OUTCOMES.index("overloaded")]
    count: dict[str, int | float] = dict.fromkeys(
        (*NOTABLE, "sent", "acknowledged", "unacknowledged", "arrived"), 0
    )
    count["rows"] = len(rows)
    firsts: list[Row] = []
    damaged = set()
    for row in sorted(rows, key=lambda row: row.at):
        known = row.producer == PRODUCER and 0 <= row.sequence < len(messages)
        if not known or not messages[row.sequence].sent:
            count["unexpected"] += 1
        elif not row.intact:
            count["corrupted"] += 1
            damaged.add(row.sequence)
        elif any(first.sequence == row.sequence for first in firsts):
            count["duplicated"] += 1
        else:
            later = (f.sequence > row.sequence for f in firsts if f.sequence % keys == key_of(row))
            count["reordered"] += any(later)
            firsts.append(row)
    arrived = {first.sequence: first.at for first in firsts}
    for number, message in enumerate(messages):
        failed = message.outcome not in (DONE, DROPPED, TIMEOUT)
        ended_badly = failed or message.outcome == TIMEOUT
        count["sent"] += message.sent != 0
        count["acknowledged"] += message.acked != 0
        if acknowledges and not message.acked and ended_badly:
            count["unacknowledged"] += 1
        if not message.sent:
            continue
        if number in arrived:
            count["arrived"] += 1
            count["recovered"] += failed or (acknowledges and not message.acked)
        elif number in damaged:
            count["spoiled"] += 1
        elif message.acked:
            count["lost_acknowledged"] += 1
        elif message.outcome in refusals:
            count["refused"] += 1
        elif ended_badly:
            count["lost_unacknowledged"] += 1
    longest = 0
    before = set()
    for former, latter in itertools.pairwise(firsts):
        before.add(former.sequence)
        earliest = min(m.sent for n, m in enumerate(messages) if m.sent and n not in before)
        longest = max(longest, latter.at - max(former.at, earliest))
    return {**count, "longest_gap_ms": longest / 1e6}


def key_of(row: Row) -> int:
    """Which of three keys, as in `histories`."""
    return row.sequence % 3


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Message], list[Row], bool]:
    """A few messages about three keys with every kind of end, and rows in any order."""
    acknowledges = draw(st.booleans())
    messages = []
    for number in range(draw(st.integers(0, 12))):
        outcome = draw(st.sampled_from([DONE] * 8 + list(range(len(OUTCOMES)))))
        sent = START + number * APART * draw(st.integers(0, 2))
        acked = sent + 10 if outcome == DONE or draw(st.booleans()) else 0
        if outcome == DROPPED:
            sent = acked = 0
        messages.append(Message(sent, acked if acknowledges else 0, outcome))
    rows = []
    for number in draw(st.lists(st.integers(-1, len(messages) + 1), max_size=20)):
        producer = draw(st.sampled_from([PRODUCER] * 8 + [STRANGER, UNSTAMPED]))
        # Few instants, so that some rows share one.
        at = START + APART * draw(st.integers(15, 40))
        intact = draw(st.integers(0, 7)) > 0
        rows.append(Row(number, at, draw(st.integers(0, 2)), intact, producer))
    # A worker's rows are in order, and one worker's stand after another's.
    rows.sort(key=lambda row: (row.worker, row.at))
    return messages, rows, acknowledges


@settings(max_examples=500)
@given(history=histories())
def test_slow_arithmetic_agrees(history: tuple[list[Message], list[Row], bool]) -> None:
    messages, rows, acknowledges = history
    found = ledger(samples_of(messages), arrivals_of(rows), [PRODUCER], 3, acknowledges)
    assert {
        name: value for name, value in asdict(found).items() if name != "acknowledges"
    } == slowly(messages, rows, 3, acknowledges)


@settings(max_examples=300)
@given(history=histories())
def test_the_accounts_balance_whatever_becomes_of_messages(
    history: tuple[list[Message], list[Row], bool],
) -> None:
    messages, rows, acknowledges = history
    there = {row.sequence for row in rows if row.producer == PRODUCER}
    # Nothing is done where nobody acknowledges, unless a consumer had it.
    messages = [
        replace(m, outcome=TIMEOUT) if m.outcome == DONE and n not in there else m
        for n, m in enumerate(messages)
    ]
    found = ledger(samples_of(messages), arrivals_of(rows), [PRODUCER], 3, acknowledges)
    assert found.imbalances == []
    assert found.clean == (not any(map(notable(found).get, FAULTS)))
    json.dumps(found.to_json(), allow_nan=False)


def one(outcome: str, acked: bool = False, acknowledges: bool = True, rows: int = 0) -> Ledger:
    """The ledger of one message."""
    message = Message(START, START + 10 if acked else 0, OUTCOMES.index(outcome))
    arrivals = arrivals_of([Row(0, START + TRIP)] * rows)
    return ledger(samples_of([message]), arrivals, [PRODUCER], 1, acknowledges)


@pytest.mark.parametrize(
    ("found", "names", "words"),
    [
        (
            one("timeout", acked=True),
            {"lost_acknowledged": 1},
            "1 of 1 acknowledged message is lost",
        ),
        (one("timeout"), {"lost_unacknowledged": 1}, "1 of 1 unacknowledged message is lost"),
        (one("disconnected"), {"lost_unacknowledged": 1}, "1 of 1 unacknowledged message is lost"),
        (
            one("timeout", acknowledges=False),
            {"lost_unacknowledged": 1},
            "1 of 1 sent message is lost, where nobody acknowledges",
        ),
        (
            one("rejected"),
            {"refused": 1},
            "1 of 1 sent message is refused, which is known",
        ),
        (
            one("timeout", rows=1),
            {"recovered": 1},
            "1 of 1 sent message is there after a failure, or without an acknowledgement",
        ),
        (
            one("disconnected", acknowledges=False, rows=1),
            {"recovered": 1},
            "1 of 1 sent message is there after a failure",
        ),
        (one("timeout", acknowledges=False, rows=1), {}, None),
        (one("timeout", acked=True, rows=1), {}, None),
        (one("done", acked=True, rows=3), {"duplicated": 2}, "2 arrivals are a repeat of an"),
    ],
)
def test_what_becomes_of_one_message(
    found: Ledger, names: dict[str, int], words: str | None
) -> None:
    assert notable(found) == names
    assert found.imbalances == []
    if words is None:
        assert found.words == ["1 of 1 sent message is there, once, intact and in order"]
    else:
        assert any(sentence.startswith(words) for sentence in found.words)


def test_the_worst_is_said_first() -> None:
    samples, arrivals = healthy()
    for row, fault in enumerate((repeated, swapped, corrupted, dropped), 1):
        arrivals = fault(arrivals, 1_000 * row)
    strangers = np.append(arrivals.producer[:-1], STRANGER)
    found = ledger(samples, replace(arrivals, producer=strangers), [PRODUCER], KEYS, True)
    assert found.imbalances == []
    assert found.words == [
        "2 of 10,000 acknowledged messages are lost",
        "1 arrival is damaged",
        "1 arrival is of no message sent here",
        "1 arrival is a repeat of an earlier one",
        "1 of 9,997 arrived messages is behind a later one of the same key",
    ]


def test_a_repeat_after_damage_makes_it_good() -> None:
    messages = [Message(START, START + 10, DONE)]
    rows = [Row(0, START + 20, intact=False), Row(0, START + 30)]
    found = ledger(samples_of(messages), arrivals_of(rows), [PRODUCER], 1, True)
    assert notable(found) == {"corrupted": 1}
    assert found.arrived == 1


def test_what_cannot_be_does_not_balance() -> None:
    done, acked = OUTCOMES.index("done"), START + 10

    def wrong(message: Message, acknowledges: bool) -> list[str]:
        one = ledger(samples_of([message]), arrivals_of([]), [PRODUCER], 1, acknowledges)
        return one.imbalances

    assert wrong(Message(START, 0, done), False)[0].startswith("sent 1 is not arrived 0")
    assert len(wrong(Message(START, 0, done), True)) == 2
    assert wrong(Message(0, acked, DROPPED), True) == [
        "sent 0 is not acknowledged 1 + unacknowledged 0"
    ]
    assert wrong(Message(START, acked, TIMEOUT), False) == [
        "acknowledged 1 where nobody acknowledges"
    ]
    samples, arrivals = healthy(100)
    whole = ledger(samples, arrivals, [PRODUCER], KEYS, True)
    assert replace(whole, rows=101).imbalances[0].startswith("rows 101 is not arrived 100")


def test_idle_time_is_no_gap() -> None:
    sent = [START, START + 10_000_000, START + 20_000_000]
    messages = [Message(at, at + 10, DONE) for at in sent]
    rows = [Row(number, at + 2_000_000) for number, at in enumerate(sent)]
    found = ledger(samples_of(messages), arrivals_of(rows), [PRODUCER], 1, True)
    assert found.longest_gap_ms == 2
    # One that never arrives is outstanding all the time from its sending on.
    found = ledger(samples_of(messages), arrivals_of([rows[0], rows[2]]), [PRODUCER], 1, True)
    assert found.longest_gap_ms == 12
    found = ledger(samples_of(messages), arrivals_of([rows[0]]), [PRODUCER], 1, True)
    assert found.longest_gap_ms == 0


def test_a_cells_ledger_is_the_sum_and_the_longest_gap() -> None:
    samples, arrivals = healthy(100)
    clean = ledger(samples, arrivals, [PRODUCER], KEYS, True)
    short = ledger(samples, dropped(arrivals, 3), [PRODUCER], KEYS, True)
    both = combine([clean, replace(short, longest_gap_ms=50.0)])
    assert both is not None
    assert (both.sent, both.arrived, both.lost_acknowledged) == (200, 199, 1)
    assert both.longest_gap_ms == 50
    assert both.acknowledges is True
    assert both.imbalances == []
    assert combine([]) is None


def test_nothing_sent_is_nothing_wrong() -> None:
    found = ledger(samples_of([]), arrivals_of([]), [PRODUCER], 5, True)
    assert found.clean
    assert found.words == ["no message was sent"]
