"""Planned instants of open-loop load: pure, from (seed, block), the same for every style."""

import numpy as np
import numpy.typing as npt

from harness.load.messages import LoadSpec

NS = 1_000_000_000


def planned_instants(
    load: LoadSpec, length_s: float, seed: int, block: int
) -> npt.NDArray[np.int64]:
    """Offsets in nanoseconds from the start, ascending, all below `length_s`.

    Constant: evenly spaced, its phase drawn. Poisson: exponential gaps. Burst: a constant base and
    `burst_size` at one instant every `every_s`, the first burst half an interval in. Raises
    ValueError for a load that has no schedule.
    """
    draw = np.random.default_rng([seed, block])
    assert load.rate is not None, "a closed loop has no schedule"
    end = round(length_s * NS)
    match load.model:
        case "constant":
            instants = _even(load.rate, end, draw.random())
        case "poisson":
            instants = _poisson(load.rate, end, draw)
        case "burst":
            starts = np.arange(load.every_s / 2 * NS, end, load.every_s * NS)
            bursts = np.repeat(starts.astype(np.int64), load.burst_size)
            base = _even(load.rate, end, draw.random())
            instants = np.sort(np.concatenate([base, bursts]), kind="stable")
        case _:
            raise ValueError(f"load model {load.model!r} has no schedule")
    return instants


def _even(rate: float, end: int, phase: float) -> npt.NDArray[np.int64]:
    gap = NS / rate
    count = int(np.ceil(end / gap - phase))
    instants = np.round((np.arange(max(count, 0)) + phase) * gap).astype(np.int64)
    return instants[instants < end]


def _poisson(rate: float, end: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    parts: list[npt.NDArray[np.float64]] = []
    reached = 0.0
    while reached < end:
        expected = (end - reached) / NS * rate
        gaps = draw.exponential(NS / rate, int(expected + 4 * expected**0.5) + 16)
        parts.append(reached + np.cumsum(gaps))
        reached = float(parts[-1][-1])
    instants = np.round(np.concatenate(parts)).astype(np.int64)
    return instants[instants < end]
