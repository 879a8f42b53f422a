"""Effects, their intervals, Holm's correction, floors and repeats: against published figures,
against SciPy's, and what must hold for all data (issue 6.1, 6.2)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.effects import (
    BOOTSTRAP,
    BOOTSTRAP_PAIRS,
    LEAST_PAIRS,
    MOST_REPEATS,
    NO_INTERVAL,
    PAIRED_T,
    PIVOTS_COST,
    Effect,
    Noise,
    Repeat,
    holm,
    noise_floor,
    noise_of,
    paired_effect,
    repeats_needed,
)
from harness.analysis.stats import batch_percentiles, percentile_of, student_p, student_point

Values = Sequence[float] | npt.NDArray[Any]
positive = st.floats(0.01, 1e4)
pairs = st.lists(st.tuples(positive, positive), min_size=LEAST_PAIRS, max_size=14)


def cell(values: Values) -> dict[int, Repeat]:
    """Trials of so many blocks, without batches."""
    return {block: Repeat(value) for block, value in enumerate(values, 1)}


def effect(base: Values, other: Values, level: float = 0.95) -> Effect:
    """Of two cells' values."""
    return paired_effect(cell(base), cell(other), level)


def noisy(
    rng: np.random.Generator, count: int, deviation: float, inside: float = 0.0, shift: float = 0.0
) -> dict[int, Repeat]:
    """Trials around 1 (or so much more) whose logarithms are normal, ten batches in each."""
    return {
        block: Repeat(math.exp(at), np.exp(at + inside * rng.normal(size=10)))
        for block, at in enumerate(shift + deviation * rng.normal(size=count))
    }


# Student's t


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    # Two-sided tails by SciPy 1.17.1 (2 * scipy.stats.t.sf).
    [
        (0.5, 1, 0.704832764699), (4.3, 2, 0.0500571541171), (1.0, 3, 0.391002218956),
        (2.7764451, 4, 0.0500000002659), (0.1, 7, 0.923148059605), (5.0, 8, 0.00105282579337),
        (4.0621277, 9, 0.00283289012677), (2.0, 30, 0.054625044963),
        (3.3, 101, 0.00133656362851), (1.5, 1000, 0.133930038822),
    ],
)  # fmt: skip
def test_students_tails_are_scipys(t: float, freedom: int, p: float) -> None:
    assert student_p(t, freedom) == pytest.approx(p, rel=1e-10)
    assert student_p(-t, freedom) == student_p(t, freedom)


@pytest.mark.parametrize(
    ("freedom", "level", "point"),
    # By SciPy 1.17.1 (scipy.stats.t.ppf); the 95 % points are those of every printed table.
    [
        (1, 0.95, 12.70620474), (2, 0.95, 4.30265273), (2, 0.999, 31.59905458),
        (3, 0.95, 3.182446305), (5, 0.99, 4.032142984), (8, 1 - 0.05 / 45, 4.956972932),
        (9, 0.95, 2.262157163), (29, 0.9, 1.699127027), (100, 0.95, 1.983971519),
        (1000, 0.95, 1.962339081),
    ],
)  # fmt: skip
def test_students_points_are_scipys(freedom: int, level: float, point: float) -> None:
    assert student_point(freedom, level) == pytest.approx(point, rel=1e-9)


def test_many_degrees_are_nearly_normal() -> None:
    assert 1.959964 < student_point(10**6) < 1.959964 * 1.0013


@given(st.integers(1, 60), st.floats(0.01, 0.9999))
def test_points_and_tails_are_each_others_inverse(freedom: int, level: float) -> None:
    assert student_p(student_point(freedom, level), freedom) == pytest.approx(1 - level, rel=1e-6)


# Batches


