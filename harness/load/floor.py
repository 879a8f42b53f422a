"""What deliveries to many connections cost their receiver at the least: a bare epoll loop.

Linux only. One process holds both ends of each connection, on loopback.
"""

import contextlib
import errno
import gc
import os
import resource
import select
import socket
import statistics
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_SIZE = 32_768
"""Bytes that a connection takes before anybody reads, whatever the system's defaults."""
_OTHERS = 2  # the listener and the epoll have a descriptor each
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # struct linger, socket(7)


@dataclass(frozen=True, slots=True)
class Floor:
    """From the start of the loop until the first, the middle and the last message had been read,
    in microseconds: each the median over the rounds."""

    first_us: float
    median_us: float
    last_us: float


def receiving_floor(count: int, size: int = 256, rounds: int = 11) -> Floor:
    """Read one message of `size` bytes, already there, from each of `count` connections.

    Each round writes all messages, then times a loop of epoll_wait(2) and read(2) until all are
    read. Raises ValueError for a count or rounds below 1 or a size outside 1 to MAX_SIZE, and
    OSError (EMFILE) when the descriptor limit does not suffice: see raise_descriptor_limit.
    """
    if count < 1 or rounds < 1 or not 1 <= size <= MAX_SIZE:
        raise ValueError(f"count {count}, size {size} (1 to {MAX_SIZE}), rounds {rounds}")
    _check_descriptors(2 * count + _OTHERS)
    with _pairs(count) as (senders, receivers), select.epoll() as poll, _no_garbage_collection():
        for receiver in receivers:
            poll.register(receiver, select.EPOLLIN)
        marks = [_round(senders, poll, bytes(size)) for _ in range(rounds)]
    first, median, last = (statistics.median(column) / 1e3 for column in zip(*marks, strict=True))
    return Floor(first, median, last)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise this process's limit of open descriptors (RLIMIT_NOFILE) to `wanted`, or as far as its
    hard limit allows; never lowers it. Returns the limit there is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _check_descriptors(further: int) -> None:
    needed = len(list(Path("/proc/self/fd").iterdir())) + further
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > limit:
        raise OSError(errno.EMFILE, f"{needed} descriptors are needed and the limit is {limit}")


@contextlib.contextmanager
def _pairs(count: int) -> Iterator[tuple[list[int], list[int]]]:
    """The descriptors of connected sockets: those that send and those that receive."""
    senders = []
    receivers = []
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(count):
            sender = stack.enter_context(socket.create_connection(listener.getsockname()))
            receiver = stack.enter_context(listener.accept()[0])
            # Or a message would wait for the acknowledgement of the one before.
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Thousands of sockets in TIME_WAIT would meet whatever is measured next.
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            senders.append(sender.fileno())
            receivers.append(receiver.fileno())
        yield senders, receivers


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """As in the generator while it loads."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _round(senders: list[int], poll: select.epoll, message: bytes) -> tuple[float, float, float]:
    """First, median and last instant at which a message was read whole, in nanoseconds."""
    for sender in senders:
        os.write(sender, message)
    size = len(message)
    count = len(senders)
    parts: dict[int, int] = {}
    instants: list[int] = []
    start = time.monotonic_ns()
    while len(instants) < count:
        for receiver, _ in poll.poll():
            got = len(os.read(receiver, size))
            if got < size:
                parts[receiver] = got = parts.get(receiver, 0) + got
            if got == size:
                instants.append(time.monotonic_ns())
    return instants[0] - start, statistics.median(instants) - start, instants[-1] - start
