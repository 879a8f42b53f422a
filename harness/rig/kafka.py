"""A real Kafka, of one node or three, started and stopped by the rig (KRaft; no ZooKeeper)."""

import asyncio
import base64
import contextlib
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.rig.broker import Source
from harness.rig.kafka_config import FAST_JVM, LOGGING, VENDOR_JVM, properties_of
from harness.rig.kafka_source import classpath, find_kafka, kafka_command, obtain_kafka
from harness.rig.kafka_wire import WireError, could_place, metadata
from harness.rig.ports import LOOPBACK
from harness.rig.process import Process, Rig, RigError

__all__ = ["Kafka", "find_kafka", "kafka_command", "obtain_kafka", "start_kafka"]

READY_LIMIT_S = 60.0
ASK_AGAIN_S = 0.02
LEADER_LIMIT_S = 10.0
PORTS_ATTEMPTS = 5


@dataclass(slots=True)
class _Node:
    """One node, whether it runs or not."""

    number: int
    folder: Path
    address: str
    port: int
    controller_port: int
    process: Process | None = None

    @property
    def name(self) -> str:
        return f"kafka-{self.number}"

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and not self.process.exited.done()


async def start_kafka(
    rig: Rig,
    source: Source,
    nodes: int = 1,
    *,
    fast: bool = False,
    data: Path | None = None,
    properties: Mapping[str, str] | None = None,
    host: str = LOOPBACK,
) -> "Kafka":
    """Start a cluster of a source that was obtained, and wait until all of its nodes take part.

    `fast` takes FAST_JVM. What it writes goes to a new folder below `data`, or below the system's
    temporary one. `properties` go on top of properties_of. Clients reach it at `host`, nodes each
    other's controllers on loopback. Raises RigError with a node's last words.
    """
    jvm = FAST_JVM if fast else VENDOR_JVM
    for _ in range(PORTS_ATTEMPTS):
        kafka = _placed(rig, source, nodes, jvm, data, properties_of(nodes, properties), host)
        try:
            await kafka.boot()
        except BaseException as error:
            await kafka.stop()
            if isinstance(error, RigError) and kafka.lost_a_port():
                continue
            raise
        return kafka
    raise RigError(f"kafka: its ports were taken {PORTS_ATTEMPTS} times while it started")


