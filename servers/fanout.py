"""One change to many subscribers: each has a queue of its own, so that a slow one harms nobody.

A subscriber for whom more waits than QUEUE_BYTES is cut off. That bounds what it can cost the
server's memory, and a client that is cut off knows that it has missed something.
"""

import asyncio
from collections.abc import Callable, Hashable

from orders.model import Update
from orders.service import OrderService

QUEUE_BYTES = 4 * 2**20
"""What may wait for one subscriber, beside what the sockets' buffers hold."""
CHANGE_BYTES = 256
"""About what a change takes, beside its document."""


class Change:
    """An update on its way to many, written once for all who want it in the same form."""

    def __init__(self, update: Update) -> None:
        self._update = update
        self.size = CHANGE_BYTES + len(update.attachment)
        self._written: dict[Hashable, bytes] = {}

    def written(self, form: Hashable, write: Callable[[Update], bytes]) -> bytes:
        """The update in a form, by `write` if it is the first time."""
        written = self._written.get(form)
        if written is None:
            written = self._written[form] = write(self._update)
        return written


class Subscriber:
    """A queue of changes."""

    def __init__(self, cut_off: Callable[[], None]) -> None:
        self._queue: asyncio.Queue[Change] = asyncio.Queue()
        self._waiting = 0
        self._cut_off = cut_off

    def offer(self, change: Change) -> bool:
        """Queue a change; false when there is no room, after which the subscriber is cut off."""
        if self._waiting + change.size > QUEUE_BYTES:
            self._cut_off()
            return False
        self._waiting += change.size
        self._queue.put_nowait(change)
        return True

    async def next(self) -> Change:
        """The next change."""
        change = await self._queue.get()
        self._waiting -= change.size
        return change


class Fanout:
    """All subscribers of one server."""

    def __init__(self, service: OrderService) -> None:
        self._service = service
        self._subscribers: set[Subscriber] = set()

    def join(self, cut_off: Callable[[], None]) -> Subscriber:
        """A subscriber from now on; `cut_off` is called when it is too slow."""
        if not self._subscribers:
            self._service.watchers.append(self._tell)
        subscriber = Subscriber(cut_off)
        self._subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """No longer. Harmless when it has left already."""
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._tell in self._service.watchers:
            self._service.watchers.remove(self._tell)

    def _tell(self, update: Update) -> None:
        change = Change(update)
        for subscriber in [s for s in self._subscribers if not s.offer(change)]:
            self.leave(subscriber)
