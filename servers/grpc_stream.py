"""S3 `grpc-stream`: one bidirectional stream a connection, replies matched by id, in any order."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from orders.service import OrderService
from protos import codec, frames, orders_pb2_grpc
from protos import orders_pb2 as pb
from servers.base import Listening, answer
from servers.grpc_unary import listen


class StreamingOrders(orders_pb2_grpc.OrdersServicer):
    """Place as frames on a stream."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    async def PlaceStream(
        self,
        request_iterator: AsyncIterator[pb.RequestFrame],
        context: grpc.aio.ServicerContext[pb.RequestFrame, pb.ReplyFrame],
    ) -> None:
        # A stream takes one write at a time.
        writing = asyncio.Lock()

        async def reply(frame: pb.RequestFrame) -> None:
            result = await answer(self._service, codec.order_from_pb(frame.order))
            async with writing:
                await context.write(frames.reply_to_pb(frame.id, result))

        async with asyncio.TaskGroup() as tasks:
            async for frame in request_iterator:
                tasks.create_task(reply(frame))


async def start(service: OrderService, host: str, port: int) -> Listening:
    """Serve on host:port (0: any free port)."""
    return await listen(StreamingOrders(service), host, port)
