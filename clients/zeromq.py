"""`zeromq:pyzmq`: a DEALER of one connection a lane, frames matched by id; a SUB for each watch.

A connection that is lost is made again by the lane's next operation, as in every style, and not by
ZeroMQ itself. `Wire.ca` is not used: ZeroMQ encrypts by CURVE, whose key is in the target.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from clients.base import PLAIN, DriverError, Failure, Sink, Wire
from clients.framed import WATCH_ID, FramedDriver, Replies
from orders.model import Update
from protos.codec import MalformedReply
from protos.codecs import JSON
from protos.frames import MAX_FRAME_BYTES, Request, Watch
from protos.zeromq import GREETING, HWM, TOPICS, Address, LoopSocket, read_address

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

SOCKETS_LIMIT = 32 * 1024
"""In one context. Each connection has three: its own, and a pair that tells what becomes of it."""

_ENDS: dict[int, str] = {
    zmq.EVENT_CLOSED: "nobody is there",
    zmq.EVENT_DISCONNECTED: "the connection was closed",
    # Which of these comes is up to which side is faster.
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the handshake failed",
}
_NOTICED = zmq.EVENT_HANDSHAKE_SUCCEEDED | sum(_ENDS)


class Line:
    """A socket with one connection, which is made once.

    A failure to make it, and its end, come by the socket's monitor (zmq_socket_monitor).
    """

    def __init__(
        self,
        context: Context,
        kind: int,
        address: Address,
        heard: Callable[[list[bytes]], None],
        ended: Callable[[DriverError], None],
    ) -> None:
        """`heard` gets each message's parts; `ended` is told, once, why there will be no more.

        Raises DriverError.
        """
        self.stands = False
        """Whether messages can be sent."""
        self._error: DriverError | None = None
        self._ended = ended
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._raw, monitor = _connecting(context, kind, address)
        except zmq.ZMQError as error:
            raise DriverError(Failure.DISCONNECTED, str(error)) from None
        self._monitor = LoopSocket(monitor, self._notice)
        self._socket = LoopSocket(self._raw, heard)

    def subscribe(self, *topics: bytes) -> None:
        """Subscribe to topics, in this order."""
        for topic in topics:
            self._raw.setsockopt(zmq.SUBSCRIBE, topic)

    async def stand(self) -> None:
        """Wait for the end of the handshake. Raises DriverError."""
        await self._settled
        if self._error is not None:
            raise self._error

    async def send(self, frame: bytes) -> None:
        """Send a frame as soon as there is room for it. Raises DriverError."""
        try:
            await self._socket.send((frame,))
        except zmq.ZMQError as error:
            raise self._error or DriverError(Failure.DISCONNECTED, str(error)) from None

    def stop_reading(self) -> None:
        """Take nothing more from the connection, and keep it."""
        self._socket.stop_reading()

    def end(self, error: DriverError) -> None:
        """Give the connection back. Harmless when it has ended."""
        if self._error is not None:
            return
        self._error = error
        self.stands = False
        self._raw.disable_monitor()  # first: who tells of events waits for somebody to be told
        self._monitor.close()
        self._socket.close()
        self._settle()
        self._ended(error)

    def _notice(self, parts: list[bytes]) -> None:
        event = parse_monitor_message(parts)["event"]
        if event in _ENDS:
            self._socket.drain()
            self.end(DriverError(Failure.DISCONNECTED, _ENDS[event]))
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.stands = True
            self._settle()

    def _settle(self) -> None:
        if not self._settled.done():
            self._settled.set_result(None)


def _connecting(
    context: Context, kind: int, address: Address
) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes]]":
    """A socket that connects to an address, once, and its monitor. Raises zmq.ZMQError."""
    socket = context.socket(kind)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        socket.setsockopt(zmq.IMMEDIATE, int(kind == zmq.DEALER))
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        socket.setsockopt(zmq.SNDHWM, HWM)
        socket.setsockopt(zmq.RCVHWM, HWM)
        socket.setsockopt(zmq.IPV6, int(address.host.startswith("[")))
        if address.key:
            public, secret = zmq.curve_keypair()
            socket.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(address.key))
            socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        monitor = socket.get_monitor_socket(_NOTICED)
        socket.connect(address.endpoint)
    except zmq.ZMQError:
        socket.close()
        raise
    return socket, monitor


def _closed() -> DriverError:
    return DriverError(Failure.DISCONNECTED, "the connection was closed")


class DealerLane:
    """A connection to the ROUTER that many operations share."""

    def __init__(self, context: Context, target: str, wire: Wire, replies: Replies) -> None:
        self.replies = replies
        self._context = context
        self._address = _address(target)
        self._codec = wire.codec_or(JSON)
        self._connecting = asyncio.Lock()
        self._line: Line | None = None

    async def connect(self) -> None:
        """See FramedLane.connect."""
        if self._line is not None and self._line.stands:
            return
        async with self._connecting:
            if self._line is None or not self._line.stands:
                self._line = line = Line(
                    self._context, zmq.DEALER, self._address, self._heard, self.replies.fail
                )
                try:
                    await line.stand()
                except asyncio.CancelledError:
                    line.end(_closed())
                    raise

    async def send(self, request: Request) -> None:
        """See FramedLane.send."""
        if self._line is None:
            raise _closed()
        await self._line.send(self._codec.encode_request(request))

    async def stop_reading(self) -> None:
        """See FramedLane.stop_reading."""
        if self._line is not None:
            self._line.stop_reading()

    async def close(self) -> None:
        """See FramedLane.close."""
        if self._line is not None:
            self._line.end(_closed())

    def _heard(self, parts: list[bytes]) -> None:
        try:
            self.replies.settle(self._codec.decode_reply(parts[0]))
        except MalformedReply as malformed:
            assert self._line is not None
            self._line.end(DriverError(Failure.PROTOCOL, str(malformed)))


class Subscription:
    """A connection to the XPUB, for one subscriber."""

    def __init__(
        self, context: Context, address: Address, wire: Wire, sink: Sink, lane: int, reads: bool
    ) -> None:
        """`reads`: whether changes are taken once the subscription stands. Raises DriverError."""
        self._codec = wire.codec_or(JSON)
        self._sink = sink
        self._lane = lane
        self._reads = reads
        self._greeting = GREETING + secrets.token_hex(16).encode()
        self._greeted: asyncio.Future[DriverError | None]
        self._greeted = asyncio.get_running_loop().create_future()
        self._line = Line(context, zmq.SUB, address, self._heard, self._settle)

    async def stand(self) -> None:
        """Subscribe. Raises DriverError."""
        self._line.subscribe(TOPICS[self._codec.name], self._greeting)
        error = await self._greeted
        if error is not None:
            raise error

    def close(self) -> None:
        """Give the connection back."""
        self._line.end(_closed())

    def _heard(self, parts: list[bytes]) -> None:
        if parts[0] == self._greeting:
            self._settle(None)
            if not self._reads:
                self._line.stop_reading()
        elif self._reads:
            try:
                update = self._codec.decode_update(parts[0])
            except MalformedReply as malformed:
                self._line.end(DriverError(Failure.PROTOCOL, str(malformed)))
            else:
                self._sink.saw(update, self._lane, time.monotonic_ns())

    def _settle(self, error: DriverError | None) -> None:
        if not self._greeted.done():
            self._greeted.set_result(error)


class ZeroMq(FramedDriver):
    """A DEALER for each lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(self._dealer)
        self._context: Context | None = None
        self._subscriptions: dict[int, Subscription] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_LIMIT)
        await super().open(target, lanes, sink, wire)

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._subscriptions:
            self._subscriptions.pop(lane).close()
        await super().drop(lane)

    async def close(self) -> None:
        """See Driver.close."""
        for lane in list(self._subscriptions):
            await self.drop(lane)
        await super().close()
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch: the lane's DEALER asks for the port, then its SUB takes its place."""
        stands = await self._ask(lane, Request(WATCH_ID, Watch()))
        await self.drop(lane)
        if not isinstance(stands, Update) or not stands.idempotency_key.isdigit():
            raise DriverError(Failure.PROTOCOL, "the server did not say where it publishes")
        address = replace(_address(self._target), port=int(stands.idempotency_key))
        assert self._context is not None
        subscription = self._subscriptions[lane] = Subscription(
            self._context, address, self._wire, self._sink, lane, reads
        )
        await subscription.stand()

    def _dealer(self, target: str, wire: Wire, replies: Replies) -> DealerLane:
        assert self._context is not None
        return DealerLane(self._context, target, wire, replies)


def _address(target: str) -> Address:
    try:
        return read_address(target)
    except ValueError as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None
