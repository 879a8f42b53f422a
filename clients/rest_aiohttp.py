"""`rest:aiohttp`: HTTP/1.1 by aiohttp, one connection a lane."""

import asyncio

from clients.base import PLAIN, Call, Sink, Wire
from clients.http import HttpLanes
from clients.rest import confirmation_in, context_headers
from orders.model import Confirmation, Order
from protos.http import ORDERS_PATH


class RestAiohttp:
    """One exchange an order."""

    multiplexes = False

    def __init__(self) -> None:
        self._http = HttpLanes("", PLAIN)

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open. Any answer shows that a lane is connected."""
        self._http = HttpLanes(target, wire)
        await asyncio.gather(
            *(self._http.ask(lane, "OPTIONS", ORDERS_PATH) for lane in range(lanes))
        )

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        await self._http.drop(lane)

    async def close(self) -> None:
        """See Driver.close."""
        await self._http.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        http = self._http
        body = http.codec.encode_order(order)
        answer = await http.ask(lane, "POST", ORDERS_PATH, body, context_headers(call))
        return confirmation_in(answer.status, answer.body, http.codec)
