"""`noop`: a driver without a server. What it measures is the generator itself."""

from clients.base import PLAIN, Call, Sink, Wire
from orders.model import Confirmation, Order, Status
from orders.pricing import total_cents


class Noop:
    """Answers every order at once."""

    multiplexes = True

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""

    async def close(self) -> None:
        """See Driver.close."""

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        return Confirmation("noop", order.idempotency_key, Status.CONFIRMED, total_cents(order), 0)
