"""What a worker at Kafka does with what it reads, whichever library reads it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from orders.model import Update
from protos.broker import (
    COMMIT_EVERY_S,
    CONTENT_TYPE,
    CORRELATION_ID,
    PROBLEM,
    REPLY_TO,
    BrokerAddress,
    Commit,
)
from protos.codecs import JSON
from protos.kafka import Headers, context_of, read_reply_to, text
from protos.stamp import STAMP
from servers.base import Bind, Desk, Drain, Drained
from servers.worker import Worker, changes_wanted, every

HEARTBEAT_MS = 300
SESSION_MS = 10_000
POLLS_AT_MOST_APART_MS = 3_600_000
"""Work may take long; a worker that hangs is not its group's to find."""
STAND_LIMIT_S = 20.0
LAG_EVERY_S = 0.25
QUIET_S = 1.0
"""A worker is drained when it has been at the end for so long."""
COMMIT_LIMIT_S = 5.0
ASK_LIMIT_S = 2.0
"""How long a broker may take to say where partitions end."""

log = logging.getLogger(__name__)


class Record(NamedTuple):
    """A message of the topic of orders."""

    partition: int
    offset: int
    value: bytes
    headers: Mapping[str, bytes]


class Log(Protocol):
    """The broker, by one library. Offsets are of the topic of orders, by partition."""

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group where to go on. What cannot be told is only logged."""

    async def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Where partitions end, asked of the broker now. Raises an error of the library's."""

    def ends_seen(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Where partitions ended as far as is known from what was fetched."""

    async def count(self, ends: Mapping[int, int], limit_s: float) -> int:
        """Messages that a new consumer without a group receives from the beginning up to `ends`
        within `limit_s` seconds. Raises an error of the library's."""

    async def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes, headers: Headers
    ) -> None:
        """Produce a message; returns once it is acknowledged. Raises an error of the library's."""

    def resume(self) -> None:
        """Fetch, from now on."""


class Done:
    """How far a partition is worked on: a prefix without gaps, since work ends in any order."""

    def __init__(self, start: int) -> None:
        self.next = start
        """Every message before it is finished."""
        self.committed = start
        self._open: dict[int, bool] = {}

    def begin(self, offset: int) -> None:
        """Announce a message; in the order of offsets. Where none is under way there may be a gap
        before it: messages that are no more."""
        if not self._open:
            self.next = offset
        self._open[offset] = False

    def finish(self, offset: int) -> None:
        """The work on a message is over."""
        self._open[offset] = True
        while self._open:
            first = next(iter(self._open))
            if not self._open[first]:
                break
            del self._open[first]
            self.next = first + 1


