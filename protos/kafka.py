"""What Kafka's drivers and workers agree on beside protos.broker: headers, and libraries' options.

An order's key is what it is about, its value the order in the codec that `content-type` names. One
that wants a reply says where to in `reply-to`; one that wants none has a stamp (protos.stamp).
"""

import ssl
import zlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from protos.broker import (
    CONTENT_TYPE,
    CORRELATION_ID,
    REPLY_TO,
    BrokerAddress,
    Durability,
    read_broker,
)
from protos.context import NOTHING, Context
from protos.http import REQUEST_ID, TRACEPARENT

REQUEST_ID_HEADER = REQUEST_ID.lower()
LARGEST_BYTES = 1_000_000
"""Of a message that a producer takes: what a broker's own default admits, with room for headers."""
DELIVERY_LIMIT_S = 15.0
"""How long a producer tries to deliver a message: longer than a new leader takes to be found."""

Headers: TypeAlias = list[tuple[str, str | bytes | None]]
"""As libraries take them; the values are bytes here."""


def read_kafka(text: str) -> BrokerAddress:
    """The address of a Kafka. Raises ValueError saying what is wrong with it."""
    address = read_broker(text)
    if address.kind != "kafka":
        raise ValueError(f"{address.scheme}:// is no address of a Kafka")
    return address


def request_headers(
    operation: int, reply_to: bytes, media_type: bytes, context: Context
) -> Headers:
    """Of an order that wants a reply."""
    headers: Headers = [
        (CORRELATION_ID, b"%d" % operation),
        (REPLY_TO, reply_to),
        (CONTENT_TYPE, media_type),
    ]
    if context.request_id:
        headers.append((REQUEST_ID_HEADER, context.request_id.encode()))
    if context.traceparent:
        headers.append((TRACEPARENT, context.traceparent.encode()))
    return headers


def context_of(headers: Mapping[str, bytes]) -> Context:
    """What `request_headers` wrote beside the order."""
    if REQUEST_ID_HEADER not in headers and TRACEPARENT not in headers:
        return NOTHING
    return Context(text(headers, REQUEST_ID_HEADER), text(headers, TRACEPARENT))


def by_name(headers: Any) -> dict[str, bytes]:
    """Those of a library's pairs that have a value; of pairs with one name, the last."""
    return {name: bytes(value) for name, value in headers or () if value is not None}


def text(headers: Mapping[str, bytes], name: str) -> str:
    """A header's text; empty where there is none or it is no text."""
    return headers.get(name, b"").decode("utf-8", "ignore")


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: librdkafka's own choice, which every driver makes."""
    return zlib.crc32(key) % partitions


def reply_to(topic: str, partition: int) -> bytes:
    """The header's value for a place where replies are read."""
    return f"{topic}:{partition}".encode()


def read_reply_to(value: str) -> tuple[str, int] | None:
    """Topic and partition of a `reply-to`; None if it says no such thing."""
    topic, _, partition = value.rpartition(":")
    if not topic or not (partition.isascii() and partition.isdigit()):
        return None
    return topic, int(partition)


def _protocol(address: BrokerAddress) -> str:
    return f"{'SASL_' if address.user else ''}{'SSL' if address.tls else 'PLAINTEXT'}"


def aiokafka_options(address: BrokerAddress) -> dict[str, Any]:
    """How aiokafka's clients connect. Raises OSError if the address's `ca` cannot be read."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(address.hosts),
        "security_protocol": _protocol(address),
    }
    if address.tls:
        options["ssl_context"] = ssl.create_default_context(cafile=address.ca or None)
    if address.user:
        options["sasl_mechanism"] = address.mechanism
        options["sasl_plain_username"] = address.user
        options["sasl_plain_password"] = address.password
    return options


def _is_safe(address: BrokerAddress) -> bool:
    """P7: whether a producer is idempotent and sends again what fails. Classes C and D cannot be
    had without, and A not with it."""
    if address.durability is Durability.LEADER:
        return address.safe
    return address.durability is not Durability.NONE


def _acks(address: BrokerAddress) -> str | int:
    if _is_safe(address):
        return "all"
    return 0 if address.durability is Durability.NONE else 1


def aiokafka_producer(address: BrokerAddress, compression: bool) -> dict[str, Any]:
    """An aiokafka producer's options, connection included."""
    safe = _is_safe(address)
    return {
        **aiokafka_options(address),
        "acks": _acks(address),
        "enable_idempotence": safe,
        "linger_ms": address.linger_ms,
        "max_batch_size": address.batch_bytes,
        "max_request_size": LARGEST_BYTES,
        "request_timeout_ms": round(DELIVERY_LIMIT_S * 1000),
        "compression_type": "gzip" if compression else None,
    }


def confluent_options(address: BrokerAddress) -> dict[str, Any]:
    """How librdkafka's clients connect."""
    options: dict[str, Any] = {
        "bootstrap.servers": ",".join(address.hosts),
        "security.protocol": _protocol(address),
        "socket.nagle.disable": True,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "allow.auto.create.topics": False,
        "log_level": 2,
    }
    if address.ca:
        options["ssl.ca.location"] = address.ca
    if address.user:
        options["sasl.mechanism"] = address.mechanism
        options["sasl.username"] = address.user
        options["sasl.password"] = address.password
    return options


def confluent_producer(address: BrokerAddress, compression: bool, waiting: int) -> dict[str, Any]:
    """A librdkafka producer's options, connection included; `waiting` messages fit its queue."""
    safe = _is_safe(address)
    return {
        **confluent_options(address),
        "acks": _acks(address),
        "enable.idempotence": safe,
        "retries": 2**31 - 1 if safe else 0,
        "linger.ms": address.linger_ms,
        "batch.size": address.batch_bytes,
        "message.max.bytes": LARGEST_BYTES,
        "delivery.timeout.ms": round(DELIVERY_LIMIT_S * 1000),
        "queue.buffering.max.messages": waiting,
        "queue.buffering.max.kbytes": 1 << 20,
        "partitioner": "consistent_random",  # as partition_of
        "compression.type": "gzip" if compression else "none",
    }
