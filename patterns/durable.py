"""Durable orders: a confirmation is given when it is kept for good, and not before."""

import asyncio
import contextlib
import logging
import secrets
from typing import Any, Protocol

from orders.line import Queue
from orders.model import Confirmation, Order, Update
from orders.service import PROGRESS_S, OrderService, Work, confirmed, end_of
from orders.store import MemoryStore

log = logging.getLogger(__name__)


class Ledger(Protocol):
    """Orders and their answers, kept for good, which several services may share.

    All methods raise KeyConflict when an order's key belongs to an order of other content, and
    Refusal within a stated time when the ledger cannot say.
    """

    async def claim(self, order: Order) -> Confirmation | None:
        """The answer that is kept; None gives the caller the work, until it calls `release`.

        Waits while another service has the work. Who has it and dies has it no more.
        """

    async def release(self, order: Order) -> None:
        """Who had the work has it no more."""

    async def commit(self, order: Order, answer: Confirmation) -> Confirmation:
        """Keep an order with its answer, unless one is kept: returns the one that is."""


class DurableOrderService(OrderService):
    """An order service whose answers are in a ledger before they are given, and outlive it.

    A repeat gets the answer that it had from whichever service of the ledger it reaches, also after
    a restart. An order that takes no work is not claimed: the ledger decides which of two is kept.
    What is accepted and not yet confirmed is not kept: when the service ends, or the ledger fails,
    such an order is unknown again. `processed_ns` is the instant before the commit, which belongs
    to the answer that is kept.
    """

    def __init__(
        self,
        ledger: Ledger,
        service_time_s: float = 0.0,
        progress_s: float = PROGRESS_S,
        queue: Queue | None = None,
    ) -> None:
        super().__init__(MemoryStore(), service_time_s, progress_s, unique_ids(), queue)
        self._ledger = ledger
        self._at_once = False
        self._begun: dict[str, asyncio.Future[None]] = {}

    async def receive(self, order: Order) -> Update:
        """As `accept`, once the ledger has said whether it knows the order.

        The receipt of an order that takes no work is its end. Raises Refusal too.
        """
        receipt = self.accept(order)
        work = self._working.get(order.idempotency_key)
        if work is None:
            return receipt
        assert work.task is not None
        either: list[asyncio.Future[Any]] = [work.task, self._begun[receipt.order_id]]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return end_of(work.task.result()) if work.task.done() else self.accept(order)

    def _begin(self, order: Order, order_id: str) -> Work:
        work = super()._begin(order, order_id)
        assert work.task is not None
        self._begun[order_id] = asyncio.get_running_loop().create_future()
        work.task.add_done_callback(_looked_at)
        return work

    async def _work(self, order: Order, work: Work) -> Confirmation:
        order_id = work.update.order_id
        try:
            answer = await self._settle(order, order_id, work)
        except Exception:
            if self._begun[order_id].done():
                log.exception("order %s was begun and came to nothing", order_id)
            raise
        finally:
            del self._working[order.idempotency_key]
            del self._begun[order_id], self._accepted[order_id]
        if answer.order_id == order_id:
            self._add(order, answer)
            self._tell(work, end_of(answer))
        else:
            self._store.add(order, answer)
            self._keep(end_of(answer))
        return answer

    async def _settle(self, order: Order, order_id: str, work: Work) -> Confirmation:
        """The answer that is in the ledger, after the work where it has to be done."""
        if not self.length_s(order):
            return await self._ledger.commit(order, confirmed(order, order_id))
        known = await self._ledger.claim(order)
        if known is not None:
            return known
        try:
            self._begun[order_id].set_result(None)
            await self._spend(order, work)
            return await self._ledger.commit(order, confirmed(order, order_id))
        finally:
            await self._ledger.release(order)


def unique_ids() -> str:
    """What the order ids of a process begin with, so that no other's are the same."""
    return f"o-{secrets.token_hex(4)}-"


def _looked_at(task: asyncio.Task[Confirmation]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
