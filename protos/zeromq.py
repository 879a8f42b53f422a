"""What both sides of S10 share: addresses, how a message tells its codec, a socket on the loop.

A request is one message of one part, a frame of protos.frames; so is a reply. Who watches
subscribes to two topics: the first byte of all updates in a codec, and a greeting of its own, which
begins with GREETING and which the server publishes as soon as it has seen it subscribed to.
ZeroMQ takes subscriptions in the order in which they were made, so who has its greeting has the
other topic too. A change is one message of one part, the codec's own update.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import zmq

from protos.codec import Codec
from protos.codecs import JSON, PROTOBUF

HWM = 1000
"""Messages that may lie between a socket and one of its connections; ZeroMQ's own default."""
GREETING = b"?"
TOPICS = {JSON.name: b"{", PROTOBUF.name: b"\n"}
"""The first byte of every update that names an order; in protobuf the tag of order_id, field 1."""
READ_AT_ONCE = 64

_PLAIN, _CURVE = "tcp", "tcp+curve"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: `tcp://HOST:PORT`, or `tcp+curve://KEY@HOST:PORT`, where KEY is the
    server's public key (CurveZMQ, RFC 26) as 64 hexadecimal digits."""

    host: str
    """As it stands in an address: IPv6 in brackets."""
    port: int
    key: bytes = b""
    """32 bytes; empty where nothing is encrypted."""

    def __str__(self) -> str:
        if self.key:
            return f"{_CURVE}://{self.key.hex()}@{self.host}:{self.port}"
        return f"{_PLAIN}://{self.host}:{self.port}"

    @property
    def endpoint(self) -> str:
        """As ZeroMQ takes it."""
        return f"tcp://{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """The address in a text. Raises ValueError."""
    parts = urlsplit(text)
    host, port, key = parts.hostname, parts.port, bytes.fromhex(parts.username or "")
    wanted = {_PLAIN: 0, _CURVE: 32}.get(parts.scheme)
    if wanted != len(key) or host is None or port is None:
        raise ValueError(f"not tcp://HOST:PORT or tcp+curve://KEY@HOST:PORT: {text!r}")
    return Address(f"[{host}]" if ":" in host else host, port, key)


def codec_of(frame: bytes) -> Codec:
    """The codec that a frame is written in.

    Frames in JSON begin with `{`. As the first byte of a protobuf message that would be the tag of
    a group (wire type 3) in field 15; RequestFrame has neither groups nor a field 15.
    """
    return JSON if frame[:1] == b"{" else PROTOBUF


class LoopSocket:
    """A socket that the running event loop reads, at no task and no future a message.

    Its descriptor is edge-triggered (ZMQ_FD in zmq_getsockopt): it becomes readable once when
    something has changed, and any other call on the socket may take that in. So a socket is read
    until it has nothing left, and looked at after everything that was sent. In turns of
    READ_AT_ONCE, so that who sends without end does not keep the loop to itself.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", heard: Callable[[list[bytes]], None]) -> None:
        """`heard` gets each message's parts."""
        self._socket = socket
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._descriptor = cast(int, socket.getsockopt(zmq.FD))
        self._reads = True
        self._due = False
        self._without_room: list[asyncio.Future[None]] = []
        self._loop.add_reader(self._descriptor, self._read)
        self._look()

    def offer(self, parts: Sequence[bytes]) -> None:
        """Send a message. Raises zmq.Again where there is no room for it, zmq.ZMQError when the
        socket is closed."""
        self._socket.send_multipart(parts, zmq.NOBLOCK)
        self._look()

    async def send(self, parts: Sequence[bytes]) -> None:
        """Send a message as soon as there is room for it. Raises zmq.ZMQError when the socket is
        closed."""
        while True:
            try:
                self.offer(parts)
                return
            except zmq.Again:
                room = self._loop.create_future()
                self._without_room.append(room)
                self._look()
                await room

    def drain(self) -> None:
        """Read all that is there."""
        while self._take_turn():
            pass

    def stop_reading(self) -> None:
        """Read nothing more, and keep the socket."""
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Close the socket; what was not sent yet is lost. Harmless when it is closed."""
        self.stop_reading()
        self._socket.close(linger=0)
        self._make_room()

    def _look(self) -> None:
        events = cast(int, self._socket.getsockopt(zmq.EVENTS))
        if events & zmq.POLLIN and not self._due:
            self._due = True
            self._loop.call_soon(self._read)
        if self._without_room and events & zmq.POLLOUT:
            self._make_room()

    def _make_room(self) -> None:
        waiting, self._without_room = self._without_room, []
        for room in waiting:
            if not room.done():
                room.set_result(None)

    def _read(self) -> None:
        self._due = False
        if self._take_turn():
            self._look()

    def _take_turn(self) -> bool:
        """Read up to READ_AT_ONCE messages; whether there may be more."""
        for _ in range(READ_AT_ONCE):
            if not self._reads:
                return False
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                if self._without_room:
                    self._look()
                return False
            self._heard(parts)
        return self._reads
