"""`rabbitmq:aio-pika`: a connection with one channel a lane, and a connection for each watch.

Connections and channels are aio-pika's; messages go by the channel of aiormq below it. A connection
that is lost is made again by the lane's next operation, as in every style, and not by the library.
Changes travel as JSON, whatever codec orders have.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from typing import Any, cast

import aio_pika
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.connection import TransportFactory
from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from pamqp.commands import Basic

from clients.base import Wire
from clients.rabbitmq import (
    CLOSE_LIMIT_S,
    OPEN_LIMIT_S,
    End,
    Fates,
    Message,
    RabbitmqDriver,
    hosts_for,
    not_taken,
    unroutable,
)
from protos.broker import BrokerAddress
from protos.codec import MalformedReply
from protos.codecs import JSON
from protos.rabbitmq import (
    DIRECT_REPLY_TO,
    GUEST,
    confirms,
    context_headers,
    delivery_mode,
    host_and_port,
    tls_of,
)
from protos.stamp import STAMP

_ERRORS = (AMQPError, RuntimeError, OSError)
"""aiormq's, that of a connection or channel that was closed, and those of sockets."""
_CODES: dict[type[BaseException], int] = {
    ProbableAuthenticationError: 403,
    ChannelAccessRefused: 403,
    ChannelNotFoundEntity: 404,
    ChannelPreconditionFailed: 406,
}


