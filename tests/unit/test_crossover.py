"""Where curves change places (issue 7.3)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.crossover import Crossover, crossovers

FLAT = {1.0: [2.0, 2.1], 10.0: [2.0, 2.1], 100.0: [2.0, 2.1]}


def test_curves_cross_where_their_medians_meet_on_log_scales() -> None:
    first = {1.0: [1.0] * 3, 100.0: [4.0] * 3}
    second = {1.0: [2.0] * 3, 100.0: [2.0] * 3}
    (found,) = crossovers(first, second)
    assert (found.before, found.after) == (1.0, 100.0)
    assert found.at == pytest.approx(10.0)
    assert crossovers(second, first) == [found]


def test_trials_that_overlap_are_on_no_side() -> None:
    near = {1.0: [1.9, 1.95], 10.0: [2.05, 2.3], 100.0: [2.2, 2.4]}
    (found,) = crossovers(near, FLAT)
    # At 10 nothing is sure, and the medians meet before it.
    assert (found.before, found.after) == (1.0, 100.0)
    assert 1.0 < found.at < 10.0
    assert crossovers(near, {n: [1.0, 3.0] for n in near}) == []


def test_what_was_not_answered_tells_nothing() -> None:
    ends = {1.0: [1.0], 10.0: [3.0], 100.0: [math.inf]}
    (found,) = crossovers(ends, FLAT)
    assert (found.before, found.after) == (1.0, 10.0)
    assert crossovers({1.0: [1.0], 10.0: [math.nan], 100.0: [math.inf]}, FLAT) == []
    assert crossovers({1.0: [1.0], 7.0: [3.0]}, FLAT) == []


def test_curves_may_cross_more_than_once() -> None:
    back = {1.0: [1.0], 10.0: [3.0], 100.0: [1.0]}
    found = crossovers(back, FLAT)
    assert [(each.before, each.after) for each in found] == [(1.0, 10.0), (10.0, 100.0)]


figures = st.lists(st.floats(0.1, 10), min_size=1, max_size=3)


@given(st.dictionaries(st.sampled_from([1.0, 10.0, 100.0, 1000.0]), st.tuples(figures, figures)))
def test_a_crossing_lies_between_its_ends_for_both(
    curves: dict[float, tuple[list[float], list[float]]],
) -> None:
    first = {n: a for n, (a, _) in curves.items()}
    second = {n: b for n, (_, b) in curves.items()}
    for each in crossovers(first, second):
        assert isinstance(each, Crossover)
        assert each.before <= each.at * 1.000001
        assert each.at <= each.after * 1.000001
        low, high = sorted([(first, second), (second, first)], key=lambda p: p[0][each.before])
        assert max(low[0][each.before]) < min(low[1][each.before])
        assert min(low[0][each.after]) > max(low[1][each.after])
        assert high[0] is low[1]
