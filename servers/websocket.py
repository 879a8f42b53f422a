"""S4 `websocket`: one socket a connection, frames matched by id, in any order: JSON as text,
protobuf as binary messages."""

import asyncio
import contextlib
import ssl

import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as HandshakeRequest
from websockets.http11 import Response

from orders.errors import MalformedOrder
from orders.model import Update
from protos.codec import Codec
from protos.codecs import JSON, PROTOBUF
from protos.frames import MAX_FRAME_BYTES, STANDS, Reply, Request, Watch
from protos.http import PROBLEM_JSON
from protos.problems import TABLE, Problem, to_http
from servers.base import Bind, Desk, Listening, answer
from servers.fanout import Fanout


class _Ended(Exception):
    """The connection has."""


class Conversation:
    """One connection."""

    def __init__(self, desk: Desk, changes: Fanout, socket: ServerConnection) -> None:
        self._desk = desk
        self._changes = changes
        self._socket = socket

    async def hold(self) -> None:
        """Answer until the connection ends, however it does; what is under way for it is given up
        then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._listen(tasks)
                raise _Ended
        except* (_Ended, websockets.ConnectionClosedError):
            pass

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        async for message in self._socket:
            codec = JSON if isinstance(message, str) else PROTOBUF
            try:
                request = codec.decode_request(message)
            except MalformedOrder as error:
                await self._socket.close(TABLE[error.code].close, error.detail[:100])
                return
            if isinstance(request.ask, Watch):
                tasks.create_task(self._watch(request.id, codec))
            else:
                tasks.create_task(self._reply(request, codec))

    async def _reply(self, request: Request, codec: Codec) -> None:
        assert not isinstance(request.ask, Watch)
        result = await answer(self._desk, request.ask, request.context)
        await self._send(codec.encode_reply(Reply(request.id, result)), codec)

    async def _watch(self, frame_id: int, codec: Codec) -> None:
        def write(update: Update) -> bytes:
            return codec.encode_reply(Reply(frame_id, update))

        subscriber = self._changes.join(self._socket.transport.abort)
        try:
            await self._send(write(STANDS), codec)
            while True:
                change = await subscriber.next()
                await self._send(change.written((frame_id, codec.name), write), codec)
        finally:
            self._changes.leave(subscriber)

    async def _send(self, frame: bytes, codec: Codec) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            await self._socket.send(frame, text=codec.text)


def _elsewhere(socket: ServerConnection, request: HandshakeRequest) -> Response | None:
    """The answer to who asks for another path than the only one."""
    if request.path.partition("?")[0] == "/":
        return None
    status, body = to_http(Problem("not_found", request.path))
    response = socket.respond(status, body.decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = PROBLEM_JSON
    return response


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    changes = Fanout(desk.service)

    async def converse(socket: ServerConnection) -> None:
        await Conversation(desk, changes, socket).hold()

    tls = None
    if bind.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(bind.certificate, bind.key)
    server = await serve(
        converse,
        bind.host,
        bind.port,
        process_request=_elsewhere,
        ssl=tls,
        compression="deflate" if bind.compression else None,
        max_size=MAX_FRAME_BYTES,
        ping_interval=None,
    )
    bound = next(iter(server.sockets)).getsockname()[1]

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    scheme = "wss" if tls is not None else "ws"
    return Listening(f"{scheme}://{bind.shown_host}:{bound}", stop)
