"""`rest:httpx`: HTTP/1.1 by httpx, one connection a lane (its shared pool is far slower); and
`rest-h2:httpx`: the same over HTTP/2."""

import asyncio
import gzip
from typing import ClassVar

import httpx

from clients.base import PLAIN, Call, DriverError, Failure, Sink, Wire
from clients.encryption import client_context
from clients.rest import confirmation_in, context_headers, orders_url
from orders.model import Confirmation, Order
from protos.codecs import JSON


class RestHttpx:
    """A client of one connection for each lane, so that no pool stands in the path."""

    multiplexes = False
    http2: ClassVar[bool] = False

    def __init__(self) -> None:
        self._url = ""
        self._wire = PLAIN
        self._codec = JSON
        self._lanes: dict[int, httpx.AsyncClient] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open. Any answer shows that a lane is connected."""
        self._url = orders_url(target)
        self._wire, self._codec = wire, wire.codec_or(JSON)
        await asyncio.gather(*(self._ask(lane, "OPTIONS") for lane in range(lanes)))

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._lanes:
            await self._lanes.pop(lane).aclose()

    async def close(self) -> None:
        """See Driver.close."""
        for lane in list(self._lanes):
            await self.drop(lane)

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        body = self._codec.encode_order(order)
        return confirmation_in(*await self._ask(lane, "POST", body, call), self._codec)

    async def _ask(
        self, lane: int, method: str, body: bytes | None = None, call: Call | None = None
    ) -> tuple[int, bytes]:
        client = self._lanes.get(lane)
        if client is None:
            client = self._lanes[lane] = self._client()
        if body is not None and self._wire.compression:
            body = gzip.compress(body)
        headers = context_headers(call) if call is not None else None
        try:
            response = await client.request(method, self._url, content=body, headers=headers)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            disconnected = isinstance(error, httpx.NetworkError) or _ended(error)
            failure = Failure.DISCONNECTED if disconnected else Failure.PROTOCOL
            raise DriverError(failure, str(error) or type(error).__name__) from None
        except httpx.HTTPError as error:
            raise DriverError(Failure.PROTOCOL, str(error) or type(error).__name__) from None
        return response.status_code, response.content

    def _client(self) -> httpx.AsyncClient:
        media_type = self._codec.media_type
        headers = {"Content-Type": media_type, "Accept": media_type, "Accept-Encoding": "identity"}
        if self._wire.compression:
            headers |= {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
        return httpx.AsyncClient(
            headers=headers,
            timeout=None,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=None),
            trust_env=False,
            verify=client_context(self._wire) if self._url.startswith("https:") else False,
            http1=not self.http2,
            http2=self.http2,
        )


class RestHttpxH2(RestHttpx):
    """The same over HTTP/2, also without TLS (prior knowledge, RFC 9113 section 3.3).

    One exchange at a time on a connection: httpx hands answers out in the order in which they are
    waited for, so that on a shared one an operation would wait for others. See clients/rest_h2.py.
    """

    http2: ClassVar[bool] = True


def _ended(error: httpx.RemoteProtocolError) -> bool:
    """Whether a connection just ended, in HTTP/2 by a GOAWAY without an error."""
    return any(
        words in str(error) for words in ("disconnected", "ConnectionTerminated error_code:0")
    )
