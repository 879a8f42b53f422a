"""Calls by the drivers of REST and gRPC beside native load tools, on the same servers.

Three comparisons, each of interleaved rounds. Open loop: latency from the plan on, of raw floors
and default drivers, beside oha --latency-correction, k6 and ghz --async. Closed loop of 16:
calls a second of gRPC's drivers beside ghz and h2load. CPU: what a call costs the process that
makes it, in a closed loop of 64, beside Locust's FastHttpUser.

The harness's side is what a run does: a real generator child, every operation recorded and its
answer checked. Every server forgets what it has seen, so that all may ask for one order again and
again, and runs on the processor that a run gives it; drivers and tools run on the generator's. As
in a run, processors are kept from falling asleep, for all of them.

    python -m benchmarks.calls --rounds 5 --tools FOLDER [--only rest,grpc,closed,cpu]
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.call_tools import WARM_UP_S, Figures, Tools
from benchmarks.rounds import Line, Need, taken
from benchmarks.trial import SPEC, one_trial
from clients import catalog
from harness.analysis.trial import summarize_trial
from harness.load.messages import LoadSpec
from harness.results import DONE
from harness.rig.awake import awake
from harness.rig.placement import this_machine
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_server
from harness.variant import parse_variant

OPEN_RATE = 1000.0
MOST = 64
"""Connections, or virtual users, that a tool may use in an open loop."""
IN_FLIGHT = 16
USERS = 64
Take = Callable[[], Awaitable[Figures]]


class Bench:
    """Servers, and what is measured at them."""

    def __init__(self, rig: Rig, folder: Path, tools: Tools, seconds: float) -> None:
        self.tools = tools
        self.seconds = seconds
        self._rig = rig
        self._folder = folder
        self._servers: dict[str, Server] = {}

    async def address(self, variant: str) -> str:
        """Of the server that a variant talks to."""
        name = parse_variant(variant).entry.talks_to
        if name not in self._servers:
            serving = Serving(name, remember="nothing")
            self._servers[name] = await start_server(self._rig, serving, this_machine().server)
        return self._servers[name].address

    def driver(self, variant: str, load: LoadSpec, connections: int) -> Take:
        """One trial of a driver. Raises RuntimeError if not every order was confirmed."""
        entry: catalog.Entry = parse_variant(variant).entry

        async def take() -> Figures:
            spec = replace(
                SPEC,
                driver=entry.driver,
                target=await self.address(variant),
                load=load,
                warm_up_s=WARM_UP_S,
                duration_s=self.seconds,
                connections=connections,
            )
            samples = await one_trial(self._rig, spec, self._folder)
            result = summarize_trial(samples, 1, spec.timeout_s)
            if result.counts.done != result.counts.planned:
                raise RuntimeError(f"{variant}: {result.counts}, {result.failures}")
            # CPU is known of the whole trial, warm-up included, and so are its calls.
            cpu_us = result.health["cpu_s"] * 1e6 / (samples.outcome == DONE).sum()
            latency = result.latency
            return Figures(result.throughput_per_s, latency.p50, latency.p99, cpu_us)

        return take


def shown(which: str) -> Callable[[Figures], float]:
    """One figure, for print; 0 where a tool does not tell it."""
    return lambda figures: float(getattr(figures, which) or 0.0)


def line(figures: Sequence[Figures], which: str) -> Line:
    """One figure over all rounds."""
    return Line(tuple(float(getattr(each, which)) for each in figures))


def best(lines: Sequence[Line]) -> Line:
    """The least of several, round by round."""
    return Line(tuple(map(min, zip(*(each.values for each in lines), strict=True))))


def usable(tools: Tools, wanted: Mapping[str, Take]) -> dict[str, Take]:
    """Without the tools that are not there, which is said; a take's name begins with its tool's."""
    found = {}
    for name, take in wanted.items():
        if tools.find(name.partition(" ")[0]) is None:
            print(f"  {name}: not there, left out")
        else:
            found[name] = take
    return found


async def rest(bench: Bench, rounds: int) -> None:
    """REST's latency at OPEN_RATE."""
    address, tools, seconds = await bench.address("rest"), bench.tools, bench.seconds
    native: dict[str, Take] = {
        "oha": lambda: tools.oha(address, OPEN_RATE, seconds, MOST),
        "k6": lambda: tools.k6(address, OPEN_RATE, seconds, MOST),
    }
    await open_loop(bench, "rest", native, rounds)


