"""Made-up Summaries, one for each thing that a report must say truly."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.accounts import Counts
from harness.analysis.deliveries import Watched
from harness.analysis.stats import (
    BATCHES,
    CURVE_POINTS,
    BatchMeans,
    Distribution,
    batch_means,
    distribution,
    percentiles,
)
from harness.analysis.summary import CellResult, Summary, put_together
from harness.analysis.trial import Seen, TrialResult, of_the_done
from harness.analysis.verdicts import Code, Reason, Verdict
from harness.condition import BrokerWay, Condition, PollWay
from harness.plan import LoadPoint
from harness.results import FORMAT
from harness.variant import Variant, parse_variant

Make = Callable[[], Summary]
HOSTILE = "<script>alert(1)</script>"
WINDOW_S = 4.0
EXCESS = 0.2
"""The share of a usual latency that comes after the work."""
BASE_MS = {
    "rest": 0.9,
    "grpc-unary": 1.1,
    "grpc-stream": 0.45,
    "websocket": 0.4,
    "rest-poll": 0.95,
    "sse": 1.2,
    "zeromq": 0.3,
    "webhook": 1.3,
    "kafka": 2.4,
    "rabbitmq": 1.8,
    "noop": 0.02,
}
SERVER_US = {
    "rest": 150.0,
    "grpc-unary": 210.0,
    "grpc-stream": 95.0,
    "websocket": 70.0,
    "rest-poll": 290.0,
    "sse": 240.0,
    "zeromq": 60.0,
    "webhook": 330.0,
    "kafka": 180.0,
    "rabbitmq": 160.0,
}
STYLES = ("rest", "grpc-unary", "grpc-stream", "websocket")
OPEN = (LoadPoint("constant", rate=200.0), LoadPoint("constant", rate=1000.0))
CLOSED = LoadPoint("closed", users=16)
USUAL = Condition()


def trial(
    variant: str, load: LoadPoint, number: int = 1, planned: int | None = None, **lost: int
) -> TrialResult:
    """A trial whose latencies are drawn from a seed; `lost` counts dropped, timed_out, failed."""
    style = parse_variant(variant).style
    planned = int(WINDOW_S * load.mean_rate or 6000) if planned is None else planned
    counts = Counts(
        planned=planned,
        sent=planned - lost.get("dropped", 0),
        done=planned - sum(lost.values()),
        **lost,
    )
    draw = np.random.default_rng([number, len(variant), *variant.encode(), planned])
    latency = BASE_MS[style] * (1 + draw.gamma(1.2, 0.25, counts.done) ** 2.5)
    completed = counts.done
    cpu = {
        "generator": int(90e3 * completed),
        "server": int(SERVER_US.get(style, 0) * 1e3 * completed),
    }
    return TrialResult(
        number=number,
        counts=counts,
        failures={"disconnected": counts.failed} if counts.failed else {},
        completed_in_window=completed,
        window_s=WINDOW_S,
        window_start_ns=0,
        **of_latency(latency, planned),
        ack=None,
        round_trip_ms=math.nan,
        service_time=distribution(latency * 0.9, counts.sent),
        send_lag_us=distribution(np.full(counts.sent, 80.0), counts.sent),
        implausible=(),
        stopped_answering=False,
        health={"lanes_opened": 4, "failure_details": [], "floor_us": None},
        answers=np.array([completed, *[0] * (BATCHES - 1)]),
        sent_in_all=counts.sent,
        sent_in_window=counts.sent,
        processed=distribution(latency * 0.8, planned),
        excess_ms=batch_means(latency * EXCESS),
        notes={},
        progress_ms=None,
        watched=None,
        acked_in_window=0,
        ledger=None,
        warm_up=None,
        seen=Seen(cpu if style in SERVER_US else {"generator": cpu["generator"]}),
    )


def of_latency(values: npt.NDArray[np.float64], planned: int) -> dict[str, Any]:
    """What a trial has of the latencies of those that were done, in ms, and of so many planned."""
    return {
        "latency": distribution(values, planned),
        "latency_at": percentiles(values, planned, CURVE_POINTS),
        "latency_of_done": of_the_done(values),
    }


def mapped(base: Distribution, by: Callable[[float], float]) -> Distribution:
    """The distribution of what ascends with the values of another."""
    return Distribution(**{name: by(value) for name, value in asdict(base).items()})


def with_latency(base: TrialResult, by: Callable[[float], float]) -> TrialResult:
    """A trial whose latencies ascend with those of another."""
    return replace(
        base,
        latency=mapped(base.latency, by),
        latency_at={each: by(value) for each, value in base.latency_at.items()},
        latency_of_done={name: by(value) for name, value in base.latency_of_done.items()},
    )


def with_work(
    base: TrialResult, work_ms: float, late_ms: float, ack_ms: float | None = None
) -> TrialResult:
    """A trial whose orders took work, whose results came so much after it, and which were
    acknowledged after `ack_ms`."""
    # The usual excess goes with latency.
    excess = base.excess_ms
    factor = late_ms * excess.count / excess.total
    ack = None
    if ack_ms is not None:
        ack = distribution(np.full(base.counts.done, ack_ms), base.counts.planned)
    return replace(
        with_latency(base, lambda ms: ms + work_ms + factor * EXCESS * ms),
        processed=mapped(base.latency, lambda ms: ms + work_ms),
        excess_ms=BatchMeans(excess.count, factor * excess.total, factor * excess.means),
        ack=ack,
        round_trip_ms=math.nan if ack is None else 2.0,
    )


def with_traffic(
    base: TrialResult, to_server: float, from_server: float, connections: int = 4, closed: int = 0
) -> TrialResult:
    """A trial of which TCP carried so many bytes an operation."""
    completed = base.counts.done
    wire = {
        "from": 0,
        "to": completed,
        "bytes_to_server": round(to_server * completed),
        "bytes_from_server": round(from_server * completed),
        "connections": connections,
        "closed": closed,
    }
    return replace(base, seen=replace(base.seen, wire=wire), done_on_wire=completed)


def watching(
    base: TrialResult,
    last_ms: float,
    readers: int,
    floor_us: float = 40.0,
    memory: Mapping[str, int] | None = None,
) -> TrialResult:
    """A trial whose changes reached all readers within `last_ms`, and half of that for the
    first."""
    changes = base.counts.sent
    times = [np.full(changes, share * last_ms) for share in (0.5, 0.75, 1.0)]
    first, middle, last = (distribution(each, changes) for each in times)
    expected = changes * readers
    floor = {"first_us": floor_us / 4, "median_us": floor_us / 2, "last_us": floor_us}
    return replace(
        base,
        watched=Watched(first, middle, last, expected, expected, 0),
        health={**base.health, "floor_us": floor},
        seen=replace(base.seen, memory=memory or {}),
    )


def info_of(
    variant: Variant,
    load: LoadPoint,
    condition: Condition,
    operation: str = "place",
    attempts: int = 1,
    skipped: str = "",
    again: str = "",
) -> dict[str, Any]:
    """A cell as run.json has it."""
    return {
        "id": ".".join([operation, variant.slug, load.slug, *condition.slugs]),
        "style": variant.style,
        "variant": variant.name,
        "operation": operation,
        "load": {**asdict(load), "words": load.words},
        "condition": {
            **condition.to_json(),
            "connections": 4,
            "in_flight": 1024,
            "attempts": attempts,
            "timeout_s": 2.0,
        },
        "has_server": bool(variant.entry.server),
        "null": variant.entry.null,
        "connections_a_lane": variant.entry.per_lane,
        "skipped": skipped,
        "family": variant.entry.family,
        "again": again,
    }


def cell(
    variant: str,
    load: LoadPoint,
    reasons: Sequence[Reason] = (),
    trials: Sequence[TrialResult] | None = None,
    condition: Condition = USUAL,
    **info: Any,
) -> CellResult:
    """A cell with the verdict that `reasons` give; three usual trials unless told."""
    if trials is None:
        trials = [trial(variant, load, number) for number in (1, 2, 3)]
    parsed = parse_variant(variant)
    return put_together(info_of(parsed, load, condition, **info), trials, Verdict(tuple(reasons)))


def summary(cells: Sequence[CellResult], **info: Any) -> Summary:
    """A run of these cells; `info` replaces keys of run.json."""
    usual: dict[str, Any] = {
        "format": FORMAT,
        "run": "compare-1",
        "status": "complete",
        "question": "Which style answers one order fastest at rates that all can hold?",
        "scenario": {
            "question": "Which style answers one order fastest at rates that all can hold?",
            "operation": "place",
            "styles": list(STYLES),
            "repeats": 3,
            "seed": 1,
            "warm_up_s": 1.0,
            "duration_s": WINDOW_S,
            "timeout_s": 2.0,
            "budget_s": 240.0,
            "objective": {"percentile": 99.0, "latency_ms": 20.0},
            "load": [{"model": "constant", "rate": [200.0, 1000.0]}],
            "order": {"items": [3], "file": None},
            "service": {"time": "none", "mean_ms": 0.0},
            "connection": {"in_flight": 1024, "connections": 4},
        },
        "command": ["python3", "bench.py", "run", "compare", "--styles", "rest, websocket"],
        "started_at": "2030-01-02T03:04:05+00:00",
        "ended_at": "2030-01-02T03:08:01+00:00",
        "environment": {
            "machine": {
                "architecture": "x86_64",
                "cpu": "Example 9000",
                "cpus": [0, 1],
                "governor": None,
                "memory_bytes": 16 * 2**30,
                "load_1m_before": 0.12,
            },
            "kernel": {"system": "Linux", "release": "6.1.0", "clock_source": "tsc"},
            "python": {"version": "3.11.9", "build": "CPython"},
            "libraries": {"aiohttp": "3.14.5", "grpcio": "1.85.1"},
            "project": {"commit": "0123456789abcdef", "changed": False},
        },
        "placement": {"generator": [0], "server": [1], "shared": False},
        "targets": {},
        "cells": [c.info for c in cells],
        "planned_trials": 3 * len(cells),
    }
    if cells:
        usual["scenario"]["operation"] = cells[0].info["operation"]
    return Summary({**usual, **info}, cells)


def product(variants: Sequence[str], loads: Sequence[LoadPoint]) -> list[CellResult]:
    """The usual cells."""
    return [cell(variant, load) for variant in variants for load in loads]


@cache
def complete() -> Summary:
    """Four styles at two open loads and a closed one: what `compare` gives."""
    return summary(product(STYLES, [*OPEN, CLOSED]))


@cache
def distributed() -> Summary:
    """What two workers sent, whose clocks were known to 120 us."""
    trials = [
        [replace(trial(s, OPEN[0], n), clock_error_ms=0.12) for n in (1, 2, 3)] for s in STYLES
    ]
    host = {
        "host": "load<1>",
        "clock": {"offset_ns": -1_802, "error_ns": 120_000},
        "processors": 4,
        "awake": True,
        "environment": {"machine": {"cpu": "a CPU & its name"}},
    }
    cells = [cell(style, OPEN[0], (), each) for style, each in zip(STYLES, trials, strict=True)]
    return summary(cells, hosts=[host, host])


@cache
def one_cell() -> Summary:
    """The smallest run."""
    return summary(product(["rest"], OPEN[:1]))


@cache
def many() -> Summary:
    """Five variants, among them two of one style and an A/A pair, at four loads."""
    variants = ["rest", "rest:httpx", "grpc-stream=a", "grpc-stream=b", "websocket"]
    loads = [*OPEN, LoadPoint("burst", rate=200.0, burst_size=100, every_s=1.0), CLOSED]
    return summary(product(variants, loads))


@cache
def partial() -> Summary:
    """Interrupted: one cell with one trial of three, one without any."""
    return summary(
        [
            cell(
                "rest",
                OPEN[0],
                [Reason(Code.FEWER_TRIALS, "1 of 3 trials were finished")],
                [trial("rest", OPEN[0])],
            ),
            not_run("websocket", OPEN[0]),
        ],
        status="partial",
    )


def not_run(variant: str, load: LoadPoint) -> CellResult:
    """A cell that was skipped."""
    reason = Reason(Code.NOT_RUN, "the run ended before its first trial")
    return cell(variant, load, [reason], [])


@cache
def failed_style() -> Summary:
    """One style whose server died in every trial, one that failed on some operations."""
    died = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1 after 1.2 s")
    lost = Reason(Code.DISCONNECTED, "9 of 2400 operations: connection reset by peer")
    some = [trial("grpc-unary", OPEN[0], n, failed=3) for n in (1, 2, 3)]
    return summary(
        [
            cell("rest", OPEN[0]),
            cell("grpc-unary", OPEN[0], [lost], some),
            cell("websocket", OPEN[0], [died], []),
        ]
    )


@cache
def invalid() -> Summary:
    """One cell that the generator spoilt."""
    late = Reason(Code.GENERATOR_BOUND, "trial 2: send lag p99 9.1 ms makes up most of the latency")
    return summary([cell("rest", OPEN[0]), cell("grpc-stream", OPEN[0], [late])])


@cache
def censored() -> Summary:
    """One cell of which 3% were never answered, one of which none came in time."""
    beyond = Reason(Code.OVERLOADED, "90 operations were dropped, 30 timed out")
    none = Reason(Code.OVERLOADED, "3960 operations timed out")
    some = [trial("rest", OPEN[1], n, dropped=90, timed_out=30) for n in (1, 2, 3)]
    most = [trial("grpc-unary", OPEN[1], n, timed_out=3990) for n in (1, 2, 3)]
    return summary(
        [
            cell("rest", OPEN[1], [beyond], some),
            cell("grpc-unary", OPEN[1], [none], most),
            cell("websocket", OPEN[1]),
        ]
    )


@cache
def not_resolvable() -> Summary:
    """A hundred operations a trial: no p99; three: no percentile at all above the median."""
    few = Reason(Code.UNDER_SAMPLED, "p99 is not resolvable from 100 operations")
    hundred = [trial("rest", OPEN[0], n, planned=100) for n in (1, 2, 3)]
    one = [trial("websocket", OPEN[0], n, planned=1) for n in (1, 2, 3)]
    return summary([cell("rest", OPEN[0], [few], hundred), cell("websocket", OPEN[0], [few], one)])


@cache
def hostile() -> Summary:
    """A user's strings that a careless page would run, or a careless chart would typeset."""
    made = complete()
    reason = Reason(Code.PROTOCOL, f"4 of 9 operations: {HOSTILE} & $\\frac$ \"' ]]>")
    load = replace(OPEN[0], rate=7.0)
    base = cell("rest", load, [reason])
    named: Mapping[str, Any] = {
        **base.info,
        "variant": f"rest:{HOSTILE}$x$",
        "load": {**base.info["load"], "words": f"{HOSTILE}$\\frac$ & 7/s"},
    }
    return summary(
        [*made.cells, replace(base, info=named)],
        run=HOSTILE,
        question=HOSTILE,
        command=["python3", "bench.py", "run", HOSTILE],
        targets={"rest": f'"onload="{HOSTILE}'},
        environment={"machine": {"cpu": HOSTILE, HOSTILE: math.pi}},
    )


