"""Made-up Summaries of runs with brokers: messages that arrive, are lost, or were never sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from harness.analysis.ledger import Ledger
from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Code, Reason
from harness.condition import BrokerWay, Condition
from harness.plan import LoadPoint
from tests.unit import summaries
from tests.unit.summaries import HOSTILE, OPEN, USUAL

STEADY = LoadPoint("constant", rate=500.0)
FULL = LoadPoint("closed", users=1000)
BROKER_US = 120.0
KAFKA_PART: Mapping[str, Any] = {
    "version": "9.9.1",
    "origin": "cache",
    "address": "kafka://127.0.0.1:1",
    "settings": {
        "nodes": 3,
        "jvm": ["-Xmx1G", "-Xms1G", "-XX:+UseG1GC"],
        "properties": {"broker.session.timeout.ms": "3000"},
    },
}
RABBITMQ_PART: Mapping[str, Any] = {
    "version": "4.4.4",
    "origin": "local",
    "address": "amqp://guest:***@127.0.0.1:2",
    "settings": {"nodes": 3, "vm": "vendor's", "plugins": "none"},
}
Fate = Callable[[Ledger], Ledger]
Info = Mapping[str, Any]


def way(durability: str = "B", **options: Any) -> Condition:
    """The usual condition of a style that has a broker."""
    return replace(USUAL, broker=BrokerWay(durability, **options))


def whole(sent: int, acknowledges: bool = True) -> Ledger:
    """All messages arrived, once, intact and in order."""
    return Ledger(
        acknowledges=acknowledges,
        sent=sent,
        acknowledged=sent if acknowledges else 0,
        unacknowledged=0,
        arrived=sent,
        lost_acknowledged=0,
        lost_unacknowledged=0,
        refused=0,
        spoiled=0,
        recovered=0,
        rows=sent,
        duplicated=0,
        corrupted=0,
        unexpected=0,
        reordered=0,
        longest_gap_ms=12.5,
    )


def lose(count: int) -> Fate:
    """So many did not arrive: acknowledged ones, where that is done."""

    def fate(kept: Ledger) -> Ledger:
        left = replace(kept, arrived=kept.arrived - count, rows=kept.rows - count)
        if kept.acknowledges:
            return replace(left, lost_acknowledged=count)
        return replace(left, lost_unacknowledged=count)

    return fate


def disturb(duplicated: int, reordered: int, gap_ms: float) -> Fate:
    """What a fail-over does to messages that are not lost."""
    return lambda kept: replace(
        kept,
        duplicated=duplicated,
        reordered=reordered,
        rows=kept.rows + duplicated,
        longest_gap_ms=gap_ms,
    )


def sending(
    base: TrialResult,
    acknowledges: bool = True,
    fate: Fate = lambda kept: kept,
    left: int = 0,
    read_again: float | None = None,
    lag: Sequence[tuple[float, int]] = (),
    cpu: Mapping[str, float] | None = None,
    faults: Sequence[tuple[float, str]] = (),
) -> TrialResult:
    """A trial of messages. `lag`: seconds since the window's start, and messages; `cpu`: µs a
    message by role, beside the usual ones; `faults`: seconds, and what was done on purpose."""
    kept = fate(whole(base.counts.sent, acknowledges))
    assert kept.imbalances == []
    used = {"broker": BROKER_US, **(cpu or {})}
    return replace(
        base,
        ack=summaries.mapped(base.latency, lambda ms: ms * 0.6) if acknowledges else None,
        acked_in_window=base.completed_in_window if acknowledges else 0,
        ledger=kept,
        seen=replace(
            base.seen,
            cpu_ns={
                **base.seen.cpu_ns,
                **{role: int(us * 1e3 * base.completed_in_window) for role, us in used.items()},
            },
            memory={"broker": 400 * 2**20},
            left=left,
            read_again=None if read_again is None else round(read_again * kept.arrived),
            lag=[(round(at * 1e9), behind) for at, behind in lag],
            faults=[(round(at * 1e9), what) for at, what in faults],
        ),
    )


def messages(
    variant: str,
    load: LoadPoint,
    condition: Condition,
    reasons: Sequence[Reason] = (),
    planned: int | None = None,
    **each: Any,
) -> CellResult:
    """A cell of three trials of messages; `each`: see sending."""
    assert condition.broker is not None
    acknowledges = condition.broker.durability != "A"
    trials = [
        sending(summaries.trial(variant, load, n, planned), acknowledges, **each) for n in (1, 2, 3)
    ]
    return summaries.cell(variant, load, reasons, trials, condition, operation="ingest")


def run(cells: Sequence[CellResult], *, info: Info | None = None, **scenario: Any) -> Summary:
    """A run of these cells; `scenario` replaces keys of the scenario, `info` of run.json."""
    made = summaries.summary(cells, question="What becomes of every message?", **(info or {}))
    return Summary({**made.info, "scenario": {**made.info["scenario"], **scenario}}, cells)


BOTH_PARTS = {"parts": {"kafka": KAFKA_PART, "rabbitmq": RABBITMQ_PART}}
RAMP = [(-0.5, 5), (0.0, 10), (1.0, 400), (2.0, 900), (4.0, 1800), (5.0, 30), (5.2, 0)]


@cache
def ingest() -> Summary:
    """A clean run of one class, of libraries, in an open and a closed loop, read again after it."""
    cells = [
        messages(variant, load, way(), read_again=again, lag=RAMP)
        for variant, again in (
            ("kafka:confluent", 1.0),
            ("kafka:aiokafka", 1.0),
            ("rabbitmq:aio-pika", 0.0),
        )
        for load in (STEADY, FULL)
    ]
    return run(cells, info=BOTH_PARTS)


@cache
def durability() -> Summary:
    """Two brokers in all classes; class A loses some, and one of class D was not drained."""
    unheard = Reason(Code.LOST_UNACKNOWLEDGED, "trial 1: 3 of 2000 sent messages are lost")
    late = Reason(Code.UNDRAINED, "trial 1: 40 messages were still at the broker")
    cells = []
    for style in ("kafka", "rabbitmq"):
        for promise in "ABCD":
            condition = way(promise)
            if promise == "A":
                cells.append(messages(style, STEADY, condition, [unheard], fate=lose(3)))
            elif (style, promise) == ("rabbitmq", "D"):
                drained = messages(style, STEADY, condition, [late], fate=lose(40), left=40)
                cells.append(drained)
            else:
                cells.append(messages(style, STEADY, condition))
    return run(cells, info=BOTH_PARTS)


FAULT = {"kill": "leader", "at_s": 3.0, "back_s": 0.5, "wipe": False}
KILLED = Reason(Code.FAULT, "a node of the broker was killed in every trial")


@cache
def failover() -> Summary:
    """A node died in every trial: C and D keep what they acknowledged, B does not."""
    lost = Reason(Code.LOST_BY_FAULT, "trial 1: 7 of 2000 acknowledged messages are lost")
    hump = [(0.0, 3), (1.9, 4), (2.4, 300), (3.5, 900), (4.2, 100), (6.0, 0)]
    seen: Any = {"lag": hump, "faults": [(2.1, "killed"), (3.4, "restarted")]}
    cells = [
        messages("kafka", STEADY, way("C"), [KILLED], fate=disturb(12, 0, 1834.0), **seen),
        messages("rabbitmq", STEADY, way("D"), [KILLED], fate=disturb(0, 5, 641.0), **seen),
        messages("rabbitmq", STEADY, way("B"), [KILLED, lost], fate=lose(7), **seen),
    ]
    return run(cells, info=BOTH_PARTS, fault=FAULT)


@cache
def lossy() -> Summary:
    """Without any fault: one broker loses what it acknowledged, one damages it, one is whole."""
    lost = Reason(Code.LOST, "trial 1: 1 of 2000 acknowledged message is lost")
    damaged = Reason(Code.DAMAGED, "trial 1: 2 arrivals are damaged")

    def damage(kept: Ledger) -> Ledger:
        return replace(
            kept, corrupted=2, spoiled=2, arrived=kept.arrived - 2, unexpected=1, rows=kept.rows + 1
        )

    cells = [
        messages("kafka:confluent", STEADY, way(), [lost], fate=lose(1)),
        messages("kafka:aiokafka", STEADY, way(), [damaged], fate=damage),
        messages("rabbitmq", STEADY, way()),
    ]
    return run(cells)


@cache
def consumers() -> Summary:
    """One to eight workers on the same partitions."""
    cells = [
        messages(
            style,
            LoadPoint("constant", rate=300.0),
            way(partitions=8, workers=workers, prefetch=20),
            planned=150 * min(workers, 8),
            read_again=again,
        )
        for style, again in (("kafka", 1.0), ("rabbitmq", 0.0))
        for workers in (1, 2, 4, 8)
    ]
    return run(cells)


@cache
def in_flight() -> Summary:
    """One to a thousand messages without an acknowledgement."""
    cells = [
        messages(
            style,
            LoadPoint("closed", users=users),
            way(partitions=1, prefetch=500),
            planned=400 * (1 + users // 4),
        )
        for style in ("kafka", "rabbitmq")
        for users in (1, 20, 200, 1000)
    ]
    return run(cells)


@cache
def brokers() -> Summary:
    """Calls of three classes: a store in memory, one that commits, and brokers, of which one could
    not be had."""
    absent = Reason(
        Code.UNAVAILABLE,
        "rabbitmq: there is no RabbitMQ and no package of it; apt-get install rabbitmq-server",
    )
    load = OPEN[0]
    asked = [
        replace(
            made,
            ledger=None,
            ack=None,
            acked_in_window=0,
            seen=replace(made.seen, cpu_ns={**made.seen.cpu_ns, "rival": 1_000}),
        )
        for made in (sending(summaries.trial("kafka", load, n)) for n in (1, 2, 3))
    ]
    committed = replace(USUAL, store="postgres")
    cells = [
        summaries.cell("rest", load),
        summaries.cell("rest", load, condition=committed),
        summaries.cell("kafka", load, (), asked, way("B")),
        summaries.cell("rabbitmq", load, [absent], [], way("B")),
    ]
    parts = {"kafka": KAFKA_PART, "postgres": {**RABBITMQ_PART, "settings": {}}}
    return run(cells, info={"parts": parts})


@cache
def hostile_parts() -> Summary:
    """A user's strings in what a broker says of itself."""
    part = {
        "version": HOSTILE,
        "origin": "address",
        "address": f"kafka://{HOSTILE}",
        "settings": {HOSTILE: HOSTILE, "properties": {f"{HOSTILE}.port": HOSTILE}},
    }
    absent = Reason(Code.UNAVAILABLE, f"rabbitmq: {HOSTILE}")
    cells = [
        messages("kafka", STEADY, way()),
        summaries.cell("rabbitmq", STEADY, [absent], [], way(), operation="ingest"),
    ]
    return run(cells, info={"parts": {HOSTILE: part}})


ALL: tuple[summaries.Make, ...] = (
    ingest,
    durability,
    failover,
    lossy,
    consumers,
    in_flight,
    brokers,
    hostile_parts,
)
