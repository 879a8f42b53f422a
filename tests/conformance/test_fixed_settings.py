"""Issue 7.4: TCP_NODELAY on both ends of every connection, seen on the sockets themselves."""

import contextlib
import importlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from clients.base import Call
from clients.catalog import Entry
from harness.report.styles.texts import FIXED
from orders.service import OrderService
from orders.store import MemoryStore
from servers.base import Bind, Desk
from tests.conformance.test_places import key, make
from tests.support import ListSink, Run, order

FAMILIES = (socket.AF_INET, socket.AF_INET6)
"""gRPC's sockets are of the second, also for an address of the first."""


def connected() -> Iterator[tuple[int, bool]]:
    """Port of each TCP connection of this process that was accepted or made, and whether it has
    TCP_NODELAY."""
    for opened_file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            number = int(opened_file.name)
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as each:
                if each.family not in FAMILIES or each.type != socket.SOCK_STREAM:
                    continue
                each.getpeername()  # an OSError for one that listens
                nodelay = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                yield each.getsockname()[1], bool(nodelay)
                yield each.getpeername()[1], bool(nodelay)


def test_nothing_waits_for_nagle(direct: Entry, run: Run) -> None:
    """Client and server in one process, so that both ends can be asked."""
    (said,) = (each for each in FIXED if each.name == "Nagle's algorithm")
    assert direct.style in said.styles

    async def case() -> None:
        module = importlib.import_module(f"servers.{direct.talks_to.replace('-', '_')}")
        listening = await module.start(Desk(OrderService(MemoryStore())), Bind())
        driver = make(direct)
        try:
            await driver.open(listening.address, 1, ListSink())
            assert (await driver.place(0, order(key()), Call(0))).total_cents == 500
            port = int(listening.address.rpartition(":")[2])
            ends = [nodelay for at, nodelay in connected() if at == port]
            assert len(ends) >= 2
            assert all(ends)
        finally:
            await driver.close()
            await listening.stop()

    run(case())
