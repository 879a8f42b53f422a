"""Who is charged for receiving: one load over loopback, and between two network namespaces.

On loopback, what the receiver's kernel does with a segment happens while its sender sends. Between
two namespaces, joined by a pair of virtual interfaces whose receiving each has a thread of its own
in the kernel, it can be told apart: what a thread uses is what loopback charges to the other side.
Needs root and the command `ip`; the namespaces are made here and removed.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.rounds import Line, ratio
from benchmarks.trial import SPEC
from clients import catalog
from harness.load.messages import OrderSpec
from harness.load_process import LoadProcess
from harness.observe.telemetry import cpu_ns, cpu_split_ns
from harness.rig.placement import this_machine
from harness.rig.process import Process, Rig

CLIENT, SERVER = "orderbench-c", "orderbench-s"
NEAR, FAR = "ob-c", "ob-s"
ADDRESS = {CLIENT: "10.77.0.1", SERVER: "10.77.0.2"}

# A virtual interface receives in its thread when it coalesces (GRO), and only what its peer has cut
# into segments itself (no TSO).
_SET = """
import array, fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    for what, value in ((0x2C, 1), (0x1F, 0)):  # ETHTOOL_SGRO, ETHTOOL_STSO
        asked = array.array("B", struct.pack("II", what, value))
        request = struct.pack("16sP", sys.argv[1].encode(), asked.buffer_info()[0])
        fcntl.ioctl(any_socket, 0x8946, request)  # SIOCETHTOOL
"""


@dataclass(frozen=True, slots=True)
class Used:
    """CPU, in µs an operation."""

    client: float
    client_kernel: float
    server: float
    server_kernel: float
    for_client: float
    """Receiving what came to the client, where that is a thread of its own."""
    for_server: float


def command(*words: str) -> None:
    """Run it. Raises CalledProcessError."""
    subprocess.run(words, check=True)


@contextlib.contextmanager
def namespaces() -> Iterator[dict[str, int]]:
    """Two of them, joined; gives the thread that receives in each."""
    try:
        for name in (CLIENT, SERVER):
            command("ip", "netns", "add", name)
        command("ip", "link", "add", NEAR, "netns", CLIENT, "type", "veth",
                "peer", "name", FAR, "netns", SERVER)  # fmt: skip
        for name, link in ((CLIENT, NEAR), (SERVER, FAR)):
            inside = ("ip", "netns", "exec", name)
            command(*inside, "ip", "address", "add", f"{ADDRESS[name]}/24", "dev", link)
            command(*inside, "ip", "link", "set", link, "up")
            command(*inside, sys.executable, "-c", _SET, link)
            command(*inside, "sh", "-c", f"echo 1 > /sys/class/net/{link}/threaded")
        yield {name: _thread(link) for name, link in ((CLIENT, NEAR), (SERVER, FAR))}
    finally:
        for name in (CLIENT, SERVER):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


def _thread(link: str) -> int:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().startswith(f"napi/{link}"):
                return int(comm.parent.name)
    raise SystemExit(f"the kernel has no thread that receives on {link}")


async def one(rig: Rig, spec_of: argparse.Namespace, threads: dict[str, int], folder: Path) -> Used:
    """One load; between the namespaces whose receiving `threads` are given, else on loopback."""
    placed = this_machine()
    host = ADDRESS[SERVER] if threads else "127.0.0.1"
    entry = catalog.find(spec_of.style)
    words = ["-m", "servers", entry.speaks or entry.style, "--host", host]
    server = await _spawn(rig, "server", words, SERVER if threads else "", placed.server)
    said = await server.hear()
    assert said is not None, "the server ended without a word"
    child = await _spawn(
        rig, "generator", ["-m", "harness.load"], CLIENT if threads else "", placed.generator
    )
    generator = LoadProcess(rig, child)
    spec = replace(
        SPEC,
        driver=entry.driver,
        target=said["address"],
        load=replace(SPEC.load, rate=spec_of.rate),
        order=OrderSpec(items=spec_of.items),
        warm_up_s=0.5,
        duration_s=spec_of.seconds,
        key_prefix=f"{os.getpid()}-",
        samples_path=str(folder / "samples.parquet"),
    )
    pids = [child.pid, server.pid, *(threads[name] for name in (CLIENT, SERVER) if threads)]
    try:
        await generator.open(spec)
        generator.send()
        await asyncio.sleep(1.0)
        first = [(cpu_ns(pid), cpu_split_ns(pid)[1]) for pid in pids]
        await asyncio.sleep(spec_of.seconds - 1.0)
        last = [(cpu_ns(pid), cpu_split_ns(pid)[1]) for pid in pids]
        await generator.drained()
        await generator.finish()
    finally:
        await rig.stop(child)
        await rig.stop(server)
    operations = spec_of.rate * (spec_of.seconds - 1.0)
    used = [(b[0] - a[0]) / 1e3 / operations for a, b in zip(first, last, strict=True)]
    kernel = [(b[1] - a[1]) / 1e3 / operations for a, b in zip(first, last, strict=True)]
    return Used(used[0], kernel[0], used[1], kernel[1], *(used[2:] or (0.0, 0.0)))


async def _spawn(
    rig: Rig, name: str, words: Sequence[str], where: str, cpus: tuple[int, ...] | None
) -> Process:
    inside = ["ip", "netns", "exec", where] if where else []
    return await rig.spawn(name, [*inside, sys.executable, *words], cpus)


def _line(rounds: Sequence[Used], name: str) -> Line:
    return Line(tuple(getattr(each, name) for each in rounds))


async def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", default="rest")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--items", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    found: dict[str, list[Used]] = {"loopback": [], "namespaces": []}
    with namespaces() as threads, tempfile.TemporaryDirectory() as folder:
        async with Rig(Path(folder)) as rig:
            for _ in range(options.rounds):
                found["loopback"].append(await one(rig, options, {}, Path(folder)))
                found["namespaces"].append(await one(rig, options, threads, Path(folder)))
    for where, rounds in found.items():
        print(f"{where}, µs CPU an operation:")
        for name in Used.__slots__:
            print(f"  {name.replace('_', ' '):<14} {_line(rounds, name).words('µs', 1)}")
    apart = found["namespaces"]
    for side, other in (("client", "for_server"), ("server", "for_client")):
        both = Line(tuple(getattr(each, side) + getattr(each, other) for each in apart))
        shared = ratio(_line(found["loopback"], side), both)
        words = f"{side} on loopback / {side} + receiving {other.replace('_', ' ')}, apart"
        print(f"{words}: {shared.words('', 2)}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
