"""`grpc-unary:asyncio`: the raw floor. HTTP/2 frames by protos.http2, the header fields of a call
made once a connection; one connection a lane, which calls share."""

import asyncio
from collections.abc import Mapping
from typing import ClassVar, cast
from urllib.parse import SplitResult, unquote, urlsplit

from clients.base import PLAIN, Call, DriverError, Failure, Sink, Wire
from clients.encryption import client_context
from clients.grpc_status import failure_by
from clients.lane import Lane
from orders.model import Confirmation, Order
from protos import http2
from protos.codec import Codec, MalformedReply
from protos.codecs import PROTOBUF
from protos.frames import MAX_FRAME_BYTES
from protos.http2 import Fields, Http2, Http2Error, Prepared, literal
from protos.rpc import (
    PREFIX_BYTES,
    PROBLEM,
    REQUEST_ID,
    STATUSES,
    TRACEPARENT,
    MalformedMessage,
    framed,
    message_in,
    method_in,
)

_MEANINGS = {
    http2.NO_ERROR: "INTERNAL",
    http2.REFUSED_STREAM: "UNAVAILABLE",
    http2.CANCEL: "CANCELLED",
    http2.ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
}
"""The status that a reset stands for; INTERNAL for any other."""


class _Pending:
    """A call and what has come of its answer."""

    __slots__ = ("answered", "body")

    def __init__(self, answered: "asyncio.Future[bytes | DriverError]") -> None:
        self.answered = answered
        self.body = b""


class CallConnection(asyncio.Protocol):
    """One connection for calls of one method."""

    def __init__(self, url: SplitResult, path: str) -> None:
        self._fields = Prepared(
            [
                (":method", "POST"),
                (":scheme", "https" if url.scheme == "grpcs" else "http"),
                (":path", path),
                (":authority", url.netloc),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ]
        )
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._http2: Http2
        self._calls: dict[int, _Pending] = {}
        self._next = 1
        self._most = http2.WINDOW
        self.usable = False
        self.greeted: asyncio.Future[DriverError | None] = self._loop.create_future()

    async def ask(self, message: bytes, more_fields: bytes = b"") -> bytes:
        """One call; `more_fields` are further literal header fields. Raises DriverError."""
        calls, stream = self._calls, self._next
        if len(calls) >= self._most:
            raise DriverError(Failure.OVERLOADED, f"the server takes {self._most} calls at a time")
        self._next = stream + 2
        if self._next >= http2.WINDOW:
            self.usable = False
        pending = calls[stream] = _Pending(self._loop.create_future())
        self._http2.send(stream, self._fields.next()[0] + more_fields, framed(message))
        try:
            answer = await pending.answered
        except asyncio.CancelledError:
            if calls.pop(stream, None) is not None:
                self._http2.give_up(stream, http2.CANCEL)
                self._close_if_done()
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
        self._http2 = Http2(self, self._transport.write)
        self._transport.write(http2.PREFACE + Http2.greeting({http2.ENABLE_PUSH: 0}))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        words = str(exc) if exc is not None else "the connection was closed"
        self._end(DriverError(Failure.DISCONNECTED, words))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._http2.receive(data)
        except Http2Error as error:
            self._http2.go_away(0, error.code)
            self._end(DriverError(Failure.PROTOCOL, str(error)))

    def headers(self, stream: int, fields: Fields, ended: bool) -> None:
        """See Streams.headers."""
        if ended:
            self._ended(stream, fields)
        elif fields.get(":status", "200") != "200":
            words = f"HTTP status {fields[':status']}"
            self._fail(stream, DriverError(Failure.PROTOCOL, words), http2.CANCEL)

    def data(self, stream: int, payload: bytes, ended: bool) -> None:
        """See Streams.data."""
        pending = self._calls.get(stream)
        if pending is None:
            return
        pending.body = pending.body + payload if pending.body else payload
        if len(pending.body) > MAX_FRAME_BYTES + PREFIX_BYTES:
            error = DriverError(Failure.REJECTED, "the answer is too large", "too_large")
            self._fail(stream, error, http2.CANCEL)
        elif ended:
            words = "the answer ended without a status"
            self._fail(stream, DriverError(Failure.PROTOCOL, words))

    def reset(self, stream: int, code: int) -> None:
        """See Streams.reset."""
        status = _MEANINGS.get(code, "INTERNAL")
        self._fail(stream, failure_by(status, f"the call was reset: HTTP/2 error {code}", ""))

    def going_away(self, last: int, code: int) -> None:
        """See Streams.going_away: calls up to `last` are still answered."""
        self.usable = False
        failure = Failure.PROTOCOL if code else Failure.DISCONNECTED
        for stream in [stream for stream in self._calls if stream > last]:
            self._fail(stream, DriverError(failure, f"the server goes away: HTTP/2 error {code}"))
        self._close_if_done()

    def settled(self, values: Mapping[int, int]) -> None:
        """See Streams.settled."""
        self._most = values.get(http2.MAX_STREAMS, self._most)
        if http2.HEADER_TABLE_SIZE in values:
            self._fields.resize(values[http2.HEADER_TABLE_SIZE])
        if not self.greeted.done():
            self.usable = True
            self.greeted.set_result(None)

    def _ended(self, stream: int, fields: Fields) -> None:
        pending = self._calls.pop(stream, None)
        if pending is None:
            return
        answered = pending.answered
        if not answered.done():
            answered.set_result(_answer(fields, pending.body))
        if self._http2.sends(stream):
            self._http2.give_up(stream, http2.NO_ERROR)
        if not self.usable:
            self._close_if_done()

    def _fail(self, stream: int, error: DriverError, code: int | None = None) -> None:
        pending = self._calls.pop(stream, None)
        if pending is not None:
            if not pending.answered.done():
                pending.answered.set_result(error)
            if code is not None:
                self._http2.give_up(stream, code)
        if not self.usable:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if not self.usable and not self._calls and self.greeted.done():
            self._transport.close()

    def _end(self, error: DriverError) -> None:
        self.usable = False
        if not self.greeted.done():
            self.greeted.set_result(error)
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            if not pending.answered.done():
                pending.answered.set_result(error)
        self._transport.close()


