"""S4 `websocket`: one socket a connection, JSON frames matched by id, in any order."""

import asyncio
import contextlib

import websockets
from websockets.asyncio.server import ServerConnection, serve

from orders.errors import MalformedOrder
from orders.model import Order
from orders.service import OrderService
from protos import frames
from protos.problems import TABLE
from servers.base import Listening, answer


async def start(service: OrderService, host: str, port: int) -> Listening:
    """Serve on host:port (0: any free port)."""

    async def converse(socket: ServerConnection) -> None:
        async def reply(frame_id: int, order: Order | MalformedOrder) -> None:
            result = await answer(service, order)
            with contextlib.suppress(websockets.ConnectionClosed):
                await socket.send(frames.reply_to_json(frame_id, result))

        async with asyncio.TaskGroup() as tasks:
            async for message in socket:
                try:
                    frame_id, order = frames.request_from_json(message)
                except MalformedOrder as error:
                    await socket.close(TABLE[error.code].close, error.detail)
                    return
                tasks.create_task(reply(frame_id, order))

    server = await serve(
        converse, host, port, compression=None, max_size=frames.MAX_FRAME_BYTES, ping_interval=None
    )
    bound = next(iter(server.sockets)).getsockname()[1]

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    shown = f"[{host}]" if ":" in host else host
    return Listening(f"ws://{shown}:{bound}", stop)
