"""O3 `watch`: one status change, seen by every subscriber."""

import asyncio

from clients.base import Watches
from harness.load.lanes import Hold
from harness.load.operations.place import Place
from harness.load.sightings import SightingLog

AT_ONCE = 32
"""Subscriptions that are opened at a time: as many connections as a listen queue surely holds."""


class Watch:
    """Subscribes before the load; then each operation places an order and ends when all who read
    have seen that it was confirmed."""

    def __init__(
        self, driver: Watches, place: Place, log: SightingLog, first_lane: int, subscribers: int
    ) -> None:
        """Subscribers have lanes of their own, from `first_lane` on."""
        self._driver = driver
        self._place = place
        self._log = log
        self._lanes = range(first_lane, first_lane + subscribers)
        self._readers: set[int] = set()

    async def subscribe(self, stalled: int) -> None:
        """Let all subscribe; the last `stalled` of them take nothing from their connections.

        Raises DriverError.
        """
        count = len(self._lanes)
        reads = dict(zip(self._lanes, [True] * (count - stalled) + [False] * stalled, strict=True))
        self._readers = {lane for lane, does in reads.items() if does}
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(
                *(
                    self._driver.watch(lane, reads[lane])
                    for lane in self._lanes[start : start + AT_ONCE]
                )
            )

    async def perform(self, operation: int, hold: Hold) -> int:
        """Place order number `operation` and wait for the last who sees it; returns the instant of
        the change. Raises DriverError when it could not be placed."""
        seen = self._log.by_all(operation, self._readers)
        try:
            changed = await self._place.perform(operation, hold)
            await seen
        finally:
            self._log.forget(operation)
        return changed
