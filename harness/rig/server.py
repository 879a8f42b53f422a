"""A style's server, fresh for one trial."""

import asyncio
import sys
from dataclasses import dataclass

from harness.rig.process import Process, Rig, RigError

READY_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready at `address`."""

    process: Process
    address: str


async def start_server(
    rig: Rig,
    style: str,
    service_time_ms: float = 0.0,
    cpus: tuple[int, ...] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Server:
    """Start `style`'s server and wait until it is bound. Raises RigError naming its log."""
    argv = [sys.executable, "-m", "servers", style, "--host", host, "--port", str(port)]
    argv += ["--service-time-ms", str(service_time_ms)]
    name = f"server-{style}"
    process = await rig.spawn(name, argv, cpus)
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            message = await process.hear()
    except TimeoutError:
        await rig.kill(process)
        raise RigError(f"{name} was not ready after {READY_LIMIT_S:g} s (see its log)") from None
    if message is None or message["event"] != "ready":
        code = await rig.stop(process)
        words = rig.last_words(name)
        raise RigError(f"{name} ended with code {code} before it was ready: {words or 'no words'}")
    return Server(process, str(message["address"]))
