"""Latency along a rate that changes (issue 6.5)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.summary import noted_by_trial, observed
from harness.analysis.timeline import SLICES, Slice, middle_instants, middle_slices, slices
from harness.analysis.usage import Used, used_over_time
from harness.plan import LoadPoint
from harness.report.charts.every import make_charts
from harness.results import Ints, Run, telemetry_schema, write_table
from tests.unit.capacity_summaries import along
from tests.unit.summaries import complete

RAMP = LoadPoint("ramp", rate=300, rates=(100, 500))
S = 1_000_000_000
Floats = npt.NDArray[np.float64]


NOTHING = np.array([], np.int64)
EVER = (0, 4 * S)


def sliced(
    planned: Ints,
    latency_ms: Floats,
    window: tuple[int, int],
    done: Ints = NOTHING,
    **used: Sequence[Used],
) -> tuple[Slice, ...]:
    """Sent without a lag."""
    return slices(planned, latency_ms, np.zeros(len(planned)), done, used, window)


@given(st.lists(st.integers(0, 4 * S - 1), max_size=300), st.integers(0, 10**12))
def test_every_operation_of_the_window_is_in_one_slice(offsets: list[int], start: int) -> None:
    planned = np.array([start + at for at in sorted(offsets)], np.int64)
    found = sliced(planned, np.ones(len(planned)), (start, start + 4 * S), planned)
    assert len(found) == SLICES
    for rate in ("planned_per_s", "done_per_s"):
        total = sum(getattr(each, rate) for each in found) * 4 / SLICES
        assert total == pytest.approx(len(planned), abs=1)
    assert all(0 < each.at_s < 4 for each in found)


def test_a_slice_has_the_latency_of_what_was_planned_in_it() -> None:
    planned = np.arange(4000, dtype=np.int64) * (S // 1000)
    latency = np.where(planned < 2 * S, 1.0, np.inf)
    latency[5] = 7.0
    found = sliced(planned, latency, EVER)
    assert {each.planned_per_s for each in found} == {1000}
    assert (found[0].at_s, found[0].p50_ms, found[0].slowest_ms) == (0.05, 1.0, 7.0)
    assert (found[19].p50_ms, found[20].p50_ms) == (1.0, math.inf)
    none = sliced(planned, latency, (5 * S, 9 * S))
    assert math.isnan(none[0].p50_ms)
    assert none[0].to_json() == {
        "at_s": 0.05,
        "planned_per_s": 0,
        "p50_ms": None,
        "slowest_ms": None,
        "p99_ms": None,
        "done_per_s": 0,
        "lag_ms": None,
        "busy": {},
    }


def test_a_slices_99_percent_are_told_where_it_resolves_them() -> None:
    planned = np.arange(40_000, dtype=np.int64) * (S // 10_000)
    latency = np.tile(np.arange(1.0, 1001.0), 40)
    assert {each.p99_ms for each in sliced(planned, latency, EVER)} == {990.0}
    few = sliced(planned[::100], latency[::100], EVER)
    assert all(math.isnan(each.p99_ms) for each in few)


def test_what_was_done_counts_when_it_was_done_and_not_when_it_was_planned() -> None:
    """Issue 7.3: a service that stands still for a second does nothing in it, and then all."""
    planned = np.arange(400, dtype=np.int64) * (S // 100)
    stood = (planned >= S) & (planned < 2 * S)
    done = np.sort(np.where(stood, 2 * S, planned))
    rates = [each.done_per_s for each in sliced(planned, np.ones(400), EVER, done)]
    assert rates[9:12] == [100, 0, 0]
    assert rates[20] == 100 + 1000
    assert {each.planned_per_s for each in sliced(planned, np.ones(400), EVER)} == {100}


def test_the_lag_is_the_longest_of_what_was_sent() -> None:
    planned = np.arange(80, dtype=np.int64) * (S // 20)
    lag = np.full(80, 0.5)
    lag[0], lag[3] = math.nan, 9.0
    lag[4:6] = math.nan
    found = slices(planned, np.ones(80), lag, NOTHING, {}, EVER)
    assert [each.lag_ms for each in found[:2]] == [0.5, 9.0]
    assert math.isnan(found[2].lag_ms)


def test_a_role_is_as_busy_as_its_processes_were() -> None:
    """Issue 7.3: CPU time is read now and then, and taken to have grown evenly in between."""
    steady = [(-S, 0), (9 * S, 5 * S)]
    late = [(0, 0), (2 * S, 0), (4 * S, 2 * S)]
    found = sliced(NOTHING, np.array([]), EVER, server=[steady, late], broker=[[(0, 7), (S, 7)]])
    assert [each.busy["server"] for each in found[:20]] == pytest.approx([0.5] * 20)
    assert [each.busy["server"] for each in found[20:]] == pytest.approx([1.5] * 20)
    assert {each.busy["broker"] for each in found} == {0}
    # Read once only, nothing is known of how it went along.
    assert {e.busy["server"] for e in sliced(NOTHING, np.array([]), EVER, server=[[(0, 7)]])} == {0}


def test_the_cpu_of_a_role_is_that_of_each_of_its_processes() -> None:
    readings = [
        (role, at, 10 * at) for role in ("server", "server.2", "generator") for at in (3, 1)
    ]
    assert used_over_time(readings) == {
        "server": [[(1, 10), (3, 30)]] * 2,
        "generator": [[(1, 10), (3, 30)]],
    }


def test_what_was_sampled_and_what_was_killed_is_seen_of_its_own_trial(tmp_path: Path) -> None:
    """Issue 7.3: rows without a mark too, and the instants at which it happened."""
    numbers: dict[str, object] = {
        name: 1 for name in telemetry_schema().names if name not in ("cell", "role", "mark")
    }
    rows = [
        numbers
        | {"cell": "c", "trial": trial, "role": "server", "at": at, "cpu_ns": at, "mark": mark}
        for trial in (1, 2)
        for at, mark in ((10, "window_start"), (20, ""), (30, "window_end"))
    ]
    events = [
        {"cell": "c", "trial": 1, "at": 25, "kind": kind, "detail": "kafka.1"}
        for kind in ("killed", "restarted", "server_ready")
    ]
    write_table(tmp_path / "telemetry.parquet", rows, telemetry_schema())
    run = Run(tmp_path, {}, {}, [row for row in rows if row["mark"]], events)
    noted, readings = noted_by_trial(run), run.readings()
    seen = observed(*noted["c", 1], readings["c", 1])
    assert seen.used == {"server": [[(10, 10), (20, 20), (30, 30)]]}
    assert seen.cpu_ns == {"server": 20}
    assert seen.faults == [(25, "killed"), (25, "restarted")]
    other = observed(*noted["c", 2], readings["c", 2])
    assert (other.faults, other.used) == ([], seen.used)


def test_of_what_happened_in_several_trials_the_middle_instant() -> None:
    trials = [
        [(2.0, "killed"), (4.0, "restarted")],
        [(2.2, "killed"), (5.0, "restarted")],
        [(2.1, "killed")],
    ]
    assert middle_instants(trials) == [(2.1, "killed"), (4.5, "restarted")]
    assert middle_instants([]) == []


def test_of_several_trials_the_middle() -> None:
    of_three = [[Slice(0.05, 100.0, ms, 2 * ms)] for ms in (1.0, 9.0, 2.0)]
    (found,) = middle_slices(of_three)
    assert (found.at_s, found.planned_per_s, found.p50_ms, found.slowest_ms) == (0.05, 100, 2, 4)
    assert middle_slices([]) == []
    busy = [
        [Slice(0.05, 1, 1, 1, busy={"server": each, **more})]
        for each, more in ((0.2, {"broker": 1.0}), (0.4, {}), (0.9, {"broker": 1.0}))
    ]
    # A role that one trial did not see has no middle.
    assert middle_slices(busy)[0].busy == {"server": 0.4}


def test_the_chart_has_the_planned_rate_and_latency_below_it() -> None:
    chart = next(chart for chart in make_charts(along(RAMP)) if chart.name == "timeline")
    planned, half, slowest = chart.panels
    (one,) = planned.series
    assert (one.label, one.note) == ("planned", "")
    assert one.y[0] < one.y[-1]
    for panel in (half, slowest):
        assert [line.label for line in panel.series] == ["rest", "websocket"]
        assert [row.label for row in panel.missing] == ["grpc-unary"]
    # Beyond the timeout: drawn at it.
    assert max(slowest.series[1].y) == 2000
    assert half.series[0].y == (3.0,) * SLICES


def test_a_steady_rate_has_none() -> None:
    assert "timeline" not in {chart.name for chart in make_charts(complete())}
    assert complete().cells[0].to_json()["timeline"] == []
    assert len(along(RAMP).cells[0].to_json()["timeline"]) == SLICES
