"""What is kept for who comes back for it: numbered lists of which the latest stay, and a mailbox of
such a list for each client's event stream."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from protos.problems import Refusal

T = TypeVar("T")

EVENT_LIMIT = 10_000
"""Events that one mailbox keeps."""
TOTAL_BYTES = 64 * 2**20
"""Events that all mailboxes of a server keep together."""
STREAM_LIMIT = 4096
"""Mailboxes of a server."""
UNREAD_S = 60.0
"""How long the mailbox of a stream that nobody listens to lives."""
AT_A_TIME = 256
"""Events that a reader is handed at a time, so that its socket's buffer stays in bounds."""

_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class Numbered(Generic[T]):
    """A list, numbered from 1, of which the latest `limit` are kept, of `byte_limit` bytes."""

    def __init__(self, limit: int, byte_limit: int) -> None:
        self.first = 1
        """The number of the first that is kept, or would be."""
        self.bytes = 0
        self._limit = limit
        self._byte_limit = byte_limit
        self._kept: deque[tuple[int, T]] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def last(self) -> int:
        """The number of the last there was; 0 for none."""
        return self.first + len(self._kept) - 1

    def add(self, value: T, size: int) -> None:
        """Put one at the end, which counts as `size` bytes."""
        self._kept.append((size, value))
        self.bytes += size
        while len(self._kept) > self._limit or self.bytes > self._byte_limit:
            self.drop(1)

    def drop(self, count: int) -> None:
        """Keep the first `count` no longer."""
        for _ in range(count):
            self.bytes -= self._kept.popleft()[0]
        self.first += count

    def resumed(self, text: str) -> int:
        """The number in a text, if all that came after it is kept. Raises Refusal."""
        if _NUMBER.fullmatch(text) is None:
            raise Refusal("bad_event_id", f"{text[:40]!r} is no number of an event")
        number = int(text)
        if number > self.last:
            raise Refusal("bad_event_id", f"there is no event {number} yet")
        if number < self.first - 1:
            raise Refusal("bad_event_id", f"events after {number} are no longer kept")
        return number

    def after(self, number: int, most: int) -> list[tuple[int, T]]:
        """Sizes and values after a number that `resumed` would take, `most` at most."""
        start = number + 1 - self.first
        # A deque is indexed from its nearer end: who keeps up reads at once.
        return [self._kept[at] for at in range(start, min(start + most, len(self._kept)))]


class Reader:
    """Who listens to a mailbox, from the event after `position` on."""

    def __init__(self, mailbox: "Mailbox", position: int, cut_off: Callable[[], None]) -> None:
        self.mailbox = mailbox
        self.position = position
        self.cut_off = cut_off
        self.arrived = asyncio.Event()

    async def next(self) -> bytes:
        """The next events, as they are written; waits for the first of them."""
        events = self.mailbox.events
        while self.position >= events.last:
            self.arrived.clear()
            await self.arrived.wait()
        chunk = [event for _, event in events.after(self.position, AT_A_TIME)]
        self.position += len(chunk)
        return b"".join(chunk)


class Mailbox:
    """The events of one stream, and who listens to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: Numbered[bytes] = Numbered(EVENT_LIMIT, TOTAL_BYTES)
        self.reader: Reader | None = None
        self.expiry: asyncio.TimerHandle | None = None

    def cut_off_if_behind(self) -> None:
        """Cut off a reader that has not taken what is no longer kept."""
        if self.reader is not None and self.reader.position < self.events.first - 1:
            self.reader.cut_off()


class Mailboxes:
    """All mailboxes of one server."""

    def __init__(self) -> None:
        self.bytes = 0
        self._named: dict[str, Mailbox] = {}
        self._unread: dict[str, Mailbox] = {}

    def __len__(self) -> int:
        return len(self._named)

    def find(self, name: str) -> Mailbox:
        """The mailbox of a stream that is open or was. Raises Refusal."""
        try:
            return self._named[name]
        except KeyError:
            raise Refusal("not_found", f"there is no event stream {name[:64]!r}") from None

    def listen(self, name: str, last_event_id: str | None, cut_off: Callable[[], None]) -> Reader:
        """Read a stream's mailbox, from its first event or after `last_event_id`. Raises Refusal.

        Without `last_event_id` the stream may be new. Who listened to it before is cut off, and so
        is a reader that lags behind what is kept.
        """
        if _NAME.fullmatch(name) is None:
            raise Refusal("not_found", "stream is 1 to 64 of A-Z, a-z, 0-9 and -._~")
        mailbox = self._named.get(name)
        if mailbox is None:
            if last_event_id is not None:
                raise Refusal("bad_event_id", f"there is no event stream {name!r} to resume")
            mailbox = self._new(name)
        position = mailbox.events.resumed("0" if last_event_id is None else last_event_id)
        if mailbox.reader is not None:
            mailbox.reader.cut_off()
        if mailbox.expiry is not None:
            mailbox.expiry.cancel()
            del self._unread[name]
            mailbox.expiry = None
        mailbox.reader = Reader(mailbox, position, cut_off)
        return mailbox.reader

    def leave(self, reader: Reader) -> None:
        """Listen no longer; the mailbox lives on for UNREAD_S."""
        mailbox = reader.mailbox
        if mailbox.reader is reader:
            mailbox.reader = None
            self._leave_unread(mailbox)

    def put(self, mailbox: Mailbox, event: Callable[[int], bytes]) -> None:
        """Put the event that `event` writes for its number into a mailbox."""
        if self._named.get(mailbox.name) is not mailbox:
            return
        events = mailbox.events
        before = events.bytes
        written = event(events.last + 1)
        events.add(written, len(written))
        self.bytes += events.bytes - before
        if self.bytes > TOTAL_BYTES:
            self._shed()
        mailbox.cut_off_if_behind()
        if mailbox.reader is not None:
            mailbox.reader.arrived.set()

    def close(self) -> None:
        """Give everything up."""
        for mailbox in list(self._named.values()):
            self._give_up(mailbox)

    def _new(self, name: str) -> Mailbox:
        if len(self._named) >= STREAM_LIMIT:
            if not self._unread:
                raise Refusal("overloaded", f"{STREAM_LIMIT} event streams are open")
            self._give_up(next(iter(self._unread.values())))
        mailbox = self._named[name] = Mailbox(name)
        return mailbox

    def _leave_unread(self, mailbox: Mailbox) -> None:
        self._unread[mailbox.name] = mailbox
        loop = asyncio.get_running_loop()
        mailbox.expiry = loop.call_later(UNREAD_S, partial(self._give_up, mailbox))

    def _give_up(self, mailbox: Mailbox) -> None:
        if mailbox.expiry is not None:
            mailbox.expiry.cancel()
        self._unread.pop(mailbox.name, None)
        del self._named[mailbox.name]
        self.bytes -= mailbox.events.bytes

    def _shed(self) -> None:
        """Let the mailbox that holds most forget half of it."""
        fullest = max(self._named.values(), key=lambda mailbox: mailbox.events.bytes)
        before = fullest.events.bytes
        fullest.events.drop((len(fullest.events) + 1) // 2)
        self.bytes += fullest.events.bytes - before
        fullest.cut_off_if_behind()
