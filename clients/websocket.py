"""`websocket:websockets`: one socket a lane, frames matched by id: JSON as text, protobuf as binary
messages."""

import asyncio
import contextlib

import websockets
from websockets.asyncio.client import ClientConnection, connect

from clients.base import DriverError, Failure, Wire
from clients.encryption import client_context
from clients.framed import FramedDriver, Replies
from protos.codec import MalformedReply
from protos.codecs import JSON
from protos.frames import MAX_FRAME_BYTES, Request


class SocketLane:
    """A WebSocket connection that many operations share."""

    def __init__(self, target: str, wire: Wire, replies: Replies) -> None:
        self.replies = replies
        self._target = target
        self._codec = wire.codec_or(JSON)
        self._compression = "deflate" if wire.compression else None
        self._tls = client_context(wire) if target.startswith("wss:") else None
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
                        compression=self._compression,
                        ssl=self._tls,
                        max_size=MAX_FRAME_BYTES,
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

    async def send(self, request: Request) -> None:
        """See FramedLane.send."""
        if self._socket is None:
            raise DriverError(Failure.DISCONNECTED, "the connection was closed")
        try:
            await self._socket.send(self._codec.encode_request(request), text=self._codec.text)
        except websockets.ConnectionClosed as error:
            raise _ended(error) from None

    async def stop_reading(self) -> None:
        """See FramedLane.stop_reading."""
        if self._reading is not None:
            self._reading.cancel()

    async def close(self) -> None:
        """See FramedLane.close."""
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                self.replies.settle(self._codec.decode_reply(message))
            error = DriverError(Failure.DISCONNECTED, "the connection was closed")
        except websockets.ConnectionClosed as closed:
            error = _ended(closed)
        except MalformedReply as malformed:
            error = DriverError(Failure.PROTOCOL, str(malformed))
            await socket.close(1002)
        self._socket = None
        self.replies.fail(error)


def _ended(closed: websockets.ConnectionClosed) -> DriverError:
    """What the end of a connection means: its close code, where the server gave one of ours."""
    if closed.rcvd is not None and closed.rcvd.code == 1009:
        return DriverError(Failure.REJECTED, closed.rcvd.reason, "too_large")
    return DriverError(Failure.DISCONNECTED, str(closed))


class WebSocket(FramedDriver):
    """A socket for each lane; operations share it."""

    def __init__(self) -> None:
        super().__init__(SocketLane)
