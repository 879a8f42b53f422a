"""Queueing theory (issue 6.8): closed forms against published values and other formulas for them,
recursions against loops."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.queueing import (
    exponential,
    fixed,
    md1_percentile,
    md1_wait_cdf,
    mm1_percentile,
    sample_size,
    sojourns,
    spread,
)
from orders.line import NO_WORK_NS, Line

Ints = npt.NDArray[np.int64]
Orders = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(NO_WORK_NS + 1, 10**9)), min_size=1, max_size=100
)


def arrays(orders: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    """Arrivals and services in nanoseconds, as a trial has them."""
    gaps, services = np.array(orders, np.int64).T
    return 10**18 + np.cumsum(gaps), services


@given(Orders)
def test_lindley_is_the_truth_servers_line(orders: list[tuple[int, int]]) -> None:
    arrivals, services = arrays(orders)
    line = Line(1)
    pairs = zip(arrivals.tolist(), services.tolist(), strict=True)
    expected = [line.departure(arrival, service) - arrival for arrival, service in pairs]
    assert sojourns(arrivals, services).tolist() == expected


@given(Orders, st.integers(-(10**15), 10**15))
def test_a_queue_does_not_know_the_time(orders: list[tuple[int, int]], shift: int) -> None:
    arrivals, services = arrays(orders)
    assert (sojourns(arrivals + shift, services) == sojourns(arrivals, services)).all()


@given(Orders)
def test_more_work_is_never_sooner_done(orders: list[tuple[int, int]]) -> None:
    arrivals, services = arrays(orders)
    times = sojourns(arrivals, services)
    assert (times >= services).all()
    assert (sojourns(arrivals, 2 * services) >= times).all()


def test_without_orders_there_is_no_sojourn() -> None:
    assert len(sojourns(np.array([], np.int64), np.array([], np.int64))) == 0


def test_mm1_is_exponential() -> None:
    # Mean 1 / (mu - lambda) = 1 / (1000 - 700) s; the median is ln 2 of it, p99 ln 100.
    assert mm1_percentile(50, 700, 1e-3) == pytest.approx(math.log(2) / 300)
    assert mm1_percentile(99, 700, 1e-3) == pytest.approx(math.log(100) / 300)


@pytest.mark.parametrize(("rate", "p99_ms"), [(281, 10), (387, 20)])
def test_md1_at_the_objectives_of_the_issue(rate: float, p99_ms: float) -> None:
    assert md1_percentile(99, rate, 2e-3) * 1e3 == pytest.approx(p99_ms, rel=0.005)


def erlang(wait: float, load: float) -> float:
    """Erlang's own formula of 1909, which alternates in sign, in whole numbers of extra digits."""
    terms = [
        (-load * (wait - k)) ** k / math.factorial(k) * math.exp(load * (wait - k))
        for k in range(math.floor(wait) + 1)
    ]
    return (1 - load) * math.fsum(terms)


@given(st.floats(0.01, 0.95), st.floats(0, 8))
def test_md1_is_erlangs(load: float, wait: float) -> None:
    assert md1_wait_cdf(wait, load) == pytest.approx(erlang(wait, load), abs=1e-9)


@given(st.floats(0.01, 0.99), st.floats(0, 300), st.floats(0, 1))
def test_md1_is_a_distribution_where_erlangs_has_no_digits_left(
    load: float, wait: float, more: float
) -> None:
    here, later = md1_wait_cdf(wait, load), md1_wait_cdf(wait + more, load)
    assert 1 - load - 1e-12 <= here <= later + 1e-12 <= 1 + 2e-12


def test_md1_waits_half_as_long_as_mm1_on_average() -> None:
    """Pollaczek and Khinchine: the mean wait is load / (2 (1 - load)) services."""
    load, step = 0.7, 0.02
    waits = np.arange(step / 2, 80, step)
    mean = step * sum(1 - md1_wait_cdf(wait, load) for wait in waits.tolist())
    assert mean == pytest.approx(load / (2 * (1 - load)), rel=1e-3)


@pytest.mark.parametrize("load", [0.0, 1.0, 1.2])
def test_a_load_that_never_settles_is_refused(load: float) -> None:
    with pytest.raises(ValueError, match="must be below 1"):
        mm1_percentile(99, load, 1.0)
    with pytest.raises(ValueError, match="must be below 1"):
        md1_percentile(99, load, 1.0)


def test_simulation_finds_the_closed_forms() -> None:
    draw = np.random.default_rng(7)
    arrivals = np.cumsum(draw.exponential(1 / 0.7, 2_000_000))
    for services, law in ((exponential, mm1_percentile), (fixed, md1_percentile)):
        times = sojourns(arrivals, services(draw, len(arrivals)))
        for percentile in (50, 90, 99):
            expected = law(percentile, 0.7, 1.0)
            assert np.percentile(times, percentile) == pytest.approx(expected, rel=0.05)


def test_few_orders_in_a_row_say_less_than_as_many_alone() -> None:
    """At next to no load sojourns are services, which are independent: the deviation of a quantile
    is sqrt(p (1 - p) / n) / density (Cramer, 1946), here 0.995 / sqrt(n) / ln 100 of p99."""
    alone = 1.96 * math.sqrt(0.99 / 0.01 / 10_000) / math.log(100)
    assert spread(99, 0.001, exponential, 10_000) == pytest.approx(alone, rel=0.15)
    assert spread(99, 0.7, exponential, 10_000) > 2 * alone


def test_the_sample_size_is_the_one_that_is_within() -> None:
    for services in (exponential, fixed):
        needed = sample_size(99, 0.7, services)
        assert spread(99, 0.7, services, needed) == pytest.approx(0.1, rel=0.01)
        assert sample_size(99, 0.7, services, 0.2) == pytest.approx(needed / 4, rel=0.01)
    assert sample_size(99, 0.7, fixed) < sample_size(99, 0.7, exponential)


def test_at_that_size_nineteen_of_twenty_are_within() -> None:
    """Of other draws than those that it was found with."""
    needed, trials = sample_size(99, 0.7, fixed), 150
    draw = np.random.default_rng(99)
    arrivals = np.cumsum(draw.exponential(1 / 0.7, needed * trials))
    times = sojourns(arrivals, np.ones(needed * trials)).reshape(trials, -1)
    deviations = np.abs(np.percentile(times, 99, axis=1) / md1_percentile(99, 0.7, 1.0) - 1)
    assert 0.88 <= (deviations <= 0.1).mean() <= 1.0
