"""Kafka's protocol, by the field tables of aiokafka: what carries an order, else the name."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.protocol import commit, fetch, produce
from aiokafka.record.memory_records import MemoryRecords

from tests.wire.dialogue import Message, shortened

HEAD = struct.Struct(">hhih")
PRODUCE, FETCH, OFFSET_COMMIT = 0, 1, 8
NAMES = {
    PRODUCE: "Produce",
    FETCH: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    OFFSET_COMMIT: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    14: "SyncGroup",
    18: "ApiVersions",
    19: "CreateTopics",
    22: "InitProducerId",
}
SHOWN = (PRODUCE, FETCH, OFFSET_COMMIT)
TABLES: dict[str, Any] = {
    name: kind for module in (produce, fetch, commit) for name, kind in vars(module).items()
}
"""By names as `ProduceRequest_v7`."""


class Asked(NamedTuple):
    """A request that waits for its answer."""

    api: int
    version: int


class Kafka:
    """One connection."""

    def __init__(self) -> None:
        self._rest = {True: bytearray(), False: bytearray()}
        self._asked: dict[int, Asked] = {}

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """See Dialogue."""
        rest = self._rest[there]
        rest += data
        while len(rest) >= 4:
            size = 4 + int.from_bytes(rest[:4], "big")
            if len(rest) < size:
                return
            body = bytes(rest[4:size])
            del rest[:size]
            yield (self._request if there else self._answer)(body, size)

    def _request(self, body: bytes, size: int) -> Message:
        api, version, number, name_bytes = HEAD.unpack_from(body)
        self._asked[number] = Asked(api, version)
        name = f"{NAMES.get(api, f'API {api}')} request"
        if api not in SHOWN or api == FETCH:
            return Message(name, size, "", True)
        fields = _fields("Request", api, version, body[HEAD.size + max(0, name_bytes) :])
        return Message(name, size, _words(version, number, api, fields))

    def _answer(self, body: bytes, size: int) -> Message:
        (number,) = struct.unpack_from(">i", body)
        api, version = self._asked.pop(number)
        name = f"{NAMES.get(api, f'API {api}')} response"
        if api not in SHOWN:
            return Message(name, size, "", True)
        fields = _fields("Response", api, version, body[4:])
        words = _words(version, number, api, fields)
        return Message(name, size, words, api == FETCH and "\n  record" not in words)


def _fields(way: str, api: int, version: int, body: bytes) -> dict[str, Any]:
    table = TABLES[f"{NAMES[api]}{way}_v{version}"]
    decoded = table.decode(BytesIO(body))
    kinds = zip(table.SCHEMA.names, table.SCHEMA.fields, strict=True)
    return {name: _named(getattr(decoded, name), kind) for name, kind in kinds}


def _named(value: Any, kind: Any) -> Any:
    """Tuples of an array with their names."""
    inner = getattr(kind, "array_of", None)
    if inner is None or not hasattr(inner, "names"):
        return value
    return [
        {n: _named(v, k) for n, v, k in zip(inner.names, each, inner.fields, strict=True)}
        for each in value or ()
    ]


def _words(version: int, number: int, api: int, fields: dict[str, Any]) -> str:
    lines = [f"API {api} version {version}, correlation id {number}"]
    _list(fields, lines)
    return "\n".join(lines)


def _list(fields: dict[str, Any], lines: list[str]) -> None:
    for name, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for each in value:
                # A fetch names every partition that it watches.
                if each.get("message_set") != b"":
                    _list(each, lines)
        elif isinstance(value, bytes) and name in ("messages", "message_set"):
            _records(value, lines)
        elif value not in (None, [], ""):
            lines.append(f"{name}: {value}")


def _records(data: bytes, lines: list[str]) -> None:
    batches = MemoryRecords(data)
    while batches.has_next():
        batch = batches.next_batch()
        lines.append(f"record batch of {len(data)} bytes, producer id {batch.producer_id}")
        for record in batch:
            lines.append(f"  record: key {_text(record.key)}")
            lines += [f"  header {name}: {_text(value)}" for name, value in record.headers]
            lines.append(f"  {shortened(_text(record.value))}")


def _text(data: bytes | None) -> str:
    return "none" if data is None else data.decode("utf-8", "replace")
