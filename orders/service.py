"""The order service: the same work behind every style."""

import asyncio
import time

from orders.model import Confirmation, Order, Status
from orders.pricing import total_cents
from orders.store import Store
from orders.validation import validate


class OrderService:
    """Validates, works on, prices and keeps orders.

    `service_time_s` is the length of the work itself, in seconds (0: none); orders in progress wait
    side by side, as calls to a further service would.
    """

    def __init__(self, store: Store, service_time_s: float = 0.0) -> None:
        self._store = store
        self._service_time_s = service_time_s
        self._working: dict[str, asyncio.Future[None]] = {}
        self._placed = 0

    async def place(self, order: Order) -> Confirmation:
        """Confirm an order; a repeat of a known order gets the answer that it had.

        A repeat that arrives while the first is being worked on waits for that one's answer.
        Raises InvalidOrder or KeyConflict.
        """
        validate(order)
        key = order.idempotency_key
        while key in self._working:
            await asyncio.wait([self._working[key]])
        known = self._store.find(order)
        if known is not None:
            return known
        if self._service_time_s:
            done = self._working[key] = asyncio.get_running_loop().create_future()
            try:
                await asyncio.sleep(self._service_time_s)
            finally:
                del self._working[key]
                done.set_result(None)
        self._placed += 1
        confirmation = Confirmation(
            order_id=f"o-{self._placed}",
            idempotency_key=key,
            status=Status.CONFIRMED,
            total_cents=total_cents(order),
            processed_ns=time.monotonic_ns(),
        )
        self._store.add(order, confirmation)
        return confirmation
