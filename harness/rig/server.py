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
    trace: str | None = None
    """Where spans go: a file or an OTLP address."""
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
        if self.trace is not None:
            words += ["--trace", self.trace]
        if self.certificate is not None:
            words += ["--certificate", str(self.certificate), "--key", str(self.key)]
        return words


async def start_server(rig: Rig, serving: Serving, cpus: tuple[int, ...] | None = None) -> Server:
    """Start a style's server and wait until it is bound. Raises RigError naming its log."""
    return await _start(rig, f"server-{serving.style}", ["servers", *serving.words], cpus)


async def start_gateway(
    rig: Rig,
    upstream: str,
    cpus: tuple[int, ...] | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Server:
    """Start the HTTP gateway that remembers answers (P1) in front of a server that does not
    encrypt; with `certificate` the gateway does. Raises RigError."""
    words = ["servers.gateway", "--upstream", upstream]
    if certificate is not None:
        words += ["--certificate", str(certificate), "--key", str(key)]
    return await _start(rig, "gateway", words, cpus)


async def start_relay(
    rig: Rig, upstream: str, idle_s: float, cpus: tuple[int, ...] | None = None
) -> Server:
    """Start the relay that cuts idle connections in front of host:port. Raises RigError."""
    words = ["harness.rig.relay", "--to", upstream, "--idle-s", str(idle_s)]
    return await _start(rig, "relay", words, cpus)


async def _start(rig: Rig, name: str, words: list[str], cpus: tuple[int, ...] | None) -> Server:
    process = await rig.spawn(name, [sys.executable, "-m", *words], cpus)
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            message = await process.hear()
    except TimeoutError:
        await rig.kill(process)
        raise RigError(f"{name} was not ready after {READY_LIMIT_S:g} s (see its log)") from None
    if message is None or message["event"] != "ready":
        code = await rig.stop(process)
        said = rig.last_words(name)
        raise RigError(f"{name} ended with code {code} before it was ready: {said or 'no words'}")
    return Server(process, str(message["address"]))
