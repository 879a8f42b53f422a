"""What it costs to start a run through Locust, and to let Locust's own user make the calls instead.

`open` and `closed`: the same scenario by `bench.py run`, through Locust (`bench.py locust
--headless`), and by `bench.py run` once more, in turn. The second plain run beside the first is the
A/A floor of what passing through Locust may differ by: of p50 and, in a closed loop, of the answers
a second (in an open one they are the plan's, but for what was not answered, which is said).

`fasthttp`: a closed loop of 64 at one REST server, by Locust's FastHttpUser, which draws the
generator's orders and is one process, by `bench.py run`, and through Locust. It does what the
generator does, or, *unread*, sends orders that were encoded before and does not read answers.

CPU is that of the client's side within the measured window, for an answered operation: of the
generator, of the harness, and of Locust with the command that started it. The first two are in
telemetry.parquet; Locust is read here, every READ_S, and between two readings it is taken to have
used its time evenly.

    python -m benchmarks.locust --rounds 5 --seconds 2.5 [--only open,closed,fasthttp]
"""

import argparse
import asyncio
import contextlib
import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median

import numpy as np

from benchmarks.call_tools import Tools
from benchmarks.rounds import Line, Need, ratio, taken
from harness.analysis.effects import Repeat, noise_floor, paired_effect
from harness.analysis.summary import summarize
from harness.observe.telemetry import cpu_ns, family
from harness.results import Run, open_run
from harness.rig.awake import awake
from harness.rig.placement import this_machine
from harness.rig.process import Process, Rig
from harness.rig.server import Serving, start_server
from harness.rig.tree import OWN
from harness.swarm.form import NO_BUDGET_S

SCENARIO = "smoke"
STYLES = ("rest", "grpc-unary")
LOADS: Mapping[str, Sequence[str]] = {
    "open": (f"--styles={','.join(STYLES)}", "--load=constant", "--rate=200,1000"),
    "closed": (f"--styles={','.join(STYLES)}", "--load=closed", "--users=16,64"),
}
USERS = 64
READ_S = 0.05
MOST_ABOVE = 1.1
MOST_OF_FAST = 0.85

PLAIN, THROUGH, AGAIN = "run", "through Locust", "run again"
FAST, BARE = "FastHttpUser", "FastHttpUser, unread"
GENERATOR, HARNESS, LOCUST = "generator", "harness", "locust"
Readings = Sequence[tuple[int, int]]
"""(instant of CLOCK_MONOTONIC, CPU time used by then), both in ns and ascending."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One cell of one run."""

    per_s: float
    p50_ms: float
    cpu_us: Mapping[str, float]
    """For an answered operation, by process."""
    closed: bool = True
    unanswered: int = 0
    """Dropped or timed out: the machine was busy with something else."""

    def cpu(self, *of: str) -> float:
        """Of these processes; of all without any."""
        return sum(us for name, us in self.cpu_us.items() if not of or name in of)


class Bench:
    """Where runs are started, and what is seen of them."""

    def __init__(self, rig: Rig, folder: Path, seconds: float) -> None:
        self.rig = rig
        self.folder = folder
        self.seconds = seconds
        self._runs = 0

    async def run(self, through: bool, ask: Sequence[str]) -> dict[str, Seen]:
        """One run of SCENARIO, by cell. Raises RuntimeError where it failed."""
        self._runs += 1
        name, out = f"run-{self._runs}", self.folder / f"run-{self._runs}"
        words = [*words_of(through, ask, self.seconds), f"--out={out}"]
        process = await self.rig.spawn(name, OWN.command(["harness.cli", *words]), speaks=False)
        readings = await _watched(process, through)
        if code := process.exited.result():
            raise RuntimeError(f"{' '.join(words)}: code {code}: {self.rig.last_words(name)}")
        if through and not readings:
            raise RuntimeError(f"{' '.join(words)}: no process of Locust was seen")
        return seen_in(open_run(out), readings if through else [])


def words_of(through: bool, ask: Sequence[str], seconds: float) -> list[str]:
    """The words of a command that asks the same through Locust and by itself."""
    begin = (
        ["locust", "--headless", f"--scenario={SCENARIO}"]
        if through
        else ["run", SCENARIO, f"--budget={NO_BUDGET_S}"]
    )
    return [*begin, *ask, f"--duration={seconds:g}", "--items=3", "--repeats=1"]


