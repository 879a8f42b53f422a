"""Waiting for a process that does not say when it is ready."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from harness.rig.ports import LOOPBACK
from harness.rig.process import Process, Rig, RigError

POLL_S = 0.05
READY_LIMIT_S = 120.0


async def until_ready(
    rig: Rig, process: Process, is_ready: Callable[[], Coroutine[Any, Any, bool]]
) -> None:
    """Ask again and again until it is. Raises RigError, with the process's last words, when it
    ends before or is not ready after READY_LIMIT_S."""
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            while not await is_ready():
                if process.exited.done():
                    raise RigError(
                        f"{process.name} ended with code {process.exited.result()} before it was "
                        f"ready: {rig.last_words(process.name) or 'no words'}"
                    )
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise RigError(
            f"{process.name} was not ready after {READY_LIMIT_S:g} s (see its log)"
        ) from None


async def answer(port: int, request: bytes, size: int, host: str = LOOPBACK) -> bytes:
    """The first bytes that a port answers to a request; none if nobody answers."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return b""
    try:
        writer.write(request)
        return await reader.readexactly(size)
    except (OSError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()
