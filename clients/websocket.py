"""`websocket:websockets`: one socket a lane, JSON frames matched by id, uncompressed."""

import asyncio

import websockets
from websockets.asyncio.client import ClientConnection, connect

from clients.base import DriverError, Failure, Sink
from clients.framed import FramedDriver, Replies
from orders.model import Order
from protos import codec, frames


class SocketLane:
    """A WebSocket connection that many operations share."""

    def __init__(self, target: str, sink: Sink) -> None:
        self.replies = Replies(sink)
        self._target = target
        self._connecting = asyncio.Lock()
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """See FramedLane.connect."""
        if self._socket is not None:
            return
        async with self._connecting:
            if self._socket is None:
                try:
                    self._socket = await connect(
                        self._target,
                        compression=None,
                        max_size=frames.MAX_FRAME_BYTES,
                        ping_interval=None,
                        open_timeout=None,
                        close_timeout=1,
                        proxy=None,
                    )
                except (OSError, EOFError) as error:
                    raise DriverError(Failure.DISCONNECTED, str(error)) from None
                except websockets.WebSocketException as error:
                    raise DriverError(Failure.PROTOCOL, str(error)) from None
                self._reading = asyncio.create_task(self._read(self._socket))

    async def send(self, operation: int, order: Order) -> None:
        """See FramedLane.send."""
        if self._socket is None:
            raise DriverError(Failure.DISCONNECTED, "the connection was closed")
        try:
            await self._socket.send(frames.request_to_json(operation, order))
        except websockets.ConnectionClosed as error:
            raise DriverError(Failure.DISCONNECTED, str(error)) from None

    async def close(self) -> None:
        """See FramedLane.close."""
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            await self._reading

    async def _read(self, socket: ClientConnection) -> None:
        error = DriverError(Failure.DISCONNECTED, "the connection was closed")
        try:
            async for message in socket:
                self.replies.settle(*frames.reply_from_json(message))
        except websockets.ConnectionClosed as closed:
            error = DriverError(Failure.DISCONNECTED, str(closed))
        except codec.MalformedReply as malformed:
            error = DriverError(Failure.PROTOCOL, str(malformed))
            await socket.close(1002)
        finally:
            self._socket = None
            self.replies.fail(error)


class WebSocket(FramedDriver):
    """A socket for each lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(SocketLane)
