"""What queueing theory says of one worker who takes one order at a time, first come, first served.
Pure.

The sojourn of an order is its wait and its service. Time has any one unit; rates are its inverse.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import Z95

Floats = npt.NDArray[np.float64]
SIMULATED, BATCHES = 4_000_000, 400
"""Orders that `spread` simulates, and the fewest batches that it cuts them into."""
NEGLIGIBLE = 30
"""So many arrivals during one service never happen, at loads below 1 (P < 1e-32)."""


def sojourns(arrivals: npt.NDArray[Any], services: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Every order's sojourn, exactly: Lindley's recursion (The theory of queues with a single
    server, 1952), departure = max(arrival, departure before) + service, from an empty system.

    `arrivals` ascend. With C the running sum of services the recursion is solved by
    departure_n = C_n + max over k <= n of (arrival_k - C_(k-1)).
    """
    done = np.cumsum(services)
    departures = done + np.maximum.accumulate(arrivals - (done - services))
    found: npt.NDArray[Any] = departures - arrivals
    return found


def mm1_percentile(percentile: float, rate: float, mean_service: float) -> float:
    """A percentile of the sojourn with Poisson arrivals and exponential services, which is itself
    exponential with rate 1 / mean_service - rate (Kleinrock, Queueing Systems I, 1975, section
    5.7). Raises ValueError for a load of 1 or more.
    """
    _stable(rate * mean_service)
    return -math.log1p(-percentile / 100) / (1 / mean_service - rate)


def md1_percentile(percentile: float, rate: float, service: float) -> float:
    """A percentile of the sojourn with Poisson arrivals and services of one length, by bisection of
    `md1_wait_cdf`. Raises ValueError for a load of 1 or more."""
    load = rate * service
    _stable(load)
    share = percentile / 100
    low, high = 0.0, 1.0
    while md1_wait_cdf(high, load) < share:
        low, high = high, 2 * high
    for _ in range(60):
        half = (low + high) / 2
        if md1_wait_cdf(half, load) < share:
            low = half
        else:
            high = half
    return (high + 1) * service


def md1_wait_cdf(wait: float, load: float) -> float:
    """P(W <= wait), with the service as the unit of time, for Poisson arrivals of rate `load`.

    Erlang's formula (1909) alternates in sign and loses its digits where the wait is long; this is
    Franx's (A simple solution for the M/D/c waiting time distribution, Operations Research Letters
    29, 2001), whose terms are positive: for k - 1 <= wait < k,
    P = sum over j < k of P(at most k - j in the system) Poisson(j; load (k - wait)).
    """
    k = math.floor(wait) + 1
    within = np.cumsum(_in_system(load, k))
    mean = load * (k - wait)
    j = np.arange(k)
    logs = -mean + j * math.log(mean) - np.array([math.lgamma(n + 1) for n in range(k)])
    return float(np.sum(within[k - j] * np.exp(logs)))


@cache
def _in_system(load: float, most: int) -> Floats:
    """P(n orders in an M/D/1 system) for n = 0..most, by Ramaswami's recursion for the embedded
    chain (Stochastic Models 4, 1988), which subtracts nothing."""
    terms = [math.exp(-load)]
    for n in range(1, most + NEGLIGIBLE):
        terms.append(terms[-1] * load / n)
    # P(at least n arrivals during a service); summed from the smallest, and so without cancelling.
    at_least = np.cumsum(terms[::-1])[::-1]
    found = np.zeros(most + 1)
    found[0] = 1 - load
    for n in range(1, most + 1):
        earlier = np.dot(found[1:n], at_least[n:1:-1])
        found[n] = (found[0] * at_least[n] + earlier) / (1 - at_least[1])
    return found


def _stable(load: float) -> None:
    if not 0 < load < 1:
        raise ValueError(f"a load of {load:g} has no stationary sojourn; it must be below 1")


Draw = Callable[[np.random.Generator, int], Floats]
"""Services of mean 1."""


def exponential(draw: np.random.Generator, count: int) -> Floats:
    """Services of M/M/1."""
    return draw.exponential(1.0, count)


def fixed(_: np.random.Generator, count: int) -> Floats:
    """Services of M/D/1."""
    return np.ones(count)


def spread(percentile: float, load: float, services: Draw, count: int, seed: int = 1) -> float:
    """How far, as a share, `count` orders' own percentile of the sojourn may be from theory's: the
    half-width that holds it 95 times of 100.

    Sojourns follow on each other closely, and so many orders say less than as many independent ones
    would. By simulation of SIMULATED orders, cut into batches of `count`; where that would make
    fewer than BATCHES, by the spread's fall with the root of the count.
    """
    size = min(count, SIMULATED // BATCHES)
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(1 / load, SIMULATED))
    times = sojourns(arrivals, services(draw, SIMULATED))
    marks = np.percentile(times[: SIMULATED // size * size].reshape(-1, size), percentile, axis=1)
    deviation = float(marks.std(ddof=1) / marks.mean())
    return Z95 * deviation * math.sqrt(size / count)


def sample_size(
    percentile: float, load: float, services: Draw, within: float = 0.1, seed: int = 1
) -> int:
    """How many orders it takes until sampling alone moves their percentile of the sojourn by no
    more than the share `within`, 95 times of 100 (see `spread`)."""
    most = SIMULATED // BATCHES
    return math.ceil(most * (spread(percentile, load, services, most, seed) / within) ** 2)
