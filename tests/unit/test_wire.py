"""What the kernel counts on real loopback sockets, and what two snapshots make of it."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from harness.observe import wire
from harness.observe.wire import Traffic, Wire, listening_ports, moved, sockets
from tests.support import Run, until

on_linux = pytest.mark.skipif(not wire.available(), reason="no NETLINK_SOCK_DIAG")

FAMILIES = {
    "IPv4": (socket.AF_INET, "127.0.0.1", socket.AF_INET, "127.0.0.1"),
    "IPv6": (socket.AF_INET6, "::1", socket.AF_INET6, "::1"),
    "v4-mapped IPv6": (socket.AF_INET6, "::ffff:127.0.0.1", socket.AF_INET, "127.0.0.1"),
}


class Place:
    """A listener of a family, and clients that reach it."""

    def __init__(self, name: str, stack: contextlib.ExitStack) -> None:
        family, host, self._client_family, self._client_host = FAMILIES[name]
        self._stack = stack
        self.listener = stack.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind((host, 0))
        self.listener.listen()
        self.port: int = self.listener.getsockname()[1]

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client and the socket that was accepted for it."""
        client = self._stack.enter_context(socket.socket(self._client_family))
        client.connect((self._client_host, self.port))
        return client, self._stack.enter_context(self.listener.accept()[0])


@pytest.fixture(params=FAMILIES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        try:
            made = Place(request.param, stack)
        except OSError as error:
            pytest.skip(f"no {request.param} here: {error}")
        yield made


@pytest.fixture
def ipv4() -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield Place("IPv4", stack)


def carry(sender: socket.socket, receiver: socket.socket, size: int) -> None:
    """Bytes from one socket to the other, all read."""
    sender.sendall(bytes(size))
    while size:
        size -= len(receiver.recv(size))


async def carried(
    port: int, before: dict[int, Traffic], to_server: int, from_server: int
) -> tuple[dict[int, Traffic], Wire]:
    """A snapshot with at least so many bytes; the last acknowledgement may be on its way."""
    after = sockets({port})

    def arrived() -> bool:
        nonlocal after
        after = sockets({port})
        seen = moved(before, after)
        return seen.bytes_to_server >= to_server and seen.bytes_from_server >= from_server

    await until(f"{to_server} and {from_server} bytes on the wire", arrived)
    return after, moved(before, after)


@on_linux
def test_bytes_are_the_payload_exactly(run: Run, place: Place) -> None:
    client, accepted = place.pair()
    before, fresh = run(carried(place.port, {}, 0, 0))
    assert (fresh.bytes_to_server, fresh.bytes_from_server) == (0, 0)
    assert (fresh.connections, fresh.opened, fresh.closed) == (1, 1, 0)

    carry(client, accepted, 1_000)
    carry(accepted, client, 70_000)
    _, first = run(carried(place.port, before, 1_000, 70_000))
    assert (first.bytes_to_server, first.bytes_from_server) == (1_000, 70_000)
    assert (first.connections, first.opened, first.closed) == (1, 0, 0)
    assert first.segments_to_server >= 1
    assert first.segments_from_server >= 2  # no more than 64 KiB each

    carry(client, accepted, 7)
    after, _ = run(carried(place.port, before, 1_007, 70_000))
    assert [(t.bytes_received, t.bytes_acked) for t in after.values()] == [(1_007, 70_000)]


@on_linux
def test_one_opened_between_counts_from_0_and_one_closed_is_counted(run: Run, place: Place) -> None:
    stays, stays_accepted = place.pair()
    goes, goes_accepted = place.pair()
    carry(stays, stays_accepted, 100)
    carry(goes, goes_accepted, 20)
    before, _ = run(carried(place.port, {}, 120, 0))

    carry(goes, goes_accepted, 5)
    goes.close()
    goes_accepted.close()
    comes, comes_accepted = place.pair()
    carry(comes, comes_accepted, 3)
    carry(stays_accepted, stays, 11)
    run(until("it is closed", lambda: len(sockets({place.port})) == 2))
    _, seen = run(carried(place.port, before, 3, 11))
    assert (seen.bytes_to_server, seen.bytes_from_server) == (3, 11)
    assert (seen.connections, seen.opened, seen.closed) == (2, 1, 1)


@on_linux
def test_a_half_closed_socket_is_closed(run: Run, ipv4: Place) -> None:
    client, _ = ipv4.pair()
    before = sockets({ipv4.port})
    client.shutdown(socket.SHUT_WR)
    run(until("the FIN is there", lambda: not sockets({ipv4.port})))
    assert moved(before, sockets({ipv4.port})) == Wire(0, 0, 0, 0, 0, 0, 1)


@on_linux
def test_only_the_accepting_side_of_the_named_ports_is_seen(ipv4: Place) -> None:
    with contextlib.ExitStack() as stack:
        other = Place("IPv4", stack)
        ipv4.pair()
        ipv4.pair()
        other.pair()
        one, both = sockets({ipv4.port}), sockets([ipv4.port, other.port])
        assert (len(one), len(both)) == (2, 3)
        assert one.keys() <= both.keys()
    assert sockets([]) == {}


@on_linux
def test_more_sockets_than_one_answer_holds(ipv4: Place) -> None:
    for _ in range(200):
        ipv4.pair()
    assert len(sockets({ipv4.port})) == 200


@on_linux
def test_what_the_kernel_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_PROTOCOL", 253)  # for experiments: no kernel has its sockets
    with pytest.raises(OSError, match="sock_diag"):
        sockets({1})
    assert not wire.available()


def test_another_system_has_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not wire.available()
    with pytest.raises(OSError, match="Linux"):
        sockets({1})


def test_a_kernel_that_does_not_count_is_an_error() -> None:
    old = wire._ATTRIBUTE.pack(4 + 104, wire._INET_DIAG_INFO) + bytes(104)
    with pytest.raises(OSError, match="does not count"):
        wire._traffic(bytes(wire._MESSAGE_BYTES) + old)


def test_moved_is_the_difference_over_what_is_there_after() -> None:
    before = {1: Traffic(100, 10, 5, 6), 2: Traffic(9, 9, 9, 9)}
    after = {1: Traffic(150, 30, 9, 8), 3: Traffic(7, 3, 2, 1)}
    assert moved(before, after) == Wire(
        bytes_to_server=23,
        bytes_from_server=57,
        segments_to_server=3,
        segments_from_server=6,
        connections=2,
        opened=1,
        closed=1,
    )


def test_moved_of_nothing_is_nothing() -> None:
    there = {1: Traffic(100, 10, 5, 6)}
    assert moved({}, {}) == Wire(0, 0, 0, 0, 0, 0, 0)
    assert moved(there, there) == Wire(0, 0, 0, 0, 1, 0, 0)
    assert moved(there, {}) == Wire(0, 0, 0, 0, 0, 0, 1)


def test_segment_counts_may_wrap() -> None:
    seen = moved({1: Traffic(0, 0, 2**32 - 1, 2**32 - 2)}, {1: Traffic(0, 0, 4, 0)})
    assert (seen.segments_from_server, seen.segments_to_server) == (5, 2)


def test_ports_are_those_that_are_listened_on(ipv4: Place) -> None:
    client, _ = ipv4.pair()
    ports = listening_ports(os.getpid())
    assert ipv4.port in ports
    assert client.getsockname()[1] not in ports
    ipv4.listener.close()
    assert ipv4.port not in listening_ports(os.getpid())


def test_ports_of_nobody() -> None:
    with pytest.raises(ProcessLookupError):
        listening_ports(2**22 + 1)  # more than the kernel's largest
