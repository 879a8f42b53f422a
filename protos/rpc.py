"""Names of gRPC methods and metadata.

The methods of orders.proto exist twice: in its own codec, and in JSON under a service of its own,
so that codec and transport can be told apart.
"""

import struct

from protos.codec import Codec

_SERVICES = {
    "protobuf": "orderbench.v1.Orders",
    "json": "orderbench.v1.OrdersAsJson",
    "null": "orderbench.v1.Nothing",
}

REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"
PROBLEM = "orderbench-problem"
"""Trailing metadata: the code of the problem."""


def service_in(codec: Codec) -> str:
    """The service whose messages are written by a codec."""
    return _SERVICES[codec.name]


def method_in(codec: Codec, method: str) -> str:
    """The path of one of its methods."""
    return f"/{_SERVICES[codec.name]}/{method}"


STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
"""The names of gRPC's statuses, each at its number."""
_PREFIX = struct.Struct(">BL")
PREFIX_BYTES = _PREFIX.size


class MalformedMessage(Exception):
    """A body that is not one message."""


def framed(message: bytes) -> bytes:
    """A message as gRPC puts it into a body."""
    return _PREFIX.pack(0, len(message)) + message


def claimed_bytes(body: bytes) -> int:
    """How long the message at a body's beginning says that it is; 0 while it does not say."""
    return int(_PREFIX.unpack_from(body)[1]) if len(body) >= PREFIX_BYTES else 0


def message_in(body: bytes) -> bytes:
    """The one message that is a whole body. Raises MalformedMessage."""
    if len(body) < PREFIX_BYTES:
        raise MalformedMessage("a body without a message")
    packed, size = _PREFIX.unpack_from(body)
    if packed:
        raise MalformedMessage("a message that is packed, which nobody agreed on")
    if size != len(body) - PREFIX_BYTES:
        raise MalformedMessage(f"a message of {size} bytes in a body of {len(body)}")
    return body[PREFIX_BYTES:]
