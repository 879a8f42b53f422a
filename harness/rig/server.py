"""A style's server, fresh for one trial."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.rig.process import Process, Rig, RigError

READY_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready at `address`."""

    process: Process
    address: str


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server is started with; see `python -m servers --help`."""

    style: str
    service_time_ms: float = 0.0
    remember: str = "keys"
    compression: bool = False
    certificate: Path | None = None
    key: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def words(self) -> list[str]:
        """As a command line."""
        words = [self.style, "--host", self.host, "--port", str(self.port)]
        words += ["--service-time-ms", str(self.service_time_ms), "--remember", self.remember]
        if self.compression:
            words.append("--compression")
        if self.certificate is not None:
            words += ["--certificate", str(self.certificate), "--key", str(self.key)]
        return words


async def start_server(rig: Rig, serving: Serving, cpus: tuple[int, ...] | None = None) -> Server:
    """Start a style's server and wait until it is bound. Raises RigError naming its log."""
    argv = [sys.executable, "-m", "servers", *serving.words]
    name = f"server-{serving.style}"
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
