"""Planned instants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.messages import LoadSpec
from harness.load.schedule import NS, planned_instants

rates = st.floats(0.5, 5000, allow_nan=False)
lengths = st.floats(0.05, 3, allow_nan=False)


def load(model: str, rate: float, burst_size: int = 0, every_s: float = 0.0) -> LoadSpec:
    return LoadSpec(model, rate, None, 0.0, burst_size, every_s)


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


def test_a_load_without_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="has no schedule"):
        planned_instants(load("closed", 1.0), 1, 1, 0)
