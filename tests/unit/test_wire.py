"""Who carried what to whom, from made-up snapshots and over real sockets (issue 6.6)."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.observe import wire
from harness.observe.sock_diag import ESTABLISHED, Socket, Traffic
from harness.observe.wire import Elsewhere, Flow, Meter, Snapshot, moved, snapshot
from tests.support import LIMIT_S, Run

on_linux = pytest.mark.skipif(not wire.available(), reason="no NETLINK_SOCK_DIAG")

HOME = bytes([127, 0, 0, 1])
AWAY, STORE_HOST = bytes([10, 0, 0, 2]), bytes([10, 0, 0, 3])
SERVER, BROKER, CALLBACK = 8000, 9000, 7000
PORTS = {SERVER: "server", BROKER: "broker", CALLBACK: "generator"}
FIN_WAIT2 = 5


class World:
    """The sockets of both snapshots, and those that ended between them."""

    def __init__(self) -> None:
        self.before: dict[int, Socket] = {}
        self.after: dict[int, Socket] = {}
        self.owners: dict[int, str] = {}
        self.ended: list[Socket] = []
        self.overflowed = False
        self._cookies = iter(range(1, 1000))

    def end(self, owner: str | None, local: int, remote: int, last: Traffic, **how: object) -> None:
        """One end of a connection: `first` (its traffic before, absent: opened between), `ended`
        (closed between), `state` at the end, `host` of the other."""
        there = how.get("host", HOME)
        assert isinstance(there, bytes)
        cookie = next(self._cookies)
        held = owner is not None and not how.get("orphan")
        ends = (HOME, local), (there, remote)
        one = Socket(cookie, ESTABLISHED, *ends, 1000 + cookie if held else 0, last)
        if held and owner is not None:
            self.owners[cookie] = owner
        if owner == "other":  # a process that is none of the trial's
            del self.owners[cookie]
        if isinstance(first := how.get("first"), Traffic):
            self.before[cookie] = replace(one, traffic=first)
        if how.get("ended"):
            self.ended.append(replace(one, state=7, inode=0))
        elif not how.get("gone"):
            state = how.get("state", ESTABLISHED)
            assert isinstance(state, int)
            self.after[cookie] = replace(one, state=state)

    def moved(self, client: Elsewhere | None = None) -> wire.Wire:
        """What was carried."""
        before = {c: o for c, o in self.owners.items() if c in self.before}
        after = {c: o for c, o in self.owners.items() if c in self.after}
        return moved(
            Snapshot(self.before, before, PORTS),
            Snapshot(self.after, after, PORTS),
            self.ended,
            self.overflowed,
            client,
        )


def traffic(sent: int, received: int, out: int, into: int) -> Traffic:
    """With half of the segments carrying payload."""
    return Traffic(sent, received, out, into, out // 2, into // 2)


def flows(seen: wire.Wire) -> dict[tuple[str, str], tuple[int, int]]:
    """Bytes and segments by sender and receiver."""
    return {(f.sender, f.receiver): (f.bytes, f.segments) for f in seen.flows}


def test_a_connection_that_stands_counts_once_by_its_difference() -> None:
    world = World()
    world.end("generator", 40000, SERVER, traffic(700, 90, 12, 10), first=traffic(100, 30, 4, 4))
    world.end("server", SERVER, 40000, traffic(90, 700, 10, 12), first=traffic(30, 100, 4, 4))
    seen = world.moved()
    assert seen.flows == (
        Flow("generator", "server", 600, 8, 4),
        Flow("server", "generator", 60, 6, 3),
    )
    assert (seen.connections, seen.opened, seen.closed, seen.uncounted) == (1, 0, 0, 0)


def test_of_one_that_came_and_went_the_handshake_counts_too() -> None:
    """As traced: SYN, SYN-ACK, ACK, request, ACK, answer, ACK, FIN, FIN-ACK, ACK."""
    world = World()
    world.end("generator", 40000, SERVER, traffic(700, 2000, 6, 4), ended=True)
    world.end("server", SERVER, 40000, traffic(2000, 700, 3, 6), ended=True)
    seen = world.moved()
    assert flows(seen) == {("generator", "server"): (700, 6), ("server", "generator"): (2000, 4)}
    assert (seen.connections, seen.opened, seen.closed) == (0, 1, 1)


def test_what_comes_after_the_client_has_gone_counts_too() -> None:
    """As traced where the server closes later: its FIN meets a client in TIME_WAIT, whose answer to
    it is on no account of the client's."""
    world = World()
    world.end("generator", 40000, SERVER, traffic(700, 2000, 5, 4), ended=True)
    world.end("server", SERVER, 40000, traffic(2000, 700, 4, 6), ended=True)
    assert flows(world.moved()) == {
        ("generator", "server"): (700, 6),
        ("server", "generator"): (2000, 5),
    }


