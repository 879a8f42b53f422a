"""A lane that is one connection by asyncio, made by whoever needs it first."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast
from urllib.parse import SplitResult

from clients.base import DriverError, Failure


class Connection(Protocol):
    """What a lane holds; as well an asyncio.Protocol."""

    usable: bool
    """Whether further operations may begin."""
    greeted: "asyncio.Future[DriverError | None]"
    """Done when it is known whether the server speaks the protocol, with what went wrong."""

    def close(self) -> None:
        """Give it back; what waits on it fails."""


C = TypeVar("C", bound=Connection)


class Lane(Generic[C]):
    """A connection to a URL's host and port, and another one when that has ended."""

    def __init__(
        self, url: SplitResult, usual_port: int, tls: ssl.SSLContext | None, make: Callable[[], C]
    ) -> None:
        self._host, self._port = url.hostname or "", url.port or usual_port
        self._tls = tls
        self._make = make
        self._connecting = asyncio.Lock()
        self._closed = False
        self.held: C | None = None
        """The last one that was made."""

    async def connection(self) -> C:
        """One that can be used. Raises DriverError."""
        if self.held is not None and self.held.usable:
            return self.held
        async with self._connecting:
            if self.held is None or not self.held.usable:
                self.held = await self._connected()
            if self._closed:
                self.close()
                raise DriverError(Failure.DISCONNECTED, "the connection was given back")
            return self.held

    def close(self) -> None:
        """Give the connection back."""
        self._closed = True
        if self.held is not None:
            self.held.close()

    async def _connected(self) -> C:
        loop = asyncio.get_running_loop()
        make = cast(Callable[[], asyncio.Protocol], self._make)
        try:
            _, made = await loop.create_connection(make, self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise DriverError(Failure.DISCONNECTED, str(error)) from None
        connection = cast(C, made)
        try:
            unfit = await connection.greeted
        except BaseException:
            connection.close()
            raise
        if unfit is not None:
            raise unfit
        return connection
