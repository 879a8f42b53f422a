"""`kafka:confluent`: librdkafka's producer, whose reports a thread hears, and a reply inbox.

The inbox is one partition of the topic of replies, read by a thread without a group.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire
from clients.kafka import (
    OPEN_LIMIT_S,
    Inbox,
    address_of,
    gone,
    missing_topics,
    reply_partition,
    too_large,
)
from orders.model import Confirmation, Order
from protos.broker import CONTENT_TYPE, Durability
from protos.codecs import JSON
from protos.kafka import (
    Headers,
    by_name,
    confluent_options,
    confluent_producer,
    reply_to,
    request_headers,
)
from protos.kafka_confluent import GONE, POLL_S, REFUSED, Producing
from protos.stamp import STAMP, stamp

WAITING = 500_000
"""Messages that the producer holds; more than a generator has in flight."""
ROOM_S = 0.001
"""How long to wait for room in the producer before another try."""
CLOSE_LIMIT_S = 2.0
ASK_S = 0.5
AT_A_TIME = 500


class KafkaConfluent:
    """All lanes share the producer and the inbox."""

    multiplexes = True

    def __init__(self) -> None:
        self.producer = secrets.randbits(62) + 1
        self._producing: Producing | None = None
        self._reading: threading.Thread | None = None
        self._closing = False
        self._trouble: KafkaError | None = None

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._address = address = address_of(target)
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._codec = wire.codec_or(JSON)
        self._media_type = self._codec.media_type.encode()
        self._inbox = Inbox(sink, self._codec)
        self._acknowledged = address.durability is not Durability.NONE
        self._delivered = Milestone.ACKED if self._acknowledged else Milestone.SENT
        self._event_headers: Headers = []
        if self._codec is not JSON:
            self._event_headers.append((CONTENT_TYPE, self._media_type))
        self._closing, self._trouble = False, None
        options = confluent_producer(address, wire.compression, WAITING)
        try:
            self._producing = Producing({**options, "error_cb": self._hear})
            partitions = await self._partitions({address.orders, address.replies_to})
            count = partitions[address.replies_to]
            await self._open_inbox(reply_partition(address, count, wire.part))
        except KafkaException as error:
            await self.close()
            raise self._failure(error.args[0]) from None
        except BaseException:
            await self.close()
            raise

    async def drop(self, lane: int) -> None:
        """See Driver.drop. No lane has anything of its own."""

    async def close(self) -> None:
        """See Driver.close."""
        self._closing = True
        reading, self._reading = self._reading, None
        if reading is not None:
            await asyncio.to_thread(reading.join)
        producing, self._producing = self._producing, None
        if producing is not None:
            await asyncio.to_thread(producing.close, CLOSE_LIMIT_S)
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
        if self._producing is None:
            raise gone(self._address, "the driver is closed")
        produce, topic, told = self._producing.producer.produce, self._orders, self._submitted
        encode, producer, more = self._codec.encode_order, self.producer, self._event_headers
        for order, call in batch:
            operation, value = call.operation, encode(order)
            key = (call.key or order.idempotency_key).encode()
            headers = [(STAMP, stamp(producer, operation, value)), *more]
            try:
                while True:
                    try:
                        produce(topic, value, key, -1, partial(told, operation), None, 0, headers)
                        break
                    except BufferError:
                        await asyncio.sleep(ROOM_S)
            except KafkaException as error:
                self._sink.failed(operation, self._failure(error.args[0]))

    async def _send(
        self,
        order: Order,
        call: Call,
        value: bytes,
        headers: Headers,
        told: "partial[None]",
    ) -> None:
        if self._producing is None:
            raise gone(self._address, "the driver is closed")
        produce, topic = self._producing.producer.produce, self._orders
        key = (call.key or order.idempotency_key).encode()
        while True:
            try:
                produce(topic, value, key, headers=headers, on_delivery=told)
            except BufferError:
                await asyncio.sleep(ROOM_S)
            except KafkaException as error:
                raise self._failure(error.args[0]) from None
            else:
                return

    def _handed_over(self, operation: int, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._call(self._inbox.fail, operation, self._failure(error))
        elif self._acknowledged:
            self._sink.arrived(operation, Milestone.ACKED, time.monotonic_ns())

    def _submitted(self, operation: int, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._sink.failed(operation, self._failure(error))
        else:
            self._sink.arrived(operation, self._delivered, time.monotonic_ns())

    def _failure(self, error: KafkaError) -> DriverError:
        code = error.code()
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            return too_large(error.str())
        if code in GONE:
            return gone(self._address, error.str())
        return DriverError(Failure.PROTOCOL, error.str())

    def _hear(self, error: KafkaError) -> None:
        """Take what librdkafka says of its connections; by any of its threads."""
        code = error.code()
        if self._trouble is None or code in REFUSED:
            self._trouble = error
        if code == KafkaError._ALL_BROKERS_DOWN:
            self._call(self._inbox.fail_all, self._failure(error))

    def _call(self, function: Any, *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    async def _partitions(self, topics: set[str]) -> dict[str, int]:
        """How many partitions topics have. Raises DriverError."""
        assert self._producing is not None
        ask = self._producing.producer.list_topics
        end = self._loop.time() + OPEN_LIMIT_S
        missing = topics
        while True:
            try:
                known = (await asyncio.to_thread(ask, timeout=ASK_S)).topics
            except KafkaException as error:
                if self._trouble is not None and self._trouble.code() in REFUSED | GONE:
                    raise self._failure(self._trouble) from None
                if self._loop.time() > end:
                    raise self._failure(error.args[0]) from None
                continue
            missing = topics - set(known)
            if not missing:
                return {topic: len(known[topic].partitions) for topic in topics}
            if self._loop.time() > end:
                raise missing_topics(missing)
            await asyncio.sleep(0.1)

    async def _open_inbox(self, partition: int) -> None:
        address = self._address
        self._orders = address.orders
        consumer = Consumer(
            {
                **confluent_options(address),
                "group.id": address.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
            }
        )
        place = TopicPartition(address.replies_to, partition)
        try:
            _, place.offset = await asyncio.to_thread(
                consumer.get_watermark_offsets, place, timeout=OPEN_LIMIT_S
            )
            consumer.assign([place])
        except BaseException:
            consumer.close()
            raise
        self._reply_to = reply_to(address.replies_to, partition)
        self._reading = threading.Thread(
            target=self._read_replies, args=(consumer,), name="kafka-replies", daemon=True
        )
        self._reading.start()

    def _read_replies(self, consumer: Consumer) -> None:
        while not self._closing:
            first = consumer.poll(POLL_S)
            if first is None:
                continue
            replies = [first, *consumer.consume(AT_A_TIME, 0)]
            self._call(self._settle, [reply for reply in replies if reply.error() is None])
        consumer.close()

    def _settle(self, replies: list[Message]) -> None:
        for reply in replies:
            self._inbox.settle(reply.value() or b"", by_name(reply.headers()))
