"""`python -m tests.live.wrong_server STYLE FAULT NUMBER`: a service that does wrong.

FAULT: `totals`, of which every NUMBERth is wrong, or `drifts`: each order takes NUMBER µs longer
than the one before.
"""

import asyncio
import importlib
import json
import sys
from dataclasses import replace

import uvloop

from orders.model import Confirmation, Order
from orders.service import OrderService
from orders.store import MemoryStore
from servers.base import Bind, Desk


class WrongTotals(OrderService):
    """Adds a cent now and then."""

    def __init__(self, every: int) -> None:
        super().__init__(MemoryStore())
        self._every = every
        self._count = 0

    def _confirm(self, order: Order, order_id: str) -> Confirmation:
        confirmation = super()._confirm(order, order_id)
        self._count += 1
        if self._count % self._every:
            return confirmation
        return replace(confirmation, total_cents=confirmation.total_cents + 1)


class Drifts(OrderService):
    """Takes ever longer."""

    def __init__(self, step_us: int) -> None:
        super().__init__(MemoryStore(), service_time_s=step_us / 1e6)
        self._step_s = step_us / 1e6

    def length_s(self, order: Order) -> float:
        """See OrderService.length_s."""
        return self.placed * self._step_s


FAULTS = {"totals": WrongTotals, "drifts": Drifts}


async def main() -> None:
    """Serve until standard input ends."""
    style, fault, number = sys.argv[1:]
    module = importlib.import_module(f"servers.{style.replace('-', '_')}")
    listening = await module.start(Desk(FAULTS[fault](int(number))), Bind())
    print(json.dumps({"event": "ready", "address": listening.address}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await listening.stop()


if __name__ == "__main__":
    uvloop.run(main())