def test_at_a_broker_each_two_roles_are_told_apart_and_nothing_counts_twice() -> None:
    world = World()
    zero = traffic(0, 0, 0, 0)
    for role, port, sent in (
        ("generator", 40000, 500),
        ("server", 40001, 40),
        ("broker", 40002, 7),
    ):
        world.end(role, port, BROKER, traffic(sent, 9, 4, 4), first=zero)
        world.end("broker", BROKER, port, traffic(9, sent, 4, 4), first=zero)
    seen = world.moved()
    assert flows(seen) == {
        ("generator", "broker"): (500, 4),
        ("broker", "generator"): (9, 4),
        ("server", "broker"): (40, 4),
        ("broker", "server"): (9, 4),
        ("broker", "broker"): (7 + 9, 8),
    }
    assert seen.connections == 1


def test_several_processes_of_a_role_are_one() -> None:
    world = World()
    zero = traffic(0, 0, 0, 0)
    for port in (40000, 40001):
        world.end("server", port, BROKER, traffic(10, 5, 2, 2), first=zero)
        world.end("broker", BROKER, port, traffic(5, 10, 2, 2), first=zero)
    assert flows(world.moved())["server", "broker"] == (20, 4)


def test_an_end_that_is_not_here_is_outside() -> None:
    world = World()
    world.end("generator", 40000, 443, traffic(300, 800, 5, 6), first=traffic(0, 0, 0, 0))
    assert flows(world.moved()) == {
        ("generator", "outside"): (300, 5),
        ("outside", "generator"): (800, 6),
    }


def test_who_else_calls_is_outside_and_the_rest_of_the_machine_is_nobody() -> None:
    world = World()
    zero = traffic(0, 0, 0, 0)
    world.end("other", 50000, SERVER, traffic(11, 22, 2, 2), first=zero)
    world.end("server", SERVER, 50000, traffic(22, 11, 2, 2), first=zero)
    world.end("other", 50001, 5432, traffic(1, 1, 1, 1), first=zero)
    world.end("other", 5432, 50001, traffic(1, 1, 1, 1), first=zero)
    seen = world.moved()
    assert flows(seen) == {("outside", "server"): (11, 2), ("server", "outside"): (22, 2)}
    assert seen.connections == 0


def test_a_callback_goes_from_the_server_to_the_client() -> None:
    world = World()
    world.end("server", 40000, CALLBACK, traffic(200, 30, 5, 4), ended=True)
    world.end("generator", CALLBACK, 40000, traffic(30, 200, 3, 5), ended=True)
    assert flows(world.moved()) == {
        ("server", "generator"): (200, 5),
        ("generator", "server"): (30, 4),
    }


def test_a_client_elsewhere_is_who_calls_and_nobody_who_is_called() -> None:
    """The SQL of a service that commits to a PostgreSQL at an address is not its client's."""
    zero = traffic(0, 0, 0, 0)
    for at_home in (HOME, AWAY):
        world = World()
        world.end("server", SERVER, 50000, traffic(700, 900, 6, 7), first=zero, host=at_home)
        world.end("server", 40000, 5432, traffic(5000, 3000, 8, 9), first=zero, host=HOME)
        seen = world.moved(Elsewhere())
        assert flows(seen) == {
            ("generator", "server"): (900, 7),
            ("server", "generator"): (700, 6),
            ("server", "outside"): (5000, 8),
            ("outside", "server"): (3000, 9),
        }
        assert (seen.connections, seen.opened, seen.closed) == (1, 0, 0)


