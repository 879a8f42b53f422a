"""PostgreSQL: a cluster of databases that is prepared once, and copied for each start.

It refuses to run as root: for root it runs as the user nobody.
"""

import asyncio
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from signal import SIGINT
from typing import Any

from harness.rig import debian
from harness.rig.broker import Source, Unavailable
from harness.rig.cache import cache_folder, filled
from harness.rig.ports import Ports
from harness.rig.process import Process, Rig, RigError
from harness.rig.store import Store, at_address
from harness.rig.waiting import until_ready

PART = "postgres"
USER = "orderbench"
RECIPE = debian.Recipe(
    part=PART,
    package="postgresql",
    along=("postgresql-[0-9]*", "postgresql-client-[0-9]*"),
    remedy="install PostgreSQL so that postgres and initdb are on PATH, or give the address of one "
    "(ORDERBENCH_POSTGRES)",
)
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "jit": "off"}

_DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian keeps a folder for each version."""


def find_postgres(address: str | None) -> Source:
    """Where PostgreSQL would come from; installs nothing. Raises Unavailable.

    A source's paths: `bin`; where it was unpacked also `root`, and `libraries` that the machine
    lacks (LD_LIBRARY_PATH).
    """
    if address is not None:
        return at_address(PART, address, ("postgresql", "postgres"))
    return _local() or _cached() or debian.installable(RECIPE)


def obtain_postgres(source: Source) -> Source:
    """The source, installed into the cache if it was not there. Blocks. Raises Unavailable."""
    if source.origin != "install":
        return source
    folder = debian.unpacked(RECIPE)
    if (cached := _cached()) is None:
        raise Unavailable(PART, f"{folder} holds no PostgreSQL", "remove that folder")
    return cached


async def start_postgres(rig: Rig, source: Source) -> Store:
    """Start PostgreSQL from a local or cached source and wait until it takes connections.

    Its user and database `postgres` are as after initdb; who connects needs the address's password.
    Raises RigError; Unavailable when it cannot be prepared.
    """
    prepared = await asyncio.to_thread(_prepared, source)
    folder, ports = Path(tempfile.mkdtemp(prefix="orderbench-postgres-")), Ports()
    data = folder / "data"
    process: Process | None = None
    placing = asyncio.create_task(asyncio.to_thread(_placed, prepared / "data", source, folder))
    try:
        port = ports.take()
        reachable = await asyncio.shield(placing)
        where = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        argv = [*_as_other(), f"{reachable.paths['bin']}/postgres", "-D", str(data)]
        for name, value in (where | SETTINGS).items():
            argv += ["-c", f"{name}={value}"]
        process = await rig.spawn(
            PART, argv, env=debian.environment(reachable), cwd=folder, speaks=False
        )
        await until_ready(rig, process, lambda: _takes_connections(data))
    except BaseException as error:
        await asyncio.wait([placing])  # a thread goes on when who waits for it is cancelled
        if process is not None:
            await rig.kill(process)
        ports.close()
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise RigError(f"{PART}: {error}") from None
        raise
    password = (prepared / "password").read_text()
    address = f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
    return Store(PART, address, source, SETTINGS, process, rig, folder, ports, SIGINT)


async def _takes_connections(data: Path) -> bool:
    """Whether the server has said so in its lock file, whose eighth line is its state."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _prepared(source: Source) -> Path:
    """The folder with `data`, as initdb makes it, and `password`; made once for each version."""

    def fill(folder: Path) -> None:
        password = folder / "password"
        password.touch(0o600)
        password.write_text(secrets.token_urlsafe(24))
        with tempfile.TemporaryDirectory(prefix="orderbench-postgres-") as name:
            scratch = Path(name)
            shutil.copy(password, scratch)
            reachable = _reachable(source, scratch)
            debian.run_logged(
                PART,
                "read the log",
                cache_folder() / f"{PART}-data.log",
                [
                    *_as_other(),
                    f"{reachable.paths['bin']}/initdb",
                    f"--pgdata={scratch}/data",
                    f"--username={USER}",
                    f"--pwfile={scratch}/password",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                ],
                cwd=scratch,
                env=debian.environment(reachable),
            )
            shutil.copytree(scratch / "data", folder / "data")

    return filled(f"{PART}-data-{source.version or 'unknown'}", fill)


def _as_other() -> list[str]:
    """What a command begins with that must not run as root; nothing for an ordinary user."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise Unavailable(
            PART,
            "it refuses to run as root, and there is no setpriv to become another user",
            "run as an ordinary user, or as root: apt-get install util-linux",
        )
    other = pwd.getpwnam("nobody")
    return [
        "setpriv",
        f"--reuid={other.pw_uid}",
        f"--regid={other.pw_gid}",
        "--clear-groups",
        "--pdeathsig=KILL",  # a change of user clears what the warden has set
    ]


def _placed(data: Path, source: Source, folder: Path) -> Source:
    """Copy prepared data into a folder, and make it reachable."""
    shutil.copytree(data, folder / "data")
    return _reachable(source, folder)


def _reachable(source: Source, folder: Path) -> Source:
    """Give a folder, for root, to the user that PostgreSQL runs as. Root's cache is closed to that
    user, so that what was unpacked there is copied into the folder first."""
    if os.geteuid() != 0:
        return source
    if root := source.paths.get("root"):
        copy = folder / "program"
        shutil.copytree(root, copy, symlinks=True)
        moved: dict[str, Any] = {k: v.replace(root, str(copy)) for k, v in source.paths.items()}
        source = replace(source, paths=moved)
    other = pwd.getpwnam("nobody")
    for place in (folder, *folder.rglob("*")):
        os.chown(place, other.pw_uid, other.pw_gid, follow_symlinks=False)
    return source


def _local() -> Source | None:
    """The machine's own installation: on PATH, where pg_config says, or Debian's newest."""
    places = []
    if server := shutil.which("postgres"):
        places.append(Path(server).resolve().parent)
    if (config := shutil.which("pg_config")) and (said := _said([config, "--bindir"]).strip()):
        places.append(Path(said))
    places += _newest_first(_DEBIAN)
    return next(filter(None, (_installation("local", place) for place in places)), None)


def _cached() -> Source | None:
    """What was unpacked into the cache."""
    if (kept := debian.kept(RECIPE)) is None:
        return None
    folder, _ = kept
    paths = {"root": str(folder), "libraries": debian.libraries(folder)}
    places = _newest_first(folder / "usr/lib/postgresql")
    return next(filter(None, (_installation("cache", place, paths) for place in places)), None)


def _installation(
    origin: str, place: Path, paths: Mapping[str, str] | None = None
) -> Source | None:
    """The installation with its commands there, or None if it is not whole."""
    if not ((place / "postgres").exists() and (place / "initdb").exists()):
        return None
    source = Source(PART, origin, "", str(place), {"bin": str(place), **(paths or {})})
    said = _said([str(place / "postgres"), "--version"], debian.environment(source))
    version = re.search(r"\) (\S+)", said)
    return replace(source, version=version[1] if version else "")


def _newest_first(versions: Path) -> list[Path]:
    """The bin folders of all versions below a folder."""
    found = [place for place in versions.glob("*/bin") if place.parent.name.isdecimal()]
    return sorted(found, key=lambda place: int(place.parent.name), reverse=True)


def _said(argv: list[str], env: Mapping[str, str] | None = None) -> str:
    """What a command prints, or nothing; `env` comes on top."""
    whole = {**os.environ, **(env or {})}
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, env=whole).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
