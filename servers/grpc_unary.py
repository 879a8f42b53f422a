"""S2 `grpc-unary`: one call an order."""

import logging
from typing import NoReturn

import grpc

from orders.service import OrderService
from protos import codec, orders_pb2_grpc
from protos import orders_pb2 as pb
from protos.frames import MAX_FRAME_BYTES
from protos.problems import GRPC_METADATA_KEY, TABLE, problem_of
from servers.base import Listening

log = logging.getLogger(__name__)

OPTIONS = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_FRAME_BYTES)]


class UnaryOrders(orders_pb2_grpc.OrdersServicer):
    """Place as a unary call."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    async def Place(
        self, request: pb.Order, context: grpc.aio.ServicerContext[pb.Order, pb.Confirmation]
    ) -> pb.Confirmation:
        try:
            confirmation = await self._service.place(codec.order_from_pb(request))
        except Exception as error:
            await _refuse(error, context)
        return codec.confirmation_to_pb(confirmation)


async def _refuse(
    error: Exception, context: grpc.aio.ServicerContext[pb.Order, pb.Confirmation]
) -> NoReturn:
    problem = problem_of(error)
    if problem.code == "internal":
        log.error("order failed", exc_info=error)
    await context.abort(
        grpc.StatusCode[TABLE[problem.code].grpc],
        problem.detail,
        ((GRPC_METADATA_KEY, problem.code),),
    )


async def start(service: OrderService, host: str, port: int) -> Listening:
    """Serve on host:port (0: any free port)."""
    return await listen(UnaryOrders(service), host, port)


async def listen(servicer: orders_pb2_grpc.OrdersServicer, host: str, port: int) -> Listening:
    """Serve any implementation of Orders. Raises RuntimeError if the port cannot be bound."""
    server = grpc.aio.server(options=OPTIONS)
    orders_pb2_grpc.add_OrdersServicer_to_server(servicer, server)
    shown = f"[{host}]" if ":" in host else host
    bound = server.add_insecure_port(f"{shown}:{port}")
    await server.start()

    async def stop() -> None:
        await server.stop(grace=1.0)

    return Listening(f"{shown}:{bound}", stop)
