"""Where confirmed orders are kept."""

from typing import Protocol

from orders.errors import KeyConflict
from orders.model import Confirmation, Order


class Store(Protocol):
    """What the order service needs of a store."""

    def find(self, order: Order) -> Confirmation | None:
        """The answer given earlier to this same order, or None.

        Raises KeyConflict when its idempotency key belongs to an order of other content.
        """

    def add(self, order: Order, confirmation: Confirmation) -> None:
        """Keep an order with its answer."""


class MemoryStore:
    """A store that lives as long as its process (durability: none)."""

    def __init__(self) -> None:
        self._orders: dict[str, tuple[Order, Confirmation]] = {}

    def find(self, order: Order) -> Confirmation | None:
        """See Store.find."""
        kept = self._orders.get(order.idempotency_key)
        if kept is None:
            return None
        if kept[0] != order:
            raise KeyConflict(
                f"idempotency_key {order.idempotency_key!r} belongs to a different order"
            )
        return kept[1]

    def add(self, order: Order, confirmation: Confirmation) -> None:
        """See Store.add."""
        self._orders[order.idempotency_key] = (order, confirmation)

    def __len__(self) -> int:
        return len(self._orders)