@given(st.lists(positive, min_size=8, max_size=4000), st.sampled_from([50.0, 99.0]))
def test_batches_resolve_their_percentile_or_there_are_none(
    values: list[float], percentile: float
) -> None:
    found = batch_percentiles(np.array(values), percentile)
    assert len(found) != 1
    assert not np.isnan(found).any()
    assert set(found) <= set(values)
    smallest = 4 if percentile == 50 else 381
    assert len(found) == (0 if len(values) < 2 * smallest else min(10, len(values) // smallest))


def test_batches_are_in_the_order_of_time_and_rank_what_is_lost() -> None:
    values = np.concatenate([np.full(400, 1.0), np.full(400, 2.0)])
    assert list(batch_percentiles(values, 99.0)) == [1.0, 2.0]
    values[-8:] = math.inf
    found = batch_percentiles(values, 99.0)
    assert list(found) == [1.0, math.inf]
    assert found[1] == percentile_of(np.full(392, 2.0), 400, 99.0)


# Effects


def test_without_three_pairs_there_is_no_interval() -> None:
    two = effect([1.0, 2.0], [2.0, 4.0])
    assert two.ratio == pytest.approx(2.0)
    assert (two.pairs, two.method) == (2, NO_INTERVAL)
    assert all(math.isnan(value) for value in (two.low, two.high, two.p_value))
    assert two.reason == "2 of the 3 pairs of trials that an interval takes"


BASE = [1.12, 0.98, 1.31, 1.05, 0.87, 1.19]
OTHER = [1.25, 1.10, 1.29, 1.22, 1.01, 1.21]


@pytest.mark.parametrize(
    ("count", "level", "low", "high", "p"),
    # scipy.stats.ttest_rel of the logarithms, SciPy 1.17.1.
    [
        (3, 0.95, 0.89243178, 1.28887159, 0.24301380451),
        (3, 0.999, 0.2781039, 4.13597204, 0.24301380451),
        (6, 0.95, 1.01412463, 1.17500044, 0.02809207916),
        (6, 0.999, 0.89666249, 1.32892465, 0.02809207916),
    ],
)
def test_few_pairs_have_the_interval_of_the_paired_t_test(
    count: int, level: float, low: float, high: float, p: float
) -> None:
    found = effect(BASE[:count], OTHER[:count], level)
    assert found.method == PAIRED_T
    assert [found.low, found.high] == pytest.approx([low, high])
    assert found.p_value == pytest.approx(p)
    logs = np.log(OTHER[:count]) - np.log(BASE[:count])
    assert found.ratio == pytest.approx(math.exp(logs.mean()))


def test_students_own_example() -> None:
    # Student (Biometrika 6 (1908) 1): hours of sleep gained by ten patients, the difference of two
    # drugs; t = 4.06 with 9 degrees of freedom, p = 0.0028, 95 % from 0.70 to 2.46 hours.
    gained = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    error = float(gained.std(ddof=1)) / math.sqrt(10)
    assert student_p(float(gained.mean()) / error, 9) == pytest.approx(0.00283, abs=1e-5)
    half = student_point(9) * error
    assert gained.mean() - half == pytest.approx(0.70, abs=0.005)
    assert gained.mean() + half == pytest.approx(2.46, abs=0.005)
    # Ten pairs are what the bootstrap begins with. It sees that one patient gained by far the most.
    found = paired_effect(cell(np.ones(10)), cell(np.exp(gained)))
    assert found.method == BOOTSTRAP
    assert math.log(found.ratio) == pytest.approx(1.58)
    assert 0.70 < math.log(found.low) < 1.58 < 2.46 < math.log(found.high)
    assert found.p_value < 0.01


def test_the_method_follows_from_the_number_of_pairs() -> None:
    rng = np.random.default_rng(1)
    methods = [effect(rng.gamma(9, size=n), rng.gamma(9, size=n)).method for n in range(1, 13)]
    assert methods == [NO_INTERVAL] * 2 + [PAIRED_T] * 7 + [BOOTSTRAP] * 3


@given(pairs)
def test_the_other_way_round_it_is_the_inverse(values: list[tuple[float, float]]) -> None:
    base, other = zip(*values, strict=True)
    there, back = effect(base, other), effect(other, base)
    assert there.ratio * back.ratio == pytest.approx(1)
    assert there.low <= there.ratio * (1 + 1e-9)
    assert there.ratio <= there.high * (1 + 1e-9)
    if there.method == PAIRED_T and there.low > 0 and there.high < math.inf:
        assert there.low * back.high == pytest.approx(1)
        assert there.p_value == pytest.approx(back.p_value)


@given(pairs, st.floats(0.1, 10))
def test_only_the_ratio_of_the_sides_matters(
    values: list[tuple[float, float]], factor: float
) -> None:
    base, other = zip(*values, strict=True)
    plain = effect(base, other)
    faster_machine = effect([factor * v for v in base], [factor * v for v in other])
    assert faster_machine.ratio == pytest.approx(plain.ratio)
    assert faster_machine.p_value == pytest.approx(plain.p_value, abs=1e-6)
    assert effect(base, [factor * v for v in other]).ratio == pytest.approx(factor * plain.ratio)


@given(pairs)
def test_a_higher_level_is_never_narrower(values: list[tuple[float, float]]) -> None:
    base, other = zip(*values, strict=True)
    usual, sure = effect(base, other), effect(base, other, 0.99)
    assert sure.low <= usual.low
    assert usual.high <= sure.high


@given(pairs)
def test_the_interval_leaves_1_out_where_the_p_value_is_small(
    values: list[tuple[float, float]],
) -> None:
    base, other = zip(*values, strict=True)
    found = effect(base, other)
    # The bootstrap's p-value counts whole resamples.
    if found.method == PAIRED_T and abs(found.p_value - 0.05) > 1e-9:
        assert (found.p_value < 0.05) == (not found.low <= 1 <= found.high)
    elif found.p_value > 0.051:
        assert found.low <= 1 <= found.high
    elif found.p_value < 0.049:
        assert not found.low <= 1 <= found.high


def test_pairs_are_blocks_and_what_has_no_partner_is_counted() -> None:
    base = {1: Repeat(1.0), 2: Repeat(2.0), 3: Repeat(4.0), 7: Repeat(90.0)}
    other = {3: Repeat(8.0), 2: Repeat(4.0), 1: Repeat(2.0), 5: Repeat(0.1), 6: Repeat(0.1)}
    found = paired_effect(base, other)
    assert found.ratio == pytest.approx(2.0)
    assert (found.pairs, found.left_out) == (3, 3)
    apart = paired_effect({1: Repeat(1.0)}, {2: Repeat(1.0)})
    assert (apart.pairs, apart.left_out) == (0, 2)
    assert apart.reason == "no block has a trial of both"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (math.inf, "censored in 1 of 8 trials"),
        (math.nan, "not resolvable in 1 of 8 trials"),
        (0.0, "not positive in 1 of 8 trials"),
        (-1.0, "not positive in 1 of 8 trials"),
    ],
)
def test_what_has_no_logarithm_is_not_left_out_in_silence(bad: float, reason: str) -> None:
    for base, other in (([1, 2, 3, bad], [1, 2, 3, 4]), ([1, 2, 3, 4], [1, 2, bad, 4])):
        found = effect(base, other)
        assert found.reason == reason
        assert (found.pairs, found.method) == (4, NO_INTERVAL)
        for value in (found.ratio, found.low, found.high, found.p_value):
            assert math.isnan(value)