@cache
def asynchronous() -> Summary:
    """Work of 50 ms: a call that waits, polls of two kinds, and a stream."""
    worked = replace(USUAL, work_time="fixed", work_mean_ms=50.0)
    ways = {
        policy: replace(worked, poll=PollWay(policy, interval, 2000.0))
        for policy, interval in (("fixed", 20.0), ("long", 0.0))
    }

    def trials(
        style: str, late_ms: float, ack_ms: float | None, size: int, **notes: float
    ) -> list[TrialResult]:
        made = [with_work(trial(style, OPEN[0], n), 50.0, late_ms, ack_ms) for n in (1, 2, 3)]
        return [replace(with_traffic(each, size, 2 * size), notes=notes) for each in made]

    polls = trials("rest-poll", 10.0, 1.1, 900, polls=3.0, empty_polls=2.0)
    long = trials("rest-poll", 0.6, 1.1, 500, polls=1.0)
    return summary(
        [
            cell("rest", OPEN[0], (), trials("rest", 0.4, None, 300), worked),
            cell("rest-poll", OPEN[0], (), polls, ways["fixed"]),
            cell("rest-poll", OPEN[0], (), long, ways["long"]),
            cell("sse", OPEN[0], (), trials("sse", 0.7, 1.2, 450, reconnects=0.01), worked),
        ]
    )


