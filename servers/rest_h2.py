"""`rest-h2`: REST over HTTP/2, with or without TLS, by hypercorn."""

import asyncio
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servers.base import Bind, Desk, Listening
from servers.http import KEEP_ALIVE_S, address, listener
from servers.rest import app

STREAMS = 2**14
"""Requests at a time on one connection: more than a generator has in flight."""
GRACE_S = 1.0
"""How long requests may go on when the server stops, and then their connections."""


class Requests:
    """An application whose requests hypercorn can live with."""

    def __init__(self, web: ASGIApp) -> None:
        self._web = web
        self._tasks: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, but only when the request has been heard to its end: hypercorn closes a
        connection, with all that others do on it, when more of a body comes after its answer."""
        if scope["type"] != "http":
            await self._web(scope, receive, send)
            return
        ended = False

        async def hear() -> Message:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def say(message: Message) -> None:
            while not ended:
                await hear()
            await send(message)

        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._web(scope, hear, say)
        finally:
            self._tasks.discard(task)

    def cut_off(self) -> None:
        """Answer none that is under way: hypercorn would wait for them without end."""
        for task in self._tasks:
            task.cancel()


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    listening = listener(bind)
    where = address(bind, listening)
    config = Config()
    # Hypercorn closes it.
    config.bind = [f"fd://{listening.detach()}"]
    config.loglevel = "WARNING"
    config.certfile, config.keyfile = bind.certificate, bind.key
    config.alpn_protocols = ["h2"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    # By itself it ends a connection after 1000, with what is under way on it.
    config.keep_alive_max_requests = sys.maxsize
    config.h2_max_concurrent_streams = STREAMS
    config.accesslog = None
    config.graceful_timeout = GRACE_S
    ended = asyncio.Event()
    requests = Requests(app(desk, bind))
    serving = asyncio.create_task(
        serve(requests, config, shutdown_trigger=ended.wait, mode="asgi")  # type: ignore[arg-type]
    )

    async def stop() -> None:
        ended.set()
        for give_up in (requests.cut_off, serving.cancel):
            _, going = await asyncio.wait([serving], timeout=GRACE_S)
            if going:
                give_up()
        # Where it had to cut something off it ends as if it were cancelled itself.
        await asyncio.wait([serving])

    return Listening(where, stop)
