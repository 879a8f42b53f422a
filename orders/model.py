"""What an order is, and what its service answers. Prices are integer cents."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The states an order passes through; CONFIRMED is final."""

    RECEIVED = "received"
    WORKING = "working"
    CONFIRMED = "confirmed"


@dataclass
class Item:
    """One line of an order. Without slots: with them orjson takes six times as long to write it."""

    sku: str
    quantity: int
    unit_price_cents: int


@dataclass(slots=True)
class Order:
    """What a customer asks for.

    `idempotency_key` names the business intent: the same key with the same content is the same
    order, however often it arrives. `attachment` is a document of any kind. `work_us` is how long
    the work on this order takes, in microseconds, so that a comparison can give every style the
    same draws; 0 leaves it to the service.
    """

    idempotency_key: str
    customer_id: str
    items: list[Item]
    attachment: bytes = b""
    work_us: int = 0


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


@dataclass(slots=True)
class Update:
    """Where an order stood at `at_ns` (the server's CLOCK_MONOTONIC): a receipt, progress in
    percent, or the end of its work.

    `attachment` is the order's document, in the change that everyone who watches is told of.
    """

    order_id: str
    idempotency_key: str
    status: Status
    progress: int
    at_ns: int
    total_cents: int = 0
    attachment: bytes = b""

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self.status is Status.CONFIRMED

    def confirmation(self) -> Confirmation:
        """The answer that a final update holds."""
        return Confirmation(
            self.order_id, self.idempotency_key, self.status, self.total_cents, self.at_ns
        )
