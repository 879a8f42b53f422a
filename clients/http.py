"""HTTP/1.1 by aiohttp, one connection a lane, for every style that has it under it."""

import gzip
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.payload import BytesPayload, Payload
from yarl import URL

from clients.base import DriverError, Failure, Wire
from clients.encryption import client_context
from protos.codec import Codec
from protos.codecs import JSON

if TYPE_CHECKING:
    from aiohttp.client import _RequestContextManager

IDLE_LIMIT_S = 3600.0
LARGE_BODY_BYTES = 2**20
"""Beyond it aiohttp asks for a file, which it writes piece by piece."""


@dataclass(slots=True)
class Answer:
    """A whole HTTP response; made for every order, and so not frozen, which takes longer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BareRequest(aiohttp.ClientRequest):
    """Has its session's headers. aiohttp can be told to leave its own out, and then works out anew
    for each request what is left."""

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Adds none."""


class HttpLanes:
    """A session of one connection for each lane, so that no pool stands in the path."""

    def __init__(self, target: str, wire: Wire) -> None:
        self.codec: Codec = wire.codec_or(JSON)
        self._base = target.rstrip("/")
        self._wire = wire
        self._urls: dict[str, URL] = {}
        self._sessions: dict[int, aiohttp.ClientSession] = {}
        self._headers = {"Content-Type": self.codec.media_type, "Accept": self.codec.media_type}
        if wire.compression:
            self._headers |= {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}

    async def ask(
        self,
        lane: int,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange. Raises DriverError when there is no whole response."""
        if body is not None and self._wire.compression:
            body = gzip.compress(body)
        try:
            response = await self._request(lane, method, path, body, headers)
            try:
                return Answer(response.status, response.headers, await response.read())
            except BaseException:
                response.close()
                raise
        except _ERRORS as error:
            raise _failure(error) from None

    @asynccontextmanager
    async def stream(
        self,
        lane: int,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body is read inside. Raises DriverError, also for what breaks there."""
        try:
            async with self._request(lane, method, path, body, headers) as response:
                yield response
        except _ERRORS as error:
            raise _failure(error) from None

    def _request(
        self,
        lane: int,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> "_RequestContextManager":
        url = self._urls.get(path)
        if url is None:
            url = URL(self._base + path)
            if len(self._urls) < 64:
                self._urls[path] = url
        data: Payload | io.BytesIO | None = None
        if body is not None:
            # What it would make of the bytes, after a look at all that they might be.
            small = len(body) <= LARGE_BODY_BYTES
            data = BytesPayload(body) if small else io.BytesIO(body)
        return self._session(lane).request(
            method, url, data=data, headers=headers, allow_redirects=False
        )

    async def drop(self, lane: int) -> None:
        """Give a lane's connection back."""
        if lane in self._sessions:
            await self._sessions.pop(lane).close()

    async def close(self) -> None:
        """Give all connections back."""
        for lane in list(self._sessions):
            await self.drop(lane)

    def _session(self, lane: int) -> aiohttp.ClientSession:
        session = self._sessions.get(lane)
        if session is None:
            session = self._sessions[lane] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=1,
                    keepalive_timeout=IDLE_LIMIT_S,
                    ttl_dns_cache=None,
                    ssl=client_context(self._wire) if self._base.startswith("https:") else True,
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                auto_decompress=self._wire.compression,
                request_class=BareRequest,
            )
            # Or a GET on a connection that is cut would be made again, unseen and uncounted.
            session._retry_connection = False
        return session


_ERRORS = (aiohttp.ClientError, OSError)


def _failure(error: aiohttp.ClientError | OSError) -> DriverError:
    lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError)
    failure = Failure.DISCONNECTED if isinstance(error, lost) else Failure.PROTOCOL
    return DriverError(failure, str(error) or type(error).__name__)