class Kafka:
    """A cluster of the rig's own (see broker.Broker). Nodes are named `kafka-1`..."""

    part = "kafka"

    def __init__(
        self,
        rig: Rig,
        source: Source,
        address: str,
        settings: Mapping[str, Any],
        nodes: Sequence[_Node],
        folder: Path,
    ) -> None:
        self.address = address
        self.source = source
        self.settings = settings
        self._rig = rig
        self._nodes = nodes
        self._folder = folder
        self._id = uuid.uuid4()

    @property
    def pids(self) -> Mapping[str, int]:
        """The JVM of each node that runs."""
        return {n.name: n.process.pid for n in self._nodes if n.process is not None and n.runs}

    async def boot(self) -> None:
        """Start all nodes and wait until they take part. Raises RigError."""
        for node in self._nodes:
            await self._spawn(node)
        await self._all_take_part("starting")

    async def leader(self, name: str) -> str:
        """The node that leads partition 0 of a topic, waiting LEADER_LIMIT_S for one. Raises
        RigError where there is none."""
        running = {n.number: n.host for n in self._nodes if n.runs}
        try:
            async with asyncio.timeout(LEADER_LIMIT_S):
                while True:
                    for host in running.values():
                        with contextlib.suppress(WireError):
                            view = await metadata(host, name)
                            found = view.leaders.get(name, {}).get(0, -1)
                            # A node that was killed leads until that is noticed.
                            if found in running:
                                return f"kafka-{found}"
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError:
            raise RigError(f"kafka: nobody leads partition 0 of {name!r}") from None

    async def kill(self, node: str, wipe: bool = False) -> None:
        """Kill a node at once (SIGKILL); with `wipe` remove its folder too. Raises RigError."""
        killed = self._node(node)
        if killed.process is not None:
            await self._rig.kill(killed.process)
        if wipe:
            await asyncio.to_thread(shutil.rmtree, killed.folder, ignore_errors=True)

    async def restart(self, node: str) -> None:
        """Start a node again that has ended, and wait until it takes part. Raises RigError."""
        ended = self._node(node)
        if ended.runs:
            raise RigError(f"{node} still runs")
        await self._spawn(ended)
        await self._all_take_part("starting again")

    async def freeze(self) -> None:
        """Stop all nodes where they are (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        """Let frozen nodes go on, and wait until all take part again. Raises RigError."""
        self._signal(signal.SIGCONT)
        await self._all_take_part("thawing")

    async def stop(self) -> None:
        """End all nodes and remove what they wrote. Raises RigError if one does not end."""
        running = [n.process for n in self._nodes if n.process is not None and n.runs]
        try:
            self._signal(signal.SIGCONT)
            stops = [asyncio.ensure_future(self._rig.stop(p, signal.SIGTERM)) for p in running]
            if stops:
                await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
            # The others might wait in vain for a majority to be let go by.
            await asyncio.gather(*(self._rig.kill(process) for process in running))
            await asyncio.gather(*stops)
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def lost_a_port(self) -> bool:
        """Whether somebody else, now that it is stopped, has a port that was meant for it."""
        return any(
            not _is_free(host, port)
            for n in self._nodes
            for host, port in ((n.address, n.port), (LOOPBACK, n.controller_port))
        )

    def _node(self, name: str) -> _Node:
        for node in self._nodes:
            if node.name == name:
                return node
        raise RigError(f"kafka: {name!r} is no node of ours")

    def _signal(self, number: signal.Signals) -> None:
        for node in self._nodes:
            if node.process is not None and node.runs:
                self._rig.signal(node.process, number)

    async def _spawn(self, node: _Node) -> None:
        """Start a node, in a folder that is formatted if it is not there. Raises RigError."""
        folder, log = node.folder, node.folder / "log"
        properties, logging = folder / "server.properties", folder / "log4j2.properties"
        try:
            if not (log / "meta.properties").exists():
                log.mkdir(parents=True, exist_ok=True)
                _write(properties, self._properties(node))
                logging.write_text(LOGGING)
                shutil.copy(self.source.paths["seed"], log / "bootstrap.checkpoint")
                _write(log / "meta.properties", self._identity(node))
        except OSError as error:
            raise RigError(f"{node.name}: its folder cannot be written ({error})") from None
        words = [f"-Dlog4j2.configurationFile={logging}", "-cp", classpath(self.source)]
        argv = [self.source.paths["java"], *self.settings["jvm"], *words]
        argv += ["kafka.Kafka", str(properties)]
        node.process = await self._rig.spawn(node.name, argv, cwd=folder, speaks=False)

    def _identity(self, node: _Node) -> dict[str, str]:
        """What a formatted folder says. The directory's id outlives a wipe: Kafka leaves a
        partition without a leader as long as the only directory that had it does not return."""
        return {
            "version": "1",
            "cluster.id": _text(self._id),
            "node.id": str(node.number),
            "directory.id": _text(uuid.uuid5(self._id, node.name)),
        }

    def _properties(self, node: _Node) -> dict[str, str]:
        voters = ",".join(f"{n.number}@{LOOPBACK}:{n.controller_port}" for n in self._nodes)
        own = f"PLAINTEXT://{node.host}"
        return {
            **self.settings["properties"],
            "node.id": str(node.number),
            "controller.quorum.voters": voters,
            "listeners": f"{own},CONTROLLER://{LOOPBACK}:{node.controller_port}",
            "advertised.listeners": own,
            "log.dirs": str(node.folder / "log"),
        }

    async def _all_take_part(self, doing: str) -> None:
        """Wait until the controller and every node that runs see all of these take part.

        Raises RigError as soon as one ends, or after READY_LIMIT_S.
        """
        nodes = [n for n in self._nodes if n.runs]
        expected = frozenset(n.number for n in nodes)
        waiting = asyncio.create_task(self._all_see(nodes, expected))
        awaited: set[asyncio.Future[Any]] = {waiting}
        awaited.update(n.process.exited for n in nodes if n.process is not None)
        try:
            await asyncio.wait(awaited, timeout=READY_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            for node in nodes:
                if not node.runs and node.process is not None:
                    code = node.process.exited.result()
                    raise RigError(f"{node.name} ended with code {code} {doing}{self._said(node)}")
            if not waiting.done():
                said = "; ".join(f"{n.name}{self._said(n)}" for n in nodes)
                raise RigError(f"kafka was not ready {READY_LIMIT_S:g} s after {doing}: {said}")
            await waiting
        finally:
            waiting.cancel()

    async def _all_see(self, nodes: Sequence[_Node], expected: frozenset[int]) -> None:
        for node in nodes:
            while not await self._sees(node, expected):
                await asyncio.sleep(ASK_AGAIN_S)

    async def _sees(self, node: _Node, expected: frozenset[int]) -> bool:
        try:
            # First the controller: a node that it has just given up is still seen by others.
            if not await could_place(node.host, len(expected)):
                return False
            view = await metadata(node.host)
        except WireError:
            return False
        return view.cluster == _text(self._id) and view.nodes >= expected

    def _said(self, node: _Node) -> str:
        return f": {self._rig.last_words(node.name) or 'no words'}"


def _placed(
    rig: Rig,
    source: Source,
    count: int,
    jvm: Sequence[str],
    data: Path | None,
    properties: Mapping[str, str],
    host: str,
) -> Kafka:
    """A cluster with a folder and ports, not started yet. Raises RigError."""
    try:
        ports, controllers = _free_ports(host, count), _free_ports(LOOPBACK, count)
        folder = Path(tempfile.mkdtemp(prefix="orderbench-kafka-", dir=data)).resolve()
    except OSError as error:
        raise RigError(f"kafka: there is no place for its data ({error})") from None
    nodes = [
        _Node(n, folder / f"kafka-{n}", host, port, controller)
        for n, (port, controller) in enumerate(zip(ports, controllers, strict=True), 1)
    ]
    settings = {
        "nodes": count,
        "kafka": source.version,
        "java": source.paths["java_version"],
        "jvm": list(jvm),
        "properties": dict(properties),
    }
    address = f"kafka://{','.join(n.host for n in nodes)}"
    return Kafka(rig, source, address, settings, nodes, folder)


def _free_ports(host: str, count: int) -> list[int]:
    """Ports that nobody had a moment ago."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return False
    return True


def _text(identity: uuid.UUID) -> str:
    """As Kafka writes an id."""
    return base64.urlsafe_b64encode(identity.bytes).rstrip(b"=").decode()


def _write(file: Path, properties: Mapping[str, str]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
