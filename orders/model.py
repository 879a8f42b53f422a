"""What an order is, and what its service answers. Prices are integer cents."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The states an order passes through; `place` answers with a final one."""

    RECEIVED = "received"
    CONFIRMED = "confirmed"


@dataclass(slots=True)
class Item:
    """One line of an order."""

    sku: str
    quantity: int
    unit_price_cents: int


@dataclass(slots=True)
class Order:
    """What a customer asks for.

    `idempotency_key` names the business intent: the same key with the same content is the same
    order, however often it arrives.
    """

    idempotency_key: str
    customer_id: str
    items: list[Item]


@dataclass(slots=True)
class Confirmation:
    """The final answer to an order.

    `processed_ns` is the server's CLOCK_MONOTONIC, in nanoseconds, when its work was done; 0 where
    a server does not tell.
    """

    order_id: str
    idempotency_key: str
    status: Status
    total_cents: int
    processed_ns: int
