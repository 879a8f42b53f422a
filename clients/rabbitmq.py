"""What RabbitMQ's drivers share: all but the connection itself, which is a lane's matter."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire
from clients.replies import read_reply
from orders.model import Confirmation, Order
from protos.broker import PROBLEM, BrokerAddress
from protos.codec import Codec
from protos.codecs import JSON
from protos.context import NOTHING, Context
from protos.rabbitmq import partition_of, read_rabbitmq, text_of
from protos.stamp import stamp

OPEN_LIMIT_S = 8.0
"""For all that it takes to open a driver, or to connect a lane again."""
CLOSE_LIMIT_S = 2.0
"""For a broker's answer to a connection's end."""
_TOO_LARGE = re.compile(r"message size (\d+) is larger")


class Message(NamedTuple):
    """An order on its way: with a stamp it is an event, without one it wants a reply."""

    operation: int
    queue: str
    body: bytes
    stamp: bytes = b""
    context: Context = NOTHING


@dataclass(frozen=True, slots=True)
class End:
    """Why a connection or a channel ended; `code` is the broker's own where it gave one, else 0."""

    host: str
    why: str
    code: int = 0

    @property
    def error(self) -> DriverError:
        """What it amounts to for who opens something."""
        match self.code:
            case 403:
                return DriverError(Failure.REJECTED, f"{self.host}: {self.why}")
            case 0 | 320 | 541:  # by nobody's will, or the broker shuts down
                return DriverError(Failure.DISCONNECTED, f"{self.host}: {self.why}")
        return DriverError(Failure.PROTOCOL, f"{self.host}: {self.why}")

    def error_for(self, message: Message) -> DriverError:
        """What it amounts to for a message that was under way.

        The broker closes the channel on one that is too large, and says its size; the others of
        the channel are lost by it.
        """
        too_large = _TOO_LARGE.search(self.why)
        if too_large is not None and int(too_large[1]) == len(message.body):
            return DriverError(Failure.REJECTED, self.why, "too_large")
        return DriverError(Failure.DISCONNECTED, f"{self.host}: {self.why}")


class Fates:
    """What becomes of a lane's messages: who waits for a reply is told, else the sink."""

    def __init__(self, sink: Sink, codec: Codec) -> None:
        self.codec = codec
        self.sink = sink
        self._waiting: dict[int, tuple[Message, asyncio.Future[Confirmation | DriverError]]] = {}

    def expect(self, message: Message) -> "asyncio.Future[Confirmation | DriverError]":
        """Announce a message that wants a reply before it is sent."""
        future: asyncio.Future[Confirmation | DriverError]
        future = asyncio.get_running_loop().create_future()
        self._waiting[message.operation] = message, future
        return future

    def forget(self, operation: int) -> None:
        """No longer wait for a reply; should it come, it is late."""
        self._waiting.pop(operation, None)

    def written(self, message: Message) -> None:
        """A message that nobody will acknowledge left this process's hands."""
        if message.stamp:
            self.sink.arrived(message.operation, Milestone.SENT, time.monotonic_ns())

    def acked(self, message: Message) -> None:
        """The broker has a message."""
        self.sink.arrived(message.operation, Milestone.ACKED, time.monotonic_ns())

    def failed(self, message: Message, error: DriverError) -> None:
        """The broker does not have a message, or nobody knows."""
        if message.stamp:
            self.sink.failed(message.operation, error)
        else:
            self._tell(message.operation, error)

    def replied(self, correlation_id: str | None, headers: Mapping[str, Any], body: bytes) -> None:
        """A reply came. One that nobody waits for is late: the sink's."""
        try:
            operation = int(correlation_id or "")
        except ValueError:
            return
        if operation in self._waiting:
            self._tell(operation, read_reply(self.codec, text_of(headers, PROBLEM), body))
        else:
            self.sink.arrived(operation, Milestone.DONE, time.monotonic_ns())

    def lost(self, end: "End") -> None:
        """Nothing more will come: fail everything that waits for a reply."""
        for operation, (message, _) in list(self._waiting.items()):
            self._tell(operation, end.error_for(message))

    def _tell(self, operation: int, result: Confirmation | DriverError) -> None:
        _, future = self._waiting.get(operation, (None, None))
        if future is not None and not future.done():
            future.set_result(result)


