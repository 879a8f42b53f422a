"""What the rig asks a Kafka node itself, in Kafka's own protocol: who takes part, and who leads.

The harness imports no client library; these two requests are all that it needs of one.
"""

import asyncio
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

METADATA = (3, 5)
"""API key and version; this version is the same on every Kafka since 1.0."""
CREATE_TOPICS = (19, 2)
ANSWER_LIMIT_S = 5.0
"""Of the controller that a node passes a request on to."""

T = TypeVar("T")
_CLIENT = "orderbench"


class WireError(Exception):
    """A node that did not answer, or not as the protocol says."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """A node's view of its cluster."""

    cluster: str
    nodes: frozenset[int]
    """Ids of those that take part: registered, and not fenced."""
    leaders: Mapping[str, Mapping[int, int]]
    """Of each topic asked for that exists: the leader of each partition, -1 for none."""


async def metadata(host: str, *topics: str) -> Metadata:
    """Ask the node at host:port for its view, however long it takes. Raises WireError."""
    body = struct.pack(">i", len(topics)) + b"".join(map(_string, topics)) + b"\0"
    answer = await _ask(host, METADATA, body)
    answer.int32()
    nodes = frozenset(answer.many(lambda: _broker(answer)))
    cluster = answer.string()
    answer.int32()
    return Metadata(cluster, nodes, dict(answer.many(lambda: _topic(answer))))


async def could_place(host: str, replicas: int) -> bool:
    """Whether the controller would now make a topic of so many replicas, one a node; it makes none.

    This is the controller's own view, which nodes see a little later. Raises WireError.
    """
    body = struct.pack(">i", 1) + _string("orderbench-probe")
    body += struct.pack(">ihiii?", 1, replicas, 0, 0, int(ANSWER_LIMIT_S * 1000), True)
    answer = await _ask(host, CREATE_TOPICS, body)
    answer.int32()
    return answer.many(lambda: (answer.string(), answer.int16(), answer.string())[1]) == [0]


def _broker(answer: "_Answer") -> int:
    node = answer.int32()
    answer.string()
    answer.int32()
    answer.string()
    return node


def _topic(answer: "_Answer") -> tuple[str, dict[int, int]]:
    answer.int16()
    name = answer.string()
    answer.int8()
    return name, dict(answer.many(lambda: _partition(answer)))


def _partition(answer: "_Answer") -> tuple[int, int]:
    answer.int16()
    partition, leader = answer.int32(), answer.int32()
    for _ in ("replicas", "in sync", "offline"):
        answer.many(answer.int32)
    return partition, leader


async def _ask(host: str, api: tuple[int, int], body: bytes) -> "_Answer":
    request = struct.pack(">hhi", *api, 0) + _string(_CLIENT) + body
    name, _, port = host.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(name.strip("[]"), int(port))
        try:
            writer.write(struct.pack(">i", len(request)) + request)
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            answer = _Answer(await reader.readexactly(length))
        finally:
            writer.close()
    except (OSError, EOFError) as error:
        raise WireError(f"{host} does not answer ({error})") from None
    answer.int32()
    return answer


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()


class _Answer:
    """Reads one answer from its beginning to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def int8(self) -> int:
        return self._number(">b")

    def int16(self) -> int:
        return self._number(">h")

    def int32(self) -> int:
        return self._number(">i")

    def string(self) -> str:
        """Empty for null."""
        length = max(0, self.int16())
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def many(self, read: Callable[[], T]) -> list[T]:
        return [read() for _ in range(self.int32())]

    def _number(self, form: str) -> int:
        try:
            (number,) = struct.unpack_from(form, self._data, self._at)
        except struct.error:
            raise WireError("an answer that is too short") from None
        self._at += struct.calcsize(form)
        return int(number)
