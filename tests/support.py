"""What tests of several layers need."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from clients.base import DriverError, Milestone
from harness.rig.server import Server, Serving
from orders.model import Item, Order, Update

LIMIT_S = 60.0
Run = Callable[[Coroutine[Any, Any, Any]], Any]
Serve = Callable[..., Server]
AtBroker = Callable[[Serving], Serving]
UsePart = Callable[[str], Any]
"""The broker or store of a name."""


@dataclass
class ListSink:
    """A sink that remembers."""

    arrivals: list[tuple[int, Milestone, int, str]] = field(default_factory=list)
    notes: Counter[tuple[int, str]] = field(default_factory=Counter)
    sightings: list[tuple[Update, int, int]] = field(default_factory=list)
    failures: list[tuple[int, DriverError]] = field(default_factory=list)

    def arrived(
        self, operation: int, milestone: Milestone, instant_ns: int, origin: str = ""
    ) -> None:
        """See Sink.arrived."""
        self.arrivals.append((operation, milestone, instant_ns, origin))

    def failed(self, operation: int, error: DriverError) -> None:
        """See Sink.failed."""
        self.failures.append((operation, error))

    def noted(self, operation: int, name: str, by: int = 1) -> None:
        """See Sink.noted."""
        self.notes[operation, name] += by

    def saw(self, update: Update, subscriber: int, instant_ns: int) -> None:
        """See Sink.saw."""
        self.sightings.append((update, subscriber, instant_ns))


def order(key: str, items: int = 1, quantity: int = 2, price: int = 250) -> Order:
    """An order that the shop accepts."""
    return Order(key, "customer-1", [Item(f"SKU-{n}", quantity, price) for n in range(items)])


async def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails by naming it."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"waited {LIMIT_S:g} s for: {what}"
        await asyncio.sleep(0.01)
