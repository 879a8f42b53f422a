"""The relay as a process: what goes through it, what it cuts, what it says at its end."""

import asyncio
import contextlib
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from harness.rig.process import Process, Rig
from tests.support import LIMIT_S, Run

IDLE_S = 1.0
NEVER_S = 10 * LIMIT_S
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hear(process: Process) -> dict[str, Any]:
    """The next line that a process says."""
    async with asyncio.timeout(LIMIT_S):
        message = await process.hear()
    assert message is not None, "it ended without a word"
    return message


@contextlib.asynccontextmanager
async def relay_to(rig: Rig, port: int, idle_s: float) -> AsyncIterator[tuple[Process, int]]:
    """A relay, and the port at which it is ready."""
    words = ["-m", "harness.rig.relay", "--to", f"127.0.0.1:{port}", "--idle-s", str(idle_s)]
    process = await rig.spawn("relay", [sys.executable, *words])
    try:
        ready = await hear(process)
        assert ready["event"] == "ready"
        host, _, at = ready["address"].rpartition(":")
        assert host == "127.0.0.1"
        yield process, int(at)
    finally:
        await rig.stop(process)
        process.hang_up()


async def stopped(process: Process) -> dict[str, Any]:
    """What a relay says at its end."""
    process.end_input()
    message = await hear(process)
    assert await asyncio.wait_for(asyncio.shield(process.exited), LIMIT_S) == 0
    return message


@contextlib.asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    """A server of a handler, and its port."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)
        await let_go(writer)

    async with await asyncio.start_server(closing, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Streams]:
    """A client's connection."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            await let_go(writer)


