"""Order statistics, censoring, and what a sample cannot tell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stats import (
    CURVE_POINTS,
    Curve,
    curve_ranges,
    distribution,
    middle,
    middle_curve,
    middle_distribution,
    percentile_of,
    percentiles,
    resolvable,
    trial_curve,
)

values = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=2000)


@given(values, st.sampled_from([1.0, 50.0, 90.0, 99.0, 99.9]))
def test_the_nearest_rank_is_the_textbook_one(sample: list[float], percentile: float) -> None:
    ascending = np.sort(np.array(sample))
    got = percentile_of(ascending, len(sample), percentile)
    if not resolvable(len(sample), percentile):
        assert math.isnan(got)
    else:
        assert got == np.percentile(ascending, percentile, method="inverted_cdf")


@pytest.mark.parametrize(
    ("percentile", "smallest"), [(50.0, 4), (90.0, 35), (99.0, 381), (99.9, 3838)]
)
def test_how_many_operations_a_percentile_needs(percentile: float, smallest: int) -> None:
    assert not resolvable(smallest - 1, percentile)
    assert resolvable(smallest, percentile)


def test_what_did_not_finish_ranks_last() -> None:
    done = np.full(980, 1.0)
    marks = distribution(done, 1000)
    assert (marks.p50, marks.p90) == (1.0, 1.0)
    assert math.isinf(marks.p99)
    assert math.isinf(marks.max)
    shown = marks.to_json()
    assert (shown["p90"], shown["p99"], shown["max"]) == (1.0, None, None)
    assert shown["censored"] is True
    assert shown["not_resolvable"] == ["p99_9"]


def test_a_percentile_just_before_the_censored_ones_is_a_number() -> None:
    assert distribution(np.arange(990.0), 1000).p99 == 989.0
    assert math.isinf(distribution(np.arange(989.0), 1000).p99)


@given(values, st.integers(0, 500))
def test_losing_operations_never_improves_a_percentile(sample: list[float], lost: int) -> None:
    whole = distribution(np.array(sample), len(sample))
    worse = distribution(np.array(sample), len(sample) + lost)
    for name in ("p50", "p90", "p99", "max"):
        before, after = getattr(whole, name), getattr(worse, name)
        assert math.isnan(before) or after >= before


def test_the_middle_of_trials() -> None:
    assert middle([3.0, 1.0, 2.0]) == 2.0
    assert middle([1.0, 2.0]) == 1.5
    assert middle([1.0, math.inf, math.inf]) == math.inf
    assert middle([1.0, math.inf]) == math.inf
    assert middle([1.0, 2.0, math.inf]) == 2.0
    assert math.isnan(middle([1.0, math.nan]))
    assert math.isnan(middle([]))


def test_a_cell_is_the_median_of_its_trials_percentiles() -> None:
    trials = [distribution(np.full(500, v), 500) for v in (1.0, 5.0, 2.0)]
    assert middle_distribution(trials).p50 == 2.0


def test_nothing_planned_has_no_percentile() -> None:
    shown = distribution(np.array([]), 0).to_json()
    assert shown["p50"] is None
    assert shown["censored"] is False


@given(values, st.integers(0, 500))
def test_percentiles_are_those_of_all_values_in_order(sample: list[float], lost: int) -> None:
    count = len(sample) + lost
    found = percentiles(np.array(sample), count, CURVE_POINTS)
    assert list(found) == list(CURVE_POINTS)
    for percentile, value in found.items():
        expected = percentile_of(np.sort(sample), count, percentile)
        assert value == expected or (math.isnan(value) and math.isnan(expected))


def curve_of(sample: np.ndarray, count: int) -> Curve:
    return trial_curve(percentiles(sample, count, CURVE_POINTS))


def test_a_curve_ends_at_the_last_percentile_that_can_be_told() -> None:
    sample = np.arange(1.0, 1001.0)
    points = middle_curve([curve_of(sample, 1000)])
    assert points[0] == (1.0, 10.0)
    last = points[-1][0]
    assert resolvable(1000, last)
    assert 99.0 < last < 99.9
    assert [y for _, y in points] == sorted(y for _, y in points)
    censored = middle_curve([curve_of(sample[:500], 1000)])
    assert censored[-1][0] == 50.0
    assert middle_curve([]) == []


def test_a_trials_own_curve_goes_on_to_what_was_not_answered() -> None:
    sample = np.arange(1.0, 1001.0)
    whole, half = curve_of(sample, 1000), curve_of(sample[:500], 1000)
    assert [p for p, _ in whole] == [p for p, _ in half]
    assert dict(half)[50.0] == 500.0
    assert {value for p, value in half if p > 50} == {math.inf}


def test_the_range_of_curves_is_the_lowest_and_the_highest_trial() -> None:
    sample = np.arange(1.0, 1001.0)
    low, high = (curve_of(sample * factor, len(sample)) for factor in (1, 3))
    short = curve_of(sample[:100] * 20, 100)
    found = curve_ranges([low, high, short])
    assert [p for p, _, _ in found] == [p for p, _ in short]
    assert found[49] == (50.0, 500.0, 1500.0)
    lost = curve_ranges([low, curve_of(sample[:500], 1000)])
    assert lost[49] == (50.0, 500.0, 500.0)
    assert lost[50] == (51.0, 510.0, math.inf)
    assert curve_ranges([]) == []
