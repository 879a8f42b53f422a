"""`rest-h2:h2`: HTTP/2 by h2, one connection a lane, which many exchanges share.

With TLS, or without by prior knowledge (RFC 9113, section 3.3). Not httpx, whose HTTP/2 hands
answers out in the order in which they are waited for, so that an operation waits for others.
"""

import asyncio
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, TooManyStreamsError

from clients.base import PLAIN, Call, DriverError, Failure, Sink, Wire
from clients.encryption import client_context
from clients.rest import confirmation_in, context_headers
from orders.model import Confirmation, Order
from protos.codecs import JSON
from protos.http import ORDERS_PATH

Headers = Sequence[tuple[bytes, bytes]]
Answer = tuple[int, bytes]

CONNECTION_WINDOW = 2**24
"""Bytes of answers that may be on their way on one connection, beside those of the protocol."""


@dataclass(slots=True)
class _Exchange:
    """One request and what has come of its answer."""

    unsent: memoryview
    answered: asyncio.Future[Answer | DriverError]
    status: int = 0
    packed: bool = False
    pieces: list[bytes] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One connection. What comes goes to the exchange that it belongs to, at once."""

    def __init__(self) -> None:
        self._h2 = H2Connection(
            H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._exchanges: dict[int, _Exchange] = {}
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self.usable = False
        """Whether further exchanges may begin."""
        self.greeted: asyncio.Future[DriverError | None] = self._loop.create_future()
        """Done when the server has shown that it speaks HTTP/2, or with what went wrong."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self.usable = True
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self.greeted.done() and data.startswith(b"HTTP/1"):
            self._end(DriverError(Failure.PROTOCOL, "the server speaks HTTP/1"))
            return
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError as error:
            self._end(DriverError(Failure.PROTOCOL, str(error) or type(error).__name__))
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        words = str(error) if error is not None else "the connection was closed"
        self._end(DriverError(Failure.DISCONNECTED, words))

    async def exchange(self, headers: Headers, body: bytes) -> Answer:
        """Send a request and wait for the whole answer. Raises DriverError."""
        h2 = self._h2
        try:
            stream_id = h2.get_next_available_stream_id()
            h2.send_headers(stream_id, headers, end_stream=not body)
        except TooManyStreamsError as error:
            raise DriverError(Failure.OVERLOADED, str(error)) from None
        except ProtocolError as error:
            raise DriverError(Failure.PROTOCOL, str(error) or type(error).__name__) from None
        exchange = _Exchange(memoryview(body), self._loop.create_future())
        self._exchanges[stream_id] = exchange
        self._send_body(stream_id, exchange)
        self._flush()
        try:
            answer = await exchange.answered
        finally:
            if self._exchanges.pop(stream_id, None) is not None:
                self._reset(stream_id)
        if isinstance(answer, DriverError):
            raise answer
        return answer

    def close(self) -> None:
        """Give the connection back; what waits on it fails."""
        self._end(DriverError(Failure.DISCONNECTED, "the connection was given back"))

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self._begin_answer(event)
            case DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if exchange := self._exchanges.get(event.stream_id):
                    exchange.pieces.append(event.data)
            case StreamEnded():
                self._finish_answer(event.stream_id)
            case StreamReset():
                reset = DriverError(Failure.PROTOCOL, f"the stream was reset: {event.error_code}")
                self._settle(event.stream_id, reset)
            case WindowUpdated() | RemoteSettingsChanged():
                if not self.greeted.done():
                    self.greeted.set_result(None)
                for stream_id, exchange in self._exchanges.items():
                    self._send_body(stream_id, exchange)
            case ConnectionTerminated():
                failure = Failure.PROTOCOL if event.error_code else Failure.DISCONNECTED
                self._end(DriverError(failure, f"the server goes away: {event.error_code}"))

    def _begin_answer(self, event: ResponseReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        for name, value in event.headers:
            if name == b":status":
                exchange.status = int(value)
            elif name == b"content-encoding":
                exchange.packed = value == b"gzip"

    def _finish_answer(self, stream_id: int) -> None:
        exchange = self._exchanges.get(stream_id)
        if exchange is None:
            return
        body = b"".join(exchange.pieces)
        try:
            answer = exchange.status, gzip.decompress(body) if exchange.packed else body
        except (OSError, EOFError, zlib.error) as error:
            self._settle(stream_id, DriverError(Failure.PROTOCOL, f"not gzip: {error}"))
            return
        self._settle(stream_id, answer)
        if exchange.unsent:
            self._reset(stream_id)

    def _settle(self, stream_id: int, answer: Answer | DriverError) -> None:
        exchange = self._exchanges.pop(stream_id, None)
        if exchange is not None and not exchange.answered.done():
            exchange.answered.set_result(answer)

    def _send_body(self, stream_id: int, exchange: _Exchange) -> None:
        h2 = self._h2
        while exchange.unsent:
            room = min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size)
            if room <= 0:
                return
            piece, exchange.unsent = exchange.unsent[:room], exchange.unsent[room:]
            h2.send_data(stream_id, piece, end_stream=not exchange.unsent)

    def _reset(self, stream_id: int) -> None:
        if self.usable:
            self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)
            self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self, error: DriverError) -> None:
        if not self.greeted.done():
            self.greeted.set_result(error)
        for stream_id in list(self._exchanges):
            self._settle(stream_id, error)
        if self.usable:
            self.usable = False
            self._h2.close_connection()
            self._flush()
        self._transport.close()