@pytest.mark.parametrize("count", [3, BOOTSTRAP_PAIRS])
def test_pairs_that_all_say_the_same_have_a_point_for_an_interval(count: int) -> None:
    same = effect([2.0] * count, [3.0] * count)
    assert (same.ratio, same.low, same.high, same.p_value) == (1.5, 1.5, 1.5, 0.0)
    assert effect([2.0] * count, [2.0] * count).p_value == 1.0


def test_an_interval_may_have_no_end() -> None:
    """Nine of ten pairs agree exactly, so many resamples have no spread at all."""
    found = effect([1.0] * 10, [1.1] * 9 + [1.3])
    assert found.low < 1.1
    assert found.high == noise_floor(found) == math.inf
    wide = effect([1.0, 1.0, 1.0], [1e-60, 1.0, 1e60], 0.9999)
    assert (wide.low, wide.high) == (0.0, math.inf)
    assert noise_floor(wide) == math.inf


def test_the_same_data_draws_the_same_resamples() -> None:
    rng = np.random.default_rng(2)
    base, other = noisy(rng, 12, 0.1, 0.2), noisy(rng, 12, 0.1, 0.2)
    assert paired_effect(base, other) == paired_effect(base, other)
    drawn = paired_effect(base, other, rng=np.random.default_rng(3))
    assert drawn != paired_effect(base, other)
    assert drawn.ratio == paired_effect(base, other).ratio


