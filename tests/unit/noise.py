"""Latencies of services that do not change, simulated and recorded, for tests of what is found in
them."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]
"""Latencies of so many operations, in the order of time."""

RECORDED: Mapping[str, list[list[float]]] = json.loads(
    Path(__file__).with_name("recorded_medians.json").read_text()
)
"""Of ten styles at 300/s, three trials of 4 s each on two quiet virtual processors: the median
latency of each tenth, in ms."""


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


def queued(busy: float) -> Noise:
    """Waiting and service in M/M/1 that is `busy` for so much of the time, from the steady state on
    (Lindley's recursion), in units of the mean service."""

    def noise(random: np.random.Generator, count: int) -> Floats:
        service = random.exponential(1.0, count)
        steps = service[:-1] - random.exponential(1 / busy, count - 1)
        # The first waits for a work that is distributed as in the steady state.
        waiting = random.exponential(1 / (1 - busy)) if random.random() < busy else 0.0
        level = np.concatenate([[0.0], np.cumsum(steps)])
        waits: Floats = np.maximum(level + waiting, level - np.minimum.accumulate(level))
        return waits + service

    return noise
