"""Redis: one process that keeps nothing on disk unless it is asked to."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from signal import SIGTERM
from typing import Literal

from harness.rig import debian
from harness.rig.broker import Source, Unavailable
from harness.rig.ports import Ports
from harness.rig.process import Process, Rig
from harness.rig.store import Store, at_address
from harness.rig.waiting import answer, until_ready

PART = "redis"
RECIPE = debian.Recipe(
    part=PART,
    package="redis-server",
    along=("redis-server", "redis-tools"),
    remedy="install Redis so that redis-server is on PATH, or give the address of one "
    "(ORDERBENCH_REDIS)",
)
Fsync = Literal["no", "everysec", "always"]


def find_redis(address: str | None) -> Source:
    """Where Redis would come from; installs nothing. Raises Unavailable.

    A source's paths: `server`, and `libraries` that the machine lacks (LD_LIBRARY_PATH).
    """
    if address is not None:
        return at_address(PART, address, ("redis", "rediss"))
    if server := shutil.which("redis-server"):
        return Source(PART, "local", _version(server), server, {"server": server})
    return _cached() or debian.installable(RECIPE)


def obtain_redis(source: Source) -> Source:
    """The source, installed into the cache if it was not there. Blocks. Raises Unavailable."""
    if source.origin != "install":
        return source
    folder = debian.unpacked(RECIPE)
    if (cached := _cached()) is None:
        raise Unavailable(PART, f"{folder} holds no Redis", "remove that folder")
    return cached


async def start_redis(rig: Rig, source: Source, appendfsync: Fsync | None = None) -> Store:
    """Start Redis from a local or cached source and wait until it answers. Raises RigError.

    `appendfsync`: when its log of changes is flushed; None: there is no log.
    """
    folder, ports = Path(tempfile.mkdtemp(prefix="orderbench-redis-")), Ports()
    settings = {"save": "", "appendonly": "no" if appendfsync is None else "yes"}
    if appendfsync is not None:
        settings["appendfsync"] = appendfsync
    process: Process | None = None
    try:
        port = ports.take()
        where = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder)}
        process = await rig.spawn(
            PART,
            [
                source.paths["server"],
                *(
                    word
                    for name, value in (where | settings).items()
                    for word in (f"--{name}", value)
                ),
            ],
            env=debian.environment(source),
            cwd=folder,
            speaks=False,
        )
        await until_ready(rig, process, lambda: _answers(port))
    except BaseException:
        if process is not None:
            await rig.kill(process)
        ports.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    address = f"redis://127.0.0.1:{port}"
    return Store(PART, address, source, settings, process, rig, folder, ports, SIGTERM)


async def _answers(port: int) -> bool:
    return await answer(port, b"PING\r\n", 5) == b"+PONG"


def _cached() -> Source | None:
    if (kept := debian.kept(RECIPE)) is None:
        return None
    folder, version = kept
    server = folder / "usr/bin/redis-server"
    if not server.exists():
        return None
    paths = {"server": str(server), "libraries": debian.libraries(folder)}
    return Source(PART, "cache", version, str(server), paths)


def _version(server: str) -> str:
    """What redis-server says of itself, or nothing."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"v=(\S+)", said.stdout)
    return found[1] if found else ""
