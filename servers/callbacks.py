"""Delivery of callbacks: who receives them, how often each is tried, and what could not be brought.

All of it lives as long as its process, as the orders do.
"""

import asyncio
import contextlib
import hmac
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from yarl import URL

from orders.model import Update
from orders.service import Notify
from protos.problems import Refusal
from protos.signature import Stamp, message_id, signed

RECEIVERS = 64
"""Receivers that a server knows; one with nothing under way makes room for a new one."""
AT_ONCE = 64
"""Attempts under way to one receiver."""
BACKLOG = 8192
"""Orders that one receiver waits for, those that are still being worked on included."""
DEAD_LIMIT = 1024
"""Deliveries kept after they were given up; the oldest beyond it are forgotten."""
UPDATES_LIMIT = 16
"""Updates of one order that may wait for a slow receiver; the oldest beyond it are left out."""

GONE = 410


class Undelivered(Exception):
    """An attempt without an HTTP answer; the text says why."""


Post = Callable[[URL, bytes, Mapping[str, str]], Awaitable[int]]
"""Makes one attempt: address, body, headers -> the answer's status. Raises Undelivered."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015): before retry n (from 0) a wait drawn evenly from 0 to
    min(`cap_s`, `base_s` * 2^n) seconds.

    A delivery is given up when an attempt fails that began `lasting_s` seconds or more after the
    first. A number of attempts would not do: full jitter may draw short waits only, and 12 attempts
    are over within 3 s once in 250 deliveries. So one attempt always begins after `lasting_s`, and
    a receiver that is away for less is bridged with certainty. Some 14 attempts are usual, and
    fewer where each runs into its own time limit.
    """

    base_s: float = 0.05
    cap_s: float = 2.0
    lasting_s: float = 8.0

    def delay_s(self, retry: int, age_s: float, draw: Callable[[], float]) -> float | None:
        """Seconds until retry number `retry` (from 0) after an attempt that began `age_s` seconds
        after the first; None: no more. `draw` gives numbers from 0 to 1."""
        if age_s >= self.lasting_s:
            return None
        # No cap is 2^64 times its base, and a float ends at 2^1024.
        return draw() * min(self.cap_s, self.base_s * 2.0 ** min(retry, 64))


BACKOFF = Backoff()


