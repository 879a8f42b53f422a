"""Bytes, segments and connections on TCP, read from outside: the kernel's own count of each socket.

By NETLINK_SOCK_DIAG (sock_diag(7)), which needs no privilege and costs the processes nothing but
the read itself. Only the accepting side is asked. While its socket is established its byte counts
are the payload exactly, TLS and framing included; the connecting side counts its SYN, and either
side its FIN, as one byte each. Only this network namespace is seen.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import psutil

# linux/netlink.h, linux/sock_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x001 | 0x300
_ERROR = 2
_DONE = 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_CODE = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length with this header, type

# linux/inet_diag.h
_INET_DIAG_INFO = 2
_MESSAGE_BYTES = 72  # inet_diag_msg
_COOKIE = struct.Struct("=Q")
_COOKIE_AT = 44  # inet_diag_msg.id.idiag_cookie
# inet_diag_req_v2: family, protocol, ext, states; of its inet_diag_sockid only the source port,
# by which the kernel filters.
_QUERY = struct.Struct("=BBBxI2s46x")
_PROTOCOL = socket.IPPROTO_TCP
_ESTABLISHED = 1 << 1  # TCP_ESTABLISHED of linux/tcp_states.h

# linux/tcp.h, struct tcp_info: tcpi_bytes_acked at 120, tcpi_bytes_received at 128,
# tcpi_segs_out at 136, tcpi_segs_in at 140 (all there since Linux 4.2)
_COUNTS = struct.Struct("=QQII")
_COUNTS_AT = 120
_SEGMENTS_WRAP = 1 << 32

_ANSWER_BYTES = 1 << 16  # the kernel fills at most 32 KiB at once


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one accepted socket has carried since it was opened."""

    bytes_acked: int
    """Sent, and acknowledged by the other side."""
    bytes_received: int
    segs_out: int
    """Segments, with those that only acknowledge; like segs_in it wraps at 2**32."""
    segs_in: int


@dataclass(frozen=True, slots=True)
class Wire:
    """What went over the accepted sockets between two snapshots.

    If `closed` is not 0 the bytes and segments are a lower bound: what those carried after the
    first snapshot is lost. A connection that was both opened and closed between the snapshots is in
    none of these figures.
    """

    bytes_to_server: int
    bytes_from_server: int
    segments_to_server: int
    segments_from_server: int
    connections: int
    """Established at the second snapshot."""
    opened: int
    """Established at the second snapshot only."""
    closed: int
    """Established at the first snapshot only."""


def available() -> bool:
    """Whether this system answers such questions."""
    try:
        sockets({1})
    except OSError:
        return False
    return True


def sockets(ports: Collection[int]) -> dict[int, Traffic]:
    """The established TCP sockets, IPv4 and IPv6, whose local port is one of `ports`.

    The key is the socket's cookie, which the kernel gives to no other socket while it runs. Raises
    OSError where the kernel does not have it.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "only Linux has NETLINK_SOCK_DIAG")
    found: dict[int, Traffic] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in ports:
                found.update(_dump(link, family, port))
    return found


def moved(before: Mapping[int, Traffic], after: Mapping[int, Traffic]) -> Wire:
    """What was carried between two snapshots of `sockets`.

    A socket that was opened in between counts from 0. One that was closed in between counts as
    `closed` and nowhere else.
    """
    nothing = Traffic(0, 0, 0, 0)
    steps = [(before.get(key, nothing), now) for key, now in after.items()]
    return Wire(
        bytes_to_server=sum(now.bytes_received - then.bytes_received for then, now in steps),
        bytes_from_server=sum(now.bytes_acked - then.bytes_acked for then, now in steps),
        segments_to_server=sum(
            (now.segs_in - then.segs_in) % _SEGMENTS_WRAP for then, now in steps
        ),
        segments_from_server=sum(
            (now.segs_out - then.segs_out) % _SEGMENTS_WRAP for then, now in steps
        ),
        connections=len(after),
        opened=len(after.keys() - before.keys()),
        closed=len(before.keys() - after.keys()),
    )


def listening_ports(pid: int) -> set[int]:
    """The TCP ports on which a process listens.

    Raises ProcessLookupError when there is no such process, PermissionError when it is another
    user's.
    """
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"no process {pid}") from None
    except psutil.AccessDenied:
        raise PermissionError(f"the sockets of process {pid} are not ours to see") from None
    return {at.laddr.port for at in connections if at.status == psutil.CONN_LISTEN}


def _dump(link: socket.socket, family: int, port: int) -> Iterator[tuple[int, Traffic]]:
    query = _QUERY.pack(
        family, _PROTOCOL, 1 << (_INET_DIAG_INFO - 1), _ESTABLISHED, port.to_bytes(2, "big")
    )
    length = _HEADER.size + len(query)
    link.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + query)
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
            yield _COOKIE.unpack_from(body, _COOKIE_AT)[0], _traffic(body)
            at += _aligned(length)


def _traffic(body: bytes) -> Traffic:
    at = _MESSAGE_BYTES
    while at < len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        info_at = at + _ATTRIBUTE.size
        if kind == _INET_DIAG_INFO and at + length >= info_at + _COUNTS_AT + _COUNTS.size:
            return Traffic(*_COUNTS.unpack_from(body, info_at + _COUNTS_AT))
        at += _aligned(length)
    raise OSError(errno.EOPNOTSUPP, "this kernel does not count a socket's bytes and segments")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
