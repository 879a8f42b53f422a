"""The brokers and stores that a run needs, started before its first trial and ended with it."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.redaction import redacted
from harness.rig.broker import Broker, Source, Unavailable
from harness.rig.obtain import find, obtained
from harness.rig.ports import LOOPBACK
from harness.rig.process import Rig, RigError

PARTS = ("kafka", "rabbitmq", "redis", "postgres")
BROKERS = ("kafka", "rabbitmq")


def numbered(role: str, pids: Sequence[int]) -> dict[str, int]:
    """Processes of one role: `role`, `role.2`..."""
    return {f"{role}.{n}" if n > 1 else role: pid for n, pid in enumerate(pids, 1)}


def variable(part: str) -> str:
    """The environment variable that holds the address of a part which already runs."""
    return f"ORDERBENCH_{part.upper()}"


class Part(Protocol):
    """A store or a broker that is ready."""

    @property
    def address(self) -> str:
        """As its clients read it; it may hold a secret."""

    @property
    def source(self) -> Source:
        """Where it came from."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was started with."""

    @property
    def pids(self) -> Mapping[str, int]:
        """Its processes; none where it is not ours."""

    async def stop(self) -> None:
        """End it."""


class Given:
    """A part at an address that the user gave: nothing of it is started, stopped or killed."""

    def __init__(self, source: Source, address: str) -> None:
        self.part = source.part
        self.source = source
        self.address = address
        self.settings: Mapping[str, Any] = {}
        self.pids: Mapping[str, int] = {}

    async def leader(self, name: str) -> str:
        """See Broker.leader: only what a run has started is killed."""
        raise RigError(f"{self.part} was not started by this run, so nothing of it is killed")

    async def kill(self, node: str, wipe: bool = False) -> None:
        """See Broker.kill."""
        await self.leader("")

    async def restart(self, node: str) -> None:
        """See Broker.restart."""
        await self.leader("")

    async def freeze(self) -> None:
        """See Broker.freeze."""

    async def thaw(self) -> None:
        """See Broker.thaw."""

    async def stop(self) -> None:
        """See Broker.stop."""


@dataclass
class Parts:
    """What runs beside the services."""

    running: dict[str, Part] = field(default_factory=dict)
    missing: dict[str, Unavailable | RigError] = field(default_factory=dict)
    """Why a part is not there."""
    _frozen: set[str] = field(default_factory=set)

    @property
    def frozen_pids(self) -> dict[str, int]:
        """The processes that stand still, by role: `rival`, `rival.2`..."""
        pids = [pid for name in sorted(self._frozen) for pid in self.running[name].pids.values()]
        return numbered("rival", pids)

    def broker(self, part: str) -> Broker:
        """A broker that runs. Raises RigError with the reason where it does not."""
        broker: Any = self._part(part)
        return broker  # type: ignore[no-any-return]

    def address(self, part: str) -> str:
        """Where a part is. Raises RigError with the reason where it is not."""
        return self._part(part).address

    def _part(self, part: str) -> Part:
        if part not in self.running:
            raise RigError(str(self.missing.get(part, f"{part} was not started")))
        return self.running[part]

    async def let_run(self, *parts: str) -> None:
        """Freeze the brokers that are not among `parts`, and let those go on: who is not measured
        shall not take time from who is. Raises RigError when one does not come back."""
        for name in BROKERS:
            if name in self.running and name not in parts and name not in self._frozen:
                await self.broker(name).freeze()
                self._frozen.add(name)
        for name in self._frozen.intersection(parts):
            await self.broker(name).thaw()
            self._frozen.remove(name)

    async def stop(self) -> None:
        """End all, the frozen ones too. Raises RigError."""
        await self.let_run(*BROKERS)
        await asyncio.gather(*(part.stop() for part in self.running.values()))
        self.running.clear()


async def start(
    part: str,
    rig: Rig,
    nodes: int = 1,
    address: str | None = None,
    fast: bool = False,
    data: Path | None = None,
    host: str = LOOPBACK,
) -> Part:
    """A part that is ready, installed first where that is needed. Raises Unavailable, RigError.

    `fast`: Kafka with little of the JVM, for tests and smoke, never for figures. `data`: the folder
    for what brokers write, which is there; None takes the system's for temporary files. `host`:
    where clients reach a broker; stores, which only servers talk to, are on loopback.
    """
    if address is not None:
        return Given(find(part, address), address)
    source = await obtained(part, rig)
    match part:
        case "kafka":
            from harness.rig.kafka import start_kafka

            return await start_kafka(rig, source, nodes, fast=fast, data=data, host=host)
        case "rabbitmq":
            from harness.rig.rabbitmq import start_rabbitmq

            return await start_rabbitmq(rig, source, nodes, data, host)
        case "redis":
            from harness.rig.redis import start_redis

            return await start_redis(rig, source)
    from harness.rig.postgres import start_postgres

    return await start_postgres(rig, source)


def address_problems(addresses: Mapping[str, str]) -> list[str]:
    """What is wrong with addresses that the user gave, a line each, without their secrets."""
    problems = []
    for part, address in addresses.items():
        try:
            find(part, address)
        except ValueError as error:
            problems.append(f"{part}: {error}")
        except Unavailable as error:
            problems.append(f"{part}: {error.reason}; {error.remedy}")
    return problems


async def start_parts(
    rig: Rig,
    wanted: Mapping[str, int],
    addresses: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
    fast: bool = False,
    data: Path | None = None,
    host: str = LOOPBACK,
) -> Parts:
    """All parts of `wanted` (name -> nodes), started side by side. One that cannot be had is
    `missing`, with its reason; `say` is told what goes on. `fast`, `data`, `host`: see
    start."""
    parts = Parts()

    async def one(part: str, nodes: int) -> None:
        say(f"{part}: starting")
        began = time.monotonic()
        try:
            parts.running[part] = ready = await start(
                part, rig, nodes, addresses.get(part), fast, data, host
            )
        except (Unavailable, RigError) as error:
            parts.missing[part] = error
            say(str(error))
        else:
            version, where = ready.source.version, redacted(ready.source.detail)
            say(f"{part} {version} ready after {time.monotonic() - began:.1f} s, from {where}")

    try:
        await asyncio.gather(*(one(part, nodes) for part, nodes in wanted.items()))
    except BaseException:
        with contextlib.suppress(RigError):
            await parts.stop()
        raise
    return parts