@dataclass(slots=True, eq=False)
class Delivery:
    """What a receiver shall hear of one order."""

    receiver: "Receiver"
    order_id: str
    encode: Callable[[Update], bytes]
    headers: Mapping[str, str]
    updates: deque[Update] = field(default_factory=lambda: deque(maxlen=UPDATES_LIMIT))
    """What is to be told; the end stays until it has been."""
    told: int | None = None
    """The progress that was told last."""
    attempts: int = 0
    """At telling the end."""
    last_error: str = ""
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class Receiver:
    """Somebody to call back."""

    id: str
    url: URL
    secret: bytes
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    """By order id, from acceptance until the end is told or given up."""
    reserved: int = 0
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @property
    def full(self) -> bool:
        """Whether there is no room for a further order."""
        return len(self.deliveries) + self.reserved >= BACKLOG

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Keep a place for an order that is about to be accepted. Raises Refusal."""
        if self.full:
            raise Refusal("overloaded", f"callback {self.id} has {BACKLOG} orders under way")
        self.reserved += 1
        try:
            yield
        finally:
            self.reserved -= 1


class Callbacks:
    """All receivers of one server, and what is under way to them."""

    def __init__(
        self,
        post: Post,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._post = post
        self._draw = draw
        self._sleep = sleep
        self._clock = clock
        # The one that was used last comes last.
        self._receivers: dict[str, Receiver] = {}
        self._dead: deque[Delivery] = deque(maxlen=DEAD_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def register(self, receiver_id: str, url: URL, secret: bytes) -> None:
        """Make a receiver known, or give a known one, whose secret it must be, a new address.

        Raises Refusal.
        """
        known = self._receivers.get(receiver_id)
        if known is not None:
            if not hmac.compare_digest(known.secret, secret):
                raise Refusal("bad_callback", f"callback {receiver_id} has another secret")
            known.url = url
            return
        if len(self._receivers) >= RECEIVERS:
            idle = [r for r in self._receivers.values() if not r.deliveries and not r.reserved]
            if not idle:
                raise Refusal("overloaded", f"{RECEIVERS} callbacks have orders under way")
            del self._receivers[idle[0].id]
        self._receivers[receiver_id] = Receiver(receiver_id, url, secret)

    def receiver(self, receiver_id: str) -> Receiver:
        """A receiver that is known. Raises Refusal."""
        receiver = self._receivers.pop(receiver_id, None)
        if receiver is None:
            raise Refusal("bad_callback", f"no callback {receiver_id[:64]!r} is registered")
        self._receivers[receiver_id] = receiver
        return receiver

    def promise(
        self,
        receiver: Receiver,
        order_id: str,
        encode: Callable[[Update], bytes],
        headers: Mapping[str, str],
    ) -> Notify | None:
        """What an order's changes are to be handed to, so that a receiver hears of them; None where
        that has been promised before.

        Progress is tried once and in order, see UPDATES_LIMIT. The end is tried until the receiver
        takes it, or it is given up, see Backoff.
        """
        if order_id in receiver.deliveries:
            return None
        delivery = Delivery(receiver, order_id, encode, headers)
        receiver.deliveries[order_id] = delivery

        def notify(update: Update) -> None:
            delivery.updates.append(update)
            self._go_on(delivery)

        return notify

    def dead(self) -> list[dict[str, object]]:
        """Deliveries that were given up, the oldest first."""
        return [
            {
                "id": delivery.order_id,
                "order_id": delivery.order_id,
                "callback": delivery.receiver.id,
                "attempts": delivery.attempts,
                "last_error": delivery.last_error,
            }
            for delivery in self._dead
        ]

    def replay(self) -> int:
        """Deliver what was given up once more, as far as there is room; returns how many."""
        replayed = 0
        for _ in range(len(self._dead)):
            delivery = self._dead.popleft()
            if delivery.receiver.full:
                self._dead.append(delivery)
                continue
            delivery.receiver.deliveries[delivery.order_id] = delivery
            self._go_on(delivery)
            replayed += 1
        return replayed

    async def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go_on(self, delivery: Delivery) -> None:
        if delivery.task is None and not self._closed:
            delivery.task = asyncio.create_task(self._tell(delivery))
            self._tasks.add(delivery.task)
            delivery.task.add_done_callback(self._tasks.discard)

    async def _tell(self, delivery: Delivery) -> None:
        try:
            while delivery.updates:
                update = delivery.updates[0]
                if update.final:
                    await self._bring(delivery, update)
                    return
                delivery.updates.popleft()
                if update.progress != delivery.told:
                    delivery.told = update.progress
                    async with delivery.receiver.slots:
                        await self._attempt(delivery, update, delivery.encode(update), 1)
        finally:
            delivery.task = None

    async def _bring(self, delivery: Delivery, update: Update) -> None:
        receiver = delivery.receiver
        body = delivery.encode(update)
        first: float | None = None
        retry = 0
        while True:
            async with receiver.slots:
                began = self._clock()
                if first is None:
                    first = began
                delivery.attempts += 1
                status = await self._attempt(delivery, update, body, delivery.attempts)
            if 200 <= status < 300:
                del receiver.deliveries[delivery.order_id]
                return
            delay_s = BACKOFF.delay_s(retry, began - first, self._draw)
            if status == GONE or delay_s is None:
                del receiver.deliveries[delivery.order_id]
                self._dead.append(delivery)
                return
            await self._sleep(delay_s)
            retry += 1

    async def _attempt(self, delivery: Delivery, update: Update, body: bytes, attempt: int) -> int:
        """The answer's status, 0 where there was none."""
        receiver = delivery.receiver
        stamp = Stamp(message_id(update), attempt, int(time.time()))
        headers = {**delivery.headers, **signed(receiver.secret, stamp, body)}
        try:
            status = await self._post(receiver.url, body, headers)
        except Undelivered as error:
            delivery.last_error = str(error)
            return 0
        delivery.last_error = f"HTTP {status}"
        return status
