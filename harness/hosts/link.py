"""What joins a run and its workers: ZeroMQ with CurveZMQ (rfc.zeromq.org/spec/26), which proves
both sides and encrypts before a byte of a message is read.

The run's long-term key pair is made of the token. Its public half is never sent, so that who does
not know the token can neither come in nor pretend to be the run. A message is a JSON header and
data that it speaks of; its parts have a largest size, and no more than QUEUED wait.
"""

import asyncio
import contextlib
import functools
import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, BinaryIO, Self

import zmq
import zmq.asyncio
import zmq.utils.z85
from zmq.utils.monitor import recv_monitor_message

from harness.hosts import PORT

TOKEN = "ORDERBENCH_TOKEN"
LEAST_TOKEN = 16
LARGEST = 16 << 20
"""Bytes of a message's part; a larger one ends its connection."""
CHUNK = 1 << 20
"""Bytes of a piece: what may be larger than a message goes in several."""
QUEUED = 64
CALL_LIMIT_S = 1.0
_PORT = re.compile("[0-9]{1,5}")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_SALT = b"orderbench: the link between a run and its workers"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that is said."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def frames(self) -> list[bytes]:
        """On the wire."""
        return [json.dumps({"kind": self.kind, **self.fields}).encode(), self.data]

    @classmethod
    def read(cls, frames: list[bytes]) -> Self:
        """Raises ValueError for what is no message."""
        if len(frames) != 2:
            raise ValueError(f"{len(frames)} parts")
        header = json.loads(frames[0])
        if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
            raise ValueError("no kind")
        return cls(header.pop("kind"), header, frames[1])


def pieces(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """A file in pieces of CHUNK, and whether each is the last; of an empty one there is one. Raises
    OSError."""
    data, last = file.read(CHUNK), False
    while not last:
        following = file.read(CHUNK)
        last = not following
        yield data, last
        data = following


def token_problems() -> list[str]:
    """What is wrong with the token that this process was given."""
    token = os.environ.get(TOKEN, "")
    if len(token) >= LEAST_TOKEN:
        return []
    lacks = "is not set" if not token else f"has less than {LEAST_TOKEN} characters"
    words = f"{TOKEN} {lacks}: it is what a run and its workers know each other by; set the same"
    return [f"{words} one for all, such as that of `openssl rand -hex 16`"]


def listening_problems(address: str) -> list[str]:
    """What is wrong with HOST:PORT as the place where a run listens for its workers."""
    host, _, port = address.rpartition(":")
    if not _is_address(host) or not _PORT.fullmatch(port) or not 0 < int(port) < 65_536:
        return [f"--listen: {address!r} is not ADDRESS:PORT, as in 10.0.0.1:{PORT}"]
    if ipaddress.IPv4Address(host).is_unspecified:
        return [f"--listen: workers cannot reach {host}; name the address by which they do"]
    return []


def master_problems(host: str) -> list[str]:
    """What is wrong with a name or an address as the place of a worker's master."""
    # What ends in a number is read as an address, and is no name.
    is_name = _NAME.fullmatch(host) and not host.rpartition(".")[2].isdecimal()
    if is_name or _is_address(host):
        return []
    said = f"--master-host: {host!r} is no name and no IPv4 address; say it without a scheme and"
    return [f"{said} without a port, as in 10.0.0.1; another port than {PORT} is --master-port"]


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


@functools.cache
def _keys(token: str) -> tuple[bytes, bytes]:
    """The run's public and secret key."""
    made = hashlib.scrypt(token.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32)
    secret = zmq.utils.z85.encode(made)
    return zmq.curve_public(secret), secret


class _End:
    def __init__(self, kind: int) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(kind)
        # What must arrive is answered before this end is closed.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self._socket.setsockopt(zmq.RCVHWM, QUEUED)
        self._socket.setsockopt(zmq.SNDHWM, QUEUED)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        await asyncio.to_thread(self._context.term)


class Door(_End):
    """The run's end, to which many come."""

    def __init__(self, address: str, token: str) -> None:
        """At HOST:PORT. Raises OSError when that is taken."""
        super().__init__(zmq.ROUTER)
        public, secret = _keys(token)
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = public, secret
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        # Without it what is more than may wait would be thrown away.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self._socket.bind(f"tcp://{address}")
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise OSError(error.errno, str(error)) from None

    async def hear(self) -> tuple[bytes, Message]:
        """The next message, and whose it is; what is none is passed over."""
        while True:
            sender, *frames = await self._socket.recv_multipart()
            try:
                return sender, Message.read(frames)
            except ValueError:
                continue

    async def say(self, to: bytes, message: Message) -> None:
        """Waits while as much as may wait does. Somebody who has gone hears nothing."""
        with contextlib.suppress(zmq.ZMQError):
            await self._socket.send_multipart([to, *message.frames])

    async def stranger(self) -> None:
        """Wait until somebody who does not know the token has tried to come in."""
        await recv_monitor_message(self._monitor)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.disable_monitor()
        self._monitor.close()
        await super().__aexit__(kind, error, trace)


class Line(_End):
    """A worker's end; it comes to the run's door again and again, whoever opens it."""

    def __init__(self, address: str, token: str) -> None:
        """To HOST:PORT."""
        super().__init__(zmq.DEALER)
        self._socket.curve_serverkey = _keys(token)[0]
        self._socket.curve_publickey, self._socket.curve_secretkey = zmq.curve_keypair()
        # What nobody is there to hear is not kept for the next run.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.connect(f"tcp://{address}")

    async def hear(self) -> Message:
        """The next message; what is none is passed over."""
        while True:
            try:
                return Message.read(await self._socket.recv_multipart())
            except ValueError:
                continue

    async def say(self, message: Message) -> None:
        """Waits while nobody is there."""
        await self._socket.send_multipart(message.frames)

    async def call(self, message: Message) -> bool:
        """Say it if somebody is there; whether there was."""
        try:
            # What still waits to be said goes first, whatever the flag says.
            async with asyncio.timeout(CALL_LIMIT_S):
                await self._socket.send_multipart(message.frames, zmq.DONTWAIT)
        except (zmq.Again, TimeoutError):
            return False
        return True