@cache
def watch() -> Summary:
    """One change, seen by 1, by 200, and by 20 of whom one takes nothing."""
    cells = []
    for style, last_ms in (("websocket", 0.3), ("sse", 0.4)):
        for subscribers, stalled in ((1, 0), (200, 0), (20, 1)):
            condition = replace(USUAL, subscribers=subscribers, stalled=stalled)
            made = [trial(style, OPEN[0], n, planned=40) for n in (1, 2, 3)]
            readers = subscribers - stalled
            memory = {
                "before_open": 50 * 2**20,
                "window_start": 50 * 2**20 + subscribers * 8192,
                "window_end": 50 * 2**20 + subscribers * 8192 + stalled * 3 * 2**20,
            }
            seen = [
                watching(each, last_ms * readers * (1 + each.number / 100), readers, memory=memory)
                for each in made
            ]
            seen = [with_traffic(each, 0, 300 * subscribers) for each in seen]
            few = Reason(Code.UNDER_SAMPLED, "p99 is not resolvable from 40 operations")
            cells.append(cell(style, OPEN[0], [few], seen, condition, operation="watch"))
    return summary(cells)


@cache
def jobs() -> Summary:
    """Jobs of 2 s, with and without a gateway that cuts what is idle, which breaks one style."""
    worked = replace(USUAL, work_time="fixed", work_mean_ms=2000.0)
    behind = replace(worked, cut_idle_s=1.0)
    cut = Reason(Code.CUT, "120 of 120 operations: the connection was closed")
    few = Reason(Code.UNDER_SAMPLED, "p99 is not resolvable from 40 operations")

    def trials(style: str, ack_ms: float | None, connections: int) -> list[TrialResult]:
        made = [trial(style, OPEN[0], n, planned=40) for n in (1, 2, 3)]
        return [
            with_traffic(with_work(each, 2000.0, 2.0, ack_ms), 700, 900, connections)
            for each in made
        ]

    told = [
        replace(each, progress_ms=distribution(np.full(120, 0.8 + each.number / 10), 120))
        for each in trials("sse", 1.3, 8)
    ]
    lost = [trial("rest", OPEN[0], n, planned=40, failed=40) for n in (1, 2, 3)]
    as_job: dict[str, Any] = {"operation": "job"}
    return summary(
        [
            cell("rest", OPEN[0], [few], trials("rest", None, 17), worked, **as_job),
            cell("rest", OPEN[0], [cut], lost, behind, **as_job),
            cell("sse", OPEN[0], [few], told, worked, **as_job),
            cell("sse", OPEN[0], [few], told, behind, **as_job),
        ]
    )


