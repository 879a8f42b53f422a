"""Latency along a rate that changes (issue 6.5)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.timeline import SLICES, Slice, middle_slices, slices
from harness.plan import LoadPoint
from harness.report.charts import make_charts
from tests.unit.capacity_summaries import along
from tests.unit.summaries import complete

RAMP = LoadPoint("ramp", rate=300, rates=(100, 500))
S = 1_000_000_000


@given(st.lists(st.integers(0, 4 * S - 1), max_size=300), st.integers(0, 10**12))
def test_every_operation_of_the_window_is_in_one_slice(offsets: list[int], start: int) -> None:
    planned = np.array([start + at for at in sorted(offsets)], np.int64)
    found = slices(planned, np.ones(len(planned)), (start, start + 4 * S))
    assert len(found) == SLICES
    assert sum(each.planned_per_s for each in found) * 4 / SLICES == pytest.approx(len(planned))
    assert all(0 < each.at_s < 4 for each in found)


def test_a_slice_has_the_latency_of_what_was_planned_in_it() -> None:
    planned = np.arange(4000, dtype=np.int64) * (S // 1000)
    latency = np.where(planned < 2 * S, 1.0, np.inf)
    latency[5] = 7.0
    found = slices(planned, latency, (0, 4 * S))
    assert {each.planned_per_s for each in found} == {1000}
    assert found[0] == Slice(0.05, 1000, 1.0, 7.0)
    assert (found[19].p50_ms, found[20].p50_ms) == (1.0, math.inf)
    none = slices(planned, latency, (5 * S, 9 * S))
    assert math.isnan(none[0].p50_ms)
    assert none[0].to_json() == {
        "at_s": 0.05,
        "planned_per_s": 0,
        "p50_ms": None,
        "slowest_ms": None,
    }


def test_of_several_trials_the_middle() -> None:
    of_three = [[Slice(0.05, 100.0, ms, 2 * ms)] for ms in (1.0, 9.0, 2.0)]
    assert middle_slices(of_three) == [Slice(0.05, 100.0, 2.0, 4.0)]
    assert middle_slices([]) == []


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
