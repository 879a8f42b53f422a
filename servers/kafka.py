"""S8 `kafka`: workers that take orders from a topic as one consumer group, by aiokafka.

An order that says where to is answered there; one that does not is an event. The worker makes the
topics unless its address says `create=0`. With ORDERBENCH_CHANGES=1 in its environment it publishes
each order that is confirmed.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from protos.broker import COMMIT_EVERY_S, BrokerAddress, Commit
from protos.kafka import (
    Headers,
    aiokafka_options,
    aiokafka_producer,
    by_name,
    read_kafka,
)
from protos.kafka_aiokafka import stop_consumer, stop_producer
from servers.base import Bind, Desk, Listening
from servers.kafka_topics import prepare
from servers.kafka_work import HEARTBEAT_MS, POLLS_AT_MOST_APART_MS, SESSION_MS, Record, Work, log

POLL_MS = 200
FETCH_WAIT_MS = 100


class AiokafkaLog(ConsumerRebalanceListener):  # type: ignore[misc]
    """A consumer in the group of workers, and a producer of replies and changes. See Log."""

    def __init__(self, address: BrokerAddress, bind: Bind) -> None:
        self._address = address
        self._paused = bind.paused
        self._producer = AIOKafkaProducer(**aiokafka_producer(address, bind.compression))
        self._consumer = AIOKafkaConsumer(
            **aiokafka_options(address),
            group_id=address.group,
            auto_offset_reset="earliest",
            enable_auto_commit=address.commit is Commit.AUTO,
            auto_commit_interval_ms=round(COMMIT_EVERY_S * 1000),
            fetch_max_wait_ms=FETCH_WAIT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=SESSION_MS,
            max_poll_interval_ms=POLLS_AT_MOST_APART_MS,
        )
        self._work: Work
        self._reading: asyncio.Task[None]

    async def open(self, work: Work) -> None:
        """Join the group and read. Raises KafkaError."""
        self._work = work
        await self._producer.start()
        await self._consumer.start()
        self._consumer.subscribe([self._address.orders], listener=self)
        self._reading = asyncio.create_task(self._read())
        standing = asyncio.create_task(work.stand())
        await asyncio.wait({self._reading, standing}, return_when=asyncio.FIRST_COMPLETED)
        if self._reading.done():
            standing.cancel()
            self._reading.result()

    async def close(self) -> None:
        """Leave the group."""
        if hasattr(self, "_reading"):
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, KafkaError):
                await self._reading
            await self._work.stop()
        await stop_consumer(self._consumer)
        await stop_producer(self._producer)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """See ConsumerRebalanceListener."""
        if self._paused:
            self._consumer.pause(*assigned)
        self._work.assign({tp.partition: await self._consumer.position(tp) for tp in assigned})

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """See ConsumerRebalanceListener."""
        await self._work.revoke()

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """See Log."""
        try:
            await self._consumer.commit({self._of(p): at for p, at in offsets.items()})
        except KafkaError as error:
            log.warning("cannot commit: %r", error)

    async def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """See Log."""
        ends = await self._consumer.end_offsets([self._of(p) for p in partitions])
        return {tp.partition: end for tp, end in ends.items()}

    def ends_seen(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """See Log."""
        seen = {p: self._consumer.highwater(self._of(p)) for p in partitions}
        return {p: end for p, end in seen.items() if end is not None}

    async def count(self, ends: Mapping[int, int], limit_s: float) -> int:
        """See Log."""
        reader = AIOKafkaConsumer(**aiokafka_options(self._address), group_id=None)
        received = 0
        try:
            await reader.start()
            places = [self._of(p) for p, end in ends.items() if end]
            reader.assign(places)
            await reader.seek_to_beginning(*places)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    while places:
                        for tp, records in (await reader.getmany(timeout_ms=POLL_MS)).items():
                            end = ends[tp.partition]
                            received += sum(record.offset < end for record in records)
                            if records and records[-1].offset >= end - 1 and tp in places:
                                places.remove(tp)
        finally:
            await stop_consumer(reader)
        return received

    async def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes, headers: Headers
    ) -> None:
        """See Log."""
        await self._producer.send_and_wait(
            topic, value, key=key, partition=partition, headers=headers
        )

    def resume(self) -> None:
        """See Log."""
        if self._paused:
            self._paused = False
            self._consumer.resume(*self._consumer.assignment())

    def _of(self, partition: int) -> TopicPartition:
        return TopicPartition(self._address.orders, partition)

    async def _read(self) -> None:
        while True:
            try:
                fetched = await self._consumer.getmany(
                    timeout_ms=POLL_MS, max_records=self._address.prefetch
                )
            except KafkaError as error:
                log.error("cannot read: %r", error)
                await asyncio.sleep(POLL_MS / 1000)
                continue
            for records in fetched.values():
                await self._work.take(
                    Record(r.partition, r.offset, r.value or b"", by_name(r.headers))
                    for r in records
                )


async def start(desk: Desk, bind: Bind) -> Listening:
    """Work. Raises TopicsError, or KafkaError if the broker cannot be reached."""
    address = read_kafka(bind.broker)
    await prepare(address)
    broker = AiokafkaLog(address, bind)
    work = Work(desk, bind, address, broker)
    try:
        await broker.open(work)
    except BaseException:
        await broker.close()
        raise
    work.begin()
    return Listening(str(address), broker.close, work.drain)
