"""`grpc-unary` by asyncio: the raw floor. HTTP/2 frames by protos.http2, the header fields of a
good answer made once a connection; methods and problems as in servers/grpc_unary.py."""

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from protos import http2
from protos.codec import Codec
from protos.codecs import CODECS
from protos.context import NOTHING, Context
from protos.frames import MAX_FRAME_BYTES
from protos.http2 import Fields, Http2, Http2Error, Prepared, literal
from protos.problems import TABLE, Problem
from protos.rpc import (
    PREFIX_BYTES,
    PROBLEM,
    REQUEST_ID,
    STATUSES,
    TRACEPARENT,
    MalformedMessage,
    claimed_bytes,
    framed,
    message_in,
    method_in,
)
from servers import raw
from servers.base import Bind, Desk, Listening, refusal

STREAMS = 2**14
"""Calls at a time on one connection: more than a generator has in flight."""
_STATUS_200 = b"\x88"
"""`:status: 200`, by its place in the static table (RFC 7541, appendix A)."""


class _Call:
    """A call, as far as it has come."""

    __slots__ = ("body", "codec", "context", "task")

    def __init__(self, codec: Codec, context: Context) -> None:
        self.codec = codec
        self.context = context
        self.body = b""
        self.task: asyncio.Task[None] | None = None


class CallConnection(raw.Connection):
    """One connection."""

    def __init__(
        self, open_now: set[raw.Connection], desk: Desk, methods: Mapping[str, Codec]
    ) -> None:
        super().__init__(open_now)
        self._desk = desk
        self._methods = methods
        self._fields = Prepared(
            [(":status", "200"), ("content-type", "application/grpc")], [("grpc-status", "0")]
        )
        self._calls: dict[int, _Call] = {}
        self._last = 0
        self._preface = b""
        self._http2: Http2

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._http2 = Http2(self, self.transport.write)
        self.transport.write(Http2.greeting({http2.MAX_STREAMS: STREAMS}))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._preface != http2.PREFACE:
            data = self._preface + data
            self._preface, data = data[: len(http2.PREFACE)], data[len(http2.PREFACE) :]
            if not http2.PREFACE.startswith(self._preface):
                self.transport.close()
                return
        try:
            self._http2.receive(data)
        except Http2Error as error:
            self._http2.go_away(self._last, error.code)
            self.transport.close()

    def headers(self, stream: int, fields: Fields, ended: bool) -> None:
        """See Streams.headers."""
        if stream in self._calls or stream <= self._last:
            if not ended:
                raise Http2Error(http2.PROTOCOL_ERROR, "header fields for a second time")
            self._ended(stream)
            return
        if not stream % 2:
            raise Http2Error(http2.PROTOCOL_ERROR, "a stream that a client does not open")
        self._last = stream
        path = fields.get(":path", "")
        codec = self._methods.get(path)
        if codec is None:
            self._refuse(stream, Problem("not_found", path[:200]))
        elif len(self._calls) >= STREAMS:
            self._http2.give_up(stream, http2.REFUSED_STREAM)
        else:
            self._calls[stream] = _Call(codec, _context(fields))
            if ended:
                self._ended(stream)

    def data(self, stream: int, payload: bytes, ended: bool) -> None:
        """See Streams.data."""
        call = self._calls.get(stream)
        if call is None:
            return
        call.body = call.body + payload if call.body else payload
        whole = max(claimed_bytes(call.body), len(call.body) - PREFIX_BYTES)
        if whole > MAX_FRAME_BYTES:
            del self._calls[stream]
            words = f"a message has at most {MAX_FRAME_BYTES} bytes"
            self._refuse(stream, Problem("too_large", words))
            if not ended:
                self._http2.give_up(stream, http2.NO_ERROR)
        elif ended:
            self._ended(stream)

    def reset(self, stream: int, code: int) -> None:
        """See Streams.reset."""
        call = self._calls.pop(stream, None)
        if call is not None and call.task is not None:
            call.task.cancel()

    def going_away(self, last: int, code: int) -> None:
        """See Streams.going_away: what is under way is still answered."""

    def settled(self, values: Mapping[int, int]) -> None:
        """See Streams.settled."""
        if http2.HEADER_TABLE_SIZE in values:
            self._fields.resize(values[http2.HEADER_TABLE_SIZE])

    def _ended(self, stream: int) -> None:
        call = self._calls.get(stream)
        if call is not None and call.task is None:
            call.task = self.work(self._answer(stream, call))

    async def _answer(self, stream: int, call: _Call) -> None:
        codec = call.codec
        try:
            order = codec.decode_order(message_in(call.body))
            confirmation = await self._desk.place(order, call.context)
            answer = framed(codec.encode_confirmation(confirmation))
        except MalformedMessage as error:
            self._refuse(stream, Problem("internal", str(error)))
        except Exception as error:
            self._refuse(stream, refusal(error))
        else:
            head, tail = self._fields.next()
            self._http2.send(stream, head, answer, tail)
        finally:
            self._calls.pop(stream, None)

    def _refuse(self, stream: int, problem: Problem) -> None:
        fields = {
            "content-type": "application/grpc",
            "grpc-status": str(STATUSES.index(TABLE[problem.code].grpc)),
            "grpc-message": quote(problem.detail, safe=" !#$&'()*+,/:;<=>?@[]^`{|}~\"\\"),
            PROBLEM: problem.code,
        }
        block = b"".join(literal(name, text) for name, text in fields.items())
        self._http2.send_headers(stream, _STATUS_200 + block)


def _context(fields: Fields) -> Context:
    request_id, traceparent = fields.get(REQUEST_ID), fields.get(TRACEPARENT)
    if request_id is None and traceparent is None:
        return NOTHING
    return Context(request_id or "", traceparent or "")


async def start(
    desk: Desk, bind: Bind, codecs: Sequence[Codec] = tuple(CODECS.values())
) -> Listening:
    """Serve, in `codecs`."""
    methods = {method_in(codec, "Place"): codec for codec in codecs}
    return await raw.listen(
        bind,
        lambda open_now: CallConnection(open_now, desk, methods),
        ("", "grpcs://"),
        "h2",
    )