def test_batches_are_resampled_only_where_all_trials_have_as_many() -> None:
    rng = np.random.default_rng(4)
    base, other = noisy(rng, 12, 0.05, 0.5), noisy(rng, 12, 0.05, 0.5)

    def without(side: dict[int, Repeat], block: int, batches: Values) -> dict[int, Repeat]:
        return side | {block: Repeat(side[block].value, np.array(batches))}

    alone = effect([r.value for r in base.values()], [r.value for r in other.values()])
    both = paired_effect(base, other)
    assert both.ratio == alone.ratio
    assert (both.low, both.high) != (alone.low, alone.high)
    for batches in ([1.0], [1.0] * 9, [1.0] * 9 + [math.inf], [1.0] * 9 + [0.0]):
        assert paired_effect(without(base, 5, batches), other) == alone


@pytest.mark.parametrize("inside", [0.0, 0.3])
def test_the_bootstrap_covers_the_truth_as_often_as_it_says(inside: float) -> None:
    """Simulated pairs at the smallest number of trials, where plain percentiles cover 90 %."""
    rng = np.random.default_rng(5)
    within = math.sqrt(0.1**2 + inside**2 / 10)
    found = [
        paired_effect(noisy(rng, 10, within, inside), noisy(rng, 10, within, inside))
        for _ in range(700)
    ]
    covered = sum(each.low <= 1 <= each.high for each in found) / len(found)
    assert 0.93 <= covered <= 0.975
    small = sum(each.p_value <= 0.05 for each in found) / len(found)
    assert 0.025 <= small <= 0.07


def test_a_bootstrap_is_as_wide_as_planning_takes_it_for() -> None:
    rng = np.random.default_rng(6)
    for count, level in ((10, 0.95), (15, 0.999), (25, 0.99)):
        widths = []
        for _ in range(60):
            values = rng.normal(size=count)
            error = values.std(ddof=1) / math.sqrt(count)
            found = paired_effect(cell(np.ones(count)), cell(np.exp(values)), level)
            widths.append(math.log(found.high / found.low) / 2 / error)
        planned = student_point(count - 1 - PIVOTS_COST, level)
        assert np.mean(widths) == pytest.approx(planned, rel=0.1)


# Holm


def test_holms_correction_of_a_known_example() -> None:
    # Four p-values of a worked example, as R's p.adjust(method = "holm") has them too.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


p_values = st.lists(st.floats(0, 1), max_size=30)


