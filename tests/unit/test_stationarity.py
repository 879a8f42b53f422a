"""Whether latency drifted (issue 6.3): the same throughout is none, whatever it remembers."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stationarity import CHANCE, MATERIAL, _chance, _kendall, drift
from harness.analysis.stats import BATCHES, batch_percentiles
from tests.unit.noise import RECORDED, Floats, Noise, dependent, heavy, queued, wide

COUNT = 1_200
"""4 s at 300/s."""
ROUNDS = 200


def found(
    noise: Noise, trials: int, shape: Floats | float = 1.0, count: int = COUNT, rounds: int = ROUNDS
) -> int:
    """In how many cells of so many trials a drift is found."""
    number = 0
    for cell in range(rounds):
        draws = [np.random.default_rng([cell, trial]) for trial in range(trials)]
        judged = drift([batch_percentiles(noise(each, count) * shape, 50.0) for each in draws])
        assert judged is not None
        number += judged.found
    return number


def growing(to: float, count: int = COUNT) -> Floats:
    """An even growth by a factor over the window."""
    return to ** (np.arange(count) / count)


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize(
    "noise",
    [heavy, wide, dependent(0.5, 0.5), dependent(0.95, 0.3), dependent(0.99, 0.3)],
    ids=["heavy", "wide", "AR .5", "AR .95", "AR .99"],
)
def test_noise_that_remembers_is_no_drift(noise: Noise, trials: int) -> None:
    assert found(noise, trials) <= 0.03 * ROUNDS


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize(("busy", "most"), [(0.5, 0.03), (0.7, 0.04), (0.8, 0.05), (0.9, 0.09)])
def test_a_queue_in_its_steady_state_is_no_drift(busy: float, most: float, trials: int) -> None:
    # At nine tenths a queue remembers for 380 services, which is a third of this window.
    assert found(queued(busy), trials) <= most * ROUNDS


def test_a_longer_window_makes_the_busiest_queue_none() -> None:
    assert found(queued(0.9), 3, count=6 * COUNT, rounds=100) <= 3


@pytest.mark.parametrize("sign", [1, -1], ids=["grows", "shrinks"])
@pytest.mark.parametrize(
    ("noise", "once"), [(heavy, 0.95), (dependent(0.9, 0.3), 0.65)], ids=["heavy", "AR .9"]
)
def test_a_latency_that_doubles_or_halves_is_found(noise: Noise, once: float, sign: int) -> None:
    assert found(noise, 1, growing(2.0**sign)) >= once * ROUNDS
    assert found(noise, 3, growing(2.0**sign)) >= 0.98 * ROUNDS


def test_a_queue_that_cannot_keep_up_is_found() -> None:
    # Without a steady state: a tenth more is asked for than is done.
    def growing_queue(random: np.random.Generator, count: int) -> Floats:
        steps = random.exponential(1.0, count) - random.exponential(1 / 1.1, count)
        level = np.cumsum(steps)
        return (
            level - np.minimum.accumulate(np.minimum(level, 0.0)) + random.exponential(1.0, count)
        )

    assert found(growing_queue, 3) >= 0.95 * ROUNDS


def test_a_drift_that_is_clear_and_trivial_is_none() -> None:
    calm = np.exp(0.001 * np.random.default_rng(1).standard_normal(BATCHES))
    ramp = np.linspace(0, 1, BATCHES + 1)[:-1]
    for ratio, expected in ((0.95 * MATERIAL, False), (1.05 * MATERIAL, True)):
        for each in (ratio, 1 / ratio):
            judged = drift([calm * each**ramp])
            assert judged is not None
            assert judged.ratio == pytest.approx(each, rel=0.02)
            assert judged.chance < CHANCE
            assert judged.found is expected


def test_trials_that_go_opposite_ways_have_none_in_common() -> None:
    up = np.linspace(1.0, 3.0, BATCHES)
    judged = drift([up, up[::-1]])
    assert judged is not None
    assert judged.chance == 1.0
    assert not judged.found
    # One of three takes back what one of the others adds.
    one, most = drift([up]), drift([up, up, up[::-1]])
    assert one is not None
    assert most is not None
    assert most.ratio == one.ratio > 2
    assert most.chance > one.chance


def test_what_comes_and_goes_again_is_none() -> None:
    stall = np.array([1, 1, 1, 1, 300, 200, 1, 1, 1, 1.0])
    judged = drift([stall] * 3)
    assert judged is not None
    assert not judged.found


def test_parts_without_an_answer_are_the_slowest() -> None:
    buried = np.array([1, 2, 4, 8, 16, 32, 64, 128, math.inf, math.inf])
    grown = drift([buried])
    assert grown is not None
    assert grown.found
    stopped = drift([np.array([1.0] * 5 + [math.inf] * 5)] * 2)
    assert stopped is not None
    assert stopped.found
    assert stopped.ratio == math.inf
    recovered = drift([np.array([math.inf] * 5 + [1.0] * 5)] * 2)
    assert recovered is not None
    assert recovered.found
    assert recovered.ratio == 0
    nothing = drift([np.full(BATCHES, math.inf)])
    assert nothing is not None
    assert (nothing.ratio, nothing.chance, nothing.found) == (1.0, 1.0, False)


def test_fewer_parts_say_nothing() -> None:
    assert drift([]) is None
    assert drift([np.ones(BATCHES - 1), np.array([])]) is None
    up = np.linspace(1.0, 3.0, BATCHES)
    assert drift([up, np.array([])]) == drift([up])


def test_what_was_recorded_on_a_quiet_machine_has_none() -> None:
    cells = [drift([np.array(medians) for medians in trials]) for trials in RECORDED.values()]
    assert len(cells) == 10
    assert not [cell for cell in cells if cell and cell.found]
    trials = [drift([np.array(medians)]) for each in RECORDED.values() for medians in each]
    assert len([trial for trial in trials if trial and trial.found]) <= 1


def test_kendalls_score_and_variance_are_those_of_all_orders() -> None:
    for values in ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]):
        scores = [_kendall(np.array(order))[0] for order in permutations(values)]
        _, variance = _kendall(np.array(values))
        assert np.mean(scores) == pytest.approx(0.0, abs=1e-9)
        assert np.var(scores) == pytest.approx(variance)


def test_the_normal_law_is_near_the_exact_chance() -> None:
    # Kendall's table: of ten values a score of 21 or more has a probability of 0.036, on one side.
    _, variance = _kendall(np.arange(10.0))
    assert variance == 125.0
    assert _chance(21, variance) == pytest.approx(2 * 0.036, abs=0.003)
    assert _chance(-21, variance) == _chance(21, variance)
    assert _chance(0, variance) == 1.0


positive = st.lists(st.floats(0.01, 1e4), min_size=BATCHES, max_size=BATCHES)


@given(positive, st.floats(0.1, 10.0))
def test_no_unit_and_no_direction_is_preferred(values: list[float], unit: float) -> None:
    one = drift([np.array(values)])
    other = drift([np.array(values[::-1])])
    scaled = drift([np.array(values) * unit])
    assert one is not None
    assert other is not None
    assert scaled is not None
    assert one.chance == pytest.approx(other.chance)
    assert one.ratio == pytest.approx(1 / other.ratio, rel=1e-6)
    assert scaled.ratio == pytest.approx(one.ratio, rel=1e-6)
