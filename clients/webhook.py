"""`webhook:aiohttp`: HTTP/1.1 by aiohttp, one connection a lane, and a listener that the service
calls back.

The listener is http, also where the service is https: what is called back is signed. It listens at
the address of this machine by which the service is reached, which between processes of one machine
is loopback.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
from aiohttp import web
from yarl import URL

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire, refused
from clients.http import HttpLanes
from clients.rest import context_headers, require_success
from orders.model import Confirmation, Order, Update
from protos.codec import MalformedReply
from protos.codecs import BY_MEDIA_TYPE, JSON
from protos.http import CALLBACK, CALLBACKS_PATH, ORDERS_PATH, PROBLEM_JSON
from protos.packing import unpacked
from protos.problems import Refusal, from_http, to_http
from protos.signature import MAX_CALLBACK_BYTES, TOLERANCE_S, message_id, verified

IDLE_INBOXES = 16
"""Registrations of former servers that are still listened for when nothing waits for them."""
READ_LIMIT_S = 5.0
CLOSE_LIMIT_S = 1.0

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by name, each until an instant in seconds since 1970, or somewhat longer."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, V]] = {}

    def put(self, name: str, value: V, until: float) -> None:
        """Remember a value in place of what was known by its name."""
        self._kept.pop(name, None)
        self._kept[name] = (until, value)
        now = time.time()
        while self._kept[oldest := next(iter(self._kept))][0] < now:
            del self._kept[oldest]
            if not self._kept:
                return

    def get(self, name: str) -> V | None:
        """The value of a name, if it is still known."""
        kept = self._kept.get(name)
        return None if kept is None else kept[1]

    def __len__(self) -> int:
        return len(self._kept)


End = tuple[Update, int]
"""An order's last update, and the number of the attempt that brought it."""


@dataclass(slots=True, eq=False)
class Awaited:
    """An operation that waits for the end of its order."""

    key: str
    operation: int
    lane: int
    ended: asyncio.Future[End]
    taken: bool = False


