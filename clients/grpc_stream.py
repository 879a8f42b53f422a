"""`grpc-stream:grpcio`: one bidirectional stream a lane, requests and replies matched by id."""

import asyncio
from collections import deque

import grpc

from clients.base import DriverError, Failure, Sink
from clients.framed import FramedDriver, Replies
from clients.grpc_channel import channel_to, connected, failure_of
from orders.model import Order
from protos import codec, frames, orders_pb2_grpc
from protos import orders_pb2 as pb

Stream = grpc.aio.StreamStreamCall[pb.RequestFrame, pb.ReplyFrame]


class StreamLane:
    """A channel with one stream on it.

    A stream takes one write at a time, and cancelling a write ends the stream; so a task of the
    lane's own writes, and operations only hand their frames to it.
    """

    def __init__(self, target: str, sink: Sink) -> None:
        self.replies = Replies(sink)
        self._target = target
        self._channel = channel_to(target)
        self._connecting = asyncio.Lock()
        self._outbox: deque[pb.RequestFrame] = deque()
        self._filled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._live = False

    async def connect(self) -> None:
        """See FramedLane.connect."""
        if self._live:
            return
        async with self._connecting:
            if not self._live:
                await self._hang_up()
                await connected(self._channel, self._target)
                stream = orders_pb2_grpc.OrdersStub(self._channel).PlaceStream()
                self._outbox.clear()
                self._tasks = [
                    asyncio.create_task(self._write(stream)),
                    asyncio.create_task(self._read(stream)),
                ]
                self._live = True

    async def send(self, operation: int, order: Order) -> None:
        """See FramedLane.send."""
        self._outbox.append(pb.RequestFrame(id=operation, order=codec.order_to_pb(order)))
        self._filled.set()

    async def close(self) -> None:
        """See FramedLane.close."""
        await self._hang_up()
        await self._channel.close()

    async def _hang_up(self) -> None:
        self._live = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, stream: Stream) -> None:
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._outbox:
                    await stream.write(self._outbox.popleft())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reader meets the same end and tells why.
            pass

    async def _read(self, stream: Stream) -> None:
        error = DriverError(Failure.DISCONNECTED, "the stream ended")
        try:
            async for frame in stream:
                self.replies.settle(*frames.reply_from_pb(frame))
        except grpc.aio.AioRpcError as failed:
            error = failure_of(failed)
        except codec.MalformedReply as malformed:
            error = DriverError(Failure.PROTOCOL, str(malformed))
        finally:
            self._live = False
            stream.cancel()
            self.replies.fail(error)


class GrpcStream(FramedDriver):
    """A stream for each lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(StreamLane)
