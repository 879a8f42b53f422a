"""`grpc-unary:grpcio`: one call an order, one channel a lane."""

import asyncio

import grpc

from clients.base import Call, DriverError, Failure, Sink
from clients.grpc_channel import channel_to, connected, failure_of
from orders.model import Confirmation, Order
from protos import codec, orders_pb2_grpc


class GrpcUnary:
    """A channel, which is a connection, for each lane; calls share it."""

    multiplexes = True

    def __init__(self) -> None:
        self._target = ""
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._stubs: dict[int, orders_pb2_grpc.OrdersStub] = {}

    async def open(self, target: str, lanes: int, sink: Sink) -> None:
        """See Driver.open."""
        self._target = target
        for lane in range(lanes):
            self._stub(lane)
        await asyncio.gather(*(connected(c, target) for c in self._channels.values()))

    async def close(self) -> None:
        """See Driver.close."""
        self._stubs.clear()
        while self._channels:
            _, channel = self._channels.popitem()
            await channel.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        try:
            reply = await self._stub(lane).Place(codec.order_to_pb(order))
            return codec.confirmation_from_pb(reply)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from None
        except codec.MalformedReply as error:
            raise DriverError(Failure.PROTOCOL, str(error)) from None

    def _stub(self, lane: int) -> orders_pb2_grpc.OrdersStub:
        stub = self._stubs.get(lane)
        if stub is None:
            channel = self._channels[lane] = channel_to(self._target)
            stub = self._stubs[lane] = orders_pb2_grpc.OrdersStub(channel)
        return stub
