"""A door in front of a real store, so that a test can fail it without touching it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from urllib.parse import urlsplit


class Stands(Enum):
    """How a door stands."""

    OPEN = 0
    STUCK = 1
    """Connections are taken, and nothing passes."""
    SHUT = 2
    """Connections are cut, and new ones too."""


class Door:
    """Passes bytes on to a store as long as it is open."""

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port
        self._passing: set[asyncio.StreamWriter] = set()
        self._may_pass = asyncio.Event()
        self.stands = Stands.OPEN
        self._may_pass.set()

    def set(self, stands: Stands) -> None:
        """Move the door."""
        self.stands = stands
        if stands is Stands.STUCK:
            self._may_pass.clear()
        else:
            self._may_pass.set()
        if stands is Stands.SHUT:
            for writer in self._passing:
                writer.transport.abort()

    async def let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        if self.stands is Stands.SHUT:
            writer.transport.abort()
            return
        to_reader, to_writer = await asyncio.open_connection(*self._where)
        both = {writer, to_writer}
        self._passing |= both
        try:
            await asyncio.gather(self._pass(reader, to_writer), self._pass(to_reader, writer))
        finally:
            self._passing -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._may_pass.wait()
                writer.write(data)
        writer.close()


@asynccontextmanager
async def door_before(address: str) -> AsyncIterator[tuple[Door, str]]:
    """A door before the store at `address`, and the address that leads through it."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    door = Door(parts.hostname, parts.port)
    server = await asyncio.start_server(door.let_in, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    who, at, _ = parts.netloc.rpartition("@")
    try:
        yield door, parts._replace(netloc=f"{who}{at}127.0.0.1:{port}").geturl()
    finally:
        server.close()
        door.set(Stands.SHUT)
        while door._passing:
            await asyncio.sleep(0.01)
