"""A worker's connection to RabbitMQ, by aio-pika: declares, takes, acknowledges and says."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import aio_pika
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError
from pamqp.commands import Basic
from pamqp.common import Arguments

from protos.broker import BrokerAddress, Commit, Durability
from protos.rabbitmq import GUEST, STREAM_OFFSET, confirms, host_and_port, queue_options, tls_of

OPEN_LIMIT_S = 8.0
CLOSE_LIMIT_S = 2.0
QUIET_S = 1.0
"""A queue is read to its end when nothing came for so long."""
EMPTY_S = 0.1
"""A stream that gives nothing for so long has nothing."""
AMQP_ERRORS = (AMQPError, RuntimeError, OSError)
"""How a connection shows that it is lost, or was never made: of one that was closed aio-pika says
RuntimeError, and TimeoutError is an OSError."""

Take = Callable[["Session", int, DeliveredMessage], Awaitable[None]]
"""Works on a message of a partition; raises nothing but CancelledError."""


class Prefix:
    """How far a channel's deliveries are done without a gap, since work ends in any order."""

    def __init__(self) -> None:
        self.end = 0
        """The last delivery of those that are done up to there; the first is 1."""
        self._beyond: set[int] = set()

    def finish(self, tag: int) -> range:
        """A delivery is done; the deliveries by which this moved the end."""
        before = self.end
        self._beyond.add(tag)
        while self.end + 1 in self._beyond:
            self.end += 1
            self._beyond.remove(self.end)
        return range(before + 1, self.end + 1)


