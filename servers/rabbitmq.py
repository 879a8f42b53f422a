"""S9 `rabbitmq`: workers that compete for orders from queues, by aio-pika.

A message that says where to is answered there; one that does not is an event. The worker makes the
queues unless its address says `create=0`. All workers take from all queues; of streams (class C),
which give everything to everybody, worker k of n takes those whose number is k modulo n. With
ORDERBENCH_CHANGES=1 in its environment a worker publishes each order that is confirmed, to a fanout
exchange. A worker that loses its connection makes another, at the next host if need be.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from orders.model import Update
from protos.broker import COMMIT_EVERY_S, PROBLEM, BrokerAddress, Durability
from protos.codecs import JSON
from protos.frames import MAX_FRAME_BYTES
from protos.rabbitmq import bytes_of, context_of, read_rabbitmq
from protos.stamp import STAMP
from servers.base import Bind, Desk, Drain, Drained, Listening
from servers.rabbitmq_session import AMQP_ERRORS, OPEN_LIMIT_S, Session, read_again
from servers.worker import Answer, Worker, changes_wanted, every

LAG_EVERY_S = 0.25
QUIET_S = 1.0
"""A worker is drained when nothing is left and nothing new came for so long."""
ASK_LIMIT_S = 2.0
"""How long the broker may take to say what it holds."""
AGAIN_S = 0.1
"""Before a further attempt to connect."""

log = logging.getLogger(__name__)


class Work:
    """What one worker does, whichever connection it has at the time."""

    def __init__(self, desk: Desk, bind: Bind, address: BrokerAddress) -> None:
        self._worker = Worker(desk, bind.worker)
        self._number = bind.worker
        self._address = address
        self._watchers = desk.service.watchers
        self._paused = bind.paused
        self._in_order = asyncio.Lock()
        self._came = 0
        self._in_hand = 0
        self._lag: list[tuple[int, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: Session
        self._everything = range(address.partitions)
        self._share = self._everything[bind.worker :: bind.workers]
        """The partitions whose lag it tells, and which it reads again."""
        streams = address.durability is Durability.REPLICATED
        self._taken = self._share if streams else self._everything

    async def open(self) -> None:
        """Connect and take, unless paused. Raises one of AMQP_ERRORS."""
        changes = self._address.changes if changes_wanted() else None
        self._session = await Session.opened(self._address, self._number)
        try:
            await self._session.prepare(self._everything, changes)
            await self._consume()
        except BaseException:
            await self._session.close()
            raise
        self._start(self._stay_connected())
        self._start(every(COMMIT_EVERY_S, self._acknowledge))
        self._start(every(LAG_EVERY_S, self._note_lag))
        if changes is not None:
            self._watchers.append(self._tell)

    async def close(self) -> None:
        """Take nothing more; what is finished is acknowledged."""
        if self._tell in self._watchers:
            self._watchers.remove(self._tell)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def drain(self, how: Drain) -> Drained:
        """See servers.base.Drain. What is read again is of its share of the partitions."""
        loop = asyncio.get_running_loop()
        end = loop.time() + how.limit_s
        await self._note_lag()
        if self._paused:
            self._paused = False
            await self._consume()
        left, came, quiet_since = await self._left(), self._came, loop.time()
        while (now := loop.time()) < end and now - quiet_since < QUIET_S:
            await asyncio.sleep(min(0.05, end - now))
            left = await self._left()
            if left != 0 or self._came != came:
                came, quiet_since = self._came, loop.time()
        await self._acknowledge()
        await self._note_lag()
        again = None
        if how.read_again:
            try:
                again = await read_again(self._address, self._share, how.limit_s)
            except AMQP_ERRORS as error:
                log.warning("cannot read again: %r", error)
        await asyncio.to_thread(self._worker.arrivals.write, Path(how.arrivals))
        return Drained(len(self._worker.arrivals), left, again, tuple(self._lag))

    async def _consume(self) -> None:
        if not self._paused:
            await self._session.consume(self._take, self._taken, self._address.prefetch)

    async def _take(self, session: Session, partition: int, message: DeliveredMessage) -> None:
        self._came += 1
        self._in_hand += 1
        try:
            if message.header.properties.reply_to:
                await self._answer(session, message)
            else:
                async with self._in_order:
                    await self._process(partition, message)
        except Exception as error:
            log.error("a message was lost: %r", error)
        finally:
            self._in_hand -= 1

    async def _process(self, partition: int, message: DeliveredMessage) -> None:
        properties = message.header.properties
        await self._worker.process(
            message.body,
            bytes_of(properties.headers or {}, STAMP),
            partition,
            properties.content_type or "",
        )

    async def _answer(self, session: Session, message: DeliveredMessage) -> None:
        asked = message.header.properties
        if len(message.body) > MAX_FRAME_BYTES:
            answer = Answer(b"an order has at most %d bytes" % MAX_FRAME_BYTES, "too_large")
        else:
            answer = await self._worker.answer(
                message.body, asked.content_type or "", context_of(asked.headers or {})
            )
        properties = Basic.Properties(
            correlation_id=asked.correlation_id,
            message_id=asked.correlation_id,
            delivery_mode=1,
            headers={PROBLEM: answer.problem} if answer.problem else None,
        )
        await session.publish("", asked.reply_to or "", answer.body, properties)

    async def _stay_connected(self) -> None:
        host = self._number
        while True:
            lost = self._session
            await lost.ended
            log.warning("the connection to the broker is lost")
            await lost.close()
            while self._session is lost:
                await asyncio.sleep(AGAIN_S)
                host += 1
                try:
                    self._session = await Session.opened(self._address, host, lost.next)
                except AMQP_ERRORS as error:
                    log.warning("cannot connect: %r", error)
            try:
                async with asyncio.timeout(OPEN_LIMIT_S):
                    await self._consume()
            except AMQP_ERRORS as error:
                log.warning("cannot take anything: %r", error)
                await self._session.close()

    async def _acknowledge(self) -> None:
        try:
            await self._session.acknowledge()
        except AMQP_ERRORS as error:
            log.warning("cannot acknowledge: %r", error)

    async def _left(self) -> int | None:
        """What the broker has for this worker, and what is worked on; None if unknown."""
        return await self._held(self._taken)

    async def _note_lag(self) -> None:
        behind = await self._held(self._share)
        if behind is not None:
            self._lag.append((time.monotonic_ns(), behind))

    async def _held(self, partitions: Sequence[int]) -> int | None:
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                return await self._session.held(partitions) + self._in_hand
        except AMQP_ERRORS:
            return None

    def _tell(self, update: Update) -> None:
        self._start(self._publish(JSON.encode_update(update)))

    async def _publish(self, change: bytes) -> None:
        try:
            properties = Basic.Properties(content_type=JSON.media_type, delivery_mode=1)
            await self._session.publish(self._address.changes, "", change, properties)
        except AMQP_ERRORS as error:
            log.warning("cannot publish a change: %r", error)

    def _start(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def start(desk: Desk, bind: Bind) -> Listening:
    """Work. Raises one of AMQP_ERRORS if the broker refuses, or cannot be reached."""
    address = read_rabbitmq(bind.broker)
    work = Work(desk, bind, address)
    await work.open()
    return Listening(str(address), work.close, work.drain)