class Work:
    """The partitions of one worker, and the work on what comes from them."""

    def __init__(self, desk: Desk, bind: Bind, address: BrokerAddress, broker: Log) -> None:
        self._worker = Worker(desk, bind.worker)
        self._address = address
        self._broker = broker
        self._done: dict[int, Done] = {}
        self._room = asyncio.Semaphore(address.prefetch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lag: list[tuple[int, int]] = []
        self._assigned = asyncio.Event()
        self._commits = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._timers: list[asyncio.Task[None]] = []
        self._watchers = desk.service.watchers

    def begin(self) -> None:
        """Start what runs beside the work."""
        self._timers.append(asyncio.create_task(every(LAG_EVERY_S, self._note_lag)))
        if self._address.commit is Commit.BATCH:
            self._timers.append(asyncio.create_task(every(COMMIT_EVERY_S, self._commit)))
        if changes_wanted():
            self._watchers.append(self._tell)

    async def stand(self) -> None:
        """Wait until the group has given this worker its partitions, if only none.

        Raises TimeoutError.
        """
        try:
            async with asyncio.timeout(STAND_LIMIT_S):
                await self._assigned.wait()
        except TimeoutError:
            group = self._address.group
            raise TimeoutError(f"group {group} gave no partitions in {STAND_LIMIT_S:g} s") from None

    def assign(self, starts: Mapping[int, int]) -> None:
        """These partitions are this worker's from now on, from these offsets."""
        self._done = {partition: Done(start) for partition, start in starts.items()}
        self._assigned.set()

    async def revoke(self) -> None:
        """The partitions may become another worker's: finish and commit what was begun."""
        async with self._taking:
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._address.commit is not Commit.AUTO:
                await self._commit()
            self._done = {}

    async def take(self, records: Iterable[Record]) -> None:
        """Work on messages, in this order; returns when there is room for more."""
        async with self._taking:
            for record in records:
                done = self._done.get(record.partition)
                if done is None or record.offset < done.next:
                    continue
                done.begin(record.offset)
                if REPLY_TO in record.headers:
                    await self._room.acquire()
                    self._start(self._answer(record, done))
                else:
                    await self._worker.process(
                        record.value,
                        record.headers.get(STAMP, b""),
                        record.partition,
                        text(record.headers, CONTENT_TYPE),
                    )
                    await self._finish(record, done)

    async def drain(self, how: Drain) -> Drained:
        """See servers.base.Drain. What is read again is of this worker's own partitions."""
        loop = asyncio.get_running_loop()
        end = loop.time() + how.limit_s
        self._broker.resume()
        own = sorted(self._done)
        # In this order: where the answer took long, nothing was seen to be quiet meanwhile.
        ends, quiet_since = await self._ends(own), loop.time()
        while (now := loop.time()) < end and now - quiet_since < QUIET_S:
            await asyncio.sleep(min(0.05, end - now))
            before = ends
            if ends is None or not self._left(ends):
                ends = await self._ends(own)
            if ends is None or self._left(ends) or ends != before:
                quiet_since = loop.time()
        await self._commit()
        self._note_lag()
        left = None if ends is None else self._left(ends)
        again = None
        if how.read_again and ends is not None:
            again = await self._count(ends, how.limit_s)
        await asyncio.to_thread(self._worker.arrivals.write, Path(how.arrivals))
        return Drained(len(self._worker.arrivals), left, again, tuple(self._lag))

    async def stop(self) -> None:
        """End what is under way; what is finished is committed."""
        if self._tell in self._watchers:
            self._watchers.remove(self._tell)
        for task in (*self._timers, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._timers, *self._tasks, return_exceptions=True)
        if self._address.commit is not Commit.AUTO:
            await self._commit()

    def _start(self, coroutine: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, record: Record, done: Done) -> None:
        headers = record.headers
        try:
            answer = await self._worker.answer(
                record.value, text(headers, CONTENT_TYPE), context_of(headers)
            )
            where = read_reply_to(text(headers, REPLY_TO))
            if where is not None:
                said: Headers = [(CORRELATION_ID, headers.get(CORRELATION_ID, b""))]
                if answer.problem:
                    said.append((PROBLEM, answer.problem.encode()))
                await self._send(*where, None, answer.body, said)
            await self._finish(record, done)
        finally:
            self._room.release()

    async def _finish(self, record: Record, done: Done) -> None:
        done.finish(record.offset)
        if self._address.commit is Commit.EACH:
            await self._commit()

    async def _commit(self) -> None:
        async with self._commits:
            ahead = {p: d.next for p, d in self._done.items() if d.next > d.committed}
            if not ahead:
                return
            try:
                async with asyncio.timeout(COMMIT_LIMIT_S):
                    await self._broker.commit(ahead)
            except TimeoutError:
                log.warning("cannot commit: the broker does not answer")
                return
            for partition, offset in ahead.items():
                if partition in self._done:
                    self._done[partition].committed = offset

    async def _ends(self, partitions: Sequence[int]) -> Mapping[int, int] | None:
        """Where partitions end; None if the broker does not say."""
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                return await self._broker.ends(partitions)
        except Exception as error:
            log.warning("cannot see where partitions end: %r", error)
            return None

    async def _count(self, ends: Mapping[int, int], limit_s: float) -> int | None:
        """See Log.count; None if the broker does not answer."""
        try:
            async with asyncio.timeout(limit_s + ASK_LIMIT_S):
                return await self._broker.count(ends, limit_s)
        except Exception as error:
            log.warning("cannot read again: %r", error)
            return None

    async def _send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes, headers: Headers
    ) -> None:
        try:
            await self._broker.send(topic, partition, key, value, headers)
        except Exception as error:
            log.error("cannot produce to %s: %s", topic, error)

    def _tell(self, update: Update) -> None:
        key = update.idempotency_key.encode()
        value = JSON.encode_update(update)
        self._start(self._send(self._address.changes, None, key, value, []))

    def _left(self, ends: Mapping[int, int]) -> int:
        return sum(max(0, end - self._done[p].next) for p, end in ends.items() if p in self._done)

    def _note_lag(self) -> None:
        behind = self._left(self._broker.ends_seen(list(self._done)))
        self._lag.append((time.monotonic_ns(), behind))
