"""O1 `place` and O4 `job`: one order in, its final result seen by the client, and checked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from clients.base import Call, DriverError, Failure, Sink
from harness.load.contexts import Contexts
from harness.load.lanes import Hold
from harness.load.orders import OrderBook
from orders.model import Confirmation, Order

Ask = Callable[[int, Order, Call], Awaitable[Confirmation]]
"""A driver's way to place an order: lane, order, call."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call that does not answer is made again: `attempts` in all, each but the last of
    `timeout_s` seconds. They are one operation, with one request id."""

    attempts: int = 1
    timeout_s: float = 1.0


class Place:
    """Places orders, each under a key of its own."""

    def __init__(
        self,
        ask: Ask,
        book: OrderBook,
        contexts: Contexts,
        sink: Sink,
        retry: Retry,
        priced: bool = True,
    ) -> None:
        """`priced`: whether answers hold the order's price; where they do not only their key shows
        whose they are."""
        self._ask = ask if retry.attempts == 1 else self._again_and_again
        self._driver_asks = ask
        self._book = book
        self._contexts = contexts
        self._sink = sink
        self._retry = retry
        self._priced = priced

    async def perform(self, operation: int, hold: Hold) -> int:
        """Place order number `operation`; returns the server's `processed` instant, or 0.

        Raises DriverError, also when the answer is not the one to this order.
        """
        order = self._book.order(operation)
        call = Call(operation, self._contexts.of(operation), hold)
        confirmation = await self._ask(hold.lane, order, call)
        if confirmation.idempotency_key != order.idempotency_key:
            raise DriverError(Failure.WRONG_REPLY, "the answer belongs to another order")
        if self._priced and confirmation.total_cents != self._book.total_cents(operation):
            raise DriverError(Failure.WRONG_REPLY, "the total is not the order's")
        return confirmation.processed_ns

    async def _again_and_again(self, lane: int, order: Order, call: Call) -> Confirmation:
        for _ in range(self._retry.attempts - 1):
            try:
                async with asyncio.timeout(self._retry.timeout_s):
                    return await self._driver_asks(lane, order, call)
            except TimeoutError:
                self._sink.noted(call.operation, "retries")
                # It may rest, or have resumed on another lane than it began with.
                lane = call.resume(lane)
        return await self._driver_asks(lane, order, call)
