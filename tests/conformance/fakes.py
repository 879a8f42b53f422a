"""Drivers that do not fit request and reply, so that the contract is not cut to it."""

import asyncio
import time
from collections.abc import Sequence

from clients.base import PLAIN, Call, Milestone, Sink, Wire
from orders.model import Order, Status, Update


class FakeInbox:
    """Acknowledges batches through the sink, later than it returns, some twice, as a broker may."""

    multiplexes = True
    producer = 1

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._sink = sink

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""

    async def close(self) -> None:
        """See Driver.close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def submit(self, batch: Sequence[tuple[Order, Call]]) -> None:
        """See Ingests.submit."""
        self._tasks.add(asyncio.create_task(self._later(batch)))

    async def _later(self, batch: Sequence[tuple[Order, Call]]) -> None:
        for _, call in batch:
            await asyncio.sleep(0)
            self._sink.arrived(call.operation, Milestone.ACKED, time.monotonic_ns())
        for number, (_, call) in enumerate(batch):
            for _ in range(2 if number % 10 == 0 else 1):
                self._sink.arrived(
                    call.operation, Milestone.DONE, time.monotonic_ns(), "consumer-1"
                )


class FakeWatcher:
    """Tells every lane of the same events."""

    multiplexes = False

    def __init__(self, events: int = 3) -> None:
        self._events = events

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._sink = sink

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""

    async def close(self) -> None:
        """See Driver.close."""

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch."""
        for number in range(self._events if reads else 0):
            update = Update(f"o-{number}", f"k{number}", Status.CONFIRMED, 100, time.monotonic_ns())
            self._sink.saw(update, lane, time.monotonic_ns())
