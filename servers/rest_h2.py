"""`rest-h2`: REST over HTTP/2, with or without TLS, by hypercorn."""

import asyncio
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servers.base import Bind, Desk, Listening
from servers.http import KEEP_ALIVE_S, address, listener
from servers.rest import app


def hearing_out(web: ASGIApp) -> ASGIApp:
    """An application that answers only when it has heard a request to its end.

    Hypercorn closes a connection, with all that others do on it, when more of a body comes after
    its answer.
    """

    async def hear_out(scope: Scope, receive: Receive, send: Send) -> None:
        ended = False

        async def hear() -> Message:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                while not ended:
                    await hear()
            await send(message)

        await web(scope, hear, say)

    return hear_out


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
    config.accesslog = None
    config.graceful_timeout = 1.0
    ended = asyncio.Event()
    web = hearing_out(app(desk, bind))
    serving = asyncio.create_task(
        serve(web, config, shutdown_trigger=ended.wait, mode="asgi")  # type: ignore[arg-type]
    )

    async def stop() -> None:
        ended.set()
        # Where it had to cut requests off it ends as if it were cancelled itself.
        await asyncio.wait([serving])

    return Listening(where, stop)
