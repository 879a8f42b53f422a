"""`rest:aiohttp`: HTTP/1.1 by aiohttp, one connection a lane."""

import asyncio

import aiohttp
from yarl import URL

from clients.base import Call, DriverError, Failure, Sink
from clients.rest import confirmation_in, orders_url
from orders.model import Confirmation, Order
from protos import codec
from protos.http import JSON

HEADERS = {"Content-Type": JSON, "Accept": JSON}
IDLE_LIMIT_S = 3600.0


class RestAiohttp:
    """A session of one connection for each lane, so that no pool stands in the path."""

    multiplexes = False

    def __init__(self) -> None:
        self._url = URL()
        self._lanes: dict[int, aiohttp.ClientSession] = {}

    async def open(self, target: str, lanes: int, sink: Sink) -> None:
        """See Driver.open. Any answer shows that a lane is connected."""
        self._url = URL(orders_url(target))
        await asyncio.gather(*(self._ask(lane, "OPTIONS", None) for lane in range(lanes)))

    async def close(self) -> None:
        """See Driver.close."""
        while self._lanes:
            _, session = self._lanes.popitem()
            await session.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        return confirmation_in(*await self._ask(lane, "POST", codec.order_to_json(order)))

    async def _ask(self, lane: int, method: str, body: bytes | None) -> tuple[int, bytes]:
        session = self._lanes.get(lane)
        if session is None:
            session = self._lanes[lane] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=1, keepalive_timeout=IDLE_LIMIT_S, ttl_dns_cache=None
                ),
                headers=HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        try:
            async with session.request(
                method, self._url, data=body, allow_redirects=False
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise DriverError(Failure.DISCONNECTED, _words(error)) from None
        except aiohttp.ClientError as error:
            raise DriverError(Failure.PROTOCOL, _words(error)) from None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
