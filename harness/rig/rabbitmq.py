"""RabbitMQ: a broker of one node or three, with an epmd, a cookie and ports of its own.

The virtual machine and the broker keep their vendor's settings. What is set is where they listen
and where they write.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any

from harness.rig import debian
from harness.rig.broker import Source
from harness.rig.ports import LOOPBACK, Ports
from harness.rig.process import Process, Rig, RigError
from harness.rig.rabbitmq_source import PART, find_rabbitmq, needed_plugins, obtain_rabbitmq
from harness.rig.waiting import POLL_S, READY_LIMIT_S, answer, until_ready

__all__ = ["RabbitMQ", "find_rabbitmq", "obtain_rabbitmq", "start_rabbitmq"]

ASK_LIMIT_S = 20.0
USER = "orderbench"
_RUNNING = (
    "lists:sort([N || N <- [node() | nodes()], rpc:call(N, rabbit, is_running, []) =:= true])"
)


async def start_rabbitmq(
    rig: Rig, source: Source, nodes: int = 1, data: Path | None = None, host: str = LOOPBACK
) -> "RabbitMQ":
    """Start a broker of one node or three and wait until all take part. Raises RigError.

    `source`: local or from the cache. `data`: the folder in which each node gets one for what it
    stores; None: a fresh one. Clients reach it at `host`, nodes each other on loopback.
    """
    broker = RabbitMQ(rig, source, nodes, data, host)
    try:
        await broker.start()
    except BaseException as error:
        await broker.stop()
        if isinstance(error, OSError):
            raise RigError(f"{PART}: {error}") from None
        raise
    return broker


@dataclass(slots=True)
class _Node:
    """One node; its Erlang name is NAME@localhost."""

    name: str
    port: int
    distribution_port: int
    folder: Path
    process: Process | None = None
    wiped: bool = False

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and not self.process.exited.done()


class RabbitMQ:
    """A broker that is ready; see harness.rig.broker.Broker."""

    part = PART

    def __init__(
        self, rig: Rig, source: Source, nodes: int, data: Path | None, host: str = LOOPBACK
    ) -> None:
        """See start_rabbitmq."""
        self.source = source
        self.settings: Mapping[str, Any] = {"nodes": nodes, "vm": "vendor's", "plugins": "none"}
        self._rig = rig
        self._ports = Ports()
        self._epmd: Process | None = None
        self._nodes: dict[str, _Node] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="orderbench-rabbitmq-"))
        for number in range(1, nodes + 1):
            name = f"rabbit{number}"
            place = (data or self._folder / "data") / name
            self._nodes[name] = _Node(name, self._ports.take(), self._ports.take(), place)
        self._host = host
        # A guest may come from loopback only.
        self._user = ("guest", "guest") if host == LOOPBACK else (USER, secrets.token_hex(16))
        hosts = ",".join(f"{host}:{node.port}" for node in self._nodes.values())
        self.address = f"amqp://{':'.join(self._user)}@{hosts}"
        self._epmd_port = self._ports.take()

    @property
    def pids(self) -> Mapping[str, int]:
        """The virtual machine of each node that runs."""
        return {n.name: n.process.pid for n in self._nodes.values() if n.process and n.runs}

    async def start(self) -> None:
        """Start all nodes, which start_rabbitmq does."""
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(20))
        cookie.chmod(0o400)
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "advanced.config").write_text("[].\n")
        (self._folder / "plugins").mkdir()
        for plugin in needed_plugins(Path(self.source.paths["home"]) / "plugins"):
            (self._folder / "plugins" / plugin.name).symlink_to(plugin)
        names = list(self._nodes)
        for node in self._nodes.values():
            place = self._folder / f"{node.name}.conf"
            place.touch(mode=0o600)
            place.write_text(configuration(node.port, names, self._host, self._user))
        self._epmd = await self._rig.spawn(
            "rabbitmq-epmd",
            [self.source.paths["epmd"], "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            env=self._environment(),
            cwd=self._folder,
            speaks=False,
        )
        await until_ready(self._rig, self._epmd, lambda: _knows_names(self._epmd_port))
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes.values():
                    group.create_task(self._boot(node))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        await self._until_together()

    async def leader(self, name: str) -> str:
        """The node that leads a queue of the vhost /, of any kind. Raises RigError.

        Waits for an election that goes on.
        """
        octets = ",".join(str(octet) for octet in name.encode())
        lookup = (
            f"case rabbit_amqqueue:lookup({{resource, <<$/>>, queue, <<{octets}>>}}) of "
            "{ok, Q} -> amqqueue:qnode(Q); Other -> Other end"
        )
        end = time.monotonic() + ASK_LIMIT_S
        while True:
            answer = await self._ask(self._any(), lookup)
            node = self._nodes.get(answer.partition("@")[0])
            if node is not None and node.runs:
                return node.name
            if node is None or time.monotonic() > end:
                raise RigError(f"rabbitmq: no node that runs leads the queue {name} ({answer})")
            await asyncio.sleep(POLL_S)

    async def kill(self, node: str, wipe: bool = False) -> None:
        """Kill a node at once; with `wipe` remove what it has stored too. Raises RigError."""
        found = self._named(node)
        if found.process is not None:
            await self._rig.kill(found.process)
        if wipe:
            await asyncio.to_thread(shutil.rmtree, found.folder)
            found.wiped = True

    async def restart(self, node: str) -> None:
        """Start a killed node again, and wait until it takes part. Raises RigError.

        One that was wiped is forgotten by the others first, and joins them as a new one.
        """
        found = self._named(node)
        if found.wiped and len(self._nodes) > 1:
            await self._control(self._any(), "forget_cluster_node", f"{node}@localhost")
        found.wiped = False
        await self._boot(found)
        await self._until_together()

    async def freeze(self) -> None:
        """Stop all nodes where they are."""
        for node in self._nodes.values():
            if node.process is not None:
                self._rig.signal(node.process, SIGSTOP)

    async def thaw(self) -> None:
        """Let frozen nodes go on, and wait until they answer. Raises RigError."""
        for node in self._nodes.values():
            if node.process is not None and node.runs:
                self._rig.signal(node.process, SIGCONT)
        for node in self._nodes.values():
            if node.runs:
                await self._until_greeted(node)
        await self._until_together()

    async def stop(self) -> None:
        """End all nodes and the epmd, and remove what they have written."""
        for node in self._nodes.values():
            if node.process is not None:
                self._rig.signal(node.process, SIGCONT)
        running = [n.process for n in self._nodes.values() if n.process is not None]
        await asyncio.gather(*(self._rig.stop(process, SIGTERM) for process in running))
        if self._epmd is not None:
            await self._rig.stop(self._epmd, SIGTERM)
        self._ports.close()
        for node in self._nodes.values():
            await asyncio.to_thread(shutil.rmtree, node.folder, ignore_errors=True)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _boot(self, node: _Node) -> None:
        """Start a node and wait until it greets."""
        node.folder.mkdir(parents=True, exist_ok=True)
        node.process = await self._rig.spawn(
            f"rabbitmq-{node.name}",
            [f"{self.source.paths['home']}/sbin/rabbitmq-server"],
            env={
                **self._environment(),
                "RABBITMQ_NODENAME": f"{node.name}@localhost",
                "RABBITMQ_DIST_PORT": str(node.distribution_port),
                "RABBITMQ_MNESIA_BASE": str(node.folder),
                "RABBITMQ_CONFIG_FILE": str(self._folder / f"{node.name}.conf"),
                "RABBITMQ_GENERATED_CONFIG_DIR": str(self._folder / f"{node.name}.generated"),
                "RABBITMQ_PID_FILE": str(self._folder / f"{node.name}.pid"),
            },
            cwd=self._folder,
            speaks=False,
        )
        await self._until_greeted(node)

    def _environment(self) -> dict[str, str]:
        """What epmd, nodes and tools have in common; nothing of the user's or the system's own
        RabbitMQ reaches them."""
        paths = self.source.paths
        foreign = {name: "" for name in os.environ if name.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **foreign,
            "HOME": str(self._folder),
            "PATH": f"{paths['erlang']}:{os.environ.get('PATH', os.defpath)}",
            **debian.environment(self.source),
            "LC_ALL": "C.UTF-8",
            "NOTIFY_SOCKET": "",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # For the short-lived Erlang nodes of the scripts too.
            "ERL_AFLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none"),
            "RABBITMQ_CONFIG_FILES": str(self._folder / "none/*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_PLUGINS_DIR": str(self._folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(self._folder),
            "RABBITMQ_LOGS": "-",
            "RUNNING_UNDER_SYSTEMD": "1",  # so that the script becomes the virtual machine
        }

    async def _until_greeted(self, node: _Node) -> None:
        assert node.process is not None
        await until_ready(self._rig, node.process, lambda: _greets(self._host, node.port))

    async def _until_together(self) -> None:
        """Wait until every node that runs sees all that run as running."""
        alive = [node for node in self._nodes.values() if node.runs]
        wanted = "[" + ",".join(sorted(f"{n.name}@localhost" for n in alive)) + "]"
        end = time.monotonic() + READY_LIMIT_S
        for node in alive:
            while (seen := await self._ask(node, _RUNNING)) != wanted:
                if time.monotonic() > end:
                    raise RigError(f"rabbitmq: {node.name} sees {seen} running, not {wanted}")
                await asyncio.sleep(POLL_S)

    async def _ask(self, node: _Node, expression: str) -> str:
        """What an Erlang expression comes to on a node, without spaces. Raises RigError."""
        said = await self._tool(
            [self.source.paths["erl_call"], "-sname", f"{node.name}@localhost", "-e"],
            f"{expression}.\n",
        )
        answer = "".join(said.split())
        if not answer.startswith("{ok,"):
            raise RigError(f"rabbitmq: {node.name} answers {answer}")
        return answer.removeprefix("{ok,").removesuffix("}")

    async def _control(self, node: _Node, *words: str) -> None:
        """rabbitmqctl. Raises RigError."""
        script = f"{self.source.paths['home']}/sbin/rabbitmqctl"
        await self._tool([script, "-n", f"{node.name}@localhost", *words], "")

    async def _tool(self, argv: list[str], text: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self._environment()},
            cwd=self._folder,
        )
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                said, _ = await process.communicate(text.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise RigError(f"rabbitmq: {Path(argv[0]).name} did not answer") from None
        if process.returncode != 0:
            raise RigError(f"rabbitmq: {Path(argv[0]).name} failed: {said.decode().strip()[-300:]}")
        return said.decode()

    def _named(self, name: str) -> _Node:
        if name not in self._nodes:
            known = ", ".join(self._nodes)
            raise RigError(f"rabbitmq: there is no node {name} (there are: {known})")
        return self._nodes[name]

    def _any(self) -> _Node:
        """A node that runs."""
        for node in self._nodes.values():
            if node.runs:
                return node
        raise RigError("rabbitmq: no node of ours runs")


def configuration(
    port: int, names: list[str], host: str = LOOPBACK, user: tuple[str, str] = ("guest", "guest")
) -> str:
    """rabbitmq.conf for a node that listens on `port` beside those of these names, for a `user` of
    name and password."""
    lines = [f"listeners.tcp.1 = {host}:{port}"]
    if user[0] == USER:
        lines += [f"default_user = {user[0]}", f"default_pass = {user[1]}"]
    if len(names) > 1:
        lines.append("cluster_formation.peer_discovery_backend = classic_config")
        # The first to hold the lock under which nodes join asks the others ten times in vain.
        lines.append("cluster_formation.discovery_retry_interval = 50")
        lines += [
            f"cluster_formation.classic_config.nodes.{number} = {name}@localhost"
            for number, name in enumerate(names, 1)
        ]
    return "\n".join(lines) + "\n"


async def _greets(host: str, port: int) -> bool:
    """Whether what listens there answers a client's greeting as AMQP 0-9-1 wants it."""
    header = await answer(port, b"AMQP\x00\x00\x09\x01", 11, host)
    return header[:1] == b"\x01" and header[7:] == b"\x00\x0a\x00\x0a"  # connection.start


async def _knows_names(port: int) -> bool:
    """Whether an epmd answers there; to a request for all names it tells its port first."""
    return await answer(port, b"\x00\x01n", 4) == port.to_bytes(4)