async def _watched(process: Process, through: bool) -> Readings:
    """The CPU time of a command and, `through` Locust, of Locust, until the command ends; empty if
    Locust was not seen."""
    readings: list[tuple[int, int]] = []
    pids = [process.pid]
    while not process.exited.done():
        with contextlib.suppress(ProcessLookupError):
            # Only until it is found: to look for it takes milliseconds.
            if through and len(pids) == 1:
                pids += _locust_of(process.pid)
            else:
                readings.append((time.monotonic_ns(), sum(map(cpu_ns, pids))))
        await asyncio.wait({process.exited}, timeout=READ_S)
    return readings


def _locust_of(pid: int) -> list[int]:
    """Which of the processes that a command has started is Locust; none before it is there."""
    found = []
    for child in family(pid)[1:]:
        with contextlib.suppress(OSError):
            if b"\0locust\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def used_between(readings: Readings, start: int, end: int) -> float:
    """The CPU time in ns that was used from one instant to another. Raises ValueError where the
    readings do not reach so far."""
    at, used = zip(*readings, strict=True)
    if not at[0] <= start <= end <= at[-1]:
        raise ValueError("the window was not read whole")
    first, last = np.interp([start, end], at, used)
    return float(last - first)


def seen_in(run: Run, locust: Readings) -> dict[str, Seen]:
    """A run's cells, by style and load; `locust` is empty for a plain one. Raises RuntimeError if
    an operation failed."""
    found = {}
    marks = {(m["cell"], m["mark"]): m["at"] for m in run.marks if m["role"] == HARNESS}
    for cell in summarize(run).cells:
        load, name = cell.info["load"], f"{cell.info['style']}, {cell.info['load']['words']}"
        (trial,) = cell.trials
        counts = trial.counts
        if counts.failed:
            raise RuntimeError(f"{name}: {counts}, {trial.failures}")
        used: dict[str, float] = {role: trial.seen.cpu_ns[role] for role in (GENERATOR, HARNESS)}
        if locust:
            ends = (marks[cell.info["id"], mark] for mark in ("window_start", "window_end"))
            used[LOCUST] = used_between(locust, *ends)
        cpu_us = {role: ns / 1e3 / trial.completed_in_window for role, ns in used.items()}
        closed = load["model"] == "closed"
        found[name] = Seen(
            trial.throughput_per_s,
            trial.latency.p50,
            cpu_us,
            closed,
            counts.dropped + counts.timed_out,
        )
    return found


def mean_cpu(cells: Mapping[str, Seen]) -> float:
    """Of an operation, over all cells."""
    return fmean(cell.cpu() for cell in cells.values())


def within_floor(base: Line, other: Line, again: Line) -> str:
    """`other` beside `base`, and whether it differs by no more than `again` does, which is the same
    as `base`."""
    repeats = [
        {number: Repeat(value) for number, value in enumerate(line.values)}
        for line in (base, other, again)
    ]
    floor = noise_floor(paired_effect(repeats[0], repeats[2]))
    found = paired_effect(repeats[0], repeats[1]).ratio
    said = ratio(other, base).words("", 3)
    if math.isnan(floor):
        return f"{said}  (the floor takes 3 rounds)"
    met = max(found, 1 / found) <= floor
    return f"{said}  (A/A floor {floor:.3f}: {'within' if met else 'BEYOND'})"


def _line(seen: Sequence[Seen], figure: Callable[[Seen], float]) -> Line:
    return Line(tuple(map(figure, seen)))


def _parts(seen: Sequence[Seen]) -> str:
    """The CPU time of each process, in the middle of the rounds."""
    of_each = {role: median(each.cpu_us[role] for each in seen) for role in seen[0].cpu_us}
    return ", ".join(f"{role} {us:.1f}" for role, us in of_each.items())


