"""Whether a warm-up was enough: noise is none of its business, a transient is."""

import json
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from harness.analysis.warm_up import BATCHES, LEAST, START, WarmUp, warm_up_enough

Floats = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]
WINDOW = (10**12, 10**12 + 4 * 10**9)
COUNT = 2_000
ROUNDS = 400


def heavy(random: np.random.Generator, count: int) -> Floats:
    """Independent, with a tail of Pareto's kind on top of a lognormal body."""
    body = np.exp(0.3 * random.standard_normal(count))
    slow = random.random(count) < 0.03
    return body * np.where(slow, 1 + 3 * random.pareto(1.5, count), 1)


def wide(random: np.random.Generator, count: int) -> Floats:
    """Independent and lognormal: p99 is ten times the median."""
    return np.exp(random.standard_normal(count))


def dependent(share: float, spread: float) -> Noise:
    """Lognormal, where the logarithm is an AR(1) process that keeps `share` at each step."""

    def noise(random: np.random.Generator, count: int) -> Floats:
        steps = random.standard_normal(count)
        steps[1:] *= math.sqrt(1 - share**2)
        logarithm = np.empty(count)
        before = 0.0
        for number, step in enumerate(steps):
            before = logarithm[number] = share * before + step
        return np.exp(spread * logarithm)

    return noise


def even(count: int) -> npt.NDArray[np.int64]:
    """Planned instants at a constant rate over the window."""
    start, end = WINDOW
    return start + (np.arange(count, dtype=np.int64) * (end - start)) // count


def triggered(noise: Noise, shape: Floats | float = 1.0, rounds: int = ROUNDS) -> int:
    """How often the start is found slower than the rest, over seeds 0, 1, 2..."""
    found = 0
    for seed in range(rounds):
        latency = noise(np.random.default_rng(seed), COUNT) * shape
        judged = warm_up_enough(latency, even(COUNT), WINDOW)
        assert judged is not None
        found += not judged.enough
    return found


def decaying(by: float, share: float) -> Floats:
    """A transient that is `by` at first and gone after a share of the window."""
    place = np.arange(COUNT) / COUNT
    return 1 + by * np.clip(1 - place / share, 0, None)


def from_place(share: float, factor: float) -> Floats:
    """An abrupt change by `factor` after a share of the window."""
    return np.where(np.arange(COUNT) < share * COUNT, 1.0, factor)


@pytest.mark.parametrize(
    "noise",
    [heavy, wide, dependent(0.5, 0.5), dependent(0.9, 0.3), dependent(0.95, 0.3)],
    ids=["heavy", "wide", "dependent", "more dependent", "very dependent"],
)
def test_noise_without_a_trend_triggers_in_one_of_twenty_at_most(noise: Noise) -> None:
    assert triggered(noise) <= ROUNDS // 20


@pytest.mark.parametrize("noise", [heavy, dependent(0.5, 0.2)], ids=["heavy", "dependent"])
def test_a_decaying_start_is_found_in_nearly_all(noise: Noise) -> None:
    assert triggered(noise, decaying(0.5, 0.15), rounds=200) >= 190


@pytest.mark.parametrize("factor", [1.5, 0.6])
@pytest.mark.parametrize("noise", [heavy, dependent(0.5, 0.2)], ids=["heavy", "dependent"])
def test_a_late_change_is_no_warm_up(noise: Noise, factor: float) -> None:
    assert triggered(noise, from_place(0.7, factor), rounds=200) <= 10


def test_a_clear_and_trivial_difference_is_none() -> None:
    ripple = 1 + 0.001 * np.sin(np.arange(COUNT))
    latency = ripple * np.where(np.arange(COUNT) < COUNT // 10, 1.09, 1.0)
    assert judge(latency).enough
    latency[: COUNT // 10] *= 1.02
    assert not judge(latency).enough


def test_a_large_difference_that_is_not_clear_is_none() -> None:
    level = np.ones(BATCHES)
    level[: START + 4] = 1.5
    latency = np.repeat(level, COUNT // BATCHES)
    # As slow later on: which two of six batches came first is chance.
    judged = judge(latency)
    assert judged == WarmUp(enough=True, start_ms=1.5, rest_ms=1.0)
    level[START:] = 1.0
    judged = judge(np.repeat(level, COUNT // BATCHES))
    assert judged == WarmUp(enough=False, start_ms=1.5, rest_ms=1.0)


def judge(latency: Floats, planned: npt.NDArray[np.int64] | None = None) -> WarmUp:
    """The judgement of operations that are enough for one."""
    judged = warm_up_enough(latency, even(len(latency)) if planned is None else planned, WINDOW)
    assert judged is not None
    return judged


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


def test_batches_are_of_time() -> None:
    # A tenth of the time has a thirtieth of the operations.
    start, end = WINDOW
    half = (end - start) // 2
    planned = np.concatenate(
        [start + np.arange(200) * (half // 200), start + half + np.arange(1_000) * (half // 1_000)]
    )
    slow = np.where(planned < start + half * 2 // 10, 2.0, 1.0)
    judged = judge(slow, planned)
    assert judged == WarmUp(enough=False, start_ms=2.0, rest_ms=1.0)


def test_what_is_outside_of_the_window_does_not_count() -> None:
    start, end = WINDOW
    planned = np.concatenate([even(COUNT), np.full(500, start - 1), np.full(500, end)])
    latency = np.concatenate([np.ones(COUNT), np.full(1_000, 99.0)])
    assert judge(latency, planned) == WarmUp(enough=True, start_ms=1.0, rest_ms=1.0)


def test_too_few_operations_say_nothing() -> None:
    start, end = WINDOW
    assert warm_up_enough(np.ones(LEAST - 1), even(LEAST - 1), WINDOW) is None
    assert warm_up_enough(np.ones(LEAST), even(LEAST), WINDOW) is not None
    assert warm_up_enough(np.ones(0), even(0), WINDOW) is None
    late = start + (end - start) // 10 + even(LEAST) % ((end - start) // 2)
    assert warm_up_enough(np.ones(LEAST), late, WINDOW) is None
