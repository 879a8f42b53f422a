"""Planned instants."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.messages import LoadSpec
from harness.load.schedule import NS, planned_instants

rates = st.floats(0.5, 5000, allow_nan=False)
lengths = st.floats(0.05, 3, allow_nan=False)


def load(
    model: str,
    rate: float,
    burst_size: int = 0,
    every_s: float = 0.0,
    rates: Sequence[float] = (),
) -> LoadSpec:
    return LoadSpec(model, rate, None, 0.0, burst_size, every_s, rates)


@given(st.sampled_from(["constant", "poisson"]), rates, lengths, st.integers(0, 2**63 - 1))
def test_instants_ascend_within_the_length(
    model: str, rate: float, length: float, seed: int
) -> None:
    instants = planned_instants(load(model, rate), length, seed, 0)
    assert instants.dtype == np.int64
    assert (np.diff(instants) >= 0).all()
    assert (instants >= 0).all()
    assert (instants < length * NS + 1).all()


@given(rates, lengths)
def test_constant_is_evenly_spaced_and_complete(rate: float, length: float) -> None:
    instants = planned_instants(load("constant", rate), length, 1, 0)
    gaps = np.diff(instants)
    assert (np.abs(gaps - NS / rate) <= 1).all()
    assert abs(len(instants) - rate * length) <= 1


def test_the_seed_and_the_block_make_the_schedule() -> None:
    def made(model: str, seed: int, block: int) -> list[int]:
        instants: list[int] = planned_instants(load(model, 100), 1, seed, block).tolist()
        return instants

    for model in ("constant", "poisson"):
        assert made(model, 1, 0) == made(model, 1, 0)
        assert made(model, 1, 0) != made(model, 1, 1)
        assert made(model, 1, 0) != made(model, 2, 0)


def test_poisson_gaps_are_exponential() -> None:
    instants = planned_instants(load("poisson", 1000), 200, 3, 0)
    gaps = np.diff(instants) / NS
    # 200,000 gaps: five standard errors either way.
    assert abs(gaps.mean() * 1000 - 1) < 5 / np.sqrt(len(gaps))
    assert abs(gaps.std() * 1000 - 1) < 5 * np.sqrt(2 / len(gaps))
    for share in (0.5, 0.9, 0.99):
        expected = -np.log(1 - share) / 1000
        error = np.sqrt(share * (1 - share) / len(gaps)) / ((1 - share) * 1000)
        assert abs(np.quantile(gaps, share) - expected) < 5 * error


def test_a_burst_is_at_one_instant_on_top_of_the_base() -> None:
    instants = planned_instants(load("burst", 10, burst_size=50, every_s=1.0), 3, 1, 0)
    values, counts = np.unique(instants, return_counts=True)
    assert values[counts >= 50].tolist() == [NS // 2, NS + NS // 2, 2 * NS + NS // 2]
    assert len(instants) == 3 * 50 + 30


several = st.lists(rates, min_size=2, max_size=6)
warm_ups = st.floats(0, 2, allow_nan=False)


@given(st.sampled_from(["ramp", "steps"]), several, lengths, warm_ups, st.integers(0, 99))
def test_a_rate_that_changes_is_followed_to_the_operation(
    model: str, through: list[float], window: float, warm_up: float, block: int
) -> None:
    """As many operations as the integral of the rate, up to any instant (issue 6.5)."""
    length = warm_up + window
    made = planned_instants(load(model, 1, rates=through), length, 1, block, warm_up)
    assert made.dtype == np.int64
    assert (np.diff(made) >= 0).all()
    assert (made >= 0).all()
    assert (made < length * NS + 1).all()
    pairs = list(pairwise(through) if model == "ramp" else zip(through, through, strict=True))
    ends = warm_up + window * np.arange(len(pairs) + 1) / len(pairs)
    area = np.cumsum([through[0] * warm_up, *((a + b) / 2 * window / len(pairs) for a, b in pairs)])
    planned = np.searchsorted(made, ends * NS)
    assert (np.abs(planned - area) <= 1).all()
    # Within the parts too: half-way through the first of them.
    half = (through[0] + (pairs[0][1] - through[0]) / 4) * window / len(pairs) / 2
    seen = np.searchsorted(made, (ends[0] + ends[1]) / 2 * NS) - planned[0]
    assert abs(seen - half) <= 1.01


@given(rates, lengths, st.integers(0, 99))
def test_a_ramp_that_does_not_rise_is_constant(rate: float, length: float, block: int) -> None:
    flat = planned_instants(load("ramp", rate, rates=[rate, rate]), length, 1, block)
    constant = planned_instants(load("constant", rate), length, 1, block)
    assert abs(len(flat) - len(constant)) <= 1
    assert (np.abs(flat[: len(constant)] - constant[: len(flat)]) <= 2).all()


@given(
    st.lists(st.integers(0, 10**7), min_size=2).filter(lambda us: max(us) > min(us)),
    warm_ups,
)
def test_a_recording_is_replayed_as_it_is(us: list[int], warm_up: float) -> None:
    offsets = [(at - min(us)) / 1e6 for at in sorted(us)]
    rate = (len(offsets) - 1) / offsets[-1]
    length = warm_up + len(offsets) / rate
    made = planned_instants(load("replay", rate), length, 1, 0, warm_up, offsets)
    replayed = made[len(made) - len(offsets) :] - warm_up * NS
    assert replayed == pytest.approx(np.array(offsets) * NS, abs=2)
    assert (made[: len(made) - len(offsets)] <= warm_up * NS).all()
    assert abs(len(made) - len(offsets) - rate * warm_up) <= 1


def test_what_is_beyond_the_length_is_left_out() -> None:
    """A broker is warmed up with the start of a recording."""
    assert planned_instants(load("replay", 1), 1, 1, 0, 0.0, [0, 0.5, 1.5]).tolist() == [0, NS // 2]


def test_a_load_without_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="has no schedule"):
        planned_instants(load("closed", 1.0), 1, 1, 0)
