"""What an operation costs, from made-up telemetry (issue 6.6)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.overhead import Overhead, Passage, bytes_per_op, overhead, passages
from harness.analysis.summary import put_together, summarize
from harness.analysis.trial import Seen, TrialResult
from harness.analysis.usage import (
    Idle,
    Spent,
    counted_between,
    idle,
    other_busy,
    spent_by_role,
)
from harness.analysis.verdicts import Verdict
from harness.results import Run, trial_path, write_samples
from harness.variant import parse_variant
from tests.unit import summaries
from tests.unit.test_summary import samples

MS = 10**6
S = 10**9


def row(at: int, cpu: int, **more: int | None) -> dict[str, Any]:
    """A row of telemetry.parquet, of which the first runs had less."""
    return {"at": at, "cpu_ns": cpu, "rss_bytes": 1, **more}


def whole(at: int, cpu: int, waits: int, preempted: int, peak: int) -> dict[str, Any]:
    """One with context switches and a peak."""
    switches = {"voluntary": waits, "involuntary": preempted}
    return row(at, cpu, user_ns=0, system_ns=0, peak_bytes=peak, **switches)


MARKS: dict[tuple[str, str], Mapping[str, Any]] = {
    ("server", "window_start"): row(10 * S, 500 * MS, user_ns=400 * MS, system_ns=100 * MS),
    ("server", "window_end"): row(14 * S, 900 * MS, user_ns=700 * MS, system_ns=200 * MS),
    ("server.2", "window_start"): row(10 * S, 100 * MS, user_ns=100 * MS, system_ns=0),
    ("server.2", "window_end"): row(14 * S, 300 * MS, user_ns=300 * MS, system_ns=0),
    ("server", "count_start"): whole(9 * S, 0, 10, 1, 50),
    ("server", "count_end"): whole(15 * S, 0, 110, 21, 70),
    ("server.2", "count_start"): whole(9 * S + 1, 0, 0, 0, 5),
    ("server.2", "count_end"): whole(15 * S + 1, 0, 50, 10, 6),
    ("harness", "window_start"): row(10 * S, 0, user_ns=0, system_ns=0),
    ("harness", "window_end"): row(14 * S, 40 * MS, user_ns=0, system_ns=0),
    ("server", "idle_start"): row(1 * S, 100 * MS),
    ("server", "idle_end"): row(2 * S, 103 * MS),
    ("server.2", "idle_start"): row(1 * S, 10 * MS),
    ("server.2", "idle_end"): row(2 * S, 12 * MS),
    ("broker", "window_start"): row(10 * S, 7),
}


def processors(mark: str, at: int, idle_s: float, iowait_s: float = 0.0) -> dict[str, str]:
    """An event with what two processors have done."""
    both = [{"user": 9.0, "system": 1.0, "idle": idle_s / 2, "iowait": iowait_s / 2}] * 2
    return {
        "kind": "processors",
        "detail": json.dumps({"mark": mark, "at": at, "processors": both}),
    }


EVENTS = [
    {"kind": "server_ready", "detail": "http://127.0.0.1:1"},
    processors("idle_start", 1 * S, 0.0),
    processors("idle_end", 2 * S, 1.9),
    processors("window_start", 10 * S, 50.0, 1.0),
    processors("window_end", 14 * S, 56.9, 1.06),
]


def test_a_role_has_used_what_its_processes_have() -> None:
    spent = spent_by_role(MARKS)
    assert spent["server"] == Spent(600 * MS, 1 / 6, 76, 150, 30)
    assert spent["harness"] == Spent(40 * MS, None, None, None, None)
    assert "broker" not in spent  # it ended before the window did
    assert counted_between(MARKS) == (9 * S, 15 * S)


def test_where_little_was_read_little_is_said() -> None:
    old = {
        ("server", "window_start"): row(0, 5),
        ("server", "window_end"): row(4 * S, 105),
    }
    assert spent_by_role(old) == {"server": Spent(100, None, None, None, None)}
    assert counted_between(old) is None
    assert idle(old, []) is None
    assert other_busy(old, []) is None


def test_what_was_busy_beside_the_run_is_what_was_not_idle_and_not_ours() -> None:
    """Two processors for 4 s, 6.96 s of it idle: 1.04 s, of which the roles used 0.64 s."""
    assert other_busy(MARKS, EVENTS) == pytest.approx((8 - 6.96 - 0.64) / 4)


def test_at_rest_by_role() -> None:
    seen = idle(MARKS, EVENTS)
    assert seen is not None
    assert seen.busy == {"server": pytest.approx(0.005)}
    assert seen.other_busy == pytest.approx(2 - 1.9 - 0.005)


def trial(seen: Seen, completed: int = 1000) -> TrialResult:
    """One with so many operations, one every ns from 0 on."""
    base = summaries.trial("rest", summaries.OPEN[0], planned=completed)

    def done(start: int, end: int) -> int:
        return max(0, min(end, completed) - start)

    return replace(
        base,
        seen=seen,
        done_on_wire=done(seen.wire["from"], seen.wire["to"]) if seen.wire else 0,
        done_while_counted=done(*seen.counted) if seen.counted else 0,
    )


def flow(sender: str, receiver: str, size: int, segments: int) -> dict[str, Any]:
    """One of a wire event."""
    return {
        "sender": sender, "receiver": receiver, "bytes": size, "segments": segments,
        "data_segments": segments // 2,
    }  # fmt: skip


SPENT = {
    "generator": Spent(100_000 * 1000, 0.25, 90 << 20, 2000, 500),
    "server": Spent(200_000 * 1000, 0.5, 50 << 20, 1000, 100),
    "harness": Spent(999, None, None, None, None),
    "rival": Spent(999, None, None, None, None),
}
WIRE = {
    "from": 0,
    "to": 1000,
    "flows": [
        flow("generator", "broker", 300_000, 2000),
        flow("broker", "generator", 200_000, 4000),
        flow("server", "broker", 50_000, 1000),
        flow("broker", "server", 60_000, 1500),
        flow("broker", "broker", 8_000, 200),
        flow("broker", "outside", 0, 0),
    ],
    "connections": 4,
    "closed": 0,
    "uncounted": 0,
}


def test_costs_are_means_over_all_trials() -> None:
    seen = Seen(spent=SPENT, counted=(0, 500), other_busy=0.25, wire=WIRE)
    other = replace(
        seen,
        spent={**SPENT, "server": replace(SPENT["server"], cpu_ns=0, peak_bytes=99 << 20)},
        other_busy=0.75,
    )
    cost = overhead([trial(seen), trial(other)], Idle({"server": 0.002}, 0.01))
    assert list(cost.roles) == ["generator", "server"]
    client, server = cost.roles.values()
    assert (client.cpu_us, client.user_us, client.system_us) == (100, 75, 25)
    assert (server.cpu_us, server.user_us, server.system_us) == (100, 50, 50)
    assert (client.voluntary, client.involuntary) == (4, 1)
    assert server.peak_bytes == 99 << 20
    assert (client.idle_ms_per_s, server.idle_ms_per_s) == (None, 2)
    assert cost.other_busy == 0.5
    assert cost.idle_other_busy == 0.01
    assert cost.cost_per_million is None


def test_a_trial_that_lost_a_worker_costs_nothing_that_is_known() -> None:
    """What the service did for the lost worker's operations would be the others'."""
    seen = Seen(
        cpu_ns={"server": 100_000_000},
        spent=SPENT,
        counted=(0, 500),
        wire=WIRE,
        other_busy=0.25,
        orders_worked=1000,
    )
    lost = replace(seen, worker_lost=True, wire={**WIRE, "connections": 9})
    half = replace(trial(lost, completed=500), sent_in_all=500)
    assert overhead([half]) == Overhead({}, [])
    usual = replace(trial(seen), sent_in_all=1000)
    assert overhead([usual, half]) == overhead([usual])

    info = summaries.info_of(parse_variant("rest"), summaries.OPEN[0], summaries.USUAL)
    both, only = (put_together(info, each, Verdict()) for each in ([usual, half], [half]))
    assert both.cpu_us_per_op["server"] == 100
    assert both.bytes_per_op == (350, 260)
    assert (both.connections, both.worked_per_order) == (4, 1)
    assert set(only.cpu_us_per_op.values()) == {None}
    assert (only.bytes_per_op, only.connections, only.worked_per_order) == (None, None, None)
    # Its operations are told all the same.
    assert both.counts.planned == usual.counts.planned + half.counts.planned


def test_each_two_roles_have_a_line_the_nearer_to_the_client_first() -> None:
    seen = overhead([trial(Seen(wire=WIRE)), trial(Seen(wire=WIRE))]).passages
    assert seen == [
        Passage(("generator", "broker"), (300, 200), (2, 4), (1, 2)),
        Passage(("server", "broker"), (50, 60), (1, 1.5), (0.5, 0.75)),
        Passage(("broker", "broker"), (8, 0), (0.2, 0), (0.1, 0)),
    ]
    # What goes between a broker's nodes is no way to the client.
    assert bytes_per_op(seen) == (350, 260)


def test_without_a_broker_bytes_are_the_clients() -> None:
    flows = [
        flow("generator", "gateway", 1000, 2),
        flow("gateway", "generator", 500, 2),
        flow("gateway", "server", 7000, 2),
        flow("server", "generator", 40, 2),
    ]
    seen = passages([flows], 10)
    assert bytes_per_op(seen) == (100, 54)
    assert bytes_per_op([]) is None


@pytest.mark.parametrize(
    "wire",
    [
        None,
        {**WIRE, "uncounted": 1},
        {**WIRE, "from": 5000, "to": 6000},
        {"from": 0, "to": 9, "bytes_to_server": 5, "connections": 4, "closed": 0},
    ],
)
def test_what_was_not_counted_is_not_said(wire: dict[str, Any] | None) -> None:
    assert overhead([trial(Seen(wire=wire))]).passages == []


def test_a_price_is_for_processors_memory_and_traffic() -> None:
    seen = Seen(spent=SPENT, wire=WIRE)
    price = {"core_hour": 3.6, "gib_hour": 0.0, "gb": 0.0}
    cost = overhead([trial(seen)], None, price).cost_per_million
    # 100 and 200 µs an operation are 100 and 200 s a million.
    assert cost == pytest.approx({"generator": 0.1, "server": 0.2, "total": 0.3})
    # 1,000 operations in 4 s: a million take 4,000 s.
    memory = overhead([trial(seen)], None, {"core_hour": 0, "gib_hour": 3.6, "gb": 0})
    assert memory.cost_per_million is not None
    assert memory.cost_per_million["server"] == pytest.approx(50 / 1024 * 4000 / 3600 * 3.6)
    traffic = overhead([trial(seen)], None, {"core_hour": 0, "gib_hour": 0, "gb": 2})
    assert traffic.cost_per_million is not None
    assert traffic.cost_per_million["traffic"] == pytest.approx(618 * 1e6 / 1e9 * 2)
    assert traffic.cost_per_million["total"] == traffic.cost_per_million["traffic"]


def test_nothing_seen_costs_nothing_that_is_known() -> None:
    priced = overhead([trial(Seen())], None, {"core_hour": 1, "gib_hour": 0, "gb": 0})
    assert priced == overhead([]) == Overhead({}, [])
    assert overhead([trial(Seen(spent=SPENT), completed=0)]).roles == {}


def test_summary_json_names_the_client_a_client() -> None:
    info = summaries.info_of(parse_variant("rest"), summaries.OPEN[0], summaries.USUAL)
    seen = Seen(spent=SPENT, counted=(0, 500), wire=WIRE, other_busy=0.1234567)
    price = {"core_hour": 3.6, "gib_hour": 0.0, "gb": 0.0}
    cell = put_together(info, [trial(seen)], Verdict(), Idle({"server": 0.002}, None), price)
    shown = json.loads(json.dumps(cell.to_json()))["overhead"]
    assert shown["roles"]["client"] == {
        "cpu_us": 100, "user_us": 75, "system_us": 25, "peak_bytes": 90 << 20, "voluntary": 4,
        "involuntary": 1, "idle_ms_per_s": None,
    }  # fmt: skip
    assert shown["wire"][0] == {
        "between": ["client", "broker"], "bytes": [300, 200], "segments": [2, 4],
        "data_segments": [1, 2],
    }  # fmt: skip
    assert shown["other_busy"] == 0.1235
    assert set(shown["cost_per_million"]) == {"client", "server", "total"}
    assert cell.bytes_per_op == (350, 260)


def test_what_was_seen_at_rest_holds_for_every_load_of_a_variant(tmp_path: Path) -> None:
    def info(name: str, **condition: Any) -> dict[str, Any]:
        load = {"model": "constant", "rate": 1000, "users": None}
        usual = {"in_flight": 1024, "how": [], "durability": "A", **condition}
        return {
            "id": name, "variant": "rest", "style": "rest", "load": load, "condition": usual,
            "has_server": True,
        }  # fmt: skip

    infos = [info("slow"), info("fast"), info("encrypted", how=["TLS"])]
    for each in infos:
        write_samples(trial_path(tmp_path, each["id"], 1), samples())
    rows = [
        {"cell": cell, "trial": 1, "role": "server", "mark": mark, **row(at, cpu)}
        for cell in ("slow", "fast", "encrypted")
        for mark, at, cpu in (("window_start", 0, 0), ("window_end", 4 * S, S))
    ]
    rows += [
        {"cell": "slow", "trial": 1, "role": "server", "mark": mark, **row(at, cpu)}
        for mark, at, cpu in (("idle_start", 0, 0), ("idle_end", S, 3 * MS))
    ]
    run_info = {
        "run": "r",
        "cells": infos,
        "scenario": {"repeats": 1, "timeout_s": 2.0},
        "placement": {"shared": False},
    }
    trials = {each["id"]: [trial_path(tmp_path, each["id"], 1)] for each in infos}
    cells = summarize(Run(tmp_path, run_info, trials, rows, [])).cells
    at_rest = [cell.overhead.roles["server"].idle_ms_per_s for cell in cells]
    assert at_rest == [3, 3, None]
