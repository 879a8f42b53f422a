"""From a run on disk to what its report says: one Cell each, trials put together. Pure."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from harness.analysis.accounts import Counts
from harness.analysis.capacity import Capacity, capacities
from harness.analysis.deliveries import Watched, middle_watched
from harness.analysis.judgement import judge, steady
from harness.analysis.ledger import Ledger, combine
from harness.analysis.overhead import Overhead, bytes_per_op, overhead, segments_per_op
from harness.analysis.polling import expected_excess_ms
from harness.analysis.ranking import Findings, find
from harness.analysis.spread import Spread, added
from harness.analysis.stack import stacks
from harness.analysis.stats import (
    Curve,
    Distribution,
    Mean,
    mean_of,
    middle,
    middle_curve,
    middle_distribution,
    trial_curve,
)
from harness.analysis.subjects import subject_of
from harness.analysis.timeline import Slice, middle_instants, middle_slices
from harness.analysis.trial import Seen, TrialResult, summarize_trial, whole
from harness.analysis.usage import (
    Idle,
    busiest_ns,
    counted_between,
    idle,
    other_busy,
    spent_by_role,
    used_over_time,
)
from harness.analysis.verdicts import Code, Status, Verdict
from harness.results import (
    FORMAT,
    Reading,
    Run,
    arrivals_path,
    generator_places,
    read_arrivals,
    read_samples,
    read_sightings,
    sightings_path,
)

ROLES = ("generator", "server", "gateway", "broker", "rival")
"""Roles of processes; a role may have several (`broker.2`). A rival stands still meanwhile."""

FAULTS = ("killed", "restarted")
"""Events that say what was done on purpose."""


Row = Mapping[str, Any]


class Noted(Protocol):
    """What the harness saw of a run from outside: a Run, or the journal of one that goes on."""

    @property
    def marks(self) -> Sequence[Row]:
        """Rows of harness.results.telemetry_schema that are at a mark."""

    @property
    def events(self) -> Sequence[Row]:
        """Rows of harness.results.events_schema."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """A cell, its trials put together."""

    info: Mapping[str, Any]
    """The cell as run.json has it."""
    trials: Sequence[TrialResult]
    counts: Counts
    throughput_per_s: float | None
    latency: Distribution
    ack: Distribution | None
    round_trip_ms: float
    """From sent to the receipt, the mean of each trial, in the middle of them."""
    service_time: Distribution
    send_lag_us: Distribution
    processed: Distribution
    clock_error_ms: float | None
    """How far off `processed` and `excess` may be, where the clocks of two machines are compared;
    of messages, latency too."""
    excess: Mean | None
    """From the end of the work to its result in the client's hands, in ms."""
    notes: Mapping[str, float]
    progress: Distribution | None
    """How old a job's updates were when they were seen, in ms."""
    watched: Watched | None
    bytes_per_op: tuple[float, float] | None
    """From and to the client, at a broker to it and from it; None where they were not counted."""
    connections: int | None
    """TCP connections that the client held at the window's end."""
    server_memory: Mapping[str, float]
    """Bytes: `before_open`, `window_start`, `window_end`, and `per_subscriber`."""
    broker_memory: float | None
    """Resident bytes of all of a broker's nodes at the window's end."""
    acked_per_s: float | None
    """Acknowledgements a second, where messages are acknowledged."""
    ledger: Ledger | None
    """What became of the messages of all trials."""
    read_again: float | None
    """The share of what arrived that a further consumer could read after it was consumed."""
    spread: Spread | None
    """How the messages of all trials were spread over partitions."""
    lag: Sequence[Sequence[tuple[float, int]]]
    """For each trial: (seconds since the window's start, messages that the workers were behind)."""
    worked_per_order: float | None
    """How often the server did the work of an order that was sent."""
    lanes_opened: int | None
    cpu_us_per_op: Mapping[str, float | None]
    overhead: Overhead
    latency_curves: Sequence[Curve]
    """Each trial's own latency by percentile, in ms."""
    latency_by_percentile: Curve
    """In the middle of the trials."""
    verdict: Verdict

    @property
    def timeline(self) -> Sequence[Slice]:
        """How it went along, in the middle of the trials."""
        return middle_slices([trial.timeline for trial in self.trials])

    @property
    def faults(self) -> Sequence[tuple[float, str]]:
        """What was done on purpose, and when: seconds since the window's start, in the middle of
        the trials."""
        return middle_instants(
            [[(t.since_start_s(at), what) for at, what in t.seen.faults] for t in self.trials]
        )

    @property
    def segments_per_op(self) -> tuple[float, float] | None:
        """As bytes_per_op."""
        return segments_per_op(self.overhead.passages)

    @property
    def expected_excess_ms(self) -> float | None:
        """What theory has for the excess, with the round trip that was seen."""
        if math.isnan(self.round_trip_ms):
            return None
        return expected_excess_ms(self.info["condition"], self.round_trip_ms)

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        lag = self.send_lag_us.to_json()
        return {
            **self.info,
            "trials": len(self.trials),
            "counts": asdict(self.counts),
            "throughput_per_s": _rounded(self.throughput_per_s),
            "latency_ms": self.latency.to_json(),
            "range": self._range(),
            "ack_ms": self.ack.to_json() if self.ack else None,
            "service_time_ms": self.service_time.to_json(),
            "send_lag_us": {"p50": lag["p50"], "p99": lag["p99"]},
            "processed_ms": self.processed.to_json(),
            "clock_error_ms": _rounded(self.clock_error_ms),
            "excess_ms": self.excess.to_json() if self.excess else None,
            "round_trip_ms": _rounded(self.round_trip_ms),
            "expected_excess_ms": _rounded(self.expected_excess_ms),
            "notes_per_op": {name: round(value, 4) for name, value in self.notes.items()},
            "progress_ms": self.progress.to_json() if self.progress else None,
            "watched": _watched_json(self.watched),
            "bytes_to_server_per_op": _rounded(self.bytes_per_op and self.bytes_per_op[0]),
            "bytes_from_server_per_op": _rounded(self.bytes_per_op and self.bytes_per_op[1]),
            "connections": self.connections,
            "server_memory_bytes": dict(self.server_memory),
            "broker_memory_bytes": _rounded(self.broker_memory),
            "acked_per_s": _rounded(self.acked_per_s),
            "ledger": self.ledger.to_json() if self.ledger else None,
            "read_again": _rounded(self.read_again),
            "spread": asdict(self.spread) if self.spread else None,
            "lag": [[[round(at, 3), behind] for at, behind in trial] for trial in self.lag],
            "warm_up": [t.warm_up.to_json() if t.warm_up else None for t in self.trials],
            "worked_per_order": _rounded(self.worked_per_order),
            "lanes_opened": self.lanes_opened,
            "client_cpu_us_per_op": _rounded(self.cpu_us_per_op["generator"]),
            "server_cpu_us_per_op": _rounded(self.cpu_us_per_op["server"]),
            "gateway_cpu_us_per_op": _rounded(self.cpu_us_per_op["gateway"]),
            "broker_cpu_us_per_op": _rounded(self.cpu_us_per_op["broker"]),
            "rival_cpu_us_per_op": _rounded(self.cpu_us_per_op["rival"]),
            "overhead": self.overhead.to_json(),
            "latency_by_percentile_ms": [[p, round(v, 6)] for p, v in self.latency_by_percentile],
            "timeline": [each.to_json() for each in self.timeline],
            "verdict": self.verdict.to_json(),
        }

    def _range(self) -> dict[str, list[float] | None]:
        """The least and the most over trials; None for fewer than two, or where one cannot tell."""
        of_trials = {
            "p50": [trial.latency.p50 for trial in self.trials],
            "p99": [trial.latency.p99 for trial in self.trials],
            "throughput_per_s": [trial.throughput_per_s for trial in self.trials],
        }
        return {
            name: [round(min(values), 6), round(max(values), 6)]
            if len(values) > 1 and all(map(math.isfinite, values))
            else None
            for name, values in of_trials.items()
        }


