"""`grpc-unary:grpcio`: one call an order, one channel a lane."""

import asyncio
from dataclasses import dataclass

import grpc

from clients.base import PLAIN, Call, DriverError, Failure, Sink, Wire
from clients.grpc_channel import channel_to, connected, failure_of, metadata_of
from orders.model import Confirmation, Order
from protos.codec import MalformedReply
from protos.codecs import PROTOBUF
from protos.rpc import method_in

Place = grpc.aio.UnaryUnaryMultiCallable[Order, bytes]


@dataclass(frozen=True, slots=True)
class _Lane:
    channel: grpc.aio.Channel
    place: Place


class GrpcUnary:
    """A channel, which is a connection, for each lane; calls share it."""

    multiplexes = True

    def __init__(self) -> None:
        self._target = ""
        self._wire = PLAIN
        self._codec = PROTOBUF
        self._lanes: dict[int, _Lane] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._target, self._wire, self._codec = target, wire, wire.codec_or(PROTOBUF)
        await asyncio.gather(*(connected(self._lane(n).channel, target) for n in range(lanes)))

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._lanes:
            await self._lanes.pop(lane).channel.close()

    async def close(self) -> None:
        """See Driver.close."""
        for lane in list(self._lanes):
            await self.drop(lane)

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        try:
            reply = await self._lane(lane).place(order, metadata=metadata_of(call))
            return self._codec.decode_confirmation(reply)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from None
        except MalformedReply as error:
            raise DriverError(Failure.PROTOCOL, str(error)) from None

    def _lane(self, number: int) -> _Lane:
        lane = self._lanes.get(number)
        if lane is None:
            channel = channel_to(self._target, self._wire)
            place: Place = channel.unary_unary(
                method_in(self._codec, "Place"), request_serializer=self._codec.encode_order
            )
            lane = self._lanes[number] = _Lane(channel, place)
        return lane
