"""Behind null servers: nothing is read of an order but its key, and nothing is done about it. They
stand for what a protocol alone costs, and for no style."""

from orders.model import Confirmation, Order
from protos.context import NOTHING, Context
from protos.null_codec import nothing_done
from servers.base import Desk


class NullDesk(Desk):
    """Answers every order at once."""

    async def place(self, order: Order, context: Context = NOTHING) -> Confirmation:
        """See Desk.place."""
        return nothing_done(order.idempotency_key)
