"""The orders of one trial: by the operation's number, the same for every style of a block."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.load.messages import OrderSpec
from orders.line import NO_WORK_US
from orders.model import Order
from orders.pricing import total_cents
from orders.samples import orders_from_file, sample_orders

DRAWS = 65_536
"""Times of work are drawn once, and used in turn."""


class OrderBook:
    """Makes operation number n's order, and knows what it costs."""

    def __init__(self, spec: OrderSpec, key_prefix: str, seed: int, block: int) -> None:
        """Raises OSError or ValueError for a file that holds no orders."""
        self._prefix = key_prefix
        self._pool = (
            orders_from_file(Path(spec.file))
            if spec.file is not None
            else sample_orders(spec.items or 1, seed)
        )
        self._totals = [total_cents(order) for order in self._pool]
        self._attachment = np.random.default_rng([seed, 2]).bytes(spec.attachment_bytes)
        self._work_us = work_times_us(spec, seed, block)

    def order(self, operation: int) -> Order:
        """Order number `operation`, under a key of its own."""
        sample = self._pool[operation % len(self._pool)]
        order = Order(f"{self._prefix}{operation}", sample.customer_id, sample.items)
        if self._attachment:
            order.attachment = self._attachment
        if self._work_us:
            order.work_us = self._work_us[operation % len(self._work_us)]
        return order

    def key(self, number: int) -> str:
        """The name of order number `number`, where many messages are about one."""
        return f"{self._prefix}key-{number}"

    def total_cents(self, operation: int) -> int:
        """What order number `operation` costs."""
        return self._totals[operation % len(self._pool)]


def work_times_us(spec: OrderSpec, seed: int, block: int) -> Sequence[int]:
    """How long the work on each order takes, in microseconds, to be used in turn; empty where the
    service decides."""
    every = spec.work_between + 1
    match spec.work_time:
        case "none":
            return []
        case "fixed":
            times = np.full(every, spec.work_mean_ms * 1e3)
        case "exponential":
            drawn = np.random.default_rng([seed, block, 1])
            times = drawn.exponential(spec.work_mean_ms * 1e3, DRAWS - DRAWS % every)
        case _:
            raise ValueError(f"work time {spec.work_time!r} is none of none, fixed, exponential")
    times[np.arange(len(times)) % every > 0] = 0
    found: list[int] = np.maximum(NO_WORK_US, np.round(times)).astype(int).tolist()
    return found