@dataclass(frozen=True)
class Summary:
    """A run, cell by cell."""

    info: Mapping[str, Any]
    """run.json."""
    cells: Sequence[CellResult]

    @cached_property
    def findings(self) -> Findings:
        """What the cells let one say of each other."""
        return find([subject_of(c.info, c.trials, c.verdict) for c in self.cells])

    @cached_property
    def capacities(self) -> Sequence[Capacity]:
        """What was found where rates were searched for; none where they were known."""
        return capacities(self.info, self.cells)

    @cached_property
    def once(self) -> "Summary":
        """Without the cells that are there only for their A/A pair."""
        return Summary(self.info, [c for c in self.cells if not c.info.get("again")])

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        return {
            "format": FORMAT,
            "run": self.info["run"],
            "cells": [cell.to_json() for cell in self.cells],
            "stacks": [stack.to_json() for stack in stacks(self.once.cells)],
            "capacity": [capacity.to_json() for capacity in self.capacities],
            **self.findings.to_json(),
        }

    @property
    def failed(self) -> bool:
        """Whether a style failed or an account does not balance."""
        return any(
            c.verdict.status is Status.FAILED
            or any(r.code is Code.ACCOUNTS for r in c.verdict.reasons)
            for c in self.cells
        )

    @property
    def skipped(self) -> bool:
        """Whether a cell was not run at all."""
        return any(c.verdict.status is Status.SKIPPED for c in self.cells)