async def let_go(writer: asyncio.StreamWriter) -> None:
    """Close a connection that may be gone already."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what is heard, as it comes."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


def test_bytes_are_equal_both_ways_while_both_speak(run: Run, rig: Rig) -> None:
    sent = random.Random(1).randbytes(8_000_000)

    async def case() -> None:
        async with served(echo) as port, relay_to(rig, port, NEVER_S) as (process, at):
            async with connected(at) as (reader, writer):
                back = asyncio.create_task(reader.readexactly(len(sent)))
                writer.write(sent)
                await writer.drain()
                assert await back == sent
            assert await stopped(process) == {
                "event": "stopped",
                "connections": 1,
                "cut": 0,
                "bytes_up": len(sent),
                "bytes_down": len(sent),
            }

    run(case())


def test_a_half_close_is_passed_on_and_the_other_half_still_carries(run: Run, rig: Rig) -> None:
    sent = random.Random(2).randbytes(5_000_000)

    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        await writer.drain()

    async def case() -> None:
        async with (
            served(answer_at_the_end) as port,
            relay_to(rig, port, NEVER_S) as (_, at),
            connected(at) as (reader, writer),
        ):
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent[::-1]

    run(case())


def test_the_far_side_may_close_its_half_first(run: Run, rig: Rig) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.write_eof()
        heard.put_nowait(await reader.read())

    async def case() -> None:
        async with served(greet) as port, relay_to(rig, port, NEVER_S) as (process, at):
            async with connected(at) as (reader, writer):
                assert await reader.read() == b"hello"
                writer.write(b"good day")
                writer.write_eof()
                assert await heard.get() == b"good day"
            said = await stopped(process)
            assert (said["bytes_up"], said["bytes_down"]) == (8, 5)

    run(case())


def test_connections_are_kept_apart(run: Run, rig: Rig) -> None:
    async def case() -> None:
        async def one(at: int, number: int) -> None:
            async with connected(at) as (reader, writer):
                words = b"%d;" % number * 1_000
                writer.write(words)
                writer.write_eof()
                assert await reader.read() == words

        async with served(echo) as port, relay_to(rig, port, NEVER_S) as (process, at):
            await asyncio.gather(*(one(at, number) for number in range(100)))
            assert (await stopped(process))["connections"] == 100

    run(case())


def test_an_idle_connection_is_cut_on_both_sides(run: Run, rig: Rig) -> None:
    async def idle_after_its_answer() -> bool:
        """Whether the machine let the answer come before the connection was idle."""
        cut_behind = asyncio.Event()

        async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await echo(reader, writer)
            cut_behind.set()

        async with served(told) as port, relay_to(rig, port, IDLE_S) as (process, at):
            connecting = time.monotonic()
            async with connected(at) as (reader, writer):
                writing = time.monotonic()
                try:
                    writer.write(b"order")
                    assert await reader.readexactly(5) == b"order"
                except (ConnectionError, asyncio.IncompleteReadError):
                    assert time.monotonic() - connecting >= IDLE_S
                    return False
                assert await reader.read() == b""
                assert time.monotonic() - writing >= IDLE_S
                await cut_behind.wait()
            assert await stopped(process) == {
                "event": "stopped",
                "connections": 1,
                "cut": 1,
                "bytes_up": 5,
                "bytes_down": 5,
            }
        return True

    async def case() -> None:
        async with asyncio.timeout(LIMIT_S):
            while not await idle_after_its_answer():
                pass

    run(case())


def test_one_that_never_speaks_is_cut(run: Run, rig: Rig) -> None:
    async def case() -> None:
        async with served(echo) as port, relay_to(rig, port, IDLE_S) as (process, at):
            began = time.monotonic()
            async with connected(at) as (reader, _):
                assert await reader.read() == b""
                assert time.monotonic() - began >= IDLE_S
            assert (await stopped(process))["cut"] == 1

    run(case())


def test_one_that_is_used_is_not_cut(run: Run, rig: Rig) -> None:
    async def used_for(at: int, seconds: float) -> bool:
        """Whether the machine let the bytes go often enough to prove anything."""
        began = before = time.monotonic()
        async with connected(at) as (reader, writer):
            while before < began + seconds:
                again = time.monotonic()
                try:
                    writer.write(b"x")
                    assert await reader.readexactly(1) == b"x"
                except (ConnectionError, asyncio.IncompleteReadError):
                    assert time.monotonic() - before >= IDLE_S
                    return False
                if time.monotonic() - before >= IDLE_S:
                    return False
                before = again
                await asyncio.sleep(0.1)
            return True

    async def case() -> None:
        async with (
            served(echo) as port,
            relay_to(rig, port, IDLE_S) as (_, at),
            asyncio.timeout(LIMIT_S),
        ):
            while not await used_for(at, 2.5 * IDLE_S):
                pass

    run(case())


def test_one_whose_far_side_takes_nothing_stops_the_client_and_is_cut(run: Run, rig: Rig) -> None:
    async def case() -> None:
        # The kernel accepts for a listener, who never reads.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with relay_to(rig, silent.getsockname()[1], IDLE_S) as (process, at):
                async with connected(at) as (_, writer):
                    with pytest.raises(ConnectionError):
                        for _ in range(4_000):
                            writer.write(bytes(65_536))
                            await writer.drain()
                said = await stopped(process)
                assert (said["connections"], said["cut"]) == (1, 1)

    run(case())


def test_nobody_behind_closes_the_client(run: Run, rig: Rig) -> None:
    async def case() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # held, so that no other process listens on it
            async with relay_to(rig, nobody.getsockname()[1], NEVER_S) as (process, at):
                for _ in range(2):
                    async with connected(at) as (reader, _):
                        assert await reader.read() == b""
                said = await stopped(process)
                assert (said["connections"], said["cut"]) == (2, 0)

    run(case())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_what_is_open(run: Run, rig: Rig, number: signal.Signals) -> None:
    async def case() -> None:
        async with served(echo) as port, relay_to(rig, port, NEVER_S) as (process, at):
            async with connected(at) as (reader, writer):
                writer.write(b"order")
                assert await reader.readexactly(5) == b"order"
                rig.signal(process, number)
                assert await reader.read() == b""
            said = await hear(process)
            assert (said["event"], said["connections"], said["cut"]) == ("stopped", 1, 0)
            assert await asyncio.wait_for(asyncio.shield(process.exited), LIMIT_S) == 0

    run(case())
