"""`python -m benchmarks.bare CLIENT ADDRESS BYTES WINDOW WARM_UP_S SECONDS`: a library alone.

Prepared bytes go to partition 0 of the address's orders, which must be there, with the settings of
the drivers, WINDOW in flight; nothing is made, stamped or recorded for a message.
`rabbitmq:asyncio` is no library: it is clients.amqp without its driver.

Says one JSON line: `end`, with `per_s`, the acknowledgements a second after the warm-up, and for
RabbitMQ `p50_us`, the median time to one.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import aio_pika
import uvloop
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from pamqp import commands

from clients.amqp import AmqpConnection, Ended, Publication
from protos.broker import BrokerAddress, read_broker
from protos.kafka import aiokafka_producer, confluent_producer
from protos.rabbitmq import GUEST, host_and_port

POLL_EVERY = 500
"""Messages between two looks at librdkafka's reports."""


class Acks:
    """Acknowledgements so far."""

    def __init__(self) -> None:
        self.count = 0
        self.took_ns: list[int] = []

    def after(self, sent_ns: int) -> None:
        """One came for what was sent then."""
        self.count += 1
        self.took_ns.append(time.monotonic_ns() - sent_ns)


Load = Callable[[BrokerAddress, bytes, int, Acks], Awaitable[None]]
"""Publishes for ever: where to, what, how many in flight, and who is told of acknowledgements."""


async def confluent(address: BrokerAddress, body: bytes, window: int, acks: Acks) -> None:
    """librdkafka, its reports taken by the thread that produces."""
    producer = Producer(confluent_producer(address, False, window))
    topic, produce, poll = address.orders, producer.produce, producer.poll
    going = True

    def told(error: Any, _: Any) -> None:
        if error is not None:
            raise RuntimeError(error.str())
        acks.count += 1

    def work() -> None:
        while going:
            for _ in range(POLL_EVERY):
                try:
                    produce(topic, body, on_delivery=told)
                except BufferError:
                    poll(0.01)
            poll(0)
        producer.flush()

    try:
        await asyncio.to_thread(work)
    finally:
        going = False


async def aiokafka(address: BrokerAddress, body: bytes, window: int, acks: Acks) -> None:
    """aiokafka, without a task a message."""
    producer = AIOKafkaProducer(**aiokafka_producer(address, False))
    await producer.start()
    room = asyncio.Event()
    waiting = 0

    def told(sent: "asyncio.Future[Any]") -> None:
        nonlocal waiting
        sent.result()
        waiting -= 1
        acks.count += 1
        room.set()

    try:
        while True:
            room.clear()
            while waiting < window:
                sent = await producer.send(address.orders, body, partition=0)
                sent.add_done_callback(told)
                waiting += 1
            await room.wait()
    finally:
        await producer.stop()


async def pika(address: BrokerAddress, body: bytes, window: int, acks: Acks) -> None:
    """aio-pika: as many publishers as may be in flight, each of which waits."""
    connection = await aio_pika.connect(
        f"amqp://{address.user or GUEST}:{address.password or GUEST}@{address.hosts[0]}/"
    )
    exchange = (await connection.channel()).default_exchange
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)

    async def publish() -> None:
        while True:
            sent_ns = time.monotonic_ns()
            await exchange.publish(message, address.queue(0))
            acks.after(sent_ns)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(window):
                group.create_task(publish())
    finally:
        await connection.close()


class Raw:
    """Keeps publications under way on a connection of clients.amqp, whose listener it is."""

    def __init__(self, body: bytes, acks: Acks) -> None:
        self._body = body
        self._acks = acks
        self._sent_ns: deque[int] = deque()
        self._oldest = 1
        self.link: AmqpConnection
        self.publication: Publication
        self.over: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def publish(self, count: int) -> None:
        """So many more."""
        self._sent_ns.extend([time.monotonic_ns()] * count)
        self.link.write(self.publication.frames(self._body) * count)

    def confirmed(self, tag: int, multiple: bool, taken: bool) -> None:
        """See Listener.confirmed. A classic queue confirms in order."""
        if not taken:
            raise RuntimeError("the broker did not take a message")
        count = tag - self._oldest + 1
        self._oldest = tag + 1
        for _ in range(count):
            self._acks.after(self._sent_ns.popleft())
        self.publish(count)

    def delivered(self, properties: commands.Basic.Properties, body: bytes) -> None:
        """See Listener.delivered."""

    def returned(self, properties: commands.Basic.Properties) -> None:
        """See Listener.returned."""
        raise RuntimeError("a message came back")

    def ended(self, end: Ended) -> None:
        """See Listener.ended."""
        if not self.over.done():
            self.over.set_result(end)


async def raw(address: BrokerAddress, body: bytes, window: int, acks: Acks) -> None:
    """AMQP frames and nothing else."""
    listener = Raw(body, acks)
    listener.link = link = await _link(address, listener)
    properties = commands.Basic.Properties(delivery_mode=2)
    listener.publication = Publication(address.queue(0), True, properties, link.frame_bytes)
    try:
        listener.publish(window)
        raise await listener.over
    finally:
        await link.close()


async def purge(address: BrokerAddress) -> int:
    """Empty the queue of partition 0; returns how many messages it held. Raises Ended, OSError."""
    link = await _link(address, Raw(b"", Acks()))
    try:
        purged = await link.call(
            commands.Queue.Purge(queue=address.queue(0)), commands.Queue.PurgeOk
        )
        return purged.message_count or 0
    finally:
        await link.close()


async def _link(address: BrokerAddress, listener: Raw) -> AmqpConnection:
    host, port = host_and_port(address.hosts[0])
    who = (address.user or GUEST, address.password or GUEST)
    return await AmqpConnection.opened(host, port, None, *who, True, listener)


LOADS: dict[str, Load] = {
    "kafka:confluent": confluent,
    "kafka:aiokafka": aiokafka,
    "rabbitmq:aio-pika": pika,
    "rabbitmq:asyncio": raw,
}


async def main(client: str, address: str, size: str, window: str, warm: str, seconds: str) -> None:
    """Load, count, and say what was counted."""
    acks = Acks()
    load = LOADS[client](read_broker(address), b"x" * int(size), int(window), acks)
    loading = asyncio.ensure_future(load)
    await asyncio.wait({loading}, timeout=float(warm))
    began, count, skipped = time.monotonic(), acks.count, len(acks.took_ns)
    await asyncio.wait({loading}, timeout=float(seconds))
    per_s = (acks.count - count) / (time.monotonic() - began)
    took_ns = acks.took_ns[skipped:]
    if loading.done():
        await loading
    p50_us = median(took_ns) / 1e3 if took_ns else None
    print(json.dumps({"event": "end", "per_s": per_s, "p50_us": p50_us}), flush=True)
    loading.cancel()
    await asyncio.wait({loading})


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
