"""Where a closed loop bends (issue 6.5)."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.knee import knee
from harness.report.answers import answers
from harness.report.charts.every import make_charts
from tests.unit.capacity_summaries import by_users
from tests.unit.summaries import summary


def throughput(demands_s: Sequence[float], users: int) -> float:
    """Of a closed network of single servers in turn, by exact mean value analysis (Reiser and
    Lavenberg, 1980)."""
    waiting = [0.0] * len(demands_s)
    rate = 0.0
    for n in range(1, users + 1):
        times = [d * (1 + q) for d, q in zip(demands_s, waiting, strict=True)]
        rate = n / sum(times)
        waiting = [rate * t for t in times]
    return rate


@given(st.lists(st.floats(1e-4, 1e-1), min_size=1, max_size=5))
def test_it_is_where_operational_analysis_has_it(demands_s: list[float]) -> None:
    """N* = D / D_max, by throughputs that only come near their bounds."""
    found = knee({n: throughput(demands_s, n) for n in (1, 4, 16, 64, 256, 2048)})
    assert found is not None
    expected = sum(demands_s) / max(demands_s)
    assert found.users == pytest.approx(expected, rel=0.01)
    assert found.per_s == pytest.approx(1 / max(demands_s), rel=0.01)
    assert not found.rising


def test_the_fewest_need_not_be_one() -> None:
    found = knee({4: 400, 8: 790, 64: 1000})
    assert found is not None
    assert found.users == pytest.approx(10)
    assert found.rising


def test_without_two_points_there_is_none() -> None:
    assert knee({}) is None
    assert knee({4: 100}) is None
    assert knee({1: 0, 2: 100}) is None


def test_the_report_says_and_shows_where_it_is() -> None:
    made = summary(
        [
            *by_users("rest", {1: 1000, 16: 4000, 256: 3900}),
            *by_users("websocket", {1: 2000, 16: 4000, 256: 8000}),
        ]
    )
    said = answers(made)
    assert said[0].startswith("rest: 1,000/s with 1 user, at most 4,000/s with 16; from about 4 ")
    assert "or further on, since more users still brought more" in said[1]
    charts = {chart.name: chart for chart in make_charts(made)}
    (panel,) = charts["scaling"].panels
    assert [one.marked for one in panel.series] == [(4.0, 4000.0), (4.0, 8000.0)]
    assert "A ring marks" in charts["scaling"].caption
    assert [p.title for p in charts["waiting"].panels] == [
        "Half of the orders, closed loop",
        "99 % of the orders, closed loop",
    ]
