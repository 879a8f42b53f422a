"""`websocket:asyncio`: the raw floor. Frames by protos.websocket on an asyncio protocol, one socket
a lane, which operations share; messages as in clients/websocket.py."""

import asyncio
import base64
import os
from typing import ClassVar, cast
from urllib.parse import SplitResult, urlsplit

from clients.base import DriverError, Failure, Wire
from clients.encryption import client_context
from clients.framed import FramedDriver, Replies
from clients.lane import Lane
from protos import websocket
from protos.codec import Codec, MalformedReply
from protos.codecs import JSON
from protos.frames import Request
from protos.websocket import Messages, WebSocketError, accept_for, close_frame, code_in, frame

ANSWER_BYTES = 2**16
"""What the answer to the handshake may take."""


class Socket(asyncio.Protocol):
    """One connection, its handshake included."""

    def __init__(self, url: SplitResult, codec: Codec, replies: Replies) -> None:
        self._url = url
        self._codec = codec
        self._replies = replies
        self._opcode = websocket.TEXT if codec.text else websocket.BINARY
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._messages = Messages(from_client=False)
        self._answer = b""
        self._transport: asyncio.Transport
        self.usable = False
        self.greeted: asyncio.Future[DriverError | None]
        self.greeted = asyncio.get_running_loop().create_future()

    def send(self, message: bytes) -> None:
        """Send a message."""
        self._transport.write(frame(self._opcode, message, client=True))

    def stop_reading(self) -> None:
        """Take nothing more."""
        self._transport.pause_reading()

    def close(self, code: int = websocket.NORMAL) -> None:
        """See Connection.close."""
        if self.usable:
            self._transport.write(close_frame(code, client=True))
        self._end(DriverError(Failure.DISCONNECTED, "the connection was given back"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {self._url.netloc.rpartition('@')[2]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key}",
            "Sec-WebSocket-Version: 13",
        )
        self._transport.write("\r\n".join((*lines, "\r\n")).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        words = str(exc) if exc is not None else "the connection was closed"
        self._end(DriverError(Failure.DISCONNECTED, words))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self.greeted.done():
            data = self._greet(data)
        try:
            for opcode, payload in self._messages.feed(data):
                self._take(opcode, payload)
                if not self.usable:
                    return
        except WebSocketError as error:
            self._fail(error.code, str(error))
        except MalformedReply as error:
            self._fail(websocket.PROTOCOL_ERROR, str(error))

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode in (websocket.TEXT, websocket.BINARY):
            self._replies.settle(self._codec.decode_reply(payload))
        elif opcode == websocket.PING:
            self._transport.write(frame(websocket.PONG, payload, client=True))
        elif opcode == websocket.CLOSE:
            code, words = code_in(payload)
            self._transport.write(frame(websocket.CLOSE, payload[:2], client=True))
            error = DriverError(Failure.DISCONNECTED, f"the server closed: {code} {words}".strip())
            if code == websocket.TOO_LARGE:
                error = DriverError(Failure.REJECTED, words, "too_large")
            self._end(error)

    def _greet(self, data: bytes) -> bytes:
        """Take the answer to the handshake; returns what came behind it."""
        self._answer += data
        head, found, rest = self._answer.partition(b"\r\n\r\n")
        if not found:
            if len(head) > ANSWER_BYTES or not b"HTTP/1.1".startswith(head[:8]):
                self._fail(websocket.PROTOCOL_ERROR, "the server speaks no HTTP")
            return b""
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): text.strip() for name, _, text in _pairs(lines)}
        if first.split(" ")[1:2] != ["101"]:
            self._fail(websocket.PROTOCOL_ERROR, f"the server does not upgrade: {first}")
        elif fields.get("sec-websocket-accept") != accept_for(self._key):
            self._fail(websocket.PROTOCOL_ERROR, "the server answered another handshake")
        else:
            self.usable = True
            self.greeted.set_result(None)
        return rest if self.usable else b""

    def _fail(self, code: int, words: str) -> None:
        if self.usable:
            self._transport.write(close_frame(code, client=True))
        self._end(DriverError(Failure.PROTOCOL, words))

    def _end(self, error: DriverError) -> None:
        self.usable = False
        if not self.greeted.done():
            self.greeted.set_result(error)
        self._replies.fail(error)
        self._transport.close()


class AsyncioLane:
    """See FramedLane."""

    def __init__(self, target: str, wire: Wire, replies: Replies, own: Codec = JSON) -> None:
        self.replies = replies
        self._codec = wire.codec_or(own)
        url = urlsplit(target)
        tls = client_context(wire) if url.scheme == "wss" else None
        self._lane = Lane(
            url, 443 if tls else 80, tls, lambda: Socket(url, self._codec, self.replies)
        )

    async def connect(self) -> None:
        """See FramedLane.connect."""
        await self._lane.connection()

    async def send(self, request: Request) -> None:
        """See FramedLane.send."""
        socket = self._lane.held
        if socket is None or not socket.usable:
            raise DriverError(Failure.DISCONNECTED, "the connection was closed")
        socket.send(self._codec.encode_request(request))

    async def stop_reading(self) -> None:
        """See FramedLane.stop_reading."""
        if self._lane.held is not None:
            self._lane.held.stop_reading()

    async def close(self) -> None:
        """See FramedLane.close."""
        self._lane.close()


class WebSocketAsyncio(FramedDriver):
    """A socket for each lane; operations share it."""

    own: ClassVar[Codec] = JSON

    def __init__(self) -> None:
        super().__init__(lambda target, wire, replies: AsyncioLane(target, wire, replies, self.own))


def _pairs(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines]