def scaled(base: TrialResult, factor: float) -> TrialResult:
    """A trial whose latencies are so many times as long."""
    return with_latency(base, lambda ms: ms * factor)


def repeated(
    variant: str, load: LoadPoint, factor: float = 1.0, noise: float = 0.01, count: int = 5
) -> list[TrialResult]:
    """Trials that are alike but for a factor of their own, drawn from a seed."""
    draw = np.random.default_rng([len(variant), *variant.encode()])
    base = trial("rest", load)
    return [
        replace(scaled(base, factor * math.exp(noise * each)), number=number)
        for number, each in enumerate(draw.normal(size=count), 1)
    ]


@cache
def against_itself() -> Summary:
    """Five repeats of which `rest` ran under a second label as well, and so did `kafka`: one style
    is twice as fast, one as fast, one was spoilt, and one has no A/A of its family."""
    load = OPEN[0]
    kafka = replace(USUAL, broker=BrokerWay())
    late = Reason(Code.GENERATOR_BOUND, "trial 2: send lag p99 9.1 ms")

    def made(variant: str, factor: float = 1.0, condition: Condition = USUAL, **info: Any) -> Any:
        return cell(variant, load, (), repeated(variant, load, factor), condition, **info)

    rest, broker = made("rest"), made("kafka", 3.0, kafka)
    return summary(
        [
            rest,
            made("grpc-unary"),
            made("websocket", 0.5),
            cell("grpc-stream", load, [late], repeated("grpc-stream", load, 0.2)),
            made("sse", 1.5),
            broker,
            made("rest=again", again=rest.info["id"]),
            made("kafka=again", 3.0, kafka, again=broker.info["id"]),
        ]
    )


ALL: tuple[Make, ...] = (
    complete,
    distributed,
    one_cell,
    many,
    partial,
    failed_style,
    invalid,
    censored,
    not_resolvable,
    hostile,
    asynchronous,
    watch,
    jobs,
    against_itself,
)
