"""S10 `zeromq`: no intermediary. A ROUTER that many DEALERs ask, replies matched by id, and an XPUB
on a port of its own for who watches; see protos/zeromq.py for what travels.

A watch is answered with STANDS, whose idempotency_key is the number of that port. ZeroMQ's own
answer to a subscriber that hangs is to drop what would have been for it, once CHANGES_LIMIT changes
wait; it stays connected and is not told. A reply to a client that does not read is dropped
likewise, at REPLIES_LIMIT. A frame that cannot be read has no id, and there is no connection to
close: it is answered with id 0. One that is longer than MAX_FRAME_BYTES costs the client its
connection. What ZeroMQ does not bound is how many parts a message has, and how many topics one
connection subscribes to.

A certificate says that what travels shall be encrypted, and is not used: ZeroMQ has CURVE and no
TLS. The server makes a key pair at its start; its address has the public key. Any client may come.
"""

import asyncio
from dataclasses import replace

import zmq
from zmq.utils import z85

from orders.errors import MalformedOrder
from orders.model import Update
from protos.codec import Codec
from protos.codecs import CODECS
from protos.frames import MAX_FRAME_BYTES, STANDS, Reply, Request, Watch
from protos.problems import Problem
from protos.zeromq import GREETING, HWM, TOPICS, Address, LoopSocket, codec_of
from servers.base import Bind, Desk, Listening, answer

CHANGES_LIMIT = 1000
"""Changes that may wait for one subscriber: libzmq's own default, a number and no size."""
REPLIES_LIMIT = 16 * 1024
"""Replies that may wait for one client: more than it has operations in flight."""
REQUEST_BYTES = 4096
"""What an order that is worked on costs beside its frame, roughly."""
UNDER_WAY_LIMIT = 512 * 2**20
"""Bytes of requests that are worked on at a time; one more is refused as overloaded."""
NOTICE_LIMIT = 1024
"""Bytes of a message from a subscriber, the handshake's included."""


class Exchange:
    """Takes requests and gives replies."""

    def __init__(self, desk: Desk, router: "zmq.Socket[bytes]", changes_port: int) -> None:
        self._desk = desk
        self._socket = LoopSocket(router, self._heard)
        self._stands = replace(STANDS, idempotency_key=str(changes_port))
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0

    async def close(self) -> None:
        """No longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()

    def _heard(self, parts: list[bytes]) -> None:
        client, frame = parts[0], parts[-1]
        codec = codec_of(frame)
        try:
            if len(parts) != 2:
                raise MalformedOrder(f"not a frame: a message of {len(parts) - 1} parts")
            request = codec.decode_request(frame)
        except MalformedOrder as error:
            self._send(client, codec, Reply(0, Problem(error.code, error.detail)))
            return
        if isinstance(request.ask, Watch):
            self._send(client, codec, Reply(request.id, self._stands))
            return
        cost = len(frame) + REQUEST_BYTES
        if self._under_way + cost > UNDER_WAY_LIMIT:
            busy = Problem("overloaded", "too much is under way")
            self._send(client, codec, Reply(request.id, busy))
            return
        self._under_way += cost
        task = asyncio.create_task(self._reply(client, request, codec, cost))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, client: bytes, request: Request, codec: Codec, cost: int) -> None:
        assert not isinstance(request.ask, Watch)
        try:
            result = await answer(self._desk, request.ask, request.context)
        finally:
            self._under_way -= cost
        self._send(client, codec, Reply(request.id, result))

    def _send(self, client: bytes, codec: Codec, reply: Reply) -> None:
        # A ROUTER drops what it has no room for, and what is for a client that has left.
        self._socket.offer((client, codec.encode_reply(reply)))


class Changes:
    """Publishes every order that is confirmed, in the codecs that are subscribed to."""

    def __init__(self, desk: Desk, publisher: "zmq.Socket[bytes]") -> None:
        self._watchers = desk.service.watchers
        self._socket = LoopSocket(publisher, self._heard)
        self._codecs: set[str] = set()

    def close(self) -> None:
        """No longer."""
        self._want(set())
        self._socket.close()

    def _heard(self, parts: list[bytes]) -> None:
        """Take a notice of XPUB: 1 and a topic that had no subscriber, or 0 and one that has none
        any more."""
        subscribed, topic = parts[0][:1] == b"\1", parts[0][1:]
        if topic.startswith(GREETING):
            if subscribed:
                self._socket.offer((topic,))
            return
        codecs = {name for name, of_codec in TOPICS.items() if of_codec == topic}
        self._want(self._codecs | codecs if subscribed else self._codecs - codecs)

    def _want(self, codecs: set[str]) -> None:
        if codecs and not self._codecs:
            self._watchers.append(self._tell)
        elif self._codecs and not codecs:
            self._watchers.remove(self._tell)
        self._codecs = codecs

    def _tell(self, update: Update) -> None:
        for name in self._codecs:
            self._socket.offer((CODECS[name].encode_update(update),))


class Sockets:
    """Sockets of one server, with one key pair where it encrypts."""

    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self._context = zmq.Context()
        self._keys = zmq.curve_keypair() if bind.certificate is not None else None

    def listening(
        self, kind: int, port: int, longest: int, waiting: int
    ) -> "tuple[zmq.Socket[bytes], Address]":
        """A bound socket for messages of at most `longest` bytes, of which `waiting` may wait for
        one client. Raises zmq.ZMQError."""
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, longest)
        socket.setsockopt(zmq.SNDHWM, waiting)
        socket.setsockopt(zmq.RCVHWM, HWM)
        socket.setsockopt(zmq.BACKLOG, 4096)
        socket.setsockopt(zmq.IPV6, int(":" in self._bind.host))
        key = b""
        if self._keys is not None:
            public, secret = self._keys
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
            key = z85.decode(public)
        socket.bind(f"tcp://{self._bind.shown_host}:{port or '*'}")
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        return socket, Address(self._bind.shown_host, int(bound), key)

    def close(self) -> None:
        """Give everything back, what is open still included."""
        self._context.destroy(linger=0)


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve. Raises zmq.ZMQError if an address cannot be had."""
    sockets = Sockets(bind)
    try:
        router, address = sockets.listening(zmq.ROUTER, bind.port, MAX_FRAME_BYTES, REPLIES_LIMIT)
        publisher, published = sockets.listening(zmq.XPUB, 0, NOTICE_LIMIT, CHANGES_LIMIT)
    except zmq.ZMQError:
        sockets.close()
        raise
    exchange = Exchange(desk, router, published.port)
    changes = Changes(desk, publisher)

    async def stop() -> None:
        await exchange.close()
        changes.close()
        sockets.close()

    return Listening(str(address), stop)
