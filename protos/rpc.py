"""Names of gRPC methods and metadata.

The methods of orders.proto exist twice: in its own codec, and in JSON under a service of its own,
so that codec and transport can be told apart.
"""

from protos.codec import Codec

_SERVICES = {"protobuf": "orderbench.v1.Orders", "json": "orderbench.v1.OrdersAsJson"}

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
