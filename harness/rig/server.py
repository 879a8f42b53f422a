"""A style's server, fresh for one trial."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.rig.ports import LOOPBACK
from harness.rig.process import Process, Rig, RigError

READY_LIMIT_S = 30.0
DRAIN_GRACE_S = 30.0


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
    queue: int = 0
    """Workers that take one order at a time each; 0: orders are worked on side by side."""
    sharp: bool = False
    """Whether it does not sleep while orders are in line."""
    late: str = ""
    """How much later than due some of a queue's answers leave (orders.line.latenesses)."""
    stall_ms: float = 0.0
    """How much longer some of a queue's orders take (orders.line.STALL_EVERY)."""
    remember: str = "keys"
    compression: bool = False
    trace: str | None = None
    """Where spans go: a file or an OTLP address."""
    certificate: Path | None = None
    key: Path | None = None
    host: str = LOOPBACK
    port: int = 0
    store: str = "memory"
    namespace: str = ""
    """What a store keeps this server's orders under."""
    broker: str = ""
    """The address of the broker that a style has, with its options (protos.broker)."""
    worker: int = 0
    workers: int = 1
    """Which of how many processes at the broker this is."""
    paused: bool = False
    """Whether it takes nothing before it is told to drain."""
    changes: bool = False
    """Whether somebody watches at the broker."""
    stores: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Addresses of stores, by the variable that tells the server."""

    @property
    def environment(self) -> dict[str, str]:
        """Addresses, which may hold secrets and so are no words of a command line."""
        told = dict(self.stores)
        if self.broker:
            told["ORDERBENCH_BROKER"] = self.broker
        if self.changes:
            told["ORDERBENCH_CHANGES"] = "1"
        return told

    @property
    def words(self) -> list[str]:
        """As a command line."""
        words = [self.style, "--host", self.host, "--port", str(self.port)]
        words += ["--service-time-ms", str(self.service_time_ms), "--remember", self.remember]
        if self.queue:
            words += ["--queue", str(self.queue), "--stall-ms", str(self.stall_ms)]
        if self.late:
            words += ["--late", self.late]
        if self.store != "memory":
            words += ["--store", self.store]
        if self.namespace:
            words += ["--namespace", self.namespace]
        if self.broker:
            words += ["--worker", str(self.worker), "--workers", str(self.workers)]
        words += [
            word
            for word, said in (
                ("--sharp", self.sharp),
                ("--compression", self.compression),
                ("--paused", self.paused),
            )
            if said
        ]
        if self.trace is not None:
            words += ["--trace", self.trace]
        if self.certificate is not None:
            words += ["--certificate", str(self.certificate), "--key", str(self.key)]
        return words


async def start_server(rig: Rig, serving: Serving, cpus: tuple[int, ...] | None = None) -> Server:
    """Start a style's server and wait until it is bound. Raises RigError naming its log."""
    words = ["servers", *serving.words]
    return await _start(rig, f"server-{serving.style}", words, cpus, serving.environment)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a worker took: the file of its arrivals, and how it left its broker (Drained)."""

    file: Path
    said: Mapping[str, Any]


async def drain(
    workers: Sequence[Server], folder: Path, limit_s: float, read_again: bool = False
) -> list[Taken]:
    """Let all workers at a broker take what is left, for `limit_s` seconds at most; then each reads
    its share again, where that is asked for. Raises RigError."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f".{secrets.token_hex(8)}.arrivals" for _ in workers]
    for worker, file in zip(workers, files, strict=True):
        how = {"limit_s": limit_s, "arrivals": str(file), "read_again": read_again}
        worker.process.say(json.dumps({"event": "drain", **how}) + "\n")
    taken = []
    for worker, file in zip(workers, files, strict=True):
        said = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * limit_s + DRAIN_GRACE_S):
                said = await worker.process.hear()
        if said is None or said["event"] != "drained":
            name = worker.process.name
            raise RigError(f"{name} did not take what was left (see its log)")
        taken.append(Taken(file, said))
    return taken


async def start_gateway(
    rig: Rig,
    upstream: str,
    cpus: tuple[int, ...] | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    host: str = LOOPBACK,
) -> Server:
    """Start the HTTP gateway that remembers answers (P1) in front of a server that does not
    encrypt; with `certificate` the gateway does. Raises RigError."""
    words = ["servers.gateway", "--host", host, "--upstream", upstream]
    if certificate is not None:
        words += ["--certificate", str(certificate), "--key", str(key)]
    return await _start(rig, "gateway", words, cpus)


async def start_relay(
    rig: Rig,
    upstream: str,
    idle_s: float,
    cpus: tuple[int, ...] | None = None,
    host: str = LOOPBACK,
) -> Server:
    """Start the relay that cuts idle connections in front of host:port. Raises RigError."""
    words = ["harness.rig.relay", "--host", host, "--to", upstream, "--idle-s", str(idle_s)]
    return await _start(rig, "relay", words, cpus)


async def _start(
    rig: Rig,
    name: str,
    words: list[str],
    cpus: tuple[int, ...] | None,
    env: Mapping[str, str] | None = None,
) -> Server:
    process = await rig.program(name, words, cpus, env)
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
