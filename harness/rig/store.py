"""What Redis and PostgreSQL have in common once they run."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any
from urllib.parse import urlsplit

from harness.rig.broker import Source, Unavailable
from harness.rig.ports import Ports
from harness.rig.process import Process, Rig


@dataclass(frozen=True, slots=True)
class Store:
    """A store of one process that is ready."""

    part: str
    address: str
    """As its client libraries read it; it may hold a secret."""
    source: Source
    settings: Mapping[str, Any]
    """What it was started with."""
    process: Process
    rig: Rig
    folder: Path
    """All that it writes, removed at the end."""
    ports: Ports
    end_by: Signals
    """The signal that ends it in good order."""

    @property
    def pids(self) -> Mapping[str, int]:
        """Its process, by the part's name; empty once it has ended."""
        return {} if self.process.exited.done() else {self.part: self.process.pid}

    async def stop(self) -> None:
        """End it, and remove what it has written."""
        await self.rig.stop(self.process, self.end_by)
        self.ports.close()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


def at_address(part: str, address: str, schemes: tuple[str, ...]) -> Source:
    """The source of a store at an address that the user gave. Raises Unavailable for a bad one."""
    try:
        read = urlsplit(address)
        host, port = read.hostname, read.port
    except ValueError:
        read, host, port = None, None, None
    if read is None or read.scheme not in schemes or not host:
        raise Unavailable(
            part,
            f"a bad address: it is not {' or '.join(f'{scheme}://' for scheme in schemes)}, "
            "a host and a port",
            f"give one such as {schemes[0]}://user:secret@host:port",
        )
    return Source(
        part, "address", "", host if port is None else f"{host}:{port}", {"address": address}
    )
