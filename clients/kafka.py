"""What Kafka's drivers share: what waits for replies, and what failures amount to."""

import asyncio
import time
import zlib
from collections.abc import Mapping

from clients.base import DriverError, Failure, Milestone, Sink
from clients.replies import read_reply
from orders.model import Confirmation
from protos.broker import CORRELATION_ID, PROBLEM, BrokerAddress
from protos.codec import Codec
from protos.kafka import LARGEST_BYTES, read_kafka, text

OPEN_LIMIT_S = 8.0
"""For all that it takes to open a driver."""
PULSE_S = 1.0
"""How often a broker is asked whether it is there, while somebody waits for it."""


def address_of(target: str) -> BrokerAddress:
    """The broker's address. Raises DriverError."""
    try:
        return read_kafka(target)
    except ValueError as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None


def reply_partition(address: BrokerAddress, partitions: int, part: int) -> int:
    """Which of the topic of replies a generator reads: another one in another trial, and its own
    where there are enough for all `part`s of a trial."""
    return (zlib.crc32(address.namespace.encode()) + part) % partitions


def missing_topics(names: set[str]) -> DriverError:
    """Topics that a broker does not have."""
    return DriverError(Failure.PROTOCOL, f"no such topic: {', '.join(sorted(names))}")


def gone(address: BrokerAddress, why: str) -> DriverError:
    """A broker that does not answer."""
    return DriverError(Failure.DISCONNECTED, f"{', '.join(address.hosts)}: {why}")


def too_large(detail: str) -> DriverError:
    """A message that is larger than the producer or the broker takes."""
    said = f"too large for the broker's message.max.bytes, or above {LARGEST_BYTES} bytes: {detail}"
    return DriverError(Failure.REJECTED, said, "too_large")


class Inbox:
    """Operations that wait for their reply."""

    def __init__(self, sink: Sink, codec: Codec) -> None:
        self._sink = sink
        self._codec = codec
        self._waiting: dict[int, asyncio.Future[Confirmation | DriverError]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, operation: int) -> "asyncio.Future[Confirmation | DriverError]":
        """Announce an order before it is sent."""
        future: asyncio.Future[Confirmation | DriverError]
        future = self._waiting[operation] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, operation: int) -> None:
        """No longer wait for a reply; should it come, it is late."""
        self._waiting.pop(operation, None)

    def settle(self, value: bytes, headers: Mapping[str, bytes]) -> None:
        """Take a reply. One that nobody waits for is late: the sink's."""
        try:
            operation = int(headers.get(CORRELATION_ID, b""))
        except ValueError:
            return
        future = self._waiting.get(operation)
        if future is None or future.done():
            self._sink.arrived(operation, Milestone.DONE, time.monotonic_ns())
            return
        future.set_result(read_reply(self._codec, text(headers, PROBLEM), value))

    def fail(self, operation: int, error: DriverError) -> None:
        """Fail one that waits; nothing happens when it does not."""
        future = self._waiting.get(operation)
        if future is not None and not future.done():
            future.set_result(error)

    def fail_all(self, error: DriverError) -> None:
        """Fail everything that waits."""
        for operation in list(self._waiting):
            self.fail(operation, error)
