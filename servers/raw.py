"""What the raw servers share: protocols of asyncio that listen, and their end."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

from servers.base import Bind, Listening

BACKLOG = 4096


class Connection(asyncio.Protocol):
    """One connection, with the tasks that work for it; they are given up when it ends."""

    def __init__(self, open_now: "set[Connection]") -> None:
        self._open_now = open_now
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)
        self._open_now.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._open_now.discard(self)
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._writable.set()

    async def drained(self) -> None:
        """Wait until there is room for more to be written."""
        await self._writable.wait()

    def work(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let a task work for this connection."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


Make = Callable[[set[Connection]], Connection]
"""A protocol for a new connection, given those that are open."""


async def listen(bind: Bind, make: Make, schemes: tuple[str, str], *alpn: str) -> Listening:
    """Serve by `make`. What stands before the address is the first of `schemes`, with TLS the
    second. Raises OSError if the address cannot be had."""
    tls = None
    if bind.certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(bind.certificate, bind.key)
        if alpn:
            tls.set_alpn_protocols(list(alpn))
    open_now: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: make(open_now), bind.host, bind.port, ssl=tls, backlog=BACKLOG
    )
    port = server.sockets[0].getsockname()[1]

    async def stop() -> None:
        server.close()
        for connection in list(open_now):
            connection.transport.abort()
        await server.wait_closed()

    scheme = schemes[tls is not None]
    return Listening(f"{scheme}{bind.shown_host}:{port}", stop)