def test_a_client_elsewhere_is_called_back_where_it_calls_from() -> None:
    zero = traffic(0, 0, 0, 0)
    world = World()
    world.end("server", SERVER, 50000, traffic(30, 200, 4, 5), first=zero, host=AWAY)
    world.end("server", 40000, 50001, traffic(400, 60, 6, 7), host=AWAY)
    world.end("server", 40001, 5432, traffic(5000, 3000, 8, 9), first=zero, host=STORE_HOST)
    # A broker's node asks the port mapper of its machine, which is none of its processes.
    world.end("broker", 40002, 4369, traffic(7, 8, 1, 1), first=zero, host=AWAY)
    seen = world.moved(Elsewhere("server"))
    assert flows(seen) == {
        ("generator", "server"): (200 + 60, 5 + 7),
        ("server", "generator"): (30 + 400, 4 + 6),
        ("server", "outside"): (5000, 8),
        ("outside", "server"): (3000, 9),
        ("broker", "outside"): (7, 1),
        ("outside", "broker"): (8, 1),
    }
    assert (seen.connections, seen.opened) == (2, 1)


def test_a_client_elsewhere_meets_a_broker_that_is_here() -> None:
    zero = traffic(0, 0, 0, 0)
    world = World()
    world.end("broker", BROKER, 50000, traffic(9, 500, 4, 4), first=zero, host=AWAY)
    world.end("broker", BROKER, 40001, traffic(9, 40, 4, 4), first=zero)
    world.end("server", 40001, BROKER, traffic(40, 9, 4, 4), first=zero)
    world.end("broker", 40002, 4369, traffic(7, 8, 1, 1), first=zero)
    seen = world.moved(Elsewhere())
    assert flows(seen) == {
        ("generator", "broker"): (500, 4),
        ("broker", "generator"): (9, 4),
        ("server", "broker"): (40, 4),
        ("broker", "server"): (9, 4),
        ("broker", "outside"): (7, 1),
        ("outside", "broker"): (8, 1),
    }
    assert seen.connections == 1


def test_who_came_and_went_behind_a_relay_is_the_relay() -> None:
    world = World()
    world.end("relay", 40009, 1, traffic(0, 0, 0, 0), first=traffic(0, 0, 0, 0))
    world.end("relay", 40000, SERVER, traffic(200, 30, 5, 4), ended=True, orphan=True)
    world.end("server", SERVER, 40000, traffic(30, 200, 3, 5), ended=True)
    assert flows(world.moved())["relay", "server"] == (200, 5)


def test_who_called_where_others_call_too_is_told_by_who_mostly_does() -> None:
    world = World()
    zero = traffic(0, 0, 0, 0)
    for port in (40000, 40001):
        world.end("server", port, BROKER, traffic(1, 1, 1, 1), first=zero)
        world.end("broker", BROKER, port, traffic(1, 1, 1, 1), first=zero)
    world.end("generator", 40002, BROKER, traffic(1, 1, 1, 1), first=zero)
    world.end("broker", BROKER, 40002, traffic(1, 1, 1, 1), first=zero)
    world.end("server", 40003, BROKER, traffic(50, 60, 5, 4), ended=True, orphan=True)
    world.end("broker", BROKER, 40003, traffic(60, 50, 3, 5), ended=True)
    assert flows(world.moved())["server", "broker"] == (52, 7)


def test_a_port_that_is_used_again_is_another_connection() -> None:
    world = World()
    for sent in (100, 200, 300):
        world.end("generator", 40000, SERVER, traffic(sent, 1, 6, 4), ended=True)
        world.end("server", SERVER, 40000, traffic(1, sent, 3, 6), ended=True)
    seen = world.moved()
    assert flows(seen)["generator", "server"] == (600, 18)
    assert (seen.opened, seen.closed) == (3, 3)


