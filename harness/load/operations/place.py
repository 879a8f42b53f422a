"""O1 `place`: one order in, its final result seen by the client, and checked."""

from collections.abc import Sequence

from clients.base import Call, DriverError, Failure, Places
from orders.model import Order
from orders.pricing import total_cents


class Place:
    """Places the orders of a pool in turn, each under a key of its own."""

    def __init__(self, driver: Places, pool: Sequence[Order], key_prefix: str) -> None:
        self._place = driver.place
        self._pool = pool
        self._totals = [total_cents(order) for order in pool]
        self._prefix = key_prefix

    async def perform(self, operation: int, lane: int) -> int:
        """Place order number `operation`; returns the server's `processed` instant, or 0.

        Raises DriverError, also when the answer is not the one to this order.
        """
        which = operation % len(self._pool)
        sample = self._pool[which]
        key = f"{self._prefix}{operation}"
        order = Order(key, sample.customer_id, sample.items)
        confirmation = await self._place(lane, order, Call(operation))
        if confirmation.idempotency_key != key or confirmation.total_cents != self._totals[which]:
            raise DriverError(
                Failure.WRONG_REPLY,
                "the answer belongs to another order"
                if confirmation.idempotency_key != key
                else "the total is not the order's",
            )
        return confirmation.processed_ns
