"""What RabbitMQ's drivers and workers agree on beside protos.broker.

An order's body is in the codec that the property `content_type` names. One that wants a reply says
where to in `reply_to` and has a `correlation_id`; one that wants none has a header with its stamp
(protos.stamp).
"""

import ssl
import zlib
from collections.abc import Mapping
from typing import Any

from protos.broker import BrokerAddress, Durability, read_broker
from protos.context import NOTHING, Context
from protos.http import REQUEST_ID, TRACEPARENT

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
"""The queue that stands for replies without a queue."""
STREAM_OFFSET = "x-stream-offset"
"""Where a consumer of a stream begins, and where in the stream a message lies."""
GUEST = "guest"
"""The user, and password, of an address that names none."""


def read_rabbitmq(text: str) -> BrokerAddress:
    """The address of a RabbitMQ. Raises ValueError saying what is wrong with it."""
    address = read_broker(text)
    if address.kind != "rabbitmq":
        raise ValueError(f"{address.scheme}:// is no address of a RabbitMQ")
    return address


def host_and_port(host: str) -> tuple[str, int]:
    """One of an address's hosts, as sockets take it."""
    name, _, port = host.rpartition(":")
    return name.removeprefix("[").removesuffix("]"), int(port)


def tls_of(address: BrokerAddress, ca: str | None = None) -> ssl.SSLContext | None:
    """How to encrypt, or None; the address's own `ca` comes first. Raises OSError."""
    return ssl.create_default_context(cafile=address.ca or ca or None) if address.tls else None


def partition_of(key: str, partitions: int) -> int:
    """The partition of a message: a key's messages are all in one, and so keep their order."""
    return zlib.crc32(key.encode()) % partitions


def confirms(address: BrokerAddress) -> bool:
    """Whether publishers are told when the broker has a message."""
    return address.durability is not Durability.NONE


def delivery_mode(address: BrokerAddress) -> int:
    """AMQP's property of a message: 2 is kept on disk, 1 is not."""
    return 2 if confirms(address) else 1


def queue_options(address: BrokerAddress) -> dict[str, Any]:
    """With what an order's queue is declared: `durable` and `arguments`."""
    kinds = {Durability.REPLICATED: "stream", Durability.FLUSHED: "quorum"}
    kind = kinds.get(address.durability, "classic")
    return {
        "durable": address.durability is not Durability.NONE,
        "arguments": {"x-queue-type": kind},
    }


def context_headers(context: Context) -> dict[str, Any]:
    """The headers of what accompanies an order."""
    said = {REQUEST_ID: context.request_id, TRACEPARENT: context.traceparent}
    return {name: text for name, text in said.items() if text}


def context_of(headers: Mapping[str, Any]) -> Context:
    """What `context_headers` wrote."""
    if REQUEST_ID not in headers and TRACEPARENT not in headers:
        return NOTHING
    return Context(text_of(headers, REQUEST_ID), text_of(headers, TRACEPARENT))


def text_of(headers: Mapping[str, Any], name: str) -> str:
    """A header's text; empty where there is none or it is no text."""
    found = headers.get(name)
    if isinstance(found, (bytes, bytearray)):
        return found.decode("utf-8", "ignore")
    return found if isinstance(found, str) else ""


def bytes_of(headers: Mapping[str, Any], name: str) -> bytes:
    """A header's bytes; empty where there is none or they are something else."""
    found = headers.get(name)
    if isinstance(found, str):
        return found.encode()
    return bytes(found) if isinstance(found, (bytes, bytearray)) else b""