async def grpc(bench: Bench, rounds: int) -> None:
    """gRPC's latency at OPEN_RATE."""
    address, tools, seconds = await bench.address("grpc-unary"), bench.tools, bench.seconds
    native: dict[str, Take] = {
        "ghz --async": lambda: tools.ghz(address, seconds, MOST, 1, OPEN_RATE),
        "k6": lambda: tools.k6(address, OPEN_RATE, seconds, MOST),
    }
    await open_loop(bench, "grpc-unary", native, rounds)


async def open_loop(bench: Bench, style: str, native: Mapping[str, Take], rounds: int) -> None:
    """Latency from the plan on, of a style's raw floor and default driver beside native tools."""
    print(f"\n{style}, open loop at {OPEN_RATE:g}/s: latency from the plan on, ms")
    load = replace(SPEC.load, rate=OPEN_RATE)
    floor = f"{style}:asyncio"
    ours = {name: bench.driver(name, load, SPEC.connections) for name in (floor, style)}
    native = usable(bench.tools, native)
    kept = await taken({**ours, **native}, rounds, shown("p50_ms"))
    for which, most in (("p50_ms", 1.15), ("p99_ms", 1.3)):
        mark = which.removesuffix("_ms")
        lines = {name: line(figures, which) for name, figures in kept.items()}
        for name, each in lines.items():
            print(f"{name:<24} {mark} {each.words('ms', 3)}")
        if native:
            lines["the better tool"] = best([lines[name] for name in native])
            print(f"{mark} of", Need(floor, "the better tool", most=most).words(lines))
            print(f"{mark} of", Need(style, "the better tool").words(lines))


async def closed(bench: Bench, rounds: int) -> None:
    """gRPC calls a second, IN_FLIGHT at a time."""
    load = replace(SPEC.load, model="closed", users=IN_FLIGHT)
    address, tools, seconds = await bench.address("grpc-unary"), bench.tools, bench.seconds
    print(f"\ngrpc-unary, closed loop of {IN_FLIGHT}: calls a second")
    takes: dict[str, Take] = {
        f"{variant}, {number} connections": bench.driver(variant, load, number)
        for variant, number in (
            ("grpc-unary", 2),
            ("grpc-unary", SPEC.connections),
            ("grpc-unary:asyncio", 2),
            ("grpc-unary:asyncio", SPEC.connections),
        )
    }
    takes |= usable(
        tools,
        {
            "ghz": lambda: tools.ghz(address, seconds, IN_FLIGHT, 1),
            "h2load": lambda: tools.h2load(address, seconds, 1, IN_FLIGHT),
        },
    )
    kept = await taken(takes, rounds, shown("per_s"))
    lines = {name: line(figures, "per_s") for name, figures in kept.items()}
    for name, each in lines.items():
        print(f"{name:<36} {each.words('calls/s')}")
    if "ghz" in lines:
        for name in list(takes)[:4]:
            print(Need(name, "ghz", least=0.9).words(lines))


async def cpu(bench: Bench, rounds: int) -> None:
    """What a REST call costs its client, USERS at a time, beside Locust's FastHttpUser."""
    load = replace(SPEC.load, model="closed", users=USERS)
    address = await bench.address("rest")
    fast = "locust FastHttpUser"
    print(f"\nrest, closed loop of {USERS}: µs of CPU a call")
    takes: dict[str, Take] = {
        variant: bench.driver(variant, load, SPEC.connections)
        for variant in ("rest", "rest:asyncio")
    }
    takes[fast] = lambda: bench.tools.locust(address, USERS, bench.seconds, checks=True)
    kept = await taken(takes, rounds, shown("cpu_us_per_op"))
    lines = {name: line(figures, "cpu_us_per_op") for name, figures in kept.items()}
    for name, each in lines.items():
        print(f"{name:<24} {each.words('µs', 1)}")
    print(Need("rest", fast, most=0.85).words(lines))
    print(Need("rest:asyncio", fast, most=0.6).words(lines))


COMPARISONS = {"rest": rest, "grpc": grpc, "closed": closed, "cpu": cpu}


async def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured, of each")
    parser.add_argument("--tools", type=Path, metavar="FOLDER", help="where tools are looked for")
    parser.add_argument("--only", default=",".join(COMPARISONS), help="comparisons, by comma")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(COMPARISONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(COMPARISONS)}")
    with tempfile.TemporaryDirectory() as name, awake():
        folder = Path(name)
        async with Rig(folder / "logs") as rig:
            bench = Bench(rig, folder, Tools(folder, options.tools), options.seconds)
            for comparison in wanted:
                await COMPARISONS[comparison](bench, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
