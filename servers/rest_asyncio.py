"""`rest` by asyncio: the raw floor. HTTP/1.1 on an asyncio protocol, its requests parsed by
httptools; answers and problems as in servers/rest.py."""

import asyncio
import gzip
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import httptools

from protos.codec import Codec
from protos.codecs import BY_MEDIA_TYPE
from protos.context import NOTHING, Context
from protos.frames import MAX_FRAME_BYTES
from protos.http import ORDERS_PATH, PROBLEM_JSON, REQUEST_ID, TRACEPARENT
from protos.packing import unpacked
from protos.problems import Problem, Refusal, to_http
from servers import raw
from servers.base import Bind, Desk, Listening, refusal

HEAD_BYTES = 64 * 1024
"""What may stand before a body; looked at when more of it arrives."""
_REQUEST_ID, _TRACEPARENT = REQUEST_ID.lower().encode(), TRACEPARENT.encode()
_REASONS = {201: "Created", 100: "Continue"}


@dataclass(slots=True)
class Request:
    """One request, as far as it has come."""

    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """By their names in small letters."""
    body: list[bytes] = field(default_factory=list)
    size: int = 0
    """Of the body; beyond MAX_FRAME_BYTES nothing of it is kept."""
    method: bytes = b""
    stays: bool = True
    """Whether the connection goes on after it."""


class HttpConnection(raw.Connection):
    """One connection; its requests are answered one after the other."""

    def __init__(
        self,
        open_now: set[raw.Connection],
        desk: Desk,
        codecs: Mapping[str, Codec],
        packs: bool,
    ) -> None:
        super().__init__(open_now)
        self._desk = desk
        self._codecs = {name.encode(): codec for name, codec in codecs.items()}
        self._packs = packs
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes: int | None = None
        self._waiting: deque[Request] = deque()
        self._answering: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(str(error) or "not HTTP")
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse("the head is too long")

    def on_message_begin(self) -> None:
        """See httptools.HttpRequestParser."""
        self._request = Request()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """See httptools.HttpRequestParser."""
        self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools.HttpRequestParser."""
        self._request.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """See httptools.HttpRequestParser."""
        self._head_bytes = None
        if self._request.headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """See httptools.HttpRequestParser."""
        request = self._request
        request.size += len(body)
        if request.size <= MAX_FRAME_BYTES:
            request.body.append(body)
        else:
            request.body.clear()

    def on_message_complete(self) -> None:
        """See httptools.HttpRequestParser."""
        request = self._request
        request.method = self._parser.get_method()
        request.stays = self._parser.should_keep_alive()
        self._waiting.append(request)
        if self._answering is None:
            self._answering = self.work(self._answer())
        else:
            self.transport.pause_reading()

    async def _answer(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            try:
                answer = await self._placed(request)
            except Exception as error:
                answer = _problem(refusal(error))
            self.transport.write(answer)
            if not request.stays:
                self.transport.close()
                return
        self._answering = None
        self.transport.resume_reading()

    async def _placed(self, request: Request) -> bytes:
        path = request.url.partition(b"?")[0].decode("latin-1")
        if path != ORDERS_PATH:
            raise Refusal("not_found", f"{request.method.decode()} {path[:200]}")
        if request.method != b"POST":
            return _problem(
                Problem("not_allowed", f"{request.method.decode()} {path}"), "Allow: POST\r\n"
            )
        headers = request.headers
        codec = self._codec(headers.get(b"content-type", b""))
        order = codec.decode_order(_body(request))
        confirmation = await self._desk.place(order, _context(headers))
        body = codec.encode_confirmation(confirmation)
        if self._packs and b"gzip" in headers.get(b"accept-encoding", b""):
            return _written(
                201, codec.media_type, gzip.compress(body), "Content-Encoding: gzip\r\n"
            )
        return _written(201, codec.media_type, body)

    def _codec(self, given: bytes) -> Codec:
        codec = self._codecs.get(given)
        if codec is None:
            codec = self._codecs.get(given.partition(b";")[0].strip().lower())
        if codec is None:
            known = b", ".join(self._codecs).decode()
            words = f"content type {given.decode('latin-1')!r} is not one of {known}"
            raise Refusal("unsupported_type", words)
        return codec

    def _refuse(self, words: str) -> None:
        """Answer what is no request, and end."""
        if not self.transport.is_closing():
            self.transport.write(_problem(Problem("malformed", words), "Connection: close\r\n"))
            self.transport.close()


def _body(request: Request) -> bytes:
    """A request's body, unpacked. Raises Refusal."""
    if request.size > MAX_FRAME_BYTES:
        raise Refusal("too_large", f"a body has at most {MAX_FRAME_BYTES} bytes")
    body = b"".join(request.body)
    match request.headers.get(b"content-encoding"):
        case None | b"identity":
            return body
        case b"gzip":
            return unpacked(body, MAX_FRAME_BYTES)
        case other:
            raise Refusal(
                "unsupported_type", f"content encoding {other.decode('latin-1')!r} is not gzip"
            )


def _context(headers: Mapping[bytes, bytes]) -> Context:
    request_id, traceparent = headers.get(_REQUEST_ID), headers.get(_TRACEPARENT)
    if request_id is None and traceparent is None:
        return NOTHING
    return Context((request_id or b"").decode("latin-1"), (traceparent or b"").decode("latin-1"))


def _written(status: int, media_type: str, body: bytes, more: str = "") -> bytes:
    reason = _REASONS.get(status, "")
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


def _problem(problem: Problem, more: str = "") -> bytes:
    status, body = to_http(problem)
    return _written(status, PROBLEM_JSON, body, more)


async def start(desk: Desk, bind: Bind, codecs: Mapping[str, Codec] = BY_MEDIA_TYPE) -> Listening:
    """Serve, in `codecs` by their media types."""
    return await raw.listen(
        bind,
        lambda open_now: HttpConnection(open_now, desk, codecs, bind.compression),
        ("http://", "https://"),
    )
