"""What the harness reads of a trial's processes from outside, at rest and at work."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.journal import Notes
from harness.observe import telemetry, wire

SAMPLE_S = 0.25
MARGIN_NS = 100_000_000
"""How far outside the measured window the slow counts are taken."""


class Sampler:
    """The eyes on one trial, on one machine."""

    def __init__(
        self,
        notes: Notes,
        pids: Mapping[str, int],
        others: Mapping[str, int],
        client: wire.Elsewhere | None = None,
    ) -> None:
        """`pids`: the trial's processes by role, as wire.Meter takes them; `others`: those which
        take no part and whose CPU time is read all the same. `client`: see wire.Meter."""
        self._notes = notes
        self._pids = pids
        self._all = {**pids, **others}
        self._client = client
        self.wire: dict[str, Any] | None = None
        """What went over TCP (see wire.Wire), between the instants `from` and `to`; None where it
        was not counted."""
        self._window: tuple[int, int]

    async def rest(self, seconds: float) -> None:
        """See what everything costs while connections stand and nothing is sent."""
        self._mark("idle_start")
        await asyncio.sleep(seconds)
        self._mark("idle_end")

    async def watch(self, began: int, start: int, end: int) -> None:
        """See the load that begins at an instant and is measured from `start` to `end`: CPU time
        and memory at the window's ends and in between; what takes longer to read, just outside."""
        self._window = (start, end)
        await asyncio.gather(self._sample(), self._count(began))

    def stop(self, at: int) -> None:
        """Let the window end at an instant, SAMPLE_S or more from now, unless it ends before."""
        start, end = self._window
        self._window = (min(start, at), min(end, at))

    async def _sample(self) -> None:
        for end, mark in enumerate(("window_start", "window_end")):
            while (left := self._left_s(end)) > 0:
                await asyncio.sleep(min(left, SAMPLE_S))
                if left > SAMPLE_S:
                    self._notes.sample(self._all)
            self._mark(mark)

    def _left_s(self, end: int, margin_ns: int = 0) -> float:
        """Until the window begins (0) or ends (1), which may come sooner than it was to."""
        return (self._window[end] + margin_ns - time.monotonic_ns()) / 1e9

    async def _until(self, end: int, margin_ns: int) -> None:
        while (left := self._left_s(end, margin_ns)) > 0:
            await asyncio.sleep(min(left, SAMPLE_S))

    async def _count(self, began: int) -> None:
        try:
            meter = wire.Meter(self._pids, self._client)
        except OSError:
            return
        async with meter:
            await self._until(0, -min(MARGIN_NS, self._window[0] - began))
            self._notes.sample(self._all, "count_start", whole=True)
            await meter.begin()
            first = time.monotonic_ns()
            await self._until(1, MARGIN_NS)
            counted = asdict(await meter.end())
            last = time.monotonic_ns()
            self._notes.sample(self._all, "count_end", whole=True)
        self.wire = {"from": first, "to": last, **counted}

    def _mark(self, mark: str) -> None:
        said = {
            "mark": mark,
            "at": time.monotonic_ns(),
            "processors": telemetry.processors(),
            "roles": list(self._all),
        }
        self._notes.sample(self._all, mark)
        self._notes.event("processors", json.dumps(said))
