"""Where confirmed orders are kept."""

import hashlib
from typing import Protocol

from orders.errors import KeyConflict
from orders.model import Confirmation, Order, Status


class Store(Protocol):
    """What the order service needs of a store."""

    def find(self, order: Order) -> Confirmation | None:
        """The answer given earlier to this same order, or None.

        Raises KeyConflict when its idempotency key belongs to an order of other content.
        """

    def add(self, order: Order, confirmation: Confirmation) -> None:
        """Keep an order with its answer."""


class MemoryStore:
    """A store that lives as long as its process (durability: none).

    It keeps plain tuples, which Python's garbage collector soon stops to look at: a heap of kept
    orders would pause a service the longer, the more it had served.
    """

    def __init__(self) -> None:
        self._orders: dict[str, tuple[Content, _Answer]] = {}

    def find(self, order: Order) -> Confirmation | None:
        """See Store.find."""
        kept = self._orders.get(order.idempotency_key)
        if kept is None:
            return None
        known, (order_id, status, total_cents, processed_ns) = kept
        require_same(order, known)
        return Confirmation(
            order_id, order.idempotency_key, Status(status), total_cents, processed_ns
        )

    def add(self, order: Order, confirmation: Confirmation) -> None:
        """See Store.add."""
        answer = (
            confirmation.order_id,
            confirmation.status.value,
            confirmation.total_cents,
            confirmation.processed_ns,
        )
        self._orders[order.idempotency_key] = (content(order), answer)

    def __len__(self) -> int:
        return len(self._orders)


class ForgetfulStore:
    """Keeps nothing: every order is a new one, a repeat included (for the price of memory, P1)."""

    def find(self, order: Order) -> Confirmation | None:
        """See Store.find: nothing is known."""
        return None

    def add(self, order: Order, confirmation: Confirmation) -> None:
        """See Store.add: nothing is kept."""


Content = tuple[str, tuple[tuple[str, int, int], ...], bytes]
"""What makes two orders of one key the same."""
_Answer = tuple[str, str, int, int]


def content(order: Order) -> Content:
    """What the order asks for, short enough to be kept."""
    return (
        order.customer_id,
        tuple([(i.sku, i.quantity, i.unit_price_cents) for i in order.items]),
        hashlib.blake2b(order.attachment).digest() if order.attachment else b"",
    )


def require_same(order: Order, known: Content) -> None:
    """Raise KeyConflict unless an order asks for what is known under its key."""
    if content(order) != known:
        raise KeyConflict(f"idempotency_key {order.idempotency_key!r} belongs to a different order")
