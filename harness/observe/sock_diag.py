"""The TCP sockets of this network namespace, as the kernel tells of them: NETLINK_SOCK_DIAG
(sock_diag(7)), which needs no privilege and costs the sockets' owners nothing.

Two questions: `dump`, the sockets that there are, and `Ended`, a subscription to those that are
destroyed. Each comes with its TCP_INFO: the kernel's own count of bytes and segments. Payload is
counted without the SYN and the FIN; of the segments of a connection two may be on no socket's
account: the SYN-ACK of who accepts, and what is said to a socket in TIME_WAIT, or by it.
"""

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

# linux/netlink.h, linux/sock_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x001 | 0x300
_ERROR = 2
_DONE = 3
_DESTROYED = 1 << 0 | 1 << 2  # SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_CODE = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length with this header, type

# linux/inet_diag.h
_INET_DIAG_INFO = 2
# inet_diag_msg: family, state, timer, retransmits; source port, destination port, source,
# destination, interface, cookie; expires, queues, user, inode
_MESSAGE = struct.Struct("=BB2x2s2s16s16s4xQ16xI")
# inet_diag_req_v2: family, protocol, extensions, states; its inet_diag_sockid is not asked by.
_QUERY = struct.Struct("=BBBxI48x")
_PROTOCOL = socket.IPPROTO_TCP

# linux/tcp_states.h
ESTABLISHED = 1
LISTEN = 10
_FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 4, 5, 8, 9, 11
_ASKED = (ESTABLISHED, LISTEN, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING)

# linux/tcp.h, struct tcp_info from tcpi_bytes_received on: that, segs_out, segs_in,
# data_segs_in, data_segs_out, bytes_sent (which is there since Linux 4.19)
_COUNTS = struct.Struct("=QII8xII40xQ")
_COUNTS_AT = 128

_ANSWER_BYTES = 1 << 16  # the kernel fills at most 32 KiB at once
_EVENTS_BYTES = 1 << 22
_MAPPED = bytes(10) + b"\xff\xff"  # what stands before an IPv4 address in one of IPv6
_SO_RCVBUFFORCE = 33

Place = tuple[bytes, int]
"""An address, in four bytes where it is one of IPv4, and a port."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a socket has carried since it was opened."""

    bytes_sent: int = 0
    """Payload, with what was sent again."""
    bytes_received: int = 0
    """Payload; one more once the other side has closed."""
    segs_out: int = 0
    """Segments, with those that only acknowledge; all four wrap at 2**32."""
    segs_in: int = 0
    data_segs_out: int = 0
    """Segments that carry payload."""
    data_segs_in: int = 0


@dataclass(frozen=True, slots=True)
class Socket:
    """One end of a connection, or a listener."""

    cookie: int
    """Which the kernel gives to no other socket while it runs."""
    state: int
    local: Place
    remote: Place
    inode: int
    """As in /proc/PID/fd; 0 for one that no process holds any more."""
    traffic: Traffic


def dump() -> list[Socket]:
    """Every TCP socket, IPv4 and IPv6, but for those that only wait (SYN_RECV, TIME_WAIT).

    Raises OSError where the kernel does not have it.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "only Linux has NETLINK_SOCK_DIAG")
    states = sum(1 << state for state in _ASKED)
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        for family in (socket.AF_INET, socket.AF_INET6):
            query = _QUERY.pack(family, _PROTOCOL, 1 << (_INET_DIAG_INFO - 1), states)
            length = _HEADER.size + len(query)
            head = _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0)
            link.send(head + query)
            found += [each for body in _answers(link) if (each := read_socket(body)) is not None]
    return found


class Ended:
    """The sockets that are destroyed from now on, in this network namespace."""

    def __init__(self) -> None:
        """Raises OSError where the kernel does not tell."""
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "only Linux has NETLINK_SOCK_DIAG")
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._link = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        try:
            self._link.bind((0, _DESTROYED))
            for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
                with contextlib.suppress(PermissionError):
                    self._link.setsockopt(socket.SOL_SOCKET, option, _EVENTS_BYTES)
        except OSError:
            self._link.close()
            raise
        self.overflowed = False
        """Whether more was destroyed than could be told: some are missing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._link.fileno()

    def take(self) -> list[Socket]:
        """Those that were destroyed since the last time; their state says nothing any more."""
        found: list[Socket] = []
        while True:
            try:
                message = self._link.recv(_ANSWER_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overflowed = True
                continue
            length, *_ = _HEADER.unpack_from(message)
            if (each := read_socket(message[_HEADER.size : length])) is not None:
                found.append(each)


def read_socket(body: bytes) -> Socket | None:
    """An inet_diag_msg with its attributes; None for one without counts, which is none that lives.

    Raises OSError when the kernel is too old to count.
    """
    family, state, source, destination, local, remote, cookie, inode = _MESSAGE.unpack_from(body)
    at = _MESSAGE.size
    while at < len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        counts_at = at + _ATTRIBUTE.size + _COUNTS_AT
        if kind == _INET_DIAG_INFO:
            if at + length < counts_at + _COUNTS.size:
                raise OSError(errno.EOPNOTSUPP, "this kernel does not count a socket's traffic")
            received, out, into, data_in, data_out, sent = _COUNTS.unpack_from(body, counts_at)
            return Socket(
                cookie,
                state,
                (_address(family, local), int.from_bytes(source, "big")),
                (_address(family, remote), int.from_bytes(destination, "big")),
                inode,
                Traffic(sent, received, out, into, data_out, data_in),
            )
        at += _aligned(length)
    return None


def _address(family: int, field: bytes) -> bytes:
    if family == socket.AF_INET:
        return field[:4]
    return field.removeprefix(_MAPPED)


def _answers(link: socket.socket) -> Iterator[bytes]:
    while True:
        answer = link.recv(_ANSWER_BYTES)
        at = 0
        while at < len(answer):
            length, kind, *_ = _HEADER.unpack_from(answer, at)
            body = answer[at + _HEADER.size : at + length]
            if kind in (_ERROR, _DONE):
                # A dump that fails says so in its end, too.
                (code,) = _CODE.unpack_from(body)
                if code < 0:
                    raise OSError(-code, f"sock_diag: {os.strerror(-code)}")
                return
            yield body
            at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
