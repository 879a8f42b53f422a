"""What subscribers saw of updates: progress of jobs, changes that many watch."""

import asyncio
from array import array

import numpy as np

from harness.results import Sightings
from orders.model import Update


class SightingLog:
    """One row a subscriber and update, in flat arrays.

    Updates are matched with operations by their idempotency key, which is `key_prefix` and the
    operation's number; those of anybody else are counted as strangers.
    """

    def __init__(self, key_prefix: str) -> None:
        self._prefix = key_prefix
        self._operation = array("q")
        self._subscriber = array("i")
        self._happened = array("q")
        self._seen = array("q")
        self._waiting: dict[int, tuple[set[int], asyncio.Future[None]]] = {}
        self.strangers = 0
        self.repeated = 0
        """Sightings by a subscriber of a change that it was told of already, while it was waited
        for."""

    def saw(self, update: Update, subscriber: int, instant_ns: int) -> None:
        """See Sink.saw."""
        key = update.idempotency_key
        if not key.startswith(self._prefix):
            self.strangers += 1
            return
        operation = int(key[len(self._prefix) :])
        self._operation.append(operation)
        self._subscriber.append(subscriber)
        self._happened.append(update.at_ns)
        self._seen.append(instant_ns)
        waiting = self._waiting.get(operation)
        if waiting is None:
            return
        missing, future = waiting
        if subscriber not in missing:
            self.repeated += 1
            return
        missing.remove(subscriber)
        if not missing and not future.done():
            future.set_result(None)

    def by_all(self, operation: int, subscribers: set[int]) -> asyncio.Future[None]:
        """Done once every one of `subscribers` has seen an update of `operation`. To be forgotten
        afterwards."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[operation] = (set(subscribers), future)
        if not subscribers:
            future.set_result(None)
        return future

    def forget(self, operation: int) -> None:
        """No longer wait for an operation's subscribers."""
        self._waiting.pop(operation, None)

    def sightings(self) -> Sightings:
        """All rows, in the order in which they were seen."""
        return Sightings(
            operation=np.frombuffer(self._operation, np.int64),
            subscriber=np.frombuffer(self._subscriber, np.int32),
            happened=np.frombuffer(self._happened, np.int64),
            seen=np.frombuffer(self._seen, np.int64),
        )