def test_a_half_closed_connection_is_closed() -> None:
    world = World()
    zero = traffic(0, 0, 0, 0)
    world.end("generator", 40000, SERVER, traffic(1, 1, 1, 1), first=zero, state=FIN_WAIT2)
    world.end("server", SERVER, 40000, traffic(1, 1, 1, 1), first=zero, state=8)
    seen = world.moved()
    assert (seen.connections, seen.closed) == (0, 1)


def test_what_is_gone_without_a_word_is_said() -> None:
    world = World()
    world.end("server", SERVER, 40000, traffic(5, 5, 2, 2), first=traffic(5, 5, 2, 2), gone=True)
    assert world.moved().uncounted == 1
    world.overflowed = True
    assert world.moved().uncounted == 2


def test_segment_counts_wrap_and_bytes_do_not() -> None:
    world = World()
    first = Traffic(2**33, 0, 2**32 - 1, 0, 2**32 - 1, 0)
    world.end("generator", 40000, SERVER, Traffic(2**34, 0, 4, 0, 2, 0), first=first)
    assert world.moved().flows[0] == Flow("generator", "outside", 2**33, 5, 3)


def test_nothing_is_nothing() -> None:
    assert World().moved() == wire.Wire((), 0, 0, 0, 0)


ECHO = """
import socket, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(one):
    with one:
        while data := one.recv(1 << 16):
            one.sendall(data[: len(data) // 10])
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@pytest.fixture
def echo() -> Iterator[tuple[int, int]]:
    """The pid and the port of a process that answers with a tenth."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", ECHO], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(streams: Streams, size: int) -> None:
    """Send so much, and read a tenth of it."""
    reader, writer = streams
    writer.write(bytes(size))
    async with asyncio.timeout(LIMIT_S):
        await reader.readexactly(size // 10)


async def ask_once(port: int, size: int) -> None:
    """On a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await ask((reader, writer), size)
    writer.close()
    await writer.wait_closed()


@on_linux
def test_two_processes_are_told_apart_and_what_came_and_went_is_counted(
    run: Run, echo: tuple[int, int]
) -> None:
    pid, port = echo

    async def count() -> wire.Wire:
        async with Meter({"generator": os.getpid(), "server": pid}) as meter:
            stands = await asyncio.open_connection("127.0.0.1", port)
            await ask(stands, 50)
            await meter.begin()
            await ask(stands, 30)
            for _ in range(20):
                await ask_once(port, 1000)
            async with asyncio.timeout(LIMIT_S):
                while (seen := await meter.end()).closed < 20:
                    await asyncio.sleep(0.01)
            stands[1].close()
            return seen

    seen = run(count())
    sent = {(f.sender, f.receiver): f for f in seen.flows}
    assert sent["generator", "server"].bytes == 20 * 1000 + 30
    assert sent["server", "generator"].bytes == 20 * 100 + 3
    # SYN, ACK of the SYN, request, FIN at the least.
    assert sent["generator", "server"].segments >= 20 * 4 + 1
    assert sent["server", "generator"].segments >= 20 * 3 + 1
    assert sent["generator", "server"].data_segments == 21
    assert (seen.connections, seen.opened, seen.closed, seen.uncounted) == (1, 20, 20, 0)


@on_linux
def test_a_snapshot_knows_who_holds_what(run: Run, echo: tuple[int, int]) -> None:
    pid, port = echo

    async def look() -> tuple[wire.Snapshot, int]:
        stands = await asyncio.open_connection("127.0.0.1", port)
        await ask(stands, 10)
        seen = snapshot({"generator": os.getpid(), "server.2": pid, "server.3": 2**22 + 1})
        own: int = stands[1].get_extra_info("sockname")[1]
        stands[1].close()
        return seen, own

    seen, own = run(look())
    assert seen.listening[port] == "server"
    ends = {
        each.local[1]: seen.owners[each.cookie]
        for each in seen.sockets.values()
        if port in (each.local[1], each.remote[1]) and each.cookie in seen.owners
    }
    assert ends == {own: "generator", port: "server"}
