"""What has become of the operations since it was last told, for whoever watches a trial live.

Worked out from the recorder's arrays, a batch at a time: an operation costs nothing more.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.load.recorder import Recorder
from harness.results import DONE, OUTCOMES

MILESTONES = ("acked", "done")
BITS = 7
"""A bucket is at most a 2**-BITS of its times wide, and one microsecond at least."""

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figures:
    """Operations that have reached a milestone since the last time, from their planned instants on;
    with `done` also those that have ended in another way."""

    milestone: str
    count: int
    """Of all; those that took a time are fewer by those that failed."""
    failed: dict[str, int]
    """By outcome."""
    sum_us: int
    min_us: int
    max_us: int
    times: list[tuple[int, int]]
    """(the middle of a bucket in microseconds, how many), in order."""

    def to_json(self) -> dict[str, Any]:
        """As it is said. Not by asdict, which copies every bucket, at several times the cost of
        finding them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Live:
    """Tells each operation once for each milestone."""

    def __init__(self, recorder: Recorder, during: Sequence[str] = MILESTONES) -> None:
        """`during`: the milestones that are known while the load goes on."""
        self._recorder = recorder
        self._during = during
        self._told = {name: np.zeros(0, bool) for name in MILESTONES}
        self._first = dict.fromkeys(self._told, 0)
        """All before it have been told, or will not be but at the end."""

    def figures(self, whole: bool = False) -> list[dict[str, Any]]:
        """As Figures.to_json; milestones that nobody has reached are left out. `whole`: nothing
        more will happen, and what came late is to be told as well."""
        recorder, found = self._recorder, []
        for name in MILESTONES if whole else self._during:
            told, first = self._told[name], 0 if whole else self._first[name]
            count = recorder.count
            if not whole:
                count = bisect_right(recorder.planned, time.monotonic_ns(), first, count)
            if len(told) < count:
                # Twice as many, so that growing costs an operation next to nothing.
                told = self._told[name] = np.pad(told, (0, 2 * count - len(told)))
            ended = np.frombuffer(recorder.outcome, np.int8, count)[first:] >= 0
            column = recorder.acked if name == "acked" else recorder.done
            instants = np.frombuffer(column, np.int64, count)[first:]
            reached = instants != 0 if name == "acked" else ended
            fresh = reached & ~told[first:count]
            if fresh.any():
                told[first:count] |= fresh
                found.append(self._tell(name, np.flatnonzero(fresh) + first).to_json())
            left = np.flatnonzero(~(told[first:count] | ended))
            self._first[name] = int(first + left[0]) if len(left) else count
        return found

    def _tell(self, name: str, rows: Times) -> Figures:
        recorder, count = self._recorder, self._recorder.count
        column = recorder.acked if name == "acked" else recorder.done
        failed = {}
        if name == "done":
            outcomes = np.frombuffer(recorder.outcome, np.int8, count)[rows]
            by_outcome = np.bincount(outcomes, minlength=len(OUTCOMES))
            failed = {w: int(n) for w, n in zip(OUTCOMES, by_outcome, strict=True) if n}
            failed.pop(OUTCOMES[DONE], None)
            timed = rows[outcomes == DONE]
        else:
            timed = rows
        planned = np.frombuffer(recorder.planned, np.int64, count)[timed]
        us = (np.frombuffer(column, np.int64, count)[timed] - planned) // 1000
        return Figures(
            name,
            len(rows),
            failed,
            int(us.sum()),
            int(us.min(initial=0 if not len(us) else us[0])),
            int(us.max(initial=0)),
            buckets(us),
        )


def buckets(us: Times) -> list[tuple[int, int]]:
    """Times in microseconds as (middle of the bucket, how many)."""
    exponent = np.frexp(us.astype(np.float64))[1]
    shift = np.maximum(exponent - (BITS + 1), 0)
    middles = ((us >> shift) << shift) + ((1 << shift) >> 1)
    values, counts = np.unique(middles, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
