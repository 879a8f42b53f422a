"""S3 `grpc-stream`: one bidirectional stream a connection, replies matched by id, in any order; and
a stream from the server for each job and each watch."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from orders.errors import MalformedOrder
from orders.model import Update
from protos.codec import Codec
from protos.frames import STANDS, Reply, Request, Watch
from servers.base import Bind, Desk, Listening, answer
from servers.fanout import Fanout
from servers.grpc_methods import Methods, Rpc, context_of, listen, refuse


class Streams:
    """The streaming methods in one codec."""

    def __init__(self, desk: Desk, changes: Fanout, codec: Codec) -> None:
        self._desk = desk
        self._changes = changes
        self._codec = codec

    def methods(self) -> Methods:
        """By their names in orders.proto."""
        return {
            "PlaceStream": grpc.stream_stream_rpc_method_handler(self.place_stream),
            "Work": grpc.unary_stream_rpc_method_handler(self.work),
            "Subscribe": grpc.unary_stream_rpc_method_handler(self.subscribe),
        }

    async def place_stream(self, frames: AsyncIterator[bytes], rpc: Rpc) -> None:
        """Orders in, results out. A frame without an id ends the stream."""
        # A stream takes one write at a time.
        writing = asyncio.Lock()

        async def reply(request: Request) -> None:
            if isinstance(request.ask, Watch):
                request.ask = MalformedOrder("to watch is a call of its own: Subscribe")
            result = await answer(self._desk, request.ask, request.context)
            async with writing:
                await rpc.write(self._codec.encode_reply(Reply(request.id, result)))

        wrong: Exception | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                async for frame in frames:
                    tasks.create_task(reply(self._codec.decode_request(frame)))
        except* MalformedOrder as group:
            wrong = group.exceptions[0]
        if wrong is not None:
            # Out here, because the group would wrap what ends the call.
            await refuse(wrong, rpc)

    async def work(self, message: bytes, rpc: Rpc) -> None:
        """A job: its receipt, its progress, its end."""
        told: asyncio.Queue[Update] = asyncio.Queue()
        try:
            order = self._codec.decode_order(message)
            update = await self._desk.accept(order, context_of(rpc), told.put_nowait)
        except Exception as error:
            await refuse(error, rpc)
        await rpc.write(self._codec.encode_update(update))
        while not update.final:
            update = await told.get()
            await rpc.write(self._codec.encode_update(update))

    async def subscribe(self, _: bytes, rpc: Rpc) -> None:
        """Every change from now on, until one side ends it."""
        serving = asyncio.current_task()
        assert serving is not None

        def cut_off() -> None:
            serving.cancel()

        subscriber = self._changes.join(cut_off)
        try:
            await rpc.write(self._codec.encode_update(STANDS))
            while True:
                change = await subscriber.next()
                await rpc.write(change.written(self._codec.name, self._codec.encode_update))
        finally:
            self._changes.leave(subscriber)


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    changes = Fanout(desk.service)
    return await listen(bind, lambda codec: Streams(desk, changes, codec).methods())
