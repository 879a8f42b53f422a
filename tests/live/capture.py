"""Packets of loopback as tcpdump sees them, from one marker to another."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.rig import debian
from harness.rig.broker import Unavailable
from tests.support import until

RECIPE = debian.Recipe(
    part="tcpdump",
    package="tcpdump",
    along=("tcpdump",),
    remedy="install tcpdump",
)
_FILE_HEAD = 24
_RECORD = struct.Struct("=IIII")  # seconds, microseconds, captured, on the wire
_ETHERNET = 14
_IPV4, _IPV6 = 0x0800, 0x86DD
_IPV6_HEAD = 40
_TCP = 6
SNAP = 160


@dataclass(frozen=True, slots=True)
class Packet:
    """One of TCP."""

    source: int
    """Its port."""
    destination: int
    payload: int
    """In bytes."""


def tcpdump() -> tuple[str, dict[str, str]]:
    """The command and what its environment needs; skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("capturing packets needs root")
    if found := shutil.which("tcpdump"):
        return found, {}
    try:
        folder = debian.unpacked(RECIPE)
    except Unavailable as error:
        pytest.skip(str(error))
    return str(folder / "usr/bin/tcpdump"), {"LD_LIBRARY_PATH": debian.libraries(folder)}


class Capture:
    """What is captured in a file, as long as it grows."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._marks: list[int] = []

    async def mark(self, listener: socket.socket) -> None:
        """Set a marker: every packet before it is in the file when this returns."""
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()

        def seen() -> bool:
            return any(each.destination == port for each in self.packets())

        await until("the marker is captured", seen)
        self._marks.append(port)

    def between(self) -> list[Packet]:
        """The packets from the first marker to the last, without those of markers."""
        every = list(self.packets())
        ends = [
            [i for i, p in enumerate(every) if m in (p.source, p.destination)] for m in self._marks
        ]
        return [
            p
            for p in every[ends[0][-1] + 1 : ends[-1][0]]
            if not {p.source, p.destination} & set(self._marks)
        ]

    def packets(self) -> Iterator[Packet]:
        """All that are in the file so far."""
        data = self._file.read_bytes()
        at = _FILE_HEAD
        while at + _RECORD.size <= len(data):
            _, _, kept, _ = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            if at + kept > len(data):
                return
            yield _packet(data[at : at + kept])
            at += kept


def _packet(frame: bytes) -> Packet:
    kind = int.from_bytes(frame[12:14], "big")
    ip = frame[_ETHERNET:]
    if kind == _IPV4:
        head = (ip[0] & 15) * 4
        length, protocol = int.from_bytes(ip[2:4], "big") - head, ip[9]
    else:
        assert kind == _IPV6
        head, length, protocol = _IPV6_HEAD, int.from_bytes(ip[4:6], "big"), ip[6]
    assert protocol == _TCP
    tcp = ip[head:]
    source, destination = struct.unpack_from(">HH", tcp)
    return Packet(source, destination, length - (tcp[12] >> 4) * 4)


@asynccontextmanager
async def capturing(
    ports: set[int], folder: Path
) -> AsyncIterator[tuple[Capture, list[socket.socket]]]:
    """Capture what goes to and from ports of loopback; with two listeners for markers."""
    command, env = tcpdump()
    file = folder / "packets.pcap"
    with contextlib.ExitStack() as stack:
        marks = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        every = {*ports, *(mark.getsockname()[1] for mark in marks)}
        wanted = "tcp and (" + " or ".join(f"port {port}" for port in sorted(every)) + ")"
        process = stack.enter_context(
            subprocess.Popen(
                [
                    command,
                    "-i",
                    "lo",
                    "-n",
                    "-U",
                    "--immediate-mode",
                    "-B",
                    "65536",
                    "-s",
                    str(SNAP),
                    "-Z",
                    "root",
                    "-w",
                    str(file),
                    wanted,
                ],
                stderr=subprocess.PIPE,
                env={**os.environ, **env},
            )
        )
        try:
            await until(
                "tcpdump listens", lambda: file.exists() and file.stat().st_size >= _FILE_HEAD
            )
            yield Capture(file), marks
        finally:
            process.send_signal(signal.SIGINT)
            said = await asyncio.to_thread(process.communicate)
        assert b"\n0 packets dropped by kernel" in said[1], said[1].decode()
