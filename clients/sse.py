"""`sse:aiohttp`: a receipt, then the result on an event stream; a lane is one connection for orders
and one that carries its stream."""

import asyncio
import base64
import binascii
import contextlib
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator

import aiohttp

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire, refused
from clients.event_stream import Event, EventParser
from clients.http import HttpLanes
from clients.polling import Clock, RealClock
from clients.rest import context_headers, update_in
from orders.model import Confirmation, Order, Update
from protos.codec import Codec, MalformedReply
from protos.http import CHANGES_PATH, EVENT_STREAM, EVENTS_PATH, ORDERS_PATH, STREAM
from protos.problems import from_http

RECONNECT_S = 0.1
"""A stream that is cut is resumed at once, but not more often than this."""
REMEMBERED = 10_000
"""Operations whose further results a lane knows: as many as a server keeps events."""
NOBODY = -1
"""The operation of a result that no one is known to have asked for."""

Outcome = Update | DriverError


class Results:
    """What waits for results on one stream, by the idempotency keys of its orders: a result may
    come before the receipt."""

    def __init__(self, sink: Sink, lane: int) -> None:
        self._sink = sink
        self._lane = lane
        self._waiting: dict[str, list[tuple[int, asyncio.Future[Outcome]]]] = {}
        self._operations: OrderedDict[str, int] = OrderedDict()

    def expect(self, key: str, operation: int) -> asyncio.Future[Outcome]:
        """Announce an order before it is sent."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append((operation, future))
        self._operations[key] = operation
        if len(self._operations) > REMEMBERED:
            self._operations.popitem(last=False)
        return future

    def forget(self, key: str, future: asyncio.Future[Outcome]) -> None:
        """No longer wait; should the result come, it is late."""
        waiting = [one for one in self._waiting.pop(key, ()) if one[1] is not future]
        if waiting:
            self._waiting[key] = waiting

    def take(self, update: Update) -> None:
        """Take what the stream tells. A result that nobody waits for is late, or a repeat."""
        now = time.monotonic_ns()
        if not update.final:
            self._sink.saw(update, self._lane, now)
            return
        key = update.idempotency_key
        awaited = False
        for _, future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(update)
                awaited = True
        if not awaited:
            self._sink.arrived(self._operations.get(key, NOBODY), Milestone.DONE, now)

    def note(self, name: str) -> None:
        """Count a step of the stream for every operation that waits."""
        for waiting in self._waiting.values():
            for operation, _ in waiting:
                self._sink.noted(operation, name)

    def fail(self, error: DriverError) -> None:
        """Fail everything that waits."""
        waiting, self._waiting = self._waiting, {}
        for _, future in (one for of_key in waiting.values() for one in of_key):
            if not future.done():
                future.set_result(error)


class ResultStream:
    """The event stream of a lane, resumed when it is cut.

    If it cannot be resumed what waits fails, and the next who needs it opens a new one.
    """

    def __init__(self, http: HttpLanes, lane: int, sink: Sink, clock: Clock) -> None:
        self.name = ""
        self.results = Results(sink, lane)
        self._http = http
        self._lane = lane
        self._clock = clock
        self._last_id = ""
        self._stands: asyncio.Future[DriverError | None]
        self._listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Make sure that the stream stands, or is about to again. Raises DriverError."""
        if self._listening is None or self._listening.done():
            self.name = uuid.uuid4().hex
            self._last_id = ""
            self._stands = asyncio.get_running_loop().create_future()
            self._listening = asyncio.create_task(self._listen(self._stands))
        if not self._stands.done():
            await asyncio.wait([self._stands])
        error = self._stands.result()
        if error is not None:
            raise error

    async def close(self) -> None:
        """Give the connection back."""
        if self._listening is None:
            return
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        closed = DriverError(Failure.DISCONNECTED, "the lane was given back")
        if not self._stands.done():
            self._stands.set_result(closed)
        self.results.fail(closed)

    async def _listen(self, stands: "asyncio.Future[DriverError | None]") -> None:
        headers: dict[str, str] = {}
        resumed_s = -math.inf
        while True:
            stood = False
            try:
                async with opened(
                    self._http, self._lane, f"{EVENTS_PATH}?stream={self.name}", headers
                ) as response:
                    stood = True
                    if not stands.done():
                        stands.set_result(None)
                    await self._read(response)
                error = DriverError(Failure.DISCONNECTED, "the event stream ended")
            except DriverError as failed:
                error = failed
            if not stood or error.failure is not Failure.DISCONNECTED:
                break
            self.results.note("reconnects")
            await self._clock.sleep(max(0.0, resumed_s + RECONNECT_S - self._clock.now()))
            resumed_s = self._clock.now()
            headers = {"Last-Event-ID": self._last_id or "0"}
        if not stands.done():
            stands.set_result(error)
        elif not stood:
            words = f"the event stream was cut and not resumed: {error.detail}"
            error = DriverError(Failure.DISCONNECTED, words)
        self.results.fail(error)

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        codec = self._http.codec
        parser = EventParser(self._last_id)
        async for chunk in response.content.iter_any():
            for event in fed(parser, chunk):
                if event.name in ("result", "progress"):
                    self.results.take(update_of(event, codec))
                self._last_id = event.id


