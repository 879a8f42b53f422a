"""`kafka:aiokafka`: one producer and one reply inbox in a process, and a consumer for each watch.

The inbox is one partition of the topic of replies, read without a group. Changes travel as JSON,
whatever codec orders have.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire
from clients.kafka import (
    OPEN_LIMIT_S,
    PULSE_S,
    Inbox,
    address_of,
    gone,
    missing_topics,
    reply_partition,
    too_large,
)
from orders.model import Confirmation, Order
from protos.broker import CONTENT_TYPE, BrokerAddress, Durability
from protos.codec import MalformedReply
from protos.codecs import JSON
from protos.kafka import (
    DELIVERY_LIMIT_S,
    Headers,
    aiokafka_options,
    aiokafka_producer,
    by_name,
    partition_of,
    reply_to,
    request_headers,
)
from protos.kafka_aiokafka import abandon, stop_consumer, stop_producer, why, words_of
from protos.stamp import STAMP, stamp

POLL_MS = 500
ANSWER_LIMIT_S = 3.0
"""For a broker that is asked whether it is there."""
TOPICS_LIMIT_S = 3.0
"""For a topic that was just made to be known everywhere."""

T = TypeVar("T")


Sent: TypeAlias = "asyncio.Future[Any]"
"""Done when a message is delivered or given up."""


class Outbox:
    """A producer that is replaced when it can go no further.

    aiokafka never gives up a message of an idempotent producer: when nothing was acknowledged for
    DELIVERY_LIMIT_S the producer is given up instead, with all that it holds. Nor does it take a
    refused message's sequence number back: all that follow would be refused too.
    """

    def __init__(self, address: BrokerAddress, compression: bool) -> None:
        self._topic = address.orders
        self._partitions = 0
        self._options = aiokafka_producer(address, compression)
        self._waiting = 0
        self._heard_ns = 0
        self._spoiled = False
        self._renewing = asyncio.Lock()
        self.producer = AIOKafkaProducer(**self._options)

    async def open(self) -> None:
        """Connect, also to all who lead the topic of orders. Raises KafkaError."""
        await self.producer.start()
        client = self.producer.client
        partitions = await self.producer.partitions_for(self._topic)
        self._partitions = len(partitions)
        for partition in partitions:
            leader = client.cluster.leader_for_partition(TopicPartition(self._topic, partition))
            if leader is not None and leader >= 0:
                await client.ready(leader)

    async def send(
        self, key: bytes, value: bytes, headers: Headers, told: Callable[[Sent], None]
    ) -> None:
        """Hand over an order; `told` shall tell `settled`. Raises KafkaError."""
        if self._over():
            await self._renew()
        sent: Sent = await self.producer.send(
            self._topic, value, key, partition_of(key, self._partitions), None, headers
        )
        if not self._waiting:
            self._heard_ns = time.monotonic_ns()
        self._waiting += 1
        sent.add_done_callback(told)

    def settled(self, at_ns: int, error: BaseException | None) -> None:
        """One that was handed over is delivered or given up."""
        self._waiting -= 1
        if isinstance(error, (MessageSizeTooLargeError, OutOfOrderSequenceNumber)):
            self._spoiled = self._options["enable_idempotence"]
        self._heard_ns = at_ns

    async def look(self) -> None:
        """Give the producer up if it got nowhere for too long."""
        if self._waiting and time.monotonic_ns() - self._heard_ns > DELIVERY_LIMIT_S * 1e9:
            await abandon(self.producer)

    async def close(self) -> None:
        """Deliver what can be delivered at once, and close."""
        await stop_producer(self.producer)

    def _over(self) -> bool:
        task = self.producer._sender.sender_task
        return self._spoiled or task is None or task.done()

    async def _renew(self) -> None:
        async with self._renewing:
            if self._over():
                await (stop_producer if self._spoiled else abandon)(self.producer)
                self._spoiled = False
                self.producer = AIOKafkaProducer(**self._options)
                await self.producer.start()


class KafkaAiokafka:
    """All lanes share the producer and the inbox."""

    multiplexes = True

    def __init__(self) -> None:
        self.producer = secrets.randbits(62) + 1
        self._outbox: Outbox | None = None
        self._consumer: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: dict[int, tuple[Any, asyncio.Task[None] | None]] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._address = address = address_of(target)
        self._sink = sink
        self._codec = wire.codec_or(JSON)
        self._media_type = self._codec.media_type.encode()
        self._inbox = Inbox(sink, self._codec)
        self._acknowledged = address.durability is not Durability.NONE
        self._delivered = Milestone.ACKED if self._acknowledged else Milestone.SENT
        self._event_headers: Headers = []
        if self._codec is not JSON:
            self._event_headers.append((CONTENT_TYPE, self._media_type))
        try:
            await _bounded(address, self._open(wire))
        except BaseException:
            await self.close()
            raise

    async def drop(self, lane: int) -> None:
        """See Driver.drop. Only a lane that watches has something of its own."""
        consumer, reading = self._watching.pop(lane, (None, None))
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        if consumer is not None:
            await stop_consumer(consumer)

    async def close(self) -> None:
        """See Driver.close."""
        for lane in list(self._watching):
            await self.drop(lane)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            await outbox.close()
            self._inbox.fail_all(gone(self._address, "the driver was closed"))

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        operation = call.operation
        value = self._codec.encode_order(order)
        headers = request_headers(operation, self._reply_to, self._media_type, call.context)
        future = self._inbox.expect(operation)
        try:
            await self._send(order, call, value, headers, partial(self._handed_over, operation))
            result = await future
        finally:
            self._inbox.forget(operation)
        if isinstance(result, DriverError):
            raise result
        return result

    async def submit(self, batch: Sequence[tuple[Order, Call]]) -> None:
        """See Ingests.submit."""
        encode, producer, told = self._codec.encode_order, self.producer, self._submitted
        for order, call in batch:
            operation, value = call.operation, encode(order)
            headers = [(STAMP, stamp(producer, operation, value)), *self._event_headers]
            try:
                await self._send(order, call, value, headers, partial(told, operation))
            except DriverError as error:
                self._sink.failed(operation, error)

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch."""
        await _bounded(self._address, self._watch(lane, reads))

    async def _open(self, wire: Wire) -> None:
        address = self._address
        self._outbox = Outbox(address, wire.compression)
        self._consumer = _reader(address)
        await self._consumer.start()
        await self._see({address.orders, address.replies_to})
        await self._outbox.open()
        partitions = await self._outbox.producer.partitions_for(address.replies_to)
        own = reply_partition(address, len(partitions), wire.part)
        place = TopicPartition(address.replies_to, sorted(partitions)[own])
        await _at_end(self._consumer, [place])
        self._reply_to = reply_to(place.topic, place.partition)
        self._tasks = [
            asyncio.create_task(self._read_replies()),
            asyncio.create_task(self._feel_pulse()),
        ]

    async def _see(self, topics: set[str]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + TOPICS_LIMIT_S
        while missing := topics - await self._consumer.topics():
            if loop.time() > end:
                raise missing_topics(missing)
            await asyncio.sleep(0.1)

    async def _watch(self, lane: int, reads: bool) -> None:
        topic = self._address.changes
        await self._see({topic})
        consumer = _reader(self._address)
        try:
            await consumer.start()
            assert self._outbox is not None
            partitions = await self._outbox.producer.partitions_for(topic)
            await _at_end(consumer, [TopicPartition(topic, p) for p in partitions])
        except BaseException:
            await stop_consumer(consumer)
            raise
        reading = asyncio.create_task(self._read_changes(consumer, lane)) if reads else None
        self._watching[lane] = consumer, reading

    async def _send(
        self, order: Order, call: Call, value: bytes, headers: Headers, told: Callable[[Sent], None]
    ) -> None:
        if self._outbox is None:
            raise gone(self._address, "the driver is closed")
        try:
            key = (call.key or order.idempotency_key).encode()
            await self._outbox.send(key, value, headers, told)
        except KafkaError as error:
            raise self._failure(error) from None

    def _handed_over(self, operation: int, sent: Sent) -> None:
        error = self._settled(sent, now := time.monotonic_ns())
        if error is not None:
            self._inbox.fail(operation, error)
        elif self._acknowledged:
            self._sink.arrived(operation, Milestone.ACKED, now)

    def _submitted(self, operation: int, sent: Sent) -> None:
        error = self._settled(sent, now := time.monotonic_ns())
        if error is not None:
            self._sink.failed(operation, error)
        else:
            self._sink.arrived(operation, self._delivered, now)

    def _settled(self, sent: Sent, at_ns: int) -> DriverError | None:
        error = sent.exception()
        if self._outbox is not None:
            self._outbox.settled(at_ns, error)
        return None if error is None else self._failure(error)

    def _failure(self, error: BaseException) -> DriverError:
        if isinstance(error, MessageSizeTooLargeError):
            return too_large(str(error))
        if isinstance(error, KafkaError) and error.retriable:
            return gone(self._address, words_of(error))
        return DriverError(Failure.PROTOCOL, words_of(error))

    async def _read_replies(self) -> None:
        getmany, settle = self._consumer.getmany, self._inbox.settle
        while True:
            for records in (await getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    settle(record.value or b"", by_name(record.headers))

    async def _read_changes(self, consumer: Any, lane: int) -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                now = time.monotonic_ns()
                for record in records:
                    with contextlib.suppress(MalformedReply):
                        self._sink.saw(JSON.decode_update(record.value or b""), lane, now)

    async def _feel_pulse(self) -> None:
        """Fail what waits for replies when no broker answers; see Outbox.look."""
        assert self._outbox is not None
        while True:
            await asyncio.sleep(PULSE_S)
            if self._inbox:
                try:
                    async with asyncio.timeout(ANSWER_LIMIT_S):
                        await self._consumer.topics()
                except (KafkaError, TimeoutError):
                    self._inbox.fail_all(gone(self._address, "no broker answers"))
            await self._outbox.look()


def _reader(address: BrokerAddress) -> Any:
    return AIOKafkaConsumer(**aiokafka_options(address), group_id=None, auto_offset_reset="latest")


async def _at_end(consumer: Any, places: list[TopicPartition]) -> None:
    """Assign partitions, of which only what comes from now on is read."""
    consumer.assign(places)
    await consumer.seek_to_end(*places)
    for place in places:
        await consumer.position(place)


async def _bounded(address: BrokerAddress, opening: Coroutine[Any, Any, T]) -> T:
    """Wait for what connects, for OPEN_LIMIT_S. Raises DriverError."""
    try:
        async with asyncio.timeout(OPEN_LIMIT_S):
            return await opening
    except (KafkaError, OSError) as error:  # TimeoutError is an OSError
        raise gone(address, await why(address) or words_of(error)) from None
