"""The window of messages that a producer has sent and not heard of, and what it did hear."""

import asyncio
import threading
import time
from array import array

from clients.base import DriverError, Milestone
from harness.load.recorder import Recorder
from orders.model import Update


class Outbox:
    """The sink of a driver that ingests. Its columns are the recorder's, and so are its rows.

    A message is settled when it is acknowledged, has left where nobody acknowledges, has failed, or
    its timeout has passed. Drivers may tell of it from a thread of their own, one at a time.
    """

    def __init__(self, recorder: Recorder, window: int, timeout_s: float) -> None:
        """`window`: messages that may be unsettled at a time."""
        self._recorder = recorder
        self._row = recorder.share.row
        self.window = window
        self._timeout_ns = round(timeout_s * 1e9)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._settled = bytearray()
        self._settled_count = 0
        self._sent = 0
        self._oldest = 0
        self._waiting: asyncio.Future[None] | None = None
        self._wanted = 0

    @property
    def settled(self) -> int:
        """Messages whose fate is known, or no longer waited for."""
        return self._settled_count

    @property
    def outstanding(self) -> int:
        """Messages that were sent and are not settled."""
        return self._sent - self._settled_count

    @property
    def room(self) -> int:
        """Messages that may be sent now."""
        return self.window - self.outstanding

    def send(self, first: int, count: int) -> None:
        """The messages in rows `first` to `first + count - 1` are handed to the driver now."""
        now = array("q", [time.monotonic_ns()])
        self._recorder.sent[first : first + count] = now * count
        self._settled.extend(bytes(first + count - len(self._settled)))
        self._sent += count

    def drop(self, first: int, count: int) -> None:
        """There was no room for these at their planned instants."""
        for row in range(first, first + count):
            self._recorder.drop(row)
        self._settled.extend(b"\1" * (first + count - len(self._settled)))

    async def have(self, room: int) -> None:
        """Wait until so many more may be sent."""
        while self.room < room:
            self._wanted = self.window - room
            self._waiting = self._loop.create_future()
            if self.room < room:
                await self._waiting
            self._waiting = None

    async def empty(self) -> None:
        """Wait until all are settled."""
        await self.have(self.window)

    def arrived(
        self, operation: int, milestone: Milestone, instant_ns: int, origin: str = ""
    ) -> None:
        """See Sink.arrived."""
        row = self._row(operation)
        if not 0 <= row < len(self._settled):
            self._recorder.stray += 1
            return
        if milestone is Milestone.ACKED:
            acked = self._recorder.acked
            if acked[row]:
                self._recorder.stray += 1
                return
            acked[row] = instant_ns
        self._settle(row)

    def failed(self, operation: int, error: DriverError) -> None:
        """See Sink.failed."""
        row = self._row(operation)
        if 0 <= row < len(self._settled) and self._settle(row):
            self._recorder.fail(row, error)
        else:
            self._recorder.stray += 1

    def noted(self, operation: int, name: str, by: int = 1) -> None:
        """See Sink.noted."""
        self._recorder.noted(operation, name, by)

    def saw(self, update: Update, subscriber: int, instant_ns: int) -> None:
        """See Sink.saw."""
        self._recorder.saw(update, subscriber, instant_ns)

    def sweep(self) -> None:
        """Settle what has waited longer than the timeout."""
        settled, sent = self._settled, self._recorder.sent
        limit = time.monotonic_ns() - self._timeout_ns
        while self._oldest < len(settled):
            if not settled[self._oldest]:
                if sent[self._oldest] > limit:
                    return
                self._settle(self._oldest)
            self._oldest += 1

    def _settle(self, row: int) -> bool:
        """Whether it was not settled before."""
        with self._lock:
            if self._settled[row]:
                return False
            self._settled[row] = 1
            self._settled_count += 1
        waiting = self._waiting
        if waiting is not None and self.outstanding <= self._wanted:
            self._waiting = None
            self._loop.call_soon_threadsafe(_wake, waiting)
        return True


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
