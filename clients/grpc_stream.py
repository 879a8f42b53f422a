"""`grpc-stream:grpcio`: one bidirectional stream a lane, requests and replies matched by id; a
stream from the server for each job and each watch."""

import asyncio
import contextlib
import time
from collections import deque

import grpc

from clients.base import Call, DriverError, Failure, Milestone, Sink, Wire
from clients.framed import FramedDriver, Replies
from clients.grpc_channel import channel_to, connected, failure_of, metadata_of
from orders.model import Confirmation, Order
from protos import orders_pb2 as pb
from protos.codec import MalformedReply
from protos.codecs import PROTOBUF
from protos.frames import Request
from protos.rpc import method_in

Stream = grpc.aio.StreamStreamCall[bytes, bytes]
Streams = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
Updates = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]


class StreamLane:
    """A channel with one stream on it.

    A stream takes one write at a time, and cancelling a write ends the stream; so a task of the
    lane's own writes, and operations only hand their frames to it.
    """

    def __init__(self, target: str, wire: Wire, replies: Replies) -> None:
        self.replies = replies
        self.channel = channel_to(target, wire)
        self._codec = wire.codec_or(PROTOBUF)
        self._target = target
        self._connecting = asyncio.Lock()
        self._outbox: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._live = False

    async def connect(self) -> None:
        """See FramedLane.connect."""
        if self._live:
            return
        # All who wait fail together.
        await connected(self.channel, self._target)
        async with self._connecting:
            if not self._live:
                await self._hang_up()
                streams: Streams = self.channel.stream_stream(method_in(self._codec, "PlaceStream"))
                stream = streams()
                self._outbox.clear()
                self._tasks = [
                    asyncio.create_task(self._write(stream)),
                    asyncio.create_task(self._read(stream)),
                ]
                self._live = True

    async def send(self, request: Request) -> None:
        """See FramedLane.send."""
        self._outbox.append(self._codec.encode_request(request))
        self._filled.set()

    async def stop_reading(self) -> None:
        """See FramedLane.stop_reading."""
        self._tasks[1].cancel()

    async def close(self) -> None:
        """See FramedLane.close."""
        await self._hang_up()
        await self.channel.close()

    async def _hang_up(self) -> None:
        self._live = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, stream: Stream) -> None:
        # What ends here ends for the reader too, who tells why.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._outbox:
                    await stream.write(self._outbox.popleft())

    async def _read(self, stream: Stream) -> None:
        error = DriverError(Failure.DISCONNECTED, "the stream ended")
        try:
            async for frame in stream:
                self.replies.settle(self._codec.decode_reply(frame))
        except grpc.aio.AioRpcError as failed:
            error = failure_of(failed)
        except MalformedReply as malformed:
            error = DriverError(Failure.PROTOCOL, str(malformed))
        finally:
            self._live = False
            stream.cancel()
            self.replies.fail(error)


class Subscription:
    """A channel with a watch on it, for one subscriber."""

    def __init__(self, target: str, wire: Wire, sink: Sink, lane: int) -> None:
        self._target = target
        self._codec = wire.codec_or(PROTOBUF)
        self._sink = sink
        self._lane = lane
        self._channel = channel_to(target, wire)
        self._reading: asyncio.Task[None] | None = None

    async def stand(self, reads: bool) -> None:
        """Subscribe; with `reads`, see every change from now on. Raises DriverError."""
        await connected(self._channel, self._target)
        subscribe: Updates = self._channel.unary_stream(method_in(self._codec, "Subscribe"))
        changes = subscribe(pb.Watch().SerializeToString())
        try:
            if await changes.read() is grpc.aio.EOF:
                raise DriverError(Failure.DISCONNECTED, "the stream ended")
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from None
        self._changes = changes
        if reads:
            self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Give the connection back."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._channel.close()

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, MalformedReply):
            # By read() alone: grpc.aio forbids to mix it with iteration.
            while isinstance(message := await self._changes.read(), bytes):
                update = self._codec.decode_update(message)
                self._sink.saw(update, self._lane, time.monotonic_ns())


class GrpcStream(FramedDriver):
    """A stream for each lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(StreamLane)
        self._subscriptions: dict[int, Subscription] = {}

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._subscriptions:
            await self._subscriptions.pop(lane).close()
        await super().drop(lane)

    async def close(self) -> None:
        """See Driver.close."""
        await asyncio.gather(*(self.drop(lane) for lane in list(self._subscriptions)))
        await super().close()

    async def work(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Works.work: a stream from the server for each job."""
        shared = self._lane(lane)
        assert isinstance(shared, StreamLane)
        codec = self._wire.codec_or(PROTOBUF)
        await shared.connect()
        try:
            work: Updates = shared.channel.unary_stream(method_in(codec, "Work"))
            updates = work(codec.encode_order(order), metadata=metadata_of(call))
            acked = False
            async for message in updates:
                update = codec.decode_update(message)
                if not acked:
                    self._sink.arrived(call.operation, Milestone.ACKED, time.monotonic_ns())
                    acked = True
                if update.final:
                    return update.confirmation()
                self._sink.saw(update, lane, time.monotonic_ns())
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from None
        except MalformedReply as error:
            raise DriverError(Failure.PROTOCOL, str(error)) from None
        raise DriverError(Failure.DISCONNECTED, "the stream ended before the job did")

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch: a stream from the server for each subscriber."""
        subscription = Subscription(self._target, self._wire, self._sink, lane)
        self._subscriptions[lane] = subscription
        await subscription.stand(reads)
