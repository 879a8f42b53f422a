"""`python -m tests.live.wrong_server STYLE EVERY`: a service whose every EVERYth total is wrong."""

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


class WrongService(OrderService):
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


async def main() -> None:
    """Serve until standard input ends."""
    style, every = sys.argv[1], int(sys.argv[2])
    module = importlib.import_module(f"servers.{style.replace('-', '_')}")
    listening = await module.start(Desk(WrongService(every)), Bind())
    print(json.dumps({"event": "ready", "address": listening.address}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await listening.stop()


if __name__ == "__main__":
    uvloop.run(main())
