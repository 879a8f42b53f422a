"""`rabbitmq:asyncio`: the raw floor, by clients.amqp. A connection with one channel a lane."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from pamqp import commands

from clients.amqp import AmqpConnection, Ended, Publication
from clients.base import Wire
from clients.rabbitmq import (
    OPEN_LIMIT_S,
    End,
    Fates,
    Message,
    RabbitmqDriver,
    blocked,
    hosts_for,
    not_taken,
    unroutable,
)
from protos.broker import BrokerAddress
from protos.rabbitmq import (
    DIRECT_REPLY_TO,
    GUEST,
    bytes_of,
    confirms,
    context_headers,
    delivery_mode,
    host_and_port,
    tls_of,
)
from protos.stamp import STAMP, read_stamp, stamp

_ERRORS = (Ended, OSError)
_EXAMPLE = stamp(2**64 - 1, 2**64 - 1, b"")


class AsyncioLane:
    """See clients.rabbitmq.Lane."""

    def __init__(self, number: int, address: BrokerAddress, wire: Wire, fates: Fates) -> None:
        self.fates = fates
        self._address = address
        self._hosts = hosts_for(address, number)
        self._tls = tls_of(address, wire.ca)
        self._confirms = confirms(address)
        self._mandatory = address.safe and self._confirms
        self._connecting = asyncio.Lock()
        self._link: AmqpConnection | None = None
        self._host = ""
        self._reply_to = ""
        self._begin()

    def _begin(self) -> None:
        self._published = 0
        self._oldest = 1
        self._unconfirmed: dict[int, Message] = {}
        self._returned: set[int] = set()
        self._publications: dict[str, Publication] = {}

    async def connect(self) -> None:
        """See Lane.connect."""
        if self._link is not None and self._link.stands:
            return
        async with self._connecting:
            if self._link is not None and self._link.stands:
                return
            self._link = None
            for host in self._hosts:
                try:
                    async with asyncio.timeout(OPEN_LIMIT_S / len(self._hosts)):
                        self._link = await self._to(host)
                        return
                except _ERRORS as error:
                    failed = end_of(host, error).error
            raise failed

    async def require(self, queues: Sequence[str]) -> None:
        """See Lane.require."""
        assert self._link is not None
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                for queue in queues:
                    passive = commands.Queue.Declare(queue=queue, passive=True)
                    await self._link.call(passive, commands.Queue.DeclareOk)
        except _ERRORS as error:
            raise end_of(self._host, error).error from None

    async def publish(self, messages: Sequence[Message]) -> None:
        """See Lane.publish: all in one write."""
        link = self._link
        if link is None:
            raise End(",".join(self._hosts), "the lane was closed").error
        try:
            await link.room()
        except TimeoutError as error:
            raise blocked(self._host, str(error)) from None
        frames = b"".join([self._frames(link, message) for message in messages])
        try:
            link.write(frames)
        except Ended as end:
            raise end_of(self._host, end).error from None
        if not self._confirms:
            for message in messages:
                self.fates.written(message)
            return
        for message in messages:
            self._published += 1
            self._unconfirmed[self._published] = message

    async def close(self) -> None:
        """See Lane.close."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def confirmed(self, tag: int, multiple: bool, taken: bool) -> None:
        """See Listener.confirmed."""
        first, self._oldest = (self._oldest, tag + 1) if multiple else (tag, self._oldest)
        for each in range(first, tag + 1):
            message = self._unconfirmed.pop(each, None)
            if message is None:
                continue
            if not taken:
                self.fates.failed(message, not_taken())
            elif message.operation in self._returned:
                self._returned.remove(message.operation)
                self.fates.failed(message, unroutable(message.queue))
            else:
                self.fates.acked(message)

    def delivered(self, properties: commands.Basic.Properties, body: bytes) -> None:
        """See Listener.delivered."""
        self.fates.replied(properties.correlation_id, properties.headers or {}, body)

    def returned(self, properties: commands.Basic.Properties) -> None:
        """See Listener.returned; the broker confirms it thereafter."""
        read = read_stamp(bytes_of(properties.headers or {}, STAMP))
        self._returned.add(read.sequence if read else int(properties.correlation_id or 0))

    def ended(self, end: Ended) -> None:
        """See Listener.ended."""
        unconfirmed = self._unconfirmed
        self._begin()
        ended = end_of(self._host, end)
        for message in unconfirmed.values():
            self.fates.failed(message, ended.error_for(message))
        self.fates.lost(ended)

    async def _to(self, host: str) -> AmqpConnection:
        address = self._address
        self._host = host
        link = await AmqpConnection.opened(
            *host_and_port(host),
            self._tls,
            address.user or GUEST,
            address.password or GUEST,
            self._confirms,
            self,
        )
        try:
            self._reply_to = DIRECT_REPLY_TO
            if address.replies == "queue":
                self._reply_to = f"{address.replies_to}.{secrets.token_hex(8)}"
                queue = commands.Queue.Declare(
                    queue=self._reply_to, exclusive=True, auto_delete=True
                )
                await link.call(queue, commands.Queue.DeclareOk)
            consume = commands.Basic.Consume(queue=self._reply_to, no_ack=True)
            await link.call(consume, commands.Basic.ConsumeOk)
        except BaseException:
            await link.close(at_once=True)
            raise
        return link

    def _frames(self, link: AmqpConnection, message: Message) -> bytes:
        queue, body = message.queue, message.body
        if message.stamp:
            publication = self._publications.get(queue)
            if publication is None:
                properties = self._properties(headers={STAMP: bytearray(_EXAMPLE)})
                publication = self._publications[queue] = Publication(
                    queue, self._mandatory, properties, link.frame_bytes, _EXAMPLE
                )
            return publication.frames(body, message.stamp)
        properties = self._properties(
            headers=context_headers(message.context) or None,
            correlation_id=str(message.operation),
            reply_to=self._reply_to,
        )
        return Publication(queue, self._mandatory, properties, link.frame_bytes).frames(body)

    def _properties(self, **more: Any) -> commands.Basic.Properties:
        return commands.Basic.Properties(
            content_type=self.fates.codec.media_type,
            delivery_mode=delivery_mode(self._address),
            **more,
        )


class RabbitmqAsyncio(RabbitmqDriver):
    """A connection a lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(AsyncioLane)


def end_of(host: str, error: Ended | OSError) -> End:
    """Why something ended, from the connection's error."""
    if isinstance(error, Ended):
        return End(host, error.why, error.code)
    words = "it does not answer" if isinstance(error, TimeoutError) else str(error)
    return End(host, words)