class _Lane:
    """A connection, opened by whoever needs it first."""

    def __init__(self, target: str, wire: Wire) -> None:
        parts = urlsplit(target)
        encrypts = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if encrypts else 80)
        self._tls = client_context(wire, "h2") if encrypts else None
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._closed = False

    async def connection(self) -> Connection:
        """One that can be used. Raises DriverError."""
        if self._connection is not None and self._connection.usable:
            return self._connection
        async with self._connecting:
            if self._connection is None or not self._connection.usable:
                try:
                    _, self._connection = await asyncio.get_running_loop().create_connection(
                        Connection, self._host, self._port, ssl=self._tls
                    )
                except OSError as error:
                    raise DriverError(Failure.DISCONNECTED, str(error)) from None
            if self._closed:
                self.close()
                raise DriverError(Failure.DISCONNECTED, "the connection was given back")
            return self._connection

    async def greeted(self) -> None:
        """Connect, and wait until the server has spoken. Raises DriverError."""
        error = await (await self.connection()).greeted
        if error is not None:
            raise error

    def close(self) -> None:
        """Give the connection back."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()


class RestH2:
    """One exchange an order; operations share a lane's connection."""

    multiplexes = True

    def __init__(self) -> None:
        self._target = ""
        self._wire = PLAIN
        self._codec = JSON
        self._headers: Headers = ()
        self._lanes: dict[int, _Lane] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._target, self._wire, self._codec = target, wire, wire.codec_or(JSON)
        parts = urlsplit(target)
        media_type = self._codec.media_type.encode()
        headers = [
            (b":method", b"POST"),
            (b":authority", parts.netloc.encode()),
            (b":scheme", parts.scheme.encode()),
            (b":path", (parts.path.rstrip("/") + ORDERS_PATH).encode()),
            (b"content-type", media_type),
            (b"accept", media_type),
        ]
        if wire.compression:
            headers += [(b"content-encoding", b"gzip"), (b"accept-encoding", b"gzip")]
        self._headers = tuple(headers)
        await asyncio.gather(*(self._lane(lane).greeted() for lane in range(lanes)))

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
        if self._wire.compression:
            body = gzip.compress(body)
        headers = self._headers
        if accompanying := context_headers(call):
            headers = [
                *headers,
                *((name.lower().encode(), text.encode()) for name, text in accompanying.items()),
            ]
        connection = await self._lane(lane).connection()
        return confirmation_in(*await connection.exchange(headers, body), self._codec)

    def _lane(self, number: int) -> _Lane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = _Lane(self._target, self._wire)
        return lane