def summarize(run: Run) -> Summary:
    """Everything that the report says. Raises ValueError for a trial file that cannot be read."""
    noted, scenario = noted_by_trial(run), run.info["scenario"]
    readings, places = run.readings(), generator_places(run.info)
    cells = []
    for info in run.info["cells"]:
        trials = [
            summarize_trial(
                read_samples(path),
                int(path.stem),
                scenario["timeout_s"],
                read_sightings(sightings_path(path)),
                _readers(info),
                observed(*noted[at := (info["id"], int(path.stem))], readings[at], places),
                read_arrivals(arrivals_path(path)),
                steady(scenario, info),
                objective_percentile(scenario),
            )
            for path in run.trials[info["id"]]
        ]
        verdict = judge(run, info, trials, sum((t.counts for t in trials), Counts()))
        rest = _rest(run, info, noted)
        cells.append(put_together(info, trials, verdict, rest, scenario.get("price")))
    return Summary(run.info, cells)


def objective_percentile(scenario: Mapping[str, Any]) -> float | None:
    """What a scenario, as run.json has it, is judged by; None where it has no objective."""
    objective = scenario.get("objective")
    return float(objective["percentile"]) if objective else None


def _readers(info: Mapping[str, Any]) -> int:
    condition = info["condition"]
    return int(condition.get("subscribers", 0) - condition.get("stalled", 0))