class Sockets(TransportFactory):
    """How aiormq comes by its socket, so that we can have it too."""

    def __init__(self, address: BrokerAddress, ca: str | None) -> None:
        self._tls = tls_of(address, ca)
        self.transport: asyncio.WriteTransport | None = None

    async def create(
        self, url: Any, **kwargs: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See TransportFactory. Raises OSError."""
        reader, writer = await asyncio.open_connection(url.host, url.port, ssl=self._tls)
        self.transport = writer.transport
        return reader, writer


class Link(aio_pika.Connection):
    """A connection with one channel, which is made once."""

    sockets: Sockets
    host: str
    pika: Channel

    @classmethod
    async def made(
        cls, address: BrokerAddress, wire: Wire, lane: int, with_confirms: bool
    ) -> "Link":
        """A connection to the first of the hosts that takes it. Raises DriverError."""
        for host in hosts_for(address, lane):
            try:
                async with asyncio.timeout(OPEN_LIMIT_S / len(address.hosts)):
                    return await cls._to(host, address, wire, with_confirms)
            except _ERRORS as error:
                failed = end_of(host, error).error
        raise failed

    @classmethod
    async def _to(
        cls, host: str, address: BrokerAddress, wire: Wire, with_confirms: bool
    ) -> "Link":
        name, port = host_and_port(host)
        url = aio_pika.connection.make_url(
            host=name,
            port=port,
            login=address.user or GUEST,
            password=address.password or GUEST,
            ssl=address.tls,
        )
        link = cls(url)
        link.host = host
        link.sockets = link.kwargs["transport_factory"] = Sockets(address, wire.ca)
        try:
            await link.connect()
            channel = await link.channel(
                publisher_confirms=with_confirms, on_return_raises=with_confirms
            )
            below = await channel.get_underlay_channel()
            assert isinstance(below, Channel)
            link.pika = below
        except BaseException:
            await link.end(at_once=True)
            raise
        return link

    @property
    def stands(self) -> bool:
        """Whether messages can be sent."""
        return not self.pika.is_closed

    async def end(self, at_once: bool = False) -> None:
        """Give it back; `at_once`: without waiting CLOSE_LIMIT_S for the broker to agree."""
        closing = asyncio.ensure_future(self.close())
        if not at_once:
            await asyncio.wait({closing}, timeout=CLOSE_LIMIT_S)
        if self.sockets.transport is not None:
            self.sockets.transport.abort()
        await asyncio.wait({closing}, timeout=CLOSE_LIMIT_S)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


class AioPikaLane:
    """See clients.rabbitmq.Lane."""

    def __init__(self, number: int, address: BrokerAddress, wire: Wire, fates: Fates) -> None:
        self.fates = fates
        self._number = number
        self._address = address
        self._wire = wire
        self._confirms = confirms(address)
        self._mandatory = address.safe and self._confirms
        self._mode = delivery_mode(address)
        self._connecting = asyncio.Lock()
        self._link: Link | None = None
        self._reply_to = ""
        self._sending: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """See Lane.connect."""
        if self._link is not None and self._link.stands:
            return
        async with self._connecting:
            if self._link is not None and self._link.stands:
                return
            await self.close()
            link = await Link.made(self._address, self._wire, self._number, self._confirms)
            try:
                self._reply_to = await self._listen(link)
            except BaseException as error:
                await link.end(at_once=True)
                if isinstance(error, _ERRORS):
                    raise end_of(link.host, error).error from None
                raise
            self._link = link
            link.pika.closing.add_done_callback(self._ended)

    async def require(self, queues: Sequence[str]) -> None:
        """See Lane.require."""
        assert self._link is not None
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                for queue in queues:
                    await self._link.pika.queue_declare(queue, passive=True)
        except _ERRORS as error:
            raise end_of(self._link.host, error).error from None

    async def publish(self, messages: Sequence[Message]) -> None:
        """See Lane.publish: a task for each, since the library waits for each confirm."""
        link = self._link
        if link is None:
            raise End(",".join(self._address.hosts), "the lane was closed").error
        for message in messages:
            task = asyncio.create_task(self._publish(link, message))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """See Lane.close."""
        link, self._link = self._link, None
        if link is not None:
            await link.end()
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)

    async def _publish(self, link: Link, message: Message) -> None:
        try:
            await link.pika.basic_publish(
                message.body,
                routing_key=message.queue,
                properties=self._properties(message),
                mandatory=self._mandatory,
                wait=not self._confirms,  # who waits for the confirm need not wait for the socket
            )
        except PublishError:
            self.fates.failed(message, unroutable(message.queue))
        except DeliveryError:
            self.fates.failed(message, not_taken())
        except _ERRORS as error:
            self.fates.failed(message, end_of(link.host, error).error_for(message))
        except asyncio.CancelledError:  # how the library says that it was closed
            closed = End(link.host, "the connection was closed")
            self.fates.failed(message, closed.error_for(message))
        else:
            if self._confirms:
                self.fates.acked(message)
            else:
                self.fates.written(message)

    def _properties(self, message: Message) -> Basic.Properties:
        number = str(message.operation)
        if message.stamp:
            return Basic.Properties(
                content_type=self.fates.codec.media_type,
                delivery_mode=self._mode,
                headers={STAMP: bytearray(message.stamp)},
                message_id=number,
            )
        return Basic.Properties(
            content_type=self.fates.codec.media_type,
            delivery_mode=self._mode,
            headers=context_headers(message.context),
            correlation_id=number,
            reply_to=self._reply_to,
            message_id=number,
        )

    async def _listen(self, link: Link) -> str:
        """Let replies come; returns where they go."""
        queue = DIRECT_REPLY_TO
        async with asyncio.timeout(OPEN_LIMIT_S):
            if self._address.replies == "queue":
                queue = f"{self._address.replies_to}.{secrets.token_hex(8)}"
                await link.pika.queue_declare(queue, exclusive=True, auto_delete=True)
            await link.pika.basic_consume(queue, self._replied, no_ack=True)
        return queue

    async def _replied(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        self.fates.replied(properties.correlation_id, properties.headers or {}, message.body)

    def _ended(self, closing: "asyncio.Future[Any]") -> None:
        error = None if closing.cancelled() else closing.exception()
        host = self._link.host if self._link is not None else ",".join(self._address.hosts)
        self.fates.lost(end_of(host, error or ConnectionError("the connection was closed")))


class RabbitmqAioPika(RabbitmqDriver):
    """A connection a lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(AioPikaLane)
        self._watching: dict[int, Link] = {}
        self._hanging: set[int] = set()

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._watching:
            await self._watching.pop(lane).end(at_once=lane in self._hanging)
            self._hanging.discard(lane)
        await super().drop(lane)

    async def close(self) -> None:
        """See Driver.close."""
        await asyncio.gather(*(self.drop(lane) for lane in list(self._watching)))
        await super().close()

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch: a queue of its own at the exchange of changes."""
        await self.drop(lane)
        link = await Link.made(self._address, self._wire, lane, with_confirms=False)
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                queue = f"{self._address.changes}.{secrets.token_hex(8)}"
                await link.pika.queue_declare(queue, exclusive=True, auto_delete=True)
                await link.pika.queue_bind(queue, self._address.changes)
                await link.pika.basic_consume(queue, self._seen(lane), no_ack=True)
        except BaseException as error:
            await link.end(at_once=True)
            if isinstance(error, _ERRORS):
                raise end_of(link.host, error).error from None
            raise
        self._watching[lane] = link
        if not reads:
            self._hanging.add(lane)
            cast(asyncio.Transport, link.sockets.transport).pause_reading()

    def _seen(self, lane: int) -> Any:
        sink = self._sink

        async def seen(message: DeliveredMessage) -> None:
            now = time.monotonic_ns()
            with contextlib.suppress(MalformedReply):
                sink.saw(JSON.decode_update(message.body), lane, now)

        return seen


def end_of(host: str, error: BaseException) -> End:
    """Why something ended, from the library's error."""
    if isinstance(error, TimeoutError):
        return End(host, "it does not answer")
    code, words = _CODES.get(type(error), 0), str(error)
    if isinstance(error, AMQPError) and error.args:
        words = str(error.args[-1])
        if isinstance(error.args[0], int) and not isinstance(error, OSError):
            code = error.args[0]
    return End(host, words or type(error).__name__, code)
