"""`rest:asyncio`: the raw floor. HTTP/1.1 on an asyncio protocol, its answers parsed by httptools;
one connection a lane, one order at a time on it."""

import asyncio
import gzip
import zlib
from typing import ClassVar, cast
from urllib.parse import urlsplit

import httptools

from clients.base import PLAIN, Call, DriverError, Failure, Sink, Wire
from clients.encryption import client_context
from clients.lane import Lane
from clients.rest import confirmation_in, context_headers
from orders.model import Confirmation, Order
from protos.codec import Codec
from protos.codecs import JSON
from protos.frames import MAX_FRAME_BYTES
from protos.http import ORDERS_PATH

Answer = tuple[int, bytes]
"""Status and body."""

HEAD_BYTES = 2**16
"""What an answer may take beside its body."""
ONE_PIECE_BYTES = 2**16
"""A body up to here is copied behind its head; a longer one is not."""


class Exchanges(asyncio.Protocol):
    """One connection. An exchange that is broken off ends it: what of it is under way cannot be
    told from the next one's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._answered: asyncio.Future[Answer | DriverError] | None = None
        self._received = 0
        self._body = b""
        self.usable = False
        self.greeted: asyncio.Future[DriverError | None] = self._loop.create_future()

    async def ask(self, head: bytes, body: bytes) -> Answer:
        """Send a request and wait for the whole answer. Raises DriverError."""
        answered: asyncio.Future[Answer | DriverError] = self._loop.create_future()
        self._answered = answered
        self._received, self._body = 0, b""
        if len(body) <= ONE_PIECE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        try:
            answer = await answered
        except asyncio.CancelledError:
            self.close()
            raise
        if isinstance(answer, DriverError):
            raise answer
        return answer

    def close(self) -> None:
        """See Connection.close."""
        self._end(DriverError(Failure.DISCONNECTED, "the connection was given back"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True
        self.greeted.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        words = str(exc) if exc is not None else "the connection was closed"
        self._end(DriverError(Failure.DISCONNECTED, words))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += len(data)
        if self._answered is None or self._received > MAX_FRAME_BYTES + HEAD_BYTES:
            words = "more was sent than was asked for"
            self._end(DriverError(Failure.PROTOCOL, words))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(DriverError(Failure.PROTOCOL, str(error) or type(error).__name__))

    def on_body(self, body: bytes) -> None:
        """See httptools.HttpResponseParser."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """See httptools.HttpResponseParser."""
        status = self._parser.get_status_code()
        if status < 200:
            return  # the answer is still to come
        answered, self._answered = self._answered, None
        # What was not taken of the request is not wanted.
        if not self._parser.should_keep_alive() or self._transport.get_write_buffer_size():
            self.usable = False
            self._transport.close()
        if answered is None:
            self._end(DriverError(Failure.PROTOCOL, "more was answered than was asked"))
        elif not answered.done():
            answered.set_result(self._answer(status))

    def _answer(self, status: int) -> Answer | DriverError:
        return status, self._body

    def _end(self, error: DriverError) -> None:
        self.usable = False
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_result(error)
        self._transport.abort()


class PackedExchanges(Exchanges):
    """Where answers may be packed."""

    _packed = False

    def on_message_begin(self) -> None:
        """See httptools.HttpResponseParser."""
        self._packed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools.HttpResponseParser."""
        if name.lower() == b"content-encoding":
            self._packed = value == b"gzip"

    def _answer(self, status: int) -> Answer | DriverError:
        if not self._packed:
            return status, self._body
        try:
            return status, gzip.decompress(self._body)
        except (OSError, EOFError, zlib.error) as error:
            return DriverError(Failure.PROTOCOL, f"not gzip: {error}")


class RestAsyncio:
    """One exchange an order."""

    multiplexes = False
    own: ClassVar[Codec] = JSON

    def __init__(self) -> None:
        self._lanes: dict[int, Lane[Exchanges]] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open. A lane that is connected shows no more than that; any answer does."""
        self._codec = wire.codec_or(self.own)
        self._url = urlsplit(target)
        self._tls = client_context(wire) if self._url.scheme == "https" else None
        self._make = PackedExchanges if wire.compression else Exchanges
        self._packs = wire.compression
        path = self._url.path.rstrip("/") + ORDERS_PATH
        lines = {
            "Host": self._url.netloc.rpartition("@")[2],
            "Content-Type": self._codec.media_type,
            "Accept": self._codec.media_type,
        }
        if wire.compression:
            lines |= {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
        self._shared = _lines(lines)
        self._head = f"POST {path} HTTP/1.1\r\n{self._shared}".encode()
        await asyncio.gather(*(self._try(lane, path) for lane in range(lanes)))

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._lanes:
            self._lanes.pop(lane).close()

    async def close(self) -> None:
        """See Driver.close."""
        for lane in list(self._lanes):
            await self.drop(lane)

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        body = self._codec.encode_order(order)
        if self._packs:
            body = gzip.compress(body)
        found = self._lanes.get(lane)
        connection = found.held if found is not None else None
        if connection is None or not connection.usable:
            connection = await self._lane(lane).connection()
        more = _lines(context_headers(call)).encode()
        head = b"%b%bContent-Length: %d\r\n\r\n" % (self._head, more, len(body))
        status, body = await connection.ask(head, body)
        return confirmation_in(status, body, self._codec)

    async def _try(self, lane: int, path: str) -> None:
        connection = await self._lane(lane).connection()
        head = f"OPTIONS {path} HTTP/1.1\r\n{self._shared}Content-Length: 0\r\n\r\n"
        await connection.ask(head.encode(), b"")

    def _lane(self, number: int) -> Lane[Exchanges]:
        lane = self._lanes.get(number)
        if lane is None:
            usual_port = 443 if self._tls else 80
            lane = self._lanes[number] = Lane(self._url, usual_port, self._tls, self._make)
        return lane


def _lines(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {text}\r\n" for name, text in headers.items())
