"""Planned instants of open-loop load: pure, from (seed, block), the same for every style."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harness.load.messages import LoadSpec

NS = 1_000_000_000


def planned_instants(
    load: LoadSpec,
    length_s: float,
    seed: int,
    block: int,
    warm_up_s: float = 0.0,
    recorded: Sequence[float] = (),
) -> npt.NDArray[np.int64]:
    """Offsets in nanoseconds from the start, ascending, all below `length_s`.

    Constant: evenly spaced, its phase drawn. Poisson: exponential gaps. Burst: a constant base and
    `burst_size` at one instant every `every_s`, the first burst half an interval in. Ramp and
    steps: the rate is followed without chance but for the phase, from `warm_up_s` on; until then it
    is the first one. Replay: the `recorded` seconds from `warm_up_s` on, as they are; until then
    their mean rate. Raises ValueError for a load that has no schedule.
    """
    draw = np.random.default_rng([seed, block])
    assert load.rate is not None, "a closed loop has no schedule"
    end = round(length_s * NS)
    match load.model:
        case "constant":
            instants = _following([(length_s, load.rate, load.rate)], draw.random())
        case "poisson":
            instants = _poisson(load.rate, end, draw)
        case "burst":
            starts = np.arange(load.every_s / 2 * NS, end, load.every_s * NS)
            bursts = np.repeat(starts.astype(np.int64), load.burst_size)
            base = _following([(length_s, load.rate, load.rate)], draw.random())
            instants = np.sort(np.concatenate([base, bursts]), kind="stable")
        case "ramp" | "steps":
            rates = load.rates
            pairs = list(
                pairwise(rates) if load.model == "ramp" else zip(rates, rates, strict=True)
            )
            part_s = (length_s - warm_up_s) / len(pairs)
            warm_up = (warm_up_s, rates[0], rates[0])
            instants = _following([warm_up, *((part_s, *pair) for pair in pairs)], draw.random())
        case "replay":
            before = _following([(warm_up_s, load.rate, load.rate)], draw.random())
            offsets = np.round((np.asarray(recorded) + warm_up_s) * NS).astype(np.int64)
            instants = np.concatenate([before, offsets])
        case _:
            raise ValueError(f"load model {load.model!r} has no schedule")
    return instants[instants < end]


def _following(parts: Iterable[tuple[float, float, float]], phase: float) -> npt.NDArray[np.int64]:
    """Instants at which the integral of a rate passes `phase`, 1 + `phase`, 2 + `phase`...

    The rate has parts: so many seconds, and the values above 0 from one of which it goes straight
    to the other. Operation n of a part is due at the t with a t + (b - a) t^2 / (2 length) = n.
    """
    length, a, b = np.array([part for part in parts if part[0] > 0]).reshape(-1, 3).T
    began_s = np.concatenate([[0.0], np.cumsum(length)])
    began_n = np.concatenate([[0.0], np.cumsum(length * (a + b) / 2)])
    numbers = np.arange(phase, began_n[-1])
    part = np.searchsorted(began_n, numbers, side="right") - 1
    n, start, growth = numbers - began_n[part], a[part], ((b - a) / length)[part]
    # The root in the form that does not divide by the growth, which may be 0.
    seconds = 2 * n / (start + np.sqrt(np.maximum(start**2 + 2 * growth * n, 0.0)))
    instants: npt.NDArray[np.int64] = np.round((began_s[part] + seconds) * NS).astype(np.int64)
    return instants


def _poisson(rate: float, end: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    parts: list[npt.NDArray[np.float64]] = []
    reached = 0.0
    while reached < end:
        expected = (end - reached) / NS * rate
        gaps = draw.exponential(NS / rate, int(expected + 4 * expected**0.5) + 16)
        parts.append(reached + np.cumsum(gaps))
        reached = float(parts[-1][-1])
    return np.round(np.concatenate(parts)).astype(np.int64)
