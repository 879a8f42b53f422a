"""What went over connections, recorded by a relay in between."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

AT_ONCE = 2**16


@dataclass(frozen=True, slots=True)
class Link:
    """A connection; it is numbered in the order of all that were opened."""

    number: int
    opener: str
    """Who connected: `client`, `worker`, `server`."""
    accepter: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes as they came at once."""

    link: Link
    there: bool
    """Whether from who opened the connection."""
    data: bytes


@dataclass(slots=True)
class Tape:
    """All that went by, in the order in which it came."""

    chunks: list[Chunk] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))


def as_it_is(data: bytes) -> bytes:
    """Nothing is to be corrected."""
    return data


@contextlib.asynccontextmanager
async def relayed(
    tape: Tape,
    opener: str,
    accepter: str,
    behind: Callable[[], int],
    corrected: Callable[[bytes], bytes] = as_it_is,
) -> AsyncIterator[int]:
    """Stand on loopback before the port that is `behind` at the time; gives the relay's own port.

    `corrected` is what the opener gets of what it is answered: a broker names the port that it
    knows of, and would lead its clients past the relay.
    """
    tasks: set[asyncio.Task[object]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        link = Link(next(tape.numbers), opener, accepter)

        async def pass_on(
            source: asyncio.StreamReader,
            sink: asyncio.StreamWriter,
            there: bool,
            change: Callable[[bytes], bytes],
        ) -> None:
            while data := await source.read(AT_ONCE):
                tape.chunks.append(Chunk(link, there, data))
                sink.write(change(data))
            sink.write_eof()

        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", behind())
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(pass_on(reader, far_writer, True, as_it_is))
                    both.create_task(pass_on(far_reader, writer, False, corrected))
            except* OSError:
                pass
            finally:
                far_writer.transport.abort()
        writer.transport.abort()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield port
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
