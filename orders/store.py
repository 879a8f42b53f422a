"""Where confirmed orders are kept."""

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
        self._orders: dict[str, tuple[_Content, _Answer]] = {}

    def find(self, order: Order) -> Confirmation | None:
        """See Store.find."""
        kept = self._orders.get(order.idempotency_key)
        if kept is None:
            return None
        content, (order_id, status, total_cents, processed_ns) = kept
        if content != _content(order):
            raise KeyConflict(
                f"idempotency_key {order.idempotency_key!r} belongs to a different order"
            )
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
        self._orders[order.idempotency_key] = (_content(order), answer)

    def __len__(self) -> int:
        return len(self._orders)


_Content = tuple[str, tuple[tuple[str, int, int], ...]]
_Answer = tuple[str, str, int, int]


def _content(order: Order) -> _Content:
    return (
        order.customer_id,
        tuple([(i.sku, i.quantity, i.unit_price_cents) for i in order.items]),
    )