def report(name: str, by_side: Mapping[str, Sequence[Seen]]) -> list[str]:
    """A cell by PLAIN, THROUGH and AGAIN, round by round, in lines."""
    base, other, again = (by_side[side] for side in (PLAIN, THROUGH, AGAIN))

    def three(figure: Callable[[Seen], float]) -> tuple[Line, Line, Line]:
        return _line(base, figure), _line(other, figure), _line(again, figure)

    rates, p50s, cpu = (three(f) for f in (lambda s: s.per_s, lambda s: s.p50_ms, Seen.cpu))
    lines = [name]
    for side, rate, p50, used in zip((PLAIN, THROUGH, AGAIN), rates, p50s, cpu, strict=True):
        unanswered = sum(each.unanswered for each in by_side[side])
        lines.append(
            f"  {side:<15} {rate.median:>8,.0f}/s  p50 {p50.median:.3f} ms"
            f"  CPU {used.median:.1f} µs ({_parts(by_side[side])})"
            + (f"  {unanswered} not answered" if unanswered else "")
        )
    lines.append(f"  p50, {THROUGH} / {PLAIN}: {within_floor(*p50s)}")
    if base[0].closed:
        lines.append(f"  answers a second, {THROUGH} / {PLAIN}: {within_floor(*rates)}")
    of_side = {PLAIN: cpu[0], THROUGH: cpu[1]}
    lines.append(f"  CPU, {Need(THROUGH, PLAIN, most=MOST_ABOVE).words(of_side)}")
    return lines


async def parity(bench: Bench, rounds: int, load: str) -> None:
    """The same by `bench.py run` and through Locust."""
    print(f"\n{load}: {' '.join(LOADS[load])}: mean µs of CPU an operation, all cells")
    takes = {
        side: partial(bench.run, side == THROUGH, LOADS[load]) for side in (PLAIN, THROUGH, AGAIN)
    }
    kept = await taken(takes, rounds, mean_cpu)
    for name in kept[PLAIN][0]:
        by_side = {side: [cells[name] for cells in runs] for side, runs in kept.items()}
        print(*report(name, by_side), sep="\n")


async def fasthttp(bench: Bench, rounds: int) -> None:
    """What a call costs its client beside Locust's FastHttpUser."""
    print(f"\nrest, closed loop of {USERS}: µs of CPU a call")
    server = await start_server(bench.rig, Serving("rest"), this_machine().server)
    tools = Tools(bench.folder)
    ask = ["--styles=rest", "--load=closed", f"--users={USERS}", f"--target=rest={server.address}"]

    async def fast(checks: bool) -> Seen:
        figures = await tools.locust(server.address, USERS, bench.seconds, checks)
        return Seen(figures.per_s, math.nan, {LOCUST: figures.cpu_us_per_op or math.nan})

    async def ours(through: bool) -> Seen:
        (cell,) = (await bench.run(through, ask)).values()
        return cell

    takes: dict[str, Callable[[], Awaitable[Seen]]] = {
        FAST: partial(fast, True),
        BARE: partial(fast, False),
        PLAIN: partial(ours, False),
        THROUGH: partial(ours, True),
    }
    kept = await taken(takes, rounds, Seen.cpu)
    lines = {
        FAST: _line(kept[FAST], Seen.cpu),
        BARE: _line(kept[BARE], Seen.cpu),
        f"{PLAIN}, {GENERATOR}": _line(kept[PLAIN], lambda seen: seen.cpu(GENERATOR)),
        f"{PLAIN}, with the {HARNESS}": _line(kept[PLAIN], Seen.cpu),
        f"{THROUGH}, all": _line(kept[THROUGH], Seen.cpu),
    }
    for side, seen in kept.items():
        print(f"{side:<28} {_line(seen, lambda each: each.per_s).words('calls/s')}")
    for name, line in lines.items():
        print(f"{name:<28} {line.words('µs', 1)}")
    for name in list(lines)[2:]:
        print(Need(name, FAST, most=MOST_OF_FAST).words(lines))
    for name in list(lines)[2:]:
        print(Need(name, BARE, most=math.inf).words(lines))
    await bench.rig.stop(server.process)


COMPARISONS: Mapping[str, Callable[[Bench, int], Awaitable[None]]] = {
    **{load: partial(parity, load=load) for load in LOADS},
    "fasthttp": fasthttp,
}


async def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5, help="measured, of each")
    parser.add_argument("--only", default=",".join(COMPARISONS), help="comparisons, by comma")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(COMPARISONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(COMPARISONS)}")
    with tempfile.TemporaryDirectory() as name, awake():
        folder = Path(name)
        async with Rig(folder / "logs") as rig:
            bench = Bench(rig, folder, options.seconds)
            for comparison in wanted:
                await COMPARISONS[comparison](bench, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
