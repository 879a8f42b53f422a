"""`rest:httpx`: HTTP/1.1 by httpx, one connection a lane (its shared pool is far slower)."""

import asyncio

import httpx

from clients.base import Call, DriverError, Failure, Sink
from clients.rest import confirmation_in, orders_url
from orders.model import Confirmation, Order
from protos import codec
from protos.http import JSON

HEADERS = {"Content-Type": JSON, "Accept": JSON, "Accept-Encoding": "identity"}


class RestHttpx:
    """A client of one connection for each lane, so that no pool stands in the path."""

    multiplexes = False

    def __init__(self) -> None:
        self._url = ""
        self._lanes: dict[int, httpx.AsyncClient] = {}

    async def open(self, target: str, lanes: int, sink: Sink) -> None:
        """See Driver.open. Any answer shows that a lane is connected."""
        self._url = orders_url(target)
        await asyncio.gather(*(self._ask(lane, "OPTIONS", None) for lane in range(lanes)))

    async def close(self) -> None:
        """See Driver.close."""
        while self._lanes:
            _, client = self._lanes.popitem()
            await client.aclose()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        return confirmation_in(*await self._ask(lane, "POST", codec.order_to_json(order)))

    async def _ask(self, lane: int, method: str, body: bytes | None) -> tuple[int, bytes]:
        client = self._lanes.get(lane)
        if client is None:
            client = self._lanes[lane] = httpx.AsyncClient(
                headers=HEADERS,
                timeout=None,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=None),
                trust_env=False,
            )
        try:
            response = await client.request(method, self._url, content=body)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            disconnected = isinstance(error, httpx.NetworkError) or "disconnected" in str(error)
            failure = Failure.DISCONNECTED if disconnected else Failure.PROTOCOL
            raise DriverError(failure, str(error) or type(error).__name__) from None
        except httpx.HTTPError as error:
            raise DriverError(Failure.PROTOCOL, str(error) or type(error).__name__) from None
        return response.status_code, response.content
