"""How a trial went along over its measured window. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import middle, percentiles
from harness.analysis.usage import Used
from harness.results import Ints

CHANGING = ("ramp", "steps", "replay")
"""Models of load whose rate changes."""
SLICES = 40

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slice:
    """One of SLICES equal parts of the measured window. Latency and lag are of the operations
    planned within it: +infinity where one was not done in time, NaN where there are too few."""

    at_s: float
    """The part's middle, in seconds since the window's start."""
    planned_per_s: float
    p50_ms: float
    slowest_ms: float
    p99_ms: float = math.nan
    done_per_s: float = math.nan
    """Operations done within it, whenever they were planned."""
    lag_ms: float = math.nan
    """The longest from planned to sent."""
    busy: Mapping[str, float] = field(default_factory=dict)
    """Processors that each role kept busy."""

    def to_json(self) -> dict[str, Any]:
        """As in summary.json; null for what is no number."""
        numbers = {k: v for k, v in asdict(self).items() if k != "busy"}
        return {
            **{k: round(v, 6) if math.isfinite(v) else None for k, v in numbers.items()},
            "busy": {role: round(v, 4) for role, v in self.busy.items()},
        }


def slices(
    planned: Ints,
    latency_ms: Floats,
    lag_ms: Floats,
    done: Ints,
    used: Mapping[str, Sequence[Used]],
    window: tuple[int, int],
) -> tuple[Slice, ...]:
    """Of a trial's operations, ascending by `planned`: their latency is +infinity where they were
    not done, their lag NaN where they were not sent. `done`: when operations were done, ascending;
    `used`: what the processes of each role had used, see usage.used_over_time. Instants in
    nanoseconds."""
    start, end = window
    edges = np.linspace(start, end, SLICES + 1)
    places = np.searchsorted(planned, edges)
    seconds = (end - start) / 1e9 / SLICES
    done_per_s = np.diff(np.searchsorted(done, edges)) / seconds
    busy = {role: _busy(processes, edges) for role, processes in used.items()}
    found = []
    for number, (low, high) in enumerate(pairwise(places)):
        part = latency_ms[low:high]
        late = lag_ms[low:high]
        late = late[np.isfinite(late)]
        count = len(part)
        p50, p99 = percentiles(part, count, [50.0, 99.0]).values()
        found.append(
            Slice(
                (number + 0.5) * seconds,
                count / seconds,
                p50,
                float(part.max()) if count else math.nan,
                p99,
                float(done_per_s[number]),
                float(late.max()) if len(late) else math.nan,
                {role: float(each[number]) for role, each in busy.items()},
            )
        )
    return tuple(found)


def _busy(processes: Sequence[Used], edges: Floats) -> Floats:
    """Processors that they kept busy between each two edges: their CPU time was read now and then,
    and is taken to have grown evenly in between."""
    total = np.zeros(len(edges) - 1)
    for used in processes:
        at, cpu_ns = zip(*used, strict=True)
        total += np.diff(np.interp(edges, at, cpu_ns)) / np.diff(edges)
    return total


def middle_slices(trials: Sequence[Sequence[Slice]]) -> list[Slice]:
    """Each figure's median over trials; of a role that was seen in all of them."""
    return [_middle_slice(of_all) for of_all in zip(*trials, strict=True)]


def _middle_slice(of_all: Sequence[Slice]) -> Slice:
    def of(name: str) -> float:
        return middle([getattr(each, name) for each in of_all])

    roles = [role for role in of_all[0].busy if all(role in each.busy for each in of_all)]
    return Slice(
        of_all[0].at_s,
        of("planned_per_s"),
        of("p50_ms"),
        of("slowest_ms"),
        of("p99_ms"),
        of("done_per_s"),
        of("lag_ms"),
        {role: middle([each.busy[role] for each in of_all]) for role in roles},
    )


def middle_instants(trials: Sequence[Sequence[tuple[float, str]]]) -> list[tuple[float, str]]:
    """(second, what happened), ascending: of each thing that happened, the median over the trials
    in which it did."""
    by_kind: dict[str, list[float]] = {}
    for trial in trials:
        for at, what in trial:
            by_kind.setdefault(what, []).append(at)
    return sorted((middle(seconds), what) for what, seconds in by_kind.items())