class Lane(Protocol):
    """One connection to the broker, with one channel.

    What falls on a lane: to tell `fates` what becomes of each message that it was given, and to
    make a connection that was lost again when it is next used, once for all that find it gone.
    """

    fates: Fates

    async def connect(self) -> None:
        """Make sure that the connection stands and replies can come. Raises DriverError."""

    async def require(self, queues: Sequence[str]) -> None:
        """Make sure that queues exist. Raises DriverError naming one that does not."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages, in this order; may wait for room. Raises DriverError if none was sent."""

    async def close(self) -> None:
        """Give the connection back."""


class MakeLane(Protocol):
    """How a driver comes by its lanes."""

    def __call__(self, number: int, address: BrokerAddress, wire: Wire, fates: Fates) -> Lane:
        """A lane that is not connected yet."""


class RabbitmqDriver:
    """A driver over lanes that `make_lane` builds. A key's messages are all sent by one lane."""

    multiplexes = True

    def __init__(self, make_lane: MakeLane) -> None:
        self.producer = secrets.randbits(62) + 1
        self._make_lane = make_lane
        self._lanes: dict[int, Lane] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._address = address = address_of(target)
        self._sink, self._wire, self._count = sink, wire, max(1, lanes)
        self._codec = wire.codec_or(JSON)
        try:
            connecting = [self._lane(lane).connect() for lane in range(lanes)]
            for result in await asyncio.gather(*connecting, return_exceptions=True):
                if result is not None:
                    raise result
            if lanes:
                queues = [address.queue(partition) for partition in range(address.partitions)]
                await self._lane(0).require(queues)
        except BaseException:
            await self.close()
            raise

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._lanes:
            await self._lanes.pop(lane).close()

    async def close(self) -> None:
        """See Driver.close."""
        await asyncio.gather(*(self.drop(lane) for lane in list(self._lanes)))

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        taken = self._lane(lane)
        await taken.connect()
        queue = self._address.queue(self._partition(order, call))
        body = self._codec.encode_order(order)
        message = Message(call.operation, queue, body, context=call.context)
        future = taken.fates.expect(message)
        try:
            await taken.publish([message])
            result = await future
        finally:
            taken.fates.forget(call.operation)
        if isinstance(result, DriverError):
            raise result
        return result

    async def submit(self, batch: Sequence[tuple[Order, Call]]) -> None:
        """See Ingests.submit."""
        encode, producer = self._codec.encode_order, self.producer
        by_lane: dict[int, list[Message]] = {}
        for order, call in batch:
            body = encode(order)
            partition = self._partition(order, call)
            stamped = stamp(producer, call.operation, body)
            by_lane.setdefault(partition % self._count, []).append(
                Message(call.operation, self._address.queue(partition), body, stamped)
            )
        for number, messages in by_lane.items():
            lane = self._lane(number)
            try:
                await lane.connect()
                await lane.publish(messages)
            except DriverError as error:
                for message in messages:
                    lane.fates.failed(message, error)

    def _partition(self, order: Order, call: Call) -> int:
        return partition_of(call.key or order.idempotency_key, self._address.partitions)

    def _lane(self, number: int) -> Lane:
        lane = self._lanes.get(number)
        if lane is None:
            fates = Fates(self._sink, self._codec)
            lane = self._make_lane(number, self._address, self._wire, fates)
            self._lanes[number] = lane
        return lane


def address_of(target: str) -> BrokerAddress:
    """The broker's address. Raises DriverError."""
    try:
        return read_rabbitmq(target)
    except ValueError as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None


def hosts_for(address: BrokerAddress, lane: int) -> list[str]:
    """The hosts that a lane tries, in this order: lanes are spread over them."""
    first = lane % len(address.hosts)
    return [*address.hosts[first:], *address.hosts[:first]]


def unroutable(queue: str) -> DriverError:
    """A message that came back since its queue is gone."""
    return DriverError(Failure.REJECTED, f"no such queue: {queue}")


def blocked(host: str, why: str) -> DriverError:
    """A message that was not sent, since the broker reads none: it is low on disk or memory."""
    return DriverError(Failure.OVERLOADED, f"{host}: {why}")


def not_taken() -> DriverError:
    """A message that the broker could not take now (basic.nack): its queue has no leader, or is
    full."""
    return DriverError(Failure.OVERLOADED, "the broker could not take the message")