def noted_by_trial(noted: Noted) -> dict[tuple[str, int], tuple[list[Row], list[Row]]]:
    """What observed takes, by cell and number."""
    found: dict[tuple[str, int], tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for place, rows in enumerate((noted.marks, noted.events)):
        for row in rows:
            found[row["cell"], row["trial"]][place].append(row)
    return found


def observed(
    marked: Sequence[Row],
    events: Sequence[Row],
    readings: Iterable[Reading] = (),
    places: Sequence[int] = (0,),
) -> Seen:
    """What was noted of a trial from outside: its rows of telemetry at marks, its events, and all
    that was read of its processes' CPU time. `places`: the processor of each generator."""
    marks = {(row["role"], row["mark"]): row for row in marked}
    said = {event["kind"]: event["detail"] for event in events}
    drained = [json.loads(e["detail"]) for e in events if e["kind"] == "drained"]
    return Seen(
        cpu_ns=_cpu_by_role(marks),
        busiest_ns=busiest_ns(marks, "generator", places),
        spent=spent_by_role(marks),
        counted=counted_between(marks),
        idle=idle(marks, events),
        other_busy=other_busy(marks, events),
        memory={mark: row["rss_bytes"] for (role, mark), row in marks.items() if role == "server"}
        | _broker_memory(marks),
        wire=json.loads(said["wire"]) if "wire" in said else None,
        orders_worked=_orders_worked(events),
        left=_left([each["left"] for each in drained]),
        read_again=sum(read) if (read := _told(drained, "read_again")) else None,
        lag=_total_lag([each["lag"] for each in drained]),
        used=used_over_time(readings),
        faults=[(e["at"], e["kind"]) for e in events if e["kind"] in FAULTS],
        worker_lost=Code.WORKER_LOST.value in said,
    )


def _left(by_worker: Sequence[int | None]) -> int | None:
    """Workers that compete all tell of the same messages."""
    known = [left for left in by_worker if left is not None]
    return max(known, default=0) if len(known) == len(by_worker) else None


def _told(messages: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    return [message[name] for message in messages if message[name] is not None]


def _cpu_by_role(marks: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, int]:
    used: dict[str, int] = {}
    for role, mark in marks:
        if mark == "window_start" and (role, "window_end") in marks:
            name = role.partition(".")[0]
            spent = marks[role, "window_end"]["cpu_ns"] - marks[role, "window_start"]["cpu_ns"]
            used[name] = used.get(name, 0) + spent
    return used


def _broker_memory(marks: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, int]:
    sizes = [
        row["rss_bytes"]
        for (role, mark), row in marks.items()
        if mark == "window_end" and role.partition(".")[0] == "broker"
    ]
    return {"broker": sum(sizes)} if sizes else {}


def _orders_worked(events: Sequence[Mapping[str, Any]]) -> int | None:
    """By all of a trial's servers together."""
    ended = [json.loads(e["detail"]) for e in events if e["kind"] == "server_stopped"]
    told = [each["orders_worked"] for each in ended if "orders_worked" in each]
    return sum(told) if told else None


def _total_lag(by_worker: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Of several workers, each with instants of its own: the sum of what each said last."""
    said = sorted((at, worker, lag) for worker, each in enumerate(by_worker) for at, lag in each)
    last: dict[int, int] = {}
    total = []
    for at, worker, lag in said:
        last[worker] = lag
        total.append((at, sum(last.values())))
    return total


def _rest(
    run: Run,
    info: Mapping[str, Any],
    noted: Mapping[tuple[str, int], tuple[Sequence[Row], Sequence[Row]]],
) -> Idle | None:
    """What the cell's variant used at rest, in whichever cell it was seen that costs the same."""
    alike = {each["id"] for each in run.info["cells"] if _at_rest(each) == _at_rest(info)}
    seen = {(r["cell"], r["trial"]) for r in run.marks if r["mark"] == "idle_start"}
    places = generator_places(run.info)
    return next(
        (observed(*noted[at], places=places).idle for at in sorted(seen) if at[0] in alike), None
    )


def _at_rest(info: Mapping[str, Any]) -> list[Any]:
    """See harness.plan.Cell.at_rest."""
    condition = info["condition"]
    named = [condition.get(key) for key in ("how", "durability", "subscribers", "cut_idle_s")]
    return [info.get("variant"), *named]


def put_together(
    info: Mapping[str, Any],
    trials: Sequence[TrialResult],
    verdict: Verdict,
    rest: Idle | None = None,
    price: Mapping[str, float] | None = None,
) -> CellResult:
    """A cell from its trials; percentiles are the median over trials of each trial's own, and what
    operations cost is that of whole trials. `rest` and `price`: see overhead."""
    acks = [t.ack for t in trials if t.ack is not None]
    costs = overhead(trials, rest, price)
    unbroken = whole(trials)
    curves = [trial_curve(t.latency_at) for t in trials]
    return CellResult(
        info=info,
        trials=trials,
        counts=sum((t.counts for t in trials), Counts()),
        throughput_per_s=middle([t.throughput_per_s for t in trials]) if trials else None,
        latency=middle_distribution([t.latency for t in trials]),
        ack=middle_distribution(acks) if acks else None,
        round_trip_ms=middle([t.round_trip_ms for t in trials]),
        service_time=middle_distribution([t.service_time for t in trials]),
        send_lag_us=middle_distribution([t.send_lag_us for t in trials]),
        processed=middle_distribution([t.processed for t in trials]),
        clock_error_ms=max(
            (e for t in trials if (e := t.clock_error_ms) is not None), default=None
        ),
        excess=mean_of([t.excess_ms for t in trials]),
        notes=_notes(trials),
        progress=_progress(trials),
        watched=middle_watched([t.watched for t in trials if t.watched is not None]),
        bytes_per_op=bytes_per_op(costs.passages) or _bytes_per_op(info, unbroken),
        connections=max(
            (t.seen.wire["connections"] for t in unbroken if t.seen.wire), default=None
        ),
        server_memory=_server_memory(info, trials),
        broker_memory=middle(sizes) if (sizes := _broker_sizes(trials)) else None,
        acked_per_s=middle([t.acked_per_s for t in trials]) if acks else None,
        ledger=combine([t.ledger for t in trials if t.ledger is not None]),
        read_again=_read_again(trials),
        spread=added([t.spread for t in trials if t.spread is not None]),
        lag=[_since_start(t) for t in trials if t.seen.lag],
        worked_per_order=_worked_per_order(unbroken),
        lanes_opened=max((t.health["lanes_opened"] for t in trials), default=None),
        cpu_us_per_op={role: _cpu_per_op(unbroken, role) for role in ROLES},
        overhead=costs,
        latency_curves=curves,
        latency_by_percentile=middle_curve(curves),
        verdict=verdict,
    )


def _cpu_per_op(trials: Sequence[TrialResult], role: str) -> float | None:
    seen = [t for t in trials if role in t.seen.cpu_ns]
    completed = sum(t.completed_in_window for t in seen)
    return sum(t.seen.cpu_ns[role] for t in seen) / 1e3 / completed if completed else None


def _notes(trials: Sequence[TrialResult]) -> dict[str, float]:
    names = sorted({name for t in trials for name in t.notes})
    return {name: middle([t.notes.get(name, 0.0) for t in trials]) for name in names}


def _progress(trials: Sequence[TrialResult]) -> Distribution | None:
    ages = [t.progress_ms for t in trials if t.progress_ms is not None]
    return middle_distribution(ages) if ages else None


def _bytes_per_op(
    info: Mapping[str, Any], trials: Sequence[TrialResult]
) -> tuple[float, float] | None:
    """As the first runs counted: from just before the window to just after it, by what was
    completed then."""
    counted = [(w, t) for t in trials if (w := t.seen.wire) is not None and "flows" not in w]
    if not counted or not info["condition"].get("kept", True):
        return None
    if any(wire["closed"] for wire, _ in counted):
        return None
    completed = sum(t.done_on_wire for _, t in counted)
    if not completed:
        return None
    return (
        sum(wire["bytes_to_server"] for wire, _ in counted) / completed,
        sum(wire["bytes_from_server"] for wire, _ in counted) / completed,
    )


def _server_memory(info: Mapping[str, Any], trials: Sequence[TrialResult]) -> dict[str, float]:
    marks = ("before_open", "window_start", "window_end")
    seen = [t.seen.memory for t in trials if set(marks) <= set(t.seen.memory)]
    if not seen:
        return {}
    found = {mark: middle([float(memory[mark]) for memory in seen]) for mark in marks}
    if subscribers := info["condition"].get("subscribers"):
        opened = [(m["window_start"] - m["before_open"]) / subscribers for m in seen]
        found["per_subscriber"] = round(middle(opened))
    return found


def _worked_per_order(trials: Sequence[TrialResult]) -> float | None:
    told = [t for t in trials if t.seen.orders_worked is not None]
    sent = sum(t.sent_in_all for t in told)
    return sum(t.seen.orders_worked or 0 for t in told) / sent if sent else None


def _broker_sizes(trials: Sequence[TrialResult]) -> list[float]:
    return [float(t.seen.memory["broker"]) for t in trials if "broker" in t.seen.memory]


def _read_again(trials: Sequence[TrialResult]) -> float | None:
    read = [t for t in trials if t.seen.read_again is not None and t.ledger is not None]
    arrived = sum(t.ledger.arrived for t in read if t.ledger is not None)
    return sum(t.seen.read_again or 0 for t in read) / arrived if arrived else None


def _since_start(trial: TrialResult) -> list[tuple[float, int]]:
    return [(trial.since_start_s(at), behind) for at, behind in trial.seen.lag]


def _watched_json(watched: Watched | None) -> dict[str, Any] | None:
    if watched is None:
        return None
    return {
        "first_ms": watched.first.to_json(),
        "median_ms": watched.median.to_json(),
        "last_ms": watched.last.to_json(),
        "delivered": watched.delivered,
        "expected": watched.expected,
        "repeated": watched.repeated,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 3)
