"""The clients of null servers: the raw drivers, which write no order and read no answer but the id
and the key of each (protos.null_codec)."""

from typing import ClassVar

from clients.grpc_unary_asyncio import GrpcUnaryAsyncio
from clients.rest_asyncio import RestAsyncio
from clients.websocket_asyncio import WebSocketAsyncio
from protos.codec import Codec
from protos.null_codec import NULL_JSON, NULL_PROTOBUF


class RestNull(RestAsyncio):
    """HTTP/1.1 alone."""

    own: ClassVar[Codec] = NULL_JSON


class WebSocketNull(WebSocketAsyncio):
    """WebSocket alone."""

    own: ClassVar[Codec] = NULL_JSON


class GrpcUnaryNull(GrpcUnaryAsyncio):
    """HTTP/2 as gRPC uses it, alone."""

    own: ClassVar[Codec] = NULL_PROTOBUF
