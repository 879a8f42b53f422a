"""The workers of S8 `kafka` by confluent-kafka: as servers/kafka.py, but it is a thread that reads.

Another hears what became of replies; the work itself is the event loop's.
"""

import asyncio
import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import orjson
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from protos.broker import COMMIT_EVERY_S, BrokerAddress, Commit
from protos.kafka import (
    Headers,
    by_name,
    confluent_options,
    confluent_producer,
    read_kafka,
)
from protos.kafka_confluent import Producing
from servers.base import Bind, Desk, Listening
from servers.kafka_topics import prepare
from servers.kafka_work import (
    HEARTBEAT_MS,
    LAG_EVERY_S,
    POLLS_AT_MOST_APART_MS,
    SESSION_MS,
    Record,
    Work,
    log,
)

WAITING = 100_000
"""Replies and changes that the producer holds."""
HANDFULS = 4
"""In how many parts the prefetch comes from the thread that reads."""
POLL_S = 0.02
"""How long the thread that reads waits for messages before it looks for other things to do."""
SERVE_S = 0.005
REST_S = 0.005
"""Between two looks at what became of replies: only commits wait for it."""
ASK_S = 10.0
CLOSE_LIMIT_S = 2.0

T = TypeVar("T")


class ConfluentLog:
    """A consumer in the group of workers, and a producer of replies and changes. See Log."""

    def __init__(self, address: BrokerAddress, bind: Bind) -> None:
        self._address = address
        self._paused = bind.paused
        self._closing = False
        self._seen: dict[int, int] = {}
        self._loop = asyncio.get_running_loop()
        options = confluent_producer(address, bind.compression, WAITING)
        self._producing = Producing(options, REST_S)
        auto = address.commit is Commit.AUTO
        self._consumer = Consumer(
            {
                **confluent_options(address),
                "group.id": address.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": auto,
                "auto.commit.interval.ms": round(COMMIT_EVERY_S * 1000),
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "session.timeout.ms": SESSION_MS,
                "max.poll.interval.ms": POLLS_AT_MOST_APART_MS,
                "statistics.interval.ms": round(LAG_EVERY_S * 1000),
                "stats_cb": self._note_ends,
            }
        )
        self._work: Work
        self._read: asyncio.Queue[list[Record]] = asyncio.Queue()
        self._room = threading.Semaphore(HANDFULS)
        self._asked: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._fetch, name="kafka-orders", daemon=True)
        self._taking: asyncio.Task[None]

    async def open(self, work: Work) -> None:
        """Join the group and read."""
        self._work = work
        self._consumer.subscribe(
            [self._address.orders], on_assign=self._assigned, on_revoke=self._revoked
        )
        self._thread.start()
        self._taking = asyncio.create_task(self._take())
        await work.stand()

    async def close(self) -> None:
        """Leave the group."""
        self._taking.cancel()
        await asyncio.gather(self._taking, return_exceptions=True)
        await self._work.stop()
        self._closing = True
        self._room.release()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._producing.close, CLOSE_LIMIT_S)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """See Log."""
        places = [TopicPartition(self._address.orders, p, at) for p, at in offsets.items()]
        try:
            await self._ask(lambda: self._consumer.commit(offsets=places, asynchronous=False))
        except KafkaException as error:
            log.warning("cannot commit: %s", error)

    async def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """See Log."""
        return await self._ask(lambda: self._ends(partitions))

    def ends_seen(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """See Log."""
        return {p: self._seen[p] for p in partitions if p in self._seen}

    async def count(self, ends: Mapping[int, int], limit_s: float) -> int:
        """See Log."""
        return await asyncio.to_thread(self._count, ends, limit_s)

    async def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes, headers: Headers
    ) -> None:
        """See Log."""
        told = self._loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if told.done():
                return
            if error is None:
                told.set_result(None)
            else:
                told.set_exception(KafkaException(error))

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._loop.call_soon_threadsafe(settle, error)

        self._producing.producer.produce(
            topic,
            value,
            key,
            partition=-1 if partition is None else partition,
            headers=headers,
            on_delivery=delivered,
        )
        await told

    def resume(self) -> None:
        """See Log."""
        if self._paused:
            self._paused = False
            self._asked.put(lambda: self._consumer.resume(self._consumer.assignment()))

    def _note_ends(self, statistics: str) -> None:
        topic = orjson.loads(statistics)["topics"].get(self._address.orders)
        for state in topic["partitions"].values() if topic else ():
            if state["hi_offset"] >= 0:
                self._seen[state["partition"]] = state["hi_offset"]

    async def _ask(self, question: Callable[[], T]) -> T:
        """Let the thread that reads call its consumer: one that polls keeps all others waiting."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def call() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

        self._asked.put(call)
        return await asyncio.wrap_future(answer)

    def _serve(self) -> None:
        while not self._asked.empty():
            self._asked.get()()

    def _of(self, partition: int) -> TopicPartition:
        return TopicPartition(self._address.orders, partition)

    def _ends(self, partitions: Sequence[int]) -> dict[int, int]:
        ends = {}
        for partition in partitions:
            _, ends[partition] = self._consumer.get_watermark_offsets(
                self._of(partition), timeout=ASK_S
            )
        return ends

    def _count(self, ends: Mapping[int, int], limit_s: float) -> int:
        reader = Consumer(
            {
                **confluent_options(self._address),
                "group.id": f"{self._address.group}.again",
                "enable.auto.commit": False,
            }
        )
        topic = self._address.orders
        waiting = {partition for partition, end in ends.items() if end}
        reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in waiting])
        received = 0
        limit = self._loop.time() + limit_s
        while waiting and self._loop.time() < limit:
            for message in reader.consume(10_000, POLL_S):
                partition, offset = message.partition(), message.offset()
                if message.error() is not None or partition is None or offset is None:
                    continue
                received += offset < ends[partition]
                if offset >= ends[partition] - 1:
                    waiting.discard(partition)
        reader.close()
        return received

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        starts = consumer.committed(places, timeout=ASK_S) if places else []
        consumer.assign(starts)
        if self._paused:
            consumer.pause(starts)
        self._loop.call_soon_threadsafe(
            self._work.assign, {place.partition: max(place.offset, 0) for place in starts}
        )

    def _revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        revoked = asyncio.run_coroutine_threadsafe(self._revoke(), self._loop)
        while not revoked.done():
            self._serve()
            time.sleep(SERVE_S)

    async def _revoke(self) -> None:
        while not self._read.empty():
            self._read.get_nowait()
            self._room.release()
        await self._work.revoke()

    def _fetch(self) -> None:
        at_a_time = max(1, self._address.prefetch // HANDFULS)
        while not self._closing:
            self._serve()
            try:
                first = self._consumer.poll(POLL_S)
                if first is None:
                    continue
                messages = [first, *self._consumer.consume(at_a_time - 1, 0)]
            except KafkaException as error:
                log.error("cannot read: %s", error)
                continue
            records = [record for m in messages if (record := _record(m)) is not None]
            while not self._room.acquire(timeout=SERVE_S):
                self._serve()
            self._loop.call_soon_threadsafe(self._read.put_nowait, records)

        self._consumer.close()

    async def _take(self) -> None:
        while True:
            records = await self._read.get()
            await self._work.take(records)
            self._room.release()


def _record(message: Message) -> Record | None:
    error = message.error()
    partition, offset = message.partition(), message.offset()
    if error is not None or partition is None or offset is None:
        log.warning("cannot read: %s", error)
        return None
    return Record(partition, offset, message.value() or b"", by_name(message.headers()))


async def start(desk: Desk, bind: Bind) -> Listening:
    """Work. Raises TopicsError, or aiokafka's KafkaError if the broker cannot be reached."""
    address = read_kafka(bind.broker)
    await prepare(address)
    broker = ConfluentLog(address, bind)
    work = Work(desk, bind, address, broker)
    await broker.open(work)
    work.begin()
    return Listening(str(address), broker.close, work.drain)
