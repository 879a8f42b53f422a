"""`python -m harness.rig.relay --to HOST:PORT`: stands for a gateway that cuts idle connections.

Relays TCP until its standard input ends or a signal stops it. A connection on which no byte went
either way for `--idle-s` is cut: both of its sides are closed. A client for which nobody can be
reached is closed.

Says what it does as JSON lines on standard output, as servers do: `ready` with its address once it
is bound, `stopped` with what it has relayed and cut when it ends. The loop is asyncio's own: of the
harness only the generator child has uvloop.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from typing import cast

BACKLOG = 4096


class Relay:
    """What came in so far, and what became of it."""

    def __init__(self, to: tuple[str, int], idle_s: float) -> None:
        """`to`: host and port of whoever is behind."""
        self.to = to
        self.idle_s = idle_s
        self.connections = 0
        self.cut = 0
        self.bytes_up = 0
        """Read from clients."""
        self.bytes_down = 0
        """Read from behind."""
        self._links: set[_Link] = set()

    async def listen(self, host: str) -> asyncio.Server:
        """Accept on a free port. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Link(self).client, host, 0, backlog=BACKLOG)

    def opened(self, link: "_Link") -> None:
        """A client is there."""
        self.connections += 1
        self._links.add(link)

    def closed(self, link: "_Link") -> None:
        """Both sides of a connection are gone."""
        self._links.discard(link)

    async def stop(self) -> None:
        """Close what is open; these are not counted as cut."""
        for link in self._links:
            link.abort()
        while self._links:
            await asyncio.sleep(0)


class _Link:
    """A client's connection and the one that was made for it, until both are gone."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self.client = _Side(self)
        self.behind = _Side(self)
        self.client.other, self.behind.other = self.behind, self.client
        self._connecting: asyncio.Task[None] | None = None
        self._closing = False
        self._used_s: float
        self._timer: asyncio.TimerHandle

    def made(self, side: "_Side") -> None:
        """A side is connected. The client is not read before whoever is behind is."""
        if side is self.client:
            self._relay.opened(self)
            self.used()
            self._timer = self._loop.call_later(self._relay.idle_s, self._look)
            side.transport.pause_reading()
            self._connecting = self._loop.create_task(self._connect())
        elif self._closing:
            side.transport.abort()
        else:
            self.client.transport.resume_reading()

    def heard(self, side: "_Side", size: int) -> None:
        """Bytes were read from a side."""
        if side is self.client:
            self._relay.bytes_up += size
        else:
            self._relay.bytes_down += size
        self.used()

    def used(self) -> None:
        """Bytes went through."""
        self._used_s = self._loop.time()

    def close(self) -> None:
        """Close both sides, each when all that it was given to say is said."""
        self._closing = True
        for side in (self.client, self.behind):
            if side.is_open:
                side.transport.close()

    def abort(self) -> None:
        """Close both sides at once."""
        self._closing = True
        if self._connecting is not None:
            self._connecting.cancel()
        for side in (self.client, self.behind):
            if side.is_open:
                side.transport.abort()

    def lost(self) -> None:
        """A side is gone. What it had said before is still for the other."""
        self.close()
        if not (self.client.is_open or self.behind.is_open):
            self._timer.cancel()
            self._relay.closed(self)

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: self.behind, *self._relay.to)
        except OSError:
            self.abort()

    def _look(self) -> None:
        # The loop reads what is there before it calls timers: one that comes late on a busy machine
        # cuts nobody whose bytes had come.
        due_s = self._used_s + self._relay.idle_s
        if self._loop.time() < due_s:
            self._timer = self._loop.call_at(due_s, self._look)
            return
        self._relay.cut += 1
        self.abort()


class _Side(asyncio.Protocol):
    """One of a link's two connections. asyncio has switched Nagle's algorithm off on it."""

    transport: asyncio.Transport
    other: "_Side"

    def __init__(self, link: _Link) -> None:
        self._link = link
        self.is_open = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.is_open = True
        self._link.made(self)

    def data_received(self, data: bytes) -> None:
        self._link.heard(self, len(data))
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        self.other.transport.write_eof()
        if self.other._ended:
            self._link.close()
        return True

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._link.used()
        self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._link.lost()


def say(event: str, **fields: object) -> None:
    """Write one JSON line to standard output."""
    with contextlib.suppress(BrokenPipeError):  # whoever listened may be gone
        print(json.dumps({"event": event, **fields}), flush=True)


async def serve(host: str, to: tuple[str, int], idle_s: float) -> None:
    """Relay until standard input ends, SIGTERM or SIGINT."""
    relay = Relay(to, idle_s)
    server = await relay.listen(host)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def watch_stdin() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch_stdin, daemon=True).start()
    say("ready", address=f"{host}:{server.sockets[0].getsockname()[1]}")
    await ended.wait()
    server.close()
    await relay.stop()
    say(
        "stopped",
        connections=relay.connections,
        cut=relay.cut,
        bytes_up=relay.bytes_up,
        bytes_down=relay.bytes_down,
    )


def address(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError(text)
    return host, int(port)


def main() -> None:
    """Read the command line and relay."""
    parser = argparse.ArgumentParser(prog="python -m harness.rig.relay")
    parser.add_argument("--to", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--idle-s", type=float, default=1.0)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    asyncio.run(serve(options.host, options.to, options.idle_s))
    # The thread that watches standard input may still be blocked in its read.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
