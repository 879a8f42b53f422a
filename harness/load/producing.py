"""Sends one trial's messages: O2 `ingest`, open loop from planned instants, or a closed window."""

import asyncio
import time

from clients.base import Call, Ingests
from harness.load.contexts import Contexts
from harness.load.orders import OrderBook
from harness.load.outbox import Outbox
from harness.load.recorder import Recorder
from harness.load.sweep import Sweep
from orders.alarm import sharpest_alarm
from orders.model import Order

BATCH = 500
"""Messages that are handed to a driver at a time, at most."""


class Producing:
    """One producer. Message number n of the whole is about key n % keys, so that there is an order
    to be kept.

    Messages go to the driver in batches, one batch after the other: what is due when the driver is
    ready for more. They cost no task each, and nothing waits for an answer but the window.
    """

    def __init__(
        self,
        driver: Ingests,
        book: OrderBook,
        contexts: Contexts,
        recorder: Recorder,
        outbox: Outbox,
        keys: int,
    ) -> None:
        self._driver = driver
        self._book = book
        self._contexts = contexts
        self._recorder = recorder
        self._outbox = outbox
        self._keys = [book.key(number) for number in range(keys)]
        self.sweep = Sweep(lambda _: outbox.sweep())
        self.pacer_name = ""
        self._due = asyncio.Event()
        self._until_ns = 0

    async def open_loop(self) -> None:
        """Send every message at its planned instant; returns when all are settled.

        A message whose instant finds the window full is dropped, never queued.
        """
        loop = asyncio.get_running_loop()
        recorder, outbox, due = self._recorder, self._outbox, self._due
        planned = recorder.planned
        pacer = sharpest_alarm(loop, due.set)
        self.pacer_name = pacer.name
        self.sweep.start()
        row = 0
        try:
            while row < (count := recorder.count):
                now = time.monotonic_ns()
                end = row
                while end < count and planned[end] <= now:
                    end += 1
                if end == row:
                    due.clear()
                    pacer.arm(planned[row])
                    await due.wait()
                    continue
                while row < end and (room := outbox.room) > 0:
                    row = await self._submit(row, min(end - row, room))
                    await asyncio.sleep(0)
                outbox.drop(row, end - row)
                row = end
            await outbox.empty()
        finally:
            pacer.close()
            self.sweep.stop()

    async def closed_loop(self, until_ns: int) -> None:
        """Keep the window full until an instant; returns when all are settled.

        `planned` is the instant at which the producer found room for a message.
        """
        outbox, recorder = self._outbox, self._recorder
        self.pacer_name = "closed loop"
        self._until_ns = until_ns
        self.sweep.start()
        # One wake-up for many messages, where there are many.
        least = max(1, min(outbox.window // 8, BATCH))
        try:
            while True:
                await outbox.have(least)
                now = time.monotonic_ns()
                if now >= self._until_ns:
                    break
                take = min(outbox.room, BATCH)
                await self._submit(recorder.add_many(now, take), take)
                await asyncio.sleep(0)
            await outbox.empty()
        finally:
            self.sweep.stop()

    def stop(self, at_ns: int) -> None:
        """Plan nothing from an instant on; what was sent is settled, as at the end."""
        self._recorder.cut(at_ns)
        self._until_ns = min(self._until_ns, at_ns)
        self._due.set()

    async def _submit(self, first: int, count: int) -> int:
        """Hand over messages, BATCH at most; returns the row of the one after them."""
        end = first + min(count, BATCH)
        book, contexts, keys = self._book, self._contexts, self._keys
        of_key, number = len(keys), self._recorder.share.number
        batch: list[tuple[Order, Call]] = [
            (book.order(n), Call(n, contexts.of(n), None, keys[n % of_key]))
            for n in map(number, range(first, end))
        ]
        self._outbox.send(first, end - first)
        await self._driver.submit(batch)
        return end
