"""Orders to load a service with: made from a seed, or read from a file of the user's own."""

import json
import random
from pathlib import Path

from orders.model import Item, Order
from orders.validation import breaches

POOL = 64


def sample_orders(items: int, seed: int, count: int = POOL) -> list[Order]:
    """`count` different orders of `items` lines each, the same for the same seed.

    Their idempotency keys are placeholders: whoever sends an order gives it a key of its own.
    """
    draw = random.Random(f"orders/{seed}/{items}")
    return [
        Order(
            idempotency_key=f"sample-{number}",
            customer_id=f"customer-{draw.randrange(10_000):04d}",
            items=[
                Item(
                    sku=f"SKU-{draw.randrange(100_000):05d}",
                    quantity=draw.randint(1, 20),
                    unit_price_cents=draw.randint(99, 99_999),
                )
                for _ in range(items)
            ],
        )
        for number in range(count)
    ]


def orders_from_file(path: Path) -> list[Order]:
    """Orders from a JSON Lines file, each `{"customer_id": "...", "items": [{"sku": "...",
    "quantity": 1, "unit_price_cents": 100}]}`.

    Raises OSError if the file cannot be read and ValueError naming every line that is no order.
    """
    orders: list[Order] = []
    wrong: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            order = Order(
                idempotency_key=f"sample-{number}",
                customer_id=str(raw["customer_id"]),
                items=[
                    Item(str(i["sku"]), int(i["quantity"]), int(i["unit_price_cents"]))
                    for i in raw["items"]
                ],
            )
        except (ValueError, TypeError, KeyError) as error:
            wrong.append(f"line {number}: not an order ({type(error).__name__}: {error})")
            continue
        wrong += [f"line {number}: {breach}" for breach in breaches(order)]
        orders.append(order)
    if not orders and not wrong:
        wrong.append("no orders in it")
    if wrong:
        raise ValueError("; ".join(wrong))
    return orders