class Sse:
    """An exchange to place an order, and an event with its result."""

    multiplexes = False

    def __init__(self, clock: Clock | None = None) -> None:
        """`clock` is what reconnecting waits by; the real one if there is none."""
        self._clock = clock if clock is not None else RealClock()
        self._http = HttpLanes("", PLAIN)
        self._streams: dict[int, ResultStream] = {}
        self._watching: dict[int, asyncio.Task[None]] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open. Any answer shows that a lane is connected."""
        self._sink = sink
        self._http = HttpLanes(target, wire)
        await asyncio.gather(
            *(self._http.ask(lane, "OPTIONS", ORDERS_PATH) for lane in range(lanes)),
            *(self._stream(lane).connect() for lane in range(lanes)),
        )

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        stream = self._streams.pop(lane, None)
        if stream is not None:
            await stream.close()
        watching = self._watching.pop(lane, None)
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self._http.drop(lane)
        await self._http.drop(of_stream(lane))

    async def close(self) -> None:
        """See Driver.close."""
        lanes = {*self._streams, *self._watching}
        await asyncio.gather(*(self.drop(lane) for lane in lanes))
        await self._http.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place. The lane is given back with the receipt."""
        http, key = self._http, order.idempotency_key
        stream = self._stream(lane)
        await stream.connect()
        result = stream.results.expect(key, call.operation)
        try:
            body = http.codec.encode_order(order)
            headers = context_headers(call) | {STREAM: stream.name}
            answer = await http.ask(lane, "POST", ORDERS_PATH, body, headers)
            receipt = update_in(answer.status, answer.body, http.codec)
            self._sink.arrived(call.operation, Milestone.ACKED, time.monotonic_ns())
            if receipt.final:
                return receipt.confirmation()
            call.rest()
            outcome = await result
        finally:
            stream.results.forget(key, result)
        if isinstance(outcome, DriverError):
            raise outcome
        return outcome.confirmation()

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch: an event stream for each subscriber."""
        stands: asyncio.Future[DriverError | None] = asyncio.get_running_loop().create_future()
        self._watching[lane] = asyncio.create_task(self._follow(lane, reads, stands))
        await asyncio.wait([stands])
        error = stands.result()
        if error is not None:
            raise error

    async def _follow(
        self, lane: int, reads: bool, stands: "asyncio.Future[DriverError | None]"
    ) -> None:
        codec = self._http.codec
        parser = EventParser()
        error = DriverError(Failure.DISCONNECTED, "the lane was given back")
        try:
            async with opened(self._http, lane, CHANGES_PATH, {}) as response:
                stands.set_result(None)
                if not reads:
                    await asyncio.get_running_loop().create_future()
                async for chunk in response.content.iter_any():
                    seen_ns = time.monotonic_ns()
                    for event in fed(parser, chunk):
                        self._sink.saw(update_of(event, codec), lane, seen_ns)
        except DriverError as failed:
            error = failed
        finally:
            if not stands.done():
                stands.set_result(error)

    def _stream(self, lane: int) -> ResultStream:
        stream = self._streams.get(lane)
        if stream is None:
            stream = ResultStream(self._http, lane, self._sink, self._clock)
            self._streams[lane] = stream
        return stream


def of_stream(lane: int) -> int:
    """The lane of HTTP that carries a lane's event stream."""
    return -1 - lane


@contextlib.asynccontextmanager
async def opened(
    http: HttpLanes, lane: int, path: str, headers: dict[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A lane's event stream. Raises DriverError if the answer is none."""
    accept = {"Accept": f"{EVENT_STREAM}, {http.codec.media_type}"}
    async with http.stream(of_stream(lane), "GET", path, headers=accept | headers) as response:
        if response.status != 200:
            raise refused(from_http(response.status, await response.read()))
        if response.content_type != EVENT_STREAM:
            raise DriverError(Failure.PROTOCOL, f"{response.content_type} is no event stream")
        yield response


def fed(parser: EventParser, chunk: bytes) -> list[Event]:
    """See EventParser.feed. Raises DriverError."""
    try:
        return parser.feed(chunk)
    except MalformedReply as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None


def update_of(event: Event, codec: Codec) -> Update:
    """The update in an event's data: text as it is, else in base64. Raises DriverError."""
    try:
        data = event.data if codec.text else base64.b64decode(event.data, validate=True)
        return codec.decode_update(data)
    except (MalformedReply, binascii.Error) as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None