class Inbox:
    """What comes in under one registration: a secret, and the ids that have been signed with it.

    Orders are told apart by their idempotency keys, which are known before they are sent: so it
    does not matter whether the callback or the receipt comes first.
    """

    def __init__(self, sink: Sink) -> None:
        self.id = secrets.token_hex(16)
        self.secret = secrets.token_hex(32)
        self.registered = False
        self._sink = sink
        self._awaited: dict[str, list[Awaited]] = {}
        self._past: Remembered[tuple[int, int]] = Remembered()
        self._untaken: Remembered[End] = Remembered()
        self._attempts: Remembered[int] = Remembered()

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._awaited

    def expect(self, key: str, operation: int, lane: int) -> Awaited:
        """Wait for the end of an order that is about to be sent."""
        awaited = Awaited(key, operation, lane, asyncio.get_running_loop().create_future())
        self._awaited.setdefault(key, []).append(awaited)
        return awaited

    def leave(self, awaited: Awaited) -> None:
        """No longer wait; what comes from now on is late, and so is an end that was not taken."""
        of_key = self._awaited.get(awaited.key, [])
        if awaited in of_key:
            of_key.remove(awaited)
            if not of_key:
                del self._awaited[awaited.key]
        elif not awaited.taken and not awaited.ended.cancelled():
            self._late(awaited.operation, awaited.ended.result())
        until = time.time() + TOLERANCE_S
        self._past.put(awaited.key, (awaited.operation, awaited.lane), until)

    def untaken(self, order_id: str) -> End | None:
        """An order's end that came late: who asks once more is told of no other."""
        return self._untaken.get(order_id)

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take a callback in. Raises Refusal."""
        stamp = verified(self.secret.encode(), headers, body, time.time())
        if stamp.attempt <= (self._attempts.get(stamp.id) or 0):
            raise Refusal("replayed", f"attempt {stamp.attempt} at {stamp.id} was here before")
        update = _update_in(headers, body)
        if stamp.id != message_id(update):
            raise Refusal("malformed", f"{stamp.id} is not the id of this update")
        # A copy is refused for its age when its id is forgotten.
        self._attempts.put(stamp.id, stamp.attempt, stamp.timestamp + TOLERANCE_S)
        if update.final:
            self._end((update, stamp.attempt))
        else:
            self._progress(update)

    def _end(self, end: End) -> None:
        key = end[0].idempotency_key
        waiting, past = self._awaited.pop(key, None), self._past.get(key)
        if waiting is None:
            if past is not None:
                self._late(past[0], end)
            return
        for awaited in waiting:
            # One that was cancelled has not left yet.
            if awaited.ended.done():
                self._late(awaited.operation, end)
            else:
                awaited.ended.set_result(end)

    def _progress(self, update: Update) -> None:
        waiting = self._awaited.get(update.idempotency_key)
        past = self._past.get(update.idempotency_key)
        if waiting is not None:
            self._sink.saw(update, waiting[0].lane, time.monotonic_ns())
        elif past is not None:
            self._sink.saw(update, past[1], time.monotonic_ns())

    def _late(self, operation: int, end: End) -> None:
        self._sink.arrived(operation, Milestone.DONE, time.monotonic_ns())
        self._untaken.put(end[0].order_id, end, time.time() + TOLERANCE_S)


class Receiver:
    """The listener of one driver, on a port that stays its own until it is closed."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self._reserved: socket.socket | None = None
        self._connections: web.Server | None = None
        self._listening: asyncio.Server | None = None

    async def open(self, host: str) -> None:
        """Take a port of an address of this machine's and listen. Raises OSError."""
        self._reserved = _bound(host, 0)
        await self.resume()

    async def pause(self) -> None:
        """Be away: connections are cut, and new ones refused."""
        if self._listening is None or self._connections is None:
            return
        self._listening.close()
        self._connections.pre_shutdown()
        await self._connections.shutdown(CLOSE_LIMIT_S)
        await self._listening.wait_closed()
        self._listening = self._connections = None

    async def resume(self) -> None:
        """Listen again, on the same port."""
        self._connections = web.Server(
            # A signature is over what travelled, packed or not.
            self._answer,
            access_log=None,
            lingering_time=CLOSE_LIMIT_S,
            auto_decompress=False,
        )
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            self._connections, sock=_bound(self._host, self._port), backlog=1024
        )

    async def close(self) -> None:
        """Give the port back. Harmless when it is not open."""
        await self.pause()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def add(self, inbox: Inbox) -> None:
        """Let callbacks to an inbox's address in."""
        idle = [known.id for known in self._inboxes.values() if known.idle]
        for forgotten in idle[: max(0, len(idle) + 1 - IDLE_INBOXES)]:
            del self._inboxes[forgotten]
        self._inboxes[inbox.id] = inbox

    def url(self, inbox: Inbox) -> str:
        """Where callbacks to an inbox go."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/{inbox.id}"

    @property
    def _host(self) -> str:
        assert self._reserved is not None
        host: str = self._reserved.getsockname()[0]
        return host

    @property
    def _port(self) -> int:
        assert self._reserved is not None
        port: int = self._reserved.getsockname()[1]
        return port

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            inbox = self._inboxes.get(request.path[1:])
            if inbox is None:
                raise Refusal("not_found", request.path)
            if request.method != "POST":
                raise Refusal("not_allowed", f"{request.method} {request.path}")
            inbox.take(request.headers, await _body(request))
        except Refusal as refusal:
            status, body = to_http(refusal.problem)
            return web.Response(status=status, body=body, content_type=PROBLEM_JSON)
        return web.Response()


class Webhook:
    """A receipt for each order on its lane, and its end by a callback.

    After a failure that may mean another server than before, a new registration is made with the
    next order, by every operation that finds it wanting: none waits for another's.
    """

    multiplexes = False

    def __init__(self) -> None:
        self.receiver = Receiver()
        self._http = HttpLanes("", PLAIN)

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open. The server has to reach this machine, since it calls back."""
        self._sink = sink
        self._http = HttpLanes(target, wire)
        try:
            await self.receiver.open(await _seen_from(target))
        except OSError as error:
            raise DriverError(Failure.DISCONNECTED, f"{target}: {error}") from None
        self._renew()
        await asyncio.gather(
            self._register(0, self._inbox),
            *(self._http.ask(lane, "OPTIONS", ORDERS_PATH) for lane in range(1, lanes)),
        )

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        await self._http.drop(lane)

    async def close(self) -> None:
        """See Driver.close."""
        await self._http.close()
        await self.receiver.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place. The lane is given back once there is a receipt."""
        body = self._http.codec.encode_order(order)
        inbox = self._inbox
        if not inbox.registered:
            await self._register(lane, inbox)
        awaited = inbox.expect(order.idempotency_key, call.operation, lane)
        try:
            receipt = await self._hand_in(lane, inbox, body, call)
            self._sink.arrived(call.operation, Milestone.ACKED, time.monotonic_ns())
            if receipt.final:
                return receipt.confirmation()
            call.rest()
            update, attempt = inbox.untaken(receipt.order_id) or await awaited.ended
            awaited.taken = True
        finally:
            inbox.leave(awaited)
        self._sink.noted(call.operation, "attempts", attempt)
        return update.confirmation()

    async def _register(self, lane: int, inbox: Inbox) -> None:
        registration = {"url": self.receiver.url(inbox), "secret": inbox.secret}
        answer = await self._http.ask(
            lane,
            "PUT",
            f"{CALLBACKS_PATH}/{inbox.id}",
            orjson.dumps(registration),
            {"Content-Type": JSON.media_type},
        )
        require_success(answer.status, answer.body)
        inbox.registered = True

    async def _hand_in(self, lane: int, inbox: Inbox, body: bytes, call: Call) -> Update:
        headers = {**context_headers(call), CALLBACK: inbox.id}
        try:
            answer = await self._http.ask(lane, "POST", ORDERS_PATH, body, headers)
        except DriverError:
            self._lost(inbox)
            raise
        if not 200 <= answer.status < 300:
            problem = from_http(answer.status, answer.body)
            if problem.code == "bad_callback":
                self._lost(inbox)
            raise refused(problem)
        try:
            return self._http.codec.decode_update(answer.body)
        except MalformedReply as error:
            raise DriverError(Failure.PROTOCOL, str(error)) from None

    def _lost(self, inbox: Inbox) -> None:
        if inbox is self._inbox:
            self._renew()

    def _renew(self) -> None:
        # Not the old one once more: another server gives ids that it has seen.
        self._inbox = Inbox(self._sink)
        self.receiver.add(self._inbox)


async def _seen_from(target: str) -> str:
    """The address of this machine at which the host of a URL can call back: the one from which the
    way to it begins. Raises OSError."""
    url = URL(target)
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (
        await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
    )[0]
    with socket.socket(family, kind, protocol) as way:
        way.connect(address)  # sends nothing
        host: str = way.getsockname()[0]
        return host


def _bound(host: str, port: int) -> socket.socket:
    """A socket at a port of an address, 0 for any; several of one user may have the same."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


async def _body(request: web.BaseRequest) -> bytes:
    too_large = Refusal("too_large", f"a callback has at most {MAX_CALLBACK_BYTES} bytes")
    if (request.content_length or 0) > MAX_CALLBACK_BYTES:
        raise too_large
    body = b""
    try:
        async with asyncio.timeout(READ_LIMIT_S):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > MAX_CALLBACK_BYTES:
                    raise too_large
    except TimeoutError:
        raise Refusal("malformed", f"the body did not come in {READ_LIMIT_S:g} s") from None
    return body


def _update_in(headers: Mapping[str, str], body: bytes) -> Update:
    codec = BY_MEDIA_TYPE.get(headers.get("Content-Type", ""))
    if codec is None:
        raise Refusal("unsupported_type", f"content type is none of {', '.join(BY_MEDIA_TYPE)}")
    if headers.get("Content-Encoding") == "gzip":
        body = unpacked(body, MAX_CALLBACK_BYTES)
    try:
        return codec.decode_update(body)
    except MalformedReply as error:
        raise Refusal("malformed", str(error)) from None
