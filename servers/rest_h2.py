"""`rest-h2`: REST over HTTP/2, with or without TLS, by hypercorn."""

import asyncio

from hypercorn.asyncio import serve
from hypercorn.config import Config

from servers.base import Bind, Desk, Listening
from servers.http import KEEP_ALIVE_S, address, listener
from servers.rest import app


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    listening = listener(bind)
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.certfile, config.keyfile = bind.certificate, bind.key
    config.alpn_protocols = ["h2"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.accesslog = None
    config.graceful_timeout = 1.0
    ended = asyncio.Event()
    serving = asyncio.create_task(
        serve(app(desk, bind), config, shutdown_trigger=ended.wait, mode="asgi")  # type: ignore[arg-type]
    )

    async def stop() -> None:
        ended.set()
        await serving
        listening.close()

    return Listening(address(bind, listening), stop)