def _answer(fields: Fields, body: bytes) -> bytes | DriverError:
    said = fields.get("grpc-status")
    if said == "0":
        try:
            return message_in(body)
        except MalformedMessage as error:
            return DriverError(Failure.PROTOCOL, str(error))
    if said is None:
        words = f"HTTP status {fields.get(':status', 'missing')}, and none of gRPC"
        return DriverError(Failure.PROTOCOL, words)
    known = said.isdecimal() and int(said) < len(STATUSES)
    status = STATUSES[int(said)] if known else f"status {said[:20]}"
    details = unquote(fields.get("grpc-message", "")) or status
    return failure_by(status, details, fields.get(PROBLEM, ""))


class GrpcUnaryAsyncio:
    """A connection for each lane; calls share it."""

    multiplexes = True
    own: ClassVar[Codec] = PROTOBUF

    def __init__(self) -> None:
        self._codec: Codec = self.own
        self._lanes: dict[int, Lane[CallConnection]] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._url = urlsplit(target if "://" in target else f"grpc://{target}")
        self._tls = client_context(wire, "h2") if self._url.scheme == "grpcs" else None
        self._codec = wire.codec_or(self.own)
        self._path = method_in(self._codec, "Place")
        await asyncio.gather(*(self._lane(number).connection() for number in range(lanes)))

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
        codec = self._codec
        message = codec.encode_order(order)
        found = self._lanes.get(lane)
        connection = found.held if found is not None else None
        if connection is None or not connection.usable:
            connection = await self._lane(lane).connection()
        try:
            return codec.decode_confirmation(await connection.ask(message, _fields_of(call)))
        except MalformedReply as error:
            raise DriverError(Failure.PROTOCOL, str(error)) from None

    def _lane(self, number: int) -> Lane[CallConnection]:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = Lane(
                self._url,
                443 if self._tls else 80,
                self._tls,
                lambda: CallConnection(self._url, self._path),
            )
        return lane


def _fields_of(call: Call) -> bytes:
    """What accompanies an order, as header fields."""
    context = call.context
    if not context.request_id and not context.traceparent:
        return b""
    pairs = (REQUEST_ID, context.request_id), (TRACEPARENT, context.traceparent)
    return b"".join(literal(name, text) for name, text in pairs if text)