class Session:
    """One connection: a channel that takes messages and gives replies, and one that asks."""

    def __init__(
        self,
        address: BrokerAddress,
        connection: aio_pika.abc.AbstractConnection,
        starts: Mapping[int, int],
    ) -> None:
        """See `opened`."""
        self._address = address
        self._connection = connection
        self._channel: Channel
        self._asking: Channel | None = None
        self._prefix = Prefix()
        self._acked = 0
        self._places: dict[int, tuple[int, int]] = {}
        self.streams = address.durability is Durability.REPLICATED
        auto = address.commit is Commit.AUTO
        self._no_ack = not self.streams and (auto or not confirms(address))
        self._ack_first = self.streams and auto
        self._ack_each = not self._no_ack and address.commit is Commit.EACH
        self._window = max(1, address.prefetch // 2)
        self.next = dict(starts)
        """Of streams: the offsets before which all is done, by partition."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it takes nothing more."""

    @classmethod
    async def opened(
        cls, address: BrokerAddress, first: int = 0, starts: Mapping[int, int] = {}
    ) -> "Session":
        """A session at one of the hosts, of which number `first` is tried first; `starts`: see
        `next`. Raises ConnectionError naming the hosts."""
        hosts, reasons = address.hosts, []
        for number in range(len(hosts)):
            host = hosts[(first + number) % len(hosts)]
            try:
                async with asyncio.timeout(OPEN_LIMIT_S / len(hosts)):
                    return await cls._to(host, address, starts)
            except AMQP_ERRORS as error:
                reasons.append(f"{host}: {_words(error)}")
        raise ConnectionError("; ".join(reasons))

    @classmethod
    async def _to(cls, host: str, address: BrokerAddress, starts: Mapping[int, int]) -> "Session":
        name, port = host_and_port(host)
        connection = await aio_pika.connect(
            host=name,
            port=port,
            login=address.user or GUEST,
            password=address.password or GUEST,
            ssl=address.tls,
            ssl_context=tls_of(address),
        )
        session = cls(address, connection, starts)
        try:
            session._channel = await session._new_channel()
        except BaseException:
            await session.close()
            raise
        session._channel.closing.add_done_callback(session._end)
        session._channel.on_consumer_cancel_callbacks.add(session._end)
        return session

    async def prepare(self, partitions: Sequence[int], exchange: str | None) -> None:
        """Make queues and the exchange of changes, or see that they are there.

        Raises one of AMQP_ERRORS, which names what is missing or is there and is another.
        """
        make, channel = self._address.create, self._channel
        options = queue_options(self._address) if make else {"passive": True}
        for partition in partitions:
            await channel.queue_declare(self._address.queue(partition), **options)
        if exchange is not None:
            await channel.exchange_declare(exchange, exchange_type="fanout", passive=not make)

    async def consume(self, take: Take, partitions: Sequence[int], prefetch: int) -> None:
        """Take messages from now on, of streams from `next` on, else the beginning.

        Raises one of AMQP_ERRORS.
        """
        await self._channel.basic_qos(prefetch_count=prefetch)
        for partition in partitions:
            start = self.next.get(partition, "first")
            arguments: Arguments = {STREAM_OFFSET: start} if self.streams else None
            await self._channel.basic_consume(
                self._address.queue(partition),
                self._taker(take, partition),
                no_ack=self._no_ack,
                arguments=arguments,
            )

    async def acknowledge(self) -> None:
        """Acknowledge all that is done up to the first that is not. Raises one of AMQP_ERRORS."""
        tag = self._prefix.end
        if self._no_ack or self._ack_each or self._ack_first or tag == self._acked:
            return
        self._acked = tag
        await self._channel.basic_ack(tag, multiple=True, wait=False)

    async def publish(
        self, exchange: str, key: str, body: bytes, properties: Basic.Properties
    ) -> None:
        """Send a message that nobody confirms. Raises one of AMQP_ERRORS."""
        await self._channel.basic_publish(
            body, exchange=exchange, routing_key=key, properties=properties, wait=False
        )

    async def held(self, partitions: Sequence[int]) -> int:
        """Messages that the broker has ready for consumers; of streams, about those that are not
        done: what is beyond the first of the last chunk is not counted.

        Raises one of AMQP_ERRORS.
        """
        if self.streams:
            ends = await self._ends(partitions)
            return sum(max(0, end - self.next.get(p, 0)) for p, end in ends.items())
        if self._asking is None or self._asking.is_closed:
            self._asking = await self._new_channel()
        held = 0
        for partition in partitions:
            queue = self._address.queue(partition)
            answer = await self._asking.queue_declare(queue, passive=True)
            held += answer.message_count or 0
        return held

    async def close(self) -> None:
        """Give the connection back; what is done is acknowledged."""
        with contextlib.suppress(*AMQP_ERRORS):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                if hasattr(self, "_channel"):
                    await self.acknowledge()
        with contextlib.suppress(*AMQP_ERRORS):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._connection.close()
        self._end(None)

    async def _ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Where streams end: the broker itself counts their messages only every few seconds."""
        ends: dict[int, int] = {}
        all_known = asyncio.Event()

        async def known(partition: int, message: DeliveredMessage) -> None:
            ends[partition] = offset_of(message) + 1
            if len(ends) == len(partitions):
                all_known.set()

        channel = await self._new_channel()
        try:
            await channel.basic_qos(prefetch_count=1)
            for partition in partitions:
                await channel.basic_consume(
                    self._address.queue(partition),
                    partial(known, partition),
                    arguments={STREAM_OFFSET: "last"},
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EMPTY_S):
                    await all_known.wait()
        finally:
            await channel.close()
        return ends

    async def _new_channel(self) -> Channel:
        channel = self._connection.channel(publisher_confirms=False)
        assert isinstance(channel, aio_pika.Channel)
        await channel.initialize()
        below = await channel.get_underlay_channel()
        assert isinstance(below, Channel)
        return below

    def _taker(self, take: Take, partition: int) -> Callable[[DeliveredMessage], Any]:
        channel = self._channel

        async def taken(message: DeliveredMessage) -> None:
            tag = message.delivery_tag or 0
            if self.streams:
                self._places[tag] = partition, offset_of(message)
            if self._ack_first:
                await channel.basic_ack(tag, wait=False)
            await take(self, partition, message)
            with contextlib.suppress(*AMQP_ERRORS):  # then it comes again
                await self._done(tag)

        return taken

    async def _done(self, tag: int) -> None:
        passed = self._prefix.finish(tag)
        if self.streams:
            for each in passed:
                partition, offset = self._places.pop(each)
                self.next[partition] = offset + 1
        if self._ack_each:
            await self._channel.basic_ack(tag, wait=False)
        elif self._prefix.end - self._acked >= self._window:
            await self.acknowledge()

    def _end(self, _: object) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _words(error: BaseException) -> str:
    return "it does not answer" if isinstance(error, TimeoutError) else str(error) or repr(error)


def offset_of(message: DeliveredMessage) -> int:
    """Where in its stream a message lies."""
    headers: Any = message.header.properties.headers
    return int(headers[STREAM_OFFSET])


async def read_again(address: BrokerAddress, partitions: Sequence[int], limit_s: float) -> int:
    """Messages that a new consumer receives of partitions, from the beginning.

    It stops when nothing came for QUIET_S, or after `limit_s` seconds. What it received stays at
    the broker. Raises one of AMQP_ERRORS.
    """
    received = 0

    async def take(_: Session, __: int, ___: DeliveredMessage) -> None:
        nonlocal received
        received += 1
        if not session.streams:  # kept until the session ends, and then given back
            await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    session = await Session.opened(address.with_options(commit=Commit.BATCH))
    try:
        streams = session.streams
        await session.consume(take, partitions, address.prefetch if streams else 0)
        end, seen, quiet_since = loop.time() + limit_s, 0, loop.time()
        while (now := loop.time()) < end and now - quiet_since < QUIET_S:
            await asyncio.sleep(0.05)
            if received != seen:
                seen, quiet_since = received, loop.time()
    finally:
        await session.close()
    return received
