"""AMQP 0-9-1 over asyncio with one channel, and nothing that it does not need.

Frames that are many, acknowledgements and messages, are told apart by hand; pamqp reads and writes
the rest. There are no heartbeats: TCP says when a broker has gone.
"""

import asyncio
import ssl
from struct import Struct
from typing import Any, Protocol, TypeVar, cast

from pamqp import commands, constants, frame, header

CHANNEL = 1
CLOSE_LIMIT_S = 2.0
ROOM_LIMIT_S = 1.0

_GREETING = b"AMQP\x00\x00\x09\x01"
_HEAD = Struct(">BHI")
_METHOD = Struct(">I")
_CONFIRM = Struct(">QB")
_SIZE = Struct(">Q")
_CLASS_AND_WEIGHT = 4
_END = bytes([constants.FRAME_END])
_AROUND = _HEAD.size + len(_END)
_ABILITIES: dict[str, Any] = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}

Answer = TypeVar("Answer")


class Ended(Exception):
    """The connection, or its channel, is over; `code` is the broker's own, else 0."""

    def __init__(self, why: str, code: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.code = code


class Listener(Protocol):
    """Who uses a connection."""

    def confirmed(self, tag: int, multiple: bool, taken: bool) -> None:
        """The broker has, or will not take, publication number `tag`; with `multiple` also all
        before it."""

    def delivered(self, properties: commands.Basic.Properties, body: bytes) -> None:
        """A message came."""

    def returned(self, properties: commands.Basic.Properties) -> None:
        """A publication reached no queue."""

    def ended(self, end: Ended) -> None:
        """Nothing more will come. Once, and not before the connection stood."""


class AmqpConnection(asyncio.Protocol):
    """A connection whose publications go to queues by their name (the default exchange)."""

    def __init__(self, listener: Listener) -> None:
        """See `opened`."""
        self.frame_bytes = 0
        """The largest frame that the broker takes."""
        self._listener = listener
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._stands = False
        self._end: Ended | None = None
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._why_blocked = "it does not read"
        self._carrier: int = 0
        self._properties = commands.Basic.Properties()
        self._missing = 0
        self._body: list[bytes] = []

    @classmethod
    async def opened(
        cls,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        user: str,
        password: str,
        confirms: bool,
        listener: Listener,
    ) -> "AmqpConnection":
        """A connection with its channel. Raises Ended, and OSError."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(listener), host, port, ssl=tls)
        try:
            await connection._shake_hands(user, password, confirms)
        except BaseException:
            await connection.close(at_once=True)
            raise
        connection._stands = True
        return connection

    @property
    def stands(self) -> bool:
        """Whether it can be used."""
        return self._end is None

    async def call(self, method: Any, answer: type[Answer], channel: int = CHANNEL) -> Answer:
        """Ask the broker for something, one after the other. Raises Ended."""
        if self._end is not None:
            raise self._end
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(frame.marshal(method, channel))
        return await self._answered(answer)

    async def room(self) -> None:
        """Wait until the broker takes more, or is gone. Raises TimeoutError, saying why where that
        is known, when it takes nothing for ROOM_LIMIT_S."""
        try:
            async with asyncio.timeout(ROOM_LIMIT_S):
                await self._unblocked.wait()
                await self._writable.wait()
        except TimeoutError:
            raise TimeoutError(f"the broker takes nothing now: {self._why_blocked}") from None

    def write(self, frames: bytes) -> None:
        """Send frames. Raises Ended."""
        if self._end is not None:
            raise self._end
        self._transport.write(frames)

    async def close(self, at_once: bool = False) -> None:
        """End it; harmless when it has ended."""
        if self._end is None and not at_once:
            try:
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    close = commands.Connection.Close(200, "done", 0, 0)
                    await self.call(close, commands.Connection.CloseOk, channel=0)
            except (Ended, TimeoutError):
                pass
        self._over(Ended("the connection was closed"))
        await self._gone.wait()

    async def _shake_hands(self, user: str, password: str, confirms: bool) -> None:
        self._transport.write(_GREETING)
        await self._answered(commands.Connection.Start)
        start = commands.Connection.StartOk(
            {"product": "orderbench", "capabilities": _ABILITIES},
            "PLAIN",
            f"\0{user}\0{password}",
            "en_US",
        )
        tune = await self.call(start, commands.Connection.Tune, channel=0)
        self.frame_bytes = tune.frame_max or constants.FRAME_MAX_SIZE
        agreed = commands.Connection.TuneOk(tune.channel_max, self.frame_bytes, 0)
        self.write(frame.marshal(agreed, 0))
        await self.call(commands.Connection.Open("/"), commands.Connection.OpenOk, channel=0)
        await self.call(commands.Channel.Open(), commands.Channel.OpenOk)
        if confirms:
            await self.call(commands.Confirm.Select(), commands.Confirm.SelectOk)

    async def _answered(self, wanted: type[Answer]) -> Answer:
        answer = await self._answer
        if not isinstance(answer, wanted):
            raise Ended(f"{answer.name} is no answer here")
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._over(Ended(str(exc) if exc else "the broker closed the connection"))
        self._gone.set()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        buffer = self._buffer
        buffer += data
        at, end = 0, len(buffer)
        while end - at >= _AROUND and self._end is None:
            kind, _, size = _HEAD.unpack_from(buffer, at)
            start = at + _HEAD.size
            stop = start + size
            if stop >= end:
                break
            if kind == constants.FRAME_METHOD:
                self._method(buffer, at, start, stop)
            elif kind == constants.FRAME_HEADER:
                self._header(bytes(buffer[at : stop + 1]))
            elif kind == constants.FRAME_BODY:
                self._body.append(bytes(buffer[start:stop]))
                self._missing -= size
                if not self._missing:
                    self._whole()
            at = stop + 1
        del buffer[:at]

    def _method(self, buffer: bytearray, at: int, start: int, stop: int) -> None:
        (index,) = _METHOD.unpack_from(buffer, start)
        match index:
            case commands.Basic.Ack.index | commands.Basic.Nack.index:
                tag, bits = _CONFIRM.unpack_from(buffer, start + _METHOD.size)
                self._listener.confirmed(tag, bool(bits & 1), index == commands.Basic.Ack.index)
            case commands.Basic.Deliver.index | commands.Basic.Return.index:
                self._carrier = index
            case _:
                self._rare(frame.unmarshal(bytes(buffer[at : stop + 1]))[2])

    def _rare(self, method: Any) -> None:
        match method:
            case commands.Connection.Blocked():
                self._why_blocked = method.reason or "no reason given"
                self._unblocked.clear()
            case commands.Connection.Unblocked():
                self._unblocked.set()
            case commands.Channel.Close() | commands.Connection.Close():
                self._over(Ended(method.reply_text, method.reply_code or 0))
            case commands.Basic.Cancel():
                self._over(Ended("the broker took the queue of replies away"))
            case _:
                if not self._answer.done():
                    self._answer.set_result(method)

    def _header(self, whole: bytes) -> None:
        content = frame.unmarshal(whole)[2]
        assert isinstance(content, header.ContentHeader)
        self._properties, self._missing = content.properties, content.body_size
        if not self._missing:
            self._whole()

    def _whole(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if self._carrier == commands.Basic.Return.index:
            self._listener.returned(self._properties)
        else:
            self._listener.delivered(self._properties, body)

    def _over(self, end: Ended) -> None:
        if self._end is not None:
            return
        self._end = end
        self._transport.abort()
        self._writable.set()
        self._unblocked.set()
        if not self._answer.done():
            self._answer.set_exception(end)
            self._answer.exception()  # who asked may have left
        if self._stands:
            self._listener.ended(end)


class Publication:
    """Makes the frames of messages to one queue; what is the same in all is made once."""

    def __init__(
        self,
        queue: str,
        mandatory: bool,
        properties: commands.Basic.Properties,
        frame_bytes: int,
        example: bytes = b"",
    ) -> None:
        """`example`: bytes in the properties that each message replaces by as many of its own."""
        publish = commands.Basic.Publish(routing_key=queue, mandatory=mandatory)
        whole = frame.marshal(header.ContentHeader(body_size=0, properties=properties), CHANNEL)
        sized = _HEAD.size + _CLASS_AND_WEIGHT
        at = whole.rindex(example)
        self._first = frame.marshal(publish, CHANNEL) + whole[:sized]
        self._between = whole[sized + _SIZE.size : at]
        self._after = whole[at + len(example) :]
        self._most = frame_bytes - _AROUND

    def frames(self, body: bytes, own: bytes = b"") -> bytes:
        """The frames of a message; `own` stands for `example`."""
        size = len(body)
        parts = [self._first, _SIZE.pack(size), self._between, own, self._after]
        for start in range(0, size, self._most):
            piece = body if size <= self._most else body[start : start + self._most]
            parts += _HEAD.pack(constants.FRAME_BODY, CHANNEL, len(piece)), piece, _END
        return b"".join(parts)
