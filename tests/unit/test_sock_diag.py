"""What the kernel tells of real loopback sockets (issue 6.6)."""

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from harness.observe import sock_diag, wire
from harness.observe.sock_diag import ESTABLISHED, LISTEN, Ended, Socket, Traffic, dump, read_socket
from tests.support import Run, until

on_linux = pytest.mark.skipif(not wire.available(), reason="no NETLINK_SOCK_DIAG")

FAMILIES = {
    "IPv4": (socket.AF_INET, "127.0.0.1", socket.AF_INET, "127.0.0.1"),
    "IPv6": (socket.AF_INET6, "::1", socket.AF_INET6, "::1"),
    "v4-mapped IPv6": (socket.AF_INET6, "::ffff:127.0.0.1", socket.AF_INET, "127.0.0.1"),
}


class Listening:
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
def place(request: pytest.FixtureRequest) -> Iterator[Listening]:
    with contextlib.ExitStack() as stack:
        try:
            made = Listening(request.param, stack)
        except OSError as error:
            pytest.skip(f"no {request.param} here: {error}")
        yield made


@pytest.fixture
def ipv4() -> Iterator[Listening]:
    with contextlib.ExitStack() as stack:
        yield Listening("IPv4", stack)


def carry(sender: socket.socket, receiver: socket.socket, size: int) -> None:
    """Bytes from one socket to the other, all read."""
    sender.sendall(bytes(size))
    while size:
        size -= len(receiver.recv(size))


def found(one: socket.socket) -> Socket:
    """What the kernel tells of a socket of ours."""
    inode = os.fstat(one.fileno()).st_ino
    return next(each for each in dump() if each.inode == inode)


@on_linux
def test_both_ends_of_a_connection_are_told_with_what_they_carried(place: Listening) -> None:
    client, accepted = place.pair()
    carry(client, accepted, 1_000)
    carry(accepted, client, 70_000)
    near, far = found(client), found(accepted)
    assert near.local == far.remote
    assert near.remote == far.local
    assert near.remote[1] == place.port
    assert near.state == far.state == ESTABLISHED
    assert (near.traffic.bytes_sent, near.traffic.bytes_received) == (1_000, 70_000)
    assert (far.traffic.bytes_sent, far.traffic.bytes_received) == (70_000, 1_000)
    assert far.traffic.data_segs_in == near.traffic.data_segs_out == 1
    assert far.traffic.data_segs_out >= 2  # no more than 64 KiB each
    assert far.traffic.segs_in >= far.traffic.data_segs_in


@on_linux
def test_listeners_are_told_too(ipv4: Listening) -> None:
    told = found(ipv4.listener)
    assert told.state == LISTEN
    assert told.local == (socket.inet_aton("127.0.0.1"), ipv4.port)


@on_linux
def test_more_sockets_than_one_answer_holds(ipv4: Listening) -> None:
    for _ in range(200):
        ipv4.pair()
    assert sum(each.local[1] == ipv4.port for each in dump()) == 201


@on_linux
def test_what_is_closed_is_told_with_all_that_it_carried(run: Run, place: Listening) -> None:
    client, accepted = place.pair()
    cookies = {found(client).cookie, found(accepted).cookie}
    told: dict[int, Socket] = {}
    with Ended() as ended:
        assert not cookies & {each.cookie for each in ended.take()}
        carry(client, accepted, 5)
        carry(accepted, client, 70_000)
        client.close()
        assert accepted.recv(1) == b""
        accepted.close()

        def both() -> bool:
            told.update({each.cookie: each for each in ended.take()})
            return told.keys() >= cookies

        run(until("both ends are told", both))
        assert not ended.overflowed
    sent = sorted(told[cookie].traffic.bytes_sent for cookie in cookies)
    assert sent == [5, 70_000]
    assert {told[cookie].inode for cookie in cookies} == {0}


@on_linux
def test_what_does_not_fit_is_said_to_be_missing(
    run: Run, ipv4: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sock_diag, "_EVENTS_BYTES", 0)  # the kernel takes the least that it allows
    with Ended() as ended:

        def too_many() -> bool:
            for _ in range(20):
                for each in ipv4.pair():
                    each.close()
            ended.take()
            return ended.overflowed

        run(until("an overflow", too_many))


@on_linux
def test_what_the_kernel_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "_PROTOCOL", 253)  # for experiments: no kernel has its sockets
    with pytest.raises(OSError, match="sock_diag"):
        dump()
    assert not wire.available()


def test_another_system_has_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not wire.available()
    with pytest.raises(OSError, match="Linux"):
        dump()
    with pytest.raises(OSError, match="Linux"):
        Ended()


def message(info: bytes | None) -> bytes:
    """An inet_diag_msg of 127.0.0.1:8000 <- 127.0.0.1:40000, as the kernel lays it out."""
    head = struct.pack(
        "=BBBB2s2s16s16sIQIIIII",
        socket.AF_INET, ESTABLISHED, 0, 0, (8000).to_bytes(2, "big"), (40000).to_bytes(2, "big"),
        bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1]), 0, 77, 0, 0, 0, 0, 4242,
    )  # fmt: skip
    congestion = struct.pack("=HH4s", 8, 4, b"bbr\0")
    if info is None:
        return head + congestion
    return head + congestion + struct.pack("=HH", 4 + len(info), 2) + info


def info_of(length: int) -> bytes:
    """A tcp_info whose counts tell their own places."""
    info = bytearray(length)
    for at, value in ((128, 1000), (200, 70_000)):
        if at + 8 <= length:
            struct.pack_into("=Q", info, at, value)
    for at, value in ((136, 12), (140, 13), (152, 3), (156, 2)):
        if at + 4 <= length:
            struct.pack_into("=I", info, at, value)
    return bytes(info)


def test_a_message_is_read_as_the_kernel_lays_it_out() -> None:
    here = bytes([127, 0, 0, 1])
    assert read_socket(message(info_of(280))) == Socket(
        77,
        ESTABLISHED,
        (here, 8000),
        (here, 40000),
        4242,
        Traffic(70_000, 1000, segs_out=12, segs_in=13, data_segs_out=2, data_segs_in=3),
    )


def test_a_kernel_that_does_not_count_is_an_error() -> None:
    with pytest.raises(OSError, match="does not count"):
        read_socket(message(info_of(192)))  # Linux 4.18


def test_one_that_only_waits_has_no_counts() -> None:
    assert read_socket(message(None)) is None
