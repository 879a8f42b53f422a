"""Whether a warm-up was enough (issue 6.4): noise is none of its business, a transient is."""

import json
import math

import numpy as np
import pytest

from harness.analysis.stats import BATCHES, batch_percentiles
from harness.analysis.warm_up import CHANCE, MATERIAL, WarmUp, warm_up_enough
from tests.unit.noise import RECORDED, Floats, Noise, dependent, heavy, queued, wide

COUNT = 2_000
ROUNDS = 400


def judge(latency: Floats) -> WarmUp:
    """The judgement of operations that are enough for one."""
    judged = warm_up_enough(batch_percentiles(latency, 50.0))
    assert judged is not None
    return judged


def triggered(
    noise: Noise, shape: Floats | float = 1.0, rounds: int = ROUNDS, count: int = COUNT
) -> int:
    """How often the start is found slower than the rest, over seeds 0, 1, 2..."""
    return sum(
        not judge(noise(np.random.default_rng(seed), count) * shape).enough
        for seed in range(rounds)
    )


def decaying(by: float, share: float, count: int = COUNT) -> Floats:
    """A transient that is `by` at first and gone after a share of the window."""
    place = np.arange(count) / count
    return 1 + by * np.clip(1 - place / share, 0, None)


def from_place(share: float, factor: float) -> Floats:
    """An abrupt change by `factor` after a share of the window."""
    return np.where(np.arange(COUNT) < share * COUNT, 1.0, factor)


@pytest.mark.parametrize("count", [300, COUNT])
@pytest.mark.parametrize(
    "noise",
    [
        *(heavy, wide, dependent(0.5, 0.5), dependent(0.95, 0.3), dependent(0.99, 0.3)),
        *(queued(0.5), queued(0.7), queued(0.9), queued(0.95)),
    ],
    ids=["heavy", "wide", "AR .5", "AR .95", "AR .99", "queue .5", ".7", ".9", ".95"],
)
def test_noise_without_a_trend_triggers_in_one_of_twenty_at_most(noise: Noise, count: int) -> None:
    assert triggered(noise, count=count) <= ROUNDS // 20


def test_a_trial_that_was_recorded_on_a_quiet_machine_triggers_hardly_ever() -> None:
    trials = [np.array(medians) for trials in RECORDED.values() for medians in trials]
    cold = [judged for each in trials if (judged := warm_up_enough(each)) and not judged.enough]
    assert len(trials) == 30
    assert len(cold) <= 1


@pytest.mark.parametrize("noise", [heavy, dependent(0.5, 0.2)], ids=["heavy", "dependent"])
def test_a_decaying_start_is_found_in_nearly_all(noise: Noise) -> None:
    assert triggered(noise, decaying(0.5, 0.15), rounds=200) >= 190
    # So is one of few operations, where it is larger.
    assert triggered(noise, decaying(1.5, 0.15, 400), rounds=200, count=400) >= 190


@pytest.mark.parametrize("factor", [1.5, 0.6])
@pytest.mark.parametrize("noise", [heavy, dependent(0.5, 0.2)], ids=["heavy", "dependent"])
def test_a_late_change_is_no_warm_up(noise: Noise, factor: float) -> None:
    assert triggered(noise, from_place(0.7, factor), rounds=200) <= 10


def test_a_clear_and_trivial_difference_is_none() -> None:
    medians = 1 + 0.001 * np.sin(np.arange(BATCHES))
    assert warm_up_enough(np.array([0.999 * MATERIAL, *medians[1:]])) == WarmUp(
        enough=True, start_ms=0.999 * MATERIAL, rest_ms=float(np.median(medians[1:]))
    )
    judged = warm_up_enough(np.array([1.01 * MATERIAL, *medians[1:]]))
    assert judged is not None
    assert not judged.enough


def test_a_large_difference_that_is_not_clear_is_none() -> None:
    # As slow later on: which of three parts came first is chance.
    medians = np.ones(BATCHES)
    medians[[0, 4, 8]] = 1.5
    assert warm_up_enough(medians) == WarmUp(enough=True, start_ms=1.5, rest_ms=1.0)
    medians[[4, 8]] = 1.0
    assert warm_up_enough(medians) == WarmUp(enough=False, start_ms=1.5, rest_ms=1.0)


def test_how_far_a_start_may_be_above_the_rest() -> None:
    # Student's t of 8 degrees at 97.5% is 2.306, by any table.
    others = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 1.3, 0.8, 1.0, 1.05])
    logarithms = np.log(others)
    half = 2.306 * logarithms.std(ddof=1) * math.sqrt(1 + 1 / 9)
    limit = math.exp(logarithms.mean() + half)
    assert CHANCE == 0.025
    for start, enough in ((0.999 * limit, True), (1.001 * limit, False)):
        judged = warm_up_enough(np.array([start, *others]))
        assert judged is not None
        assert judged.enough is enough


def test_a_faster_start_is_enough() -> None:
    assert judge(from_place(0.1, 2.0)).enough


def test_operations_without_a_latency_are_the_slowest() -> None:
    latency = np.ones(COUNT)
    latency[: COUNT // 10] = math.inf
    judged = judge(latency)
    assert not judged.enough
    assert json.dumps(judged.to_json(), allow_nan=False) == (
        '{"enough": false, "start_ms": null, "rest_ms": 1.0}'
    )
    assert judge(np.full(COUNT, math.inf)).enough
    latency[COUNT // 2 :] = math.inf
    assert judge(latency).enough


def test_too_few_operations_say_nothing() -> None:
    assert warm_up_enough(batch_percentiles(np.ones(39), 50.0)) is None
    assert warm_up_enough(batch_percentiles(np.ones(40), 50.0)) is not None
    assert warm_up_enough(np.array([])) is None
