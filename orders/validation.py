"""The shop's rules for an order. Every breach is reported at once."""

from orders.errors import InvalidOrder
from orders.model import Order

MAX_ITEMS = 10_000
MAX_QUANTITY = 1_000_000
MAX_UNIT_PRICE_CENTS = 100_000_000
MAX_TEXT = 200
MAX_ATTACHMENT_BYTES = 4 * 2**20
MAX_WORK_US = 60_000_000


def breaches(order: Order) -> list[str]:
    """All rules that `order` breaks, in words; empty for a good order. Of too many items none is
    looked at."""
    found = []
    if not 0 < len(order.idempotency_key) <= MAX_TEXT:
        found.append(f"idempotency_key must have 1 to {MAX_TEXT} characters")
    if not 0 < len(order.customer_id) <= MAX_TEXT:
        found.append(f"customer_id must have 1 to {MAX_TEXT} characters")
    if not 0 < len(order.items) <= MAX_ITEMS:
        found.append(f"items must be 1 to {MAX_ITEMS}, not {len(order.items)}")
    if len(order.attachment) > MAX_ATTACHMENT_BYTES:
        found.append(f"attachment must have at most {MAX_ATTACHMENT_BYTES} bytes")
    if not 0 <= order.work_us <= MAX_WORK_US:
        found.append(f"work_us must be 0 to {MAX_WORK_US}")
    if len(order.items) > MAX_ITEMS:
        return found
    for number, item in enumerate(order.items):
        if not 0 < len(item.sku) <= MAX_TEXT:
            found.append(f"items[{number}].sku must have 1 to {MAX_TEXT} characters")
        if not 0 < item.quantity <= MAX_QUANTITY:
            found.append(f"items[{number}].quantity must be 1 to {MAX_QUANTITY}")
        if not 0 <= item.unit_price_cents <= MAX_UNIT_PRICE_CENTS:
            found.append(f"items[{number}].unit_price_cents must be 0 to {MAX_UNIT_PRICE_CENTS}")
    return found


def validate(order: Order) -> None:
    """Raise InvalidOrder, naming every breach, unless the order keeps all rules."""
    found = breaches(order)
    if found:
        raise InvalidOrder("; ".join(found[:20]))
