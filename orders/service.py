"""The order service: the same work behind every style."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from orders.errors import UnknownOrder
from orders.line import Queue
from orders.model import Confirmation, Order, Status, Update
from orders.pricing import total_cents
from orders.store import Content, ForgetfulStore, Store, content, require_same
from orders.validation import validate

PROGRESS_S = 0.5
"""How often work tells how far it is."""

Notify = Callable[[Update], None]


@dataclass(slots=True)
class Work:
    """An order that is being worked on."""

    content: Content
    update: Update
    notify: list[Notify] = field(default_factory=list)
    task: asyncio.Task[Confirmation] | None = None


class OrderService:
    """Validates, works on, prices and keeps orders.

    `service_time_s` is the length of the work itself, in seconds (0: none), for orders that do not
    say their own; orders in progress wait side by side, as calls to a further service would, or in
    line for the workers of a `queue`, which tells nothing of progress. Work that has begun goes on
    when who asked for it has left.
    """

    def __init__(
        self,
        store: Store,
        service_time_s: float = 0.0,
        progress_s: float = PROGRESS_S,
        ids: str = "o-",
        queue: Queue | None = None,
    ) -> None:
        """`ids` is what order ids begin with, for services that share what they remember."""
        self._store = store
        self._remembers = not isinstance(store, ForgetfulStore)
        self._service_time_s = service_time_s
        self._queue = queue
        self._at_once = not service_time_s and queue is None
        self._ids = ids
        self._progress_s = progress_s
        self._working: dict[str, Work] = {}
        self._accepted: dict[str, _Row] = {}
        self._numbered = 0
        self.placed = 0
        """Orders on which the work was done, repeats of forgotten ones included."""
        self.watchers: list[Notify] = []
        """Each is told of every order that is confirmed."""

    async def place(self, order: Order) -> Confirmation:
        """Confirm an order; a repeat of a known order gets the answer that it had.

        A repeat that arrives while the first is being worked on waits for that one's answer.
        Raises InvalidOrder or KeyConflict.
        """
        validate(order)
        work = self._same(order)
        if work is None:
            known = self._store.find(order)
            if known is not None:
                return known
            if self._at_once and not order.work_us:
                return self._confirm(order, self._new_id())
            work = self._begin(order, self._new_id())
        assert work.task is not None
        return await asyncio.shield(work.task)

    def length_s(self, order: Order) -> float:
        """How long the work on an order takes, in seconds."""
        return order.work_us / 1e6 or self._service_time_s

    def accept(self, order: Order) -> Update:
        """Take an order, whose work begins and outlives this call; returns the receipt.

        A repeat of a known order is told where that one stands. Raises InvalidOrder or KeyConflict.
        """
        validate(order)
        work = self._same(order)
        if work is not None:
            return work.update
        known = self._store.find(order)
        if known is None:
            return self._begin(order, self._new_id()).update
        ended = end_of(known)
        self._keep(ended)
        return ended

    async def receive(self, order: Order) -> Update:
        """As `accept`, for services that must ask elsewhere whether they know an order."""
        return self.accept(order)

    def follow(self, order_id: str, notify: Notify) -> None:
        """Let `notify` hear of every change of an accepted order from now on, its end included; of
        the end alone where that is past. Raises UnknownOrder."""
        update = self.state(order_id)
        if update.final:
            asyncio.get_running_loop().call_soon(notify, update)
        else:
            self._working[self._place_of(update)].notify.append(notify)

    def state(self, order_id: str) -> Update:
        """Where an accepted order stands. Raises UnknownOrder."""
        try:
            key, status, progress, at_ns, total = self._accepted[order_id]
        except KeyError:
            raise UnknownOrder(f"there is no order {order_id!r}") from None
        return Update(order_id, key, Status(status), progress, at_ns, total)

    async def settled(self, order_id: str, limit_s: float) -> Update:
        """Where an accepted order stands once its work has ended, or after `limit_s` seconds.

        Raises UnknownOrder.
        """
        update = self.state(order_id)
        if update.final:
            return update
        ended = asyncio.get_running_loop().create_future()

        def look(update: Update) -> None:
            if update.final and not ended.done():
                ended.set_result(None)

        notify = self._working[self._place_of(update)].notify
        notify.append(look)
        try:
            await asyncio.wait([ended], timeout=limit_s)
        finally:
            if look in notify:
                notify.remove(look)
        return self.state(order_id)

    def _place_of(self, update: Update) -> str:
        return update.idempotency_key if self._remembers else update.order_id

    def _same(self, order: Order) -> Work | None:
        """The work that is under way for this same order. Raises KeyConflict."""
        if not self._remembers:
            return None
        work = self._working.get(order.idempotency_key)
        if work is not None:
            require_same(order, work.content)
        return work

    def _begin(self, order: Order, order_id: str) -> Work:
        receipt = Update(order_id, order.idempotency_key, Status.RECEIVED, 0, time.monotonic_ns())
        work = Work(content(order), receipt)
        self._working[self._place_of(receipt)] = work
        self._keep(receipt)
        work.task = asyncio.create_task(self._work(order, work))
        return work

    async def _work(self, order: Order, work: Work) -> Confirmation:
        await self._spend(order, work)
        confirmation = self._confirm(order, work.update.order_id)
        del self._working[self._place_of(work.update)]
        self._tell(work, end_of(confirmation))
        return confirmation

    async def _spend(self, order: Order, work: Work) -> None:
        """Let the time of the work pass, and tell how far it is."""
        length = self.length_s(order)
        if self._queue is not None:
            await self._queue.work(length)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        step = 1
        while (reached := step * self._progress_s) < length:
            await asyncio.sleep(began + reached - loop.time())
            key, order_id = order.idempotency_key, work.update.order_id
            done = round(100 * reached / length)
            self._tell(work, Update(order_id, key, Status.WORKING, done, time.monotonic_ns()))
            step += 1
        await asyncio.sleep(began + length - loop.time())

    def _tell(self, work: Work, update: Update) -> None:
        work.update = update
        self._keep(update)
        for notify in list(work.notify):
            notify(update)

    def _keep(self, update: Update) -> None:
        self._accepted[update.order_id] = (
            update.idempotency_key,
            update.status.value,
            update.progress,
            update.at_ns,
            update.total_cents,
        )

    def _new_id(self) -> str:
        self._numbered += 1
        return f"{self._ids}{self._numbered}"

    def _confirm(self, order: Order, order_id: str) -> Confirmation:
        confirmation = confirmed(order, order_id)
        self._add(order, confirmation)
        return confirmation

    def _add(self, order: Order, confirmation: Confirmation) -> None:
        """Keep what was worked out just now, and tell of it."""
        self.placed += 1
        self._store.add(order, confirmation)
        if self.watchers:
            change = replace(end_of(confirmation), attachment=order.attachment)
            for watcher in list(self.watchers):
                watcher(change)


def confirmed(order: Order, order_id: str) -> Confirmation:
    """The answer to an order on which the work is done."""
    return Confirmation(
        order_id, order.idempotency_key, Status.CONFIRMED, total_cents(order), time.monotonic_ns()
    )


def end_of(answer: Confirmation) -> Update:
    """The last update of an order, from its answer."""
    return Update(
        answer.order_id,
        answer.idempotency_key,
        answer.status,
        100,
        answer.processed_ns,
        answer.total_cents,
    )


_Row = tuple[str, str, int, int, int]
"""An update as it is kept, without its id: see MemoryStore for why these are tuples."""
