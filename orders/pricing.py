"""What an order costs."""

from orders.model import Order

BULK_QUANTITY = 10
BULK_DISCOUNT_PERCENT = 5


def total_cents(order: Order) -> int:
    """The order's price in cents: a line of BULK_QUANTITY pieces or more is cheaper, rounded down.

    Deterministic, so a client can check the answer that it was given.
    """
    total = 0
    for item in order.items:
        line = item.quantity * item.unit_price_cents
        if item.quantity >= BULK_QUANTITY:
            line -= line * BULK_DISCOUNT_PERCENT // 100
        total += line
    return total
