"""What the gRPC styles share: raw methods in each codec, health, reflection, and a server."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos import orders_pb2 as pb
from protos.codec import Codec
from protos.codecs import CODECS
from protos.context import NOTHING, Context
from protos.frames import MAX_FRAME_BYTES
from protos.problems import TABLE, Refusal
from protos.rpc import PROBLEM, REQUEST_ID, TRACEPARENT, service_in
from servers.base import Bind, Listening, refusal

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_FRAME_BYTES)]

Rpc: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Methods: TypeAlias = "dict[str, grpc.RpcMethodHandler[bytes, bytes]]"
"""Handlers by name; messages are bytes, so that what cannot be read is refused in our own words."""
MethodsIn = Callable[[Codec], Methods]


def context_of(rpc: Rpc) -> Context:
    """What accompanies an order in a call's metadata."""
    metadata: dict[str, Any] = dict(rpc.invocation_metadata() or ())
    request_id, traceparent = metadata.get(REQUEST_ID), metadata.get(TRACEPARENT)
    if request_id is None and traceparent is None:
        return NOTHING
    return Context(request_id or "", traceparent or "")


async def refuse(error: Exception, rpc: Rpc) -> NoReturn:
    """End a call with the status of what is wrong."""
    problem = refusal(error)
    code = grpc.StatusCode[TABLE[problem.code].grpc]
    await rpc.abort(code, problem.detail, ((PROBLEM, problem.code),))


class _Elsewhere(grpc.GenericRpcHandler):
    """Answers what is asked for and not there."""

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """See grpc.GenericRpcHandler."""

        async def refused(_: AsyncIterator[bytes], rpc: Rpc) -> None:
            await refuse(Refusal("not_found", details.method), rpc)

        return grpc.stream_stream_rpc_method_handler(refused)


async def listen(bind: Bind, methods_in: MethodsIn) -> Listening:
    """Serve methods in every codec. Raises RuntimeError if the port cannot be bound."""
    compression = grpc.Compression.Gzip if bind.compression else grpc.Compression.NoCompression
    server = grpc.aio.server(options=OPTIONS, compression=compression)
    names = [service_in(codec) for codec in CODECS.values()]
    for codec in CODECS.values():
        handlers = grpc.method_handlers_generic_handler(service_in(codec), methods_in(codec))
        server.add_generic_rpc_handlers((handlers,))
    known = pb.DESCRIPTOR.services_by_name["Orders"].full_name
    reflection.enable_server_reflection(
        (known, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in ("", *names):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    server.add_generic_rpc_handlers((_Elsewhere(),))
    where = f"{bind.shown_host}:{bind.port}"
    if bind.certificate is not None and bind.key is not None:
        pair = (Path(bind.key).read_bytes(), Path(bind.certificate).read_bytes())
        bound = server.add_secure_port(where, grpc.ssl_server_credentials([pair]))
    else:
        bound = server.add_insecure_port(where)
    await server.start()

    async def stop() -> None:
        await server.stop(grace=1.0)

    scheme = "grpcs://" if bind.certificate is not None else ""
    return Listening(f"{scheme}{bind.shown_host}:{bound}", stop)