@given(p_values)
def test_holm_is_between_no_correction_and_bonferronis(given_p: list[float]) -> None:
    adjusted = holm(given_p)
    for p, q in zip(given_p, adjusted, strict=True):
        assert p <= q <= min(1, len(given_p) * p) or q == pytest.approx(p)
    order = np.argsort(given_p, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


@given(p_values, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order(given_p: list[float], random: object) -> None:
    places = list(range(len(given_p)))
    random.shuffle(places)  # type: ignore[attr-defined]
    shuffled = holm([given_p[i] for i in places])
    assert shuffled == [holm(given_p)[i] for i in places]


def test_what_has_no_p_value_does_not_count() -> None:
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(adjusted[1])


# Floors


def test_a_floor_is_the_farther_end_of_the_interval() -> None:
    nothing = Effect(1.0, math.nan, math.nan, math.nan, 2, NO_INTERVAL)
    assert math.isnan(noise_floor(nothing))
    assert noise_floor(Effect(1.01, 0.96, 1.07, 0.4, 5, PAIRED_T)) == 1.07
    assert noise_floor(Effect(0.97, 0.8, 1.1, 0.4, 5, PAIRED_T)) == pytest.approx(1.25)


@given(pairs)
def test_a_floor_does_not_depend_on_which_label_came_first(
    values: list[tuple[float, float]],
) -> None:
    one, two = zip(*values[:9], strict=True)
    there, back = effect(one, two), effect(two, one)
    floor = noise_floor(there)
    assert floor >= max(there.ratio, 1 / there.ratio) * (1 - 1e-9)
    assert floor >= 1
    if floor < 1e100:
        assert floor == pytest.approx(noise_floor(back))


def test_a_floor_bounds_the_true_ratio_as_often_as_it_says() -> None:
    """The 95 % upper bound of |ln ratio|, be two equal cells alike or a little different."""
    rng = np.random.default_rng(7)
    for bias in (0.0, 0.02, -0.05):
        bound = sum(
            noise_floor(paired_effect(noisy(rng, 4, 0.04), noisy(rng, 4, 0.04, shift=bias)))
            >= math.exp(abs(bias))
            for _ in range(800)
        )
        assert bound / 800 >= 0.94


# Noise and repeats


def test_the_noise_of_many_cells_is_the_residual_of_a_block_design() -> None:
    # Montgomery, Design and Analysis of Experiments, the vascular grafts: four pressures, six
    # batches of resin as blocks, 15 degrees of freedom for error, mean square 7.33.
    yields = [
        [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
        [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
        [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
        [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
    ]
    noise = noise_of([cell(np.exp(row)) for row in yields])
    assert noise is not None
    assert noise.freedom == pytest.approx(15), "no tails that are longer than normal ones"
    assert noise.deviation**2 / 2 == pytest.approx(7.33, abs=0.005)


@given(pairs)
def test_the_noise_of_two_cells_is_the_deviation_of_their_differences(
    values: list[tuple[float, float]],
) -> None:
    one, two = map(np.array, zip(*values, strict=True))
    noise = noise_of([cell(one), cell(two)])
    assert noise is not None
    assert 0 < noise.freedom <= len(values) - 1 + 1e-9
    assert noise.deviation == pytest.approx(np.log(two / one).std(ddof=1), abs=1e-9)


def test_noise_with_long_tails_is_known_less_well() -> None:
    """As well as the variance of the estimate itself says, over many draws."""
    rng = np.random.default_rng(0)
    for draw, kurtosis in ((rng.normal, 0.0), (rng.laplace, 3.0)):
        found = [
            noise_of([cell(row) for row in np.exp(draw(0, 0.1, size=(6, 40)))]) for _ in range(400)
        ]
        squares = np.array([each.deviation**2 for each in found if each is not None])
        expected = 2 / (2 / (5 * 39) + kurtosis / 240)
        seen = 2 * squares.mean() ** 2 / squares.var()
        assert seen == pytest.approx(expected, rel=0.2)
        freedoms = [each.freedom for each in found if each is not None]
        assert np.median(freedoms) == pytest.approx(expected, rel=0.25)


def test_noise_that_cannot_be_told() -> None:
    assert noise_of([]) is None
    assert noise_of([cell([1.0, 2.0, 3.0])]) is None
    assert noise_of([cell([1.0]), cell([2.0])]) is None
    assert noise_of([cell([1.0, 2.0]), cell([2.0, math.inf])]) is None
    # Only what all have in common counts.
    longer = noise_of([cell([1.0, 2.0, 3.0]), cell([1.1, 2.0])])
    assert longer is not None
    assert longer.freedom == pytest.approx(1)


@settings(max_examples=10)
@given(st.floats(0.001, 0.5), st.integers(2, 200), st.integers(1, 300))
def test_more_noise_more_comparisons_or_less_knowledge_never_ask_for_fewer_repeats(
    deviation: float, freedom: int, comparisons: int
) -> None:
    def asked(noise: Noise, comparisons: int, ratio: float = 1.1) -> float:
        return repeats_needed(noise, comparisons, ratio) or math.inf

    usual = asked(Noise(deviation, freedom), comparisons)
    assert usual >= LEAST_PAIRS
    # A step in the number of pairs may change the method, and that is worth a pair or two.
    slack = 3
    assert asked(Noise(1.5 * deviation, freedom), comparisons) >= usual - slack
    assert asked(Noise(deviation, freedom), 4 * comparisons) >= usual - slack
    assert asked(Noise(deviation, 100 * freedom), comparisons) <= usual + slack
    assert asked(Noise(deviation, freedom), comparisons, 1.2) <= usual + slack
    assert asked(Noise(deviation, freedom), comparisons, 1 / 1.1) == usual


def test_without_noise_the_least_will_do_and_with_too_much_nothing() -> None:
    assert repeats_needed(Noise(0.0, 10), 5) == LEAST_PAIRS
    assert repeats_needed(Noise(3.0, 10), 5) is None
    most = repeats_needed(Noise(0.3, 1000), 1)
    assert most is not None
    assert most <= MOST_REPEATS
