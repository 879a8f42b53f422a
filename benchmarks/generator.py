"""The generator itself: the noop driver, open loop, one process, beside a bare loop.

The bare loop has the same pacer, one task an operation and nothing else: no order, no lane, no
record. What is above it is what the generator's honesty costs.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.rounds import Line, Measure, interleaved
from benchmarks.trial import SPEC, one_trial
from clients import catalog
from harness.analysis.accounts import Counts, count
from harness.rig.placement import this_machine
from harness.rig.process import Rig

BARE = """
import asyncio, gc, json, sys, time
import uvloop
from orders.alarm import sharpest_alarm

async def nothing():
    pass

async def main(rate, seconds):
    loop = asyncio.get_running_loop()
    count = int(rate * seconds)
    begin = time.monotonic_ns() + 100_000_000
    planned = [begin + int(i * 1e9 / rate) for i in range(count)]
    over = loop.create_future()
    following = 0
    gc.collect(); gc.freeze(); gc.disable()

    def due():
        nonlocal following
        now = time.monotonic_ns()
        while following < count and planned[following] <= now:
            loop.create_task(nothing())
            following += 1
        if following < count:
            pacer.arm(planned[following])
        elif not over.done():
            over.set_result(None)

    pacer = sharpest_alarm(loop, due)
    cpu = time.process_time()
    pacer.arm(planned[0])
    await over
    print(json.dumps({"event": "end", "cpu_us": (time.process_time() - cpu) / count * 1e6}))

uvloop.run(main(float(sys.argv[1]), float(sys.argv[2])))
"""


async def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    lags: list[np.ndarray] = []
    totals: list[Counts] = []
    with tempfile.TemporaryDirectory() as folder:
        async with Rig(Path(folder)) as rig:
            spec = replace(
                SPEC,
                driver=catalog.find("noop").driver,
                load=replace(SPEC.load, rate=options.rate),
                duration_s=options.seconds,
            )

            async def noop() -> float:
                samples = await one_trial(rig, spec, Path(folder))
                totals.append(count(samples))
                sent = samples.measured & (samples.sent != 0)
                lags.append((samples.sent - samples.planned)[sent] / 1e3)
                return float(samples.meta["health"]["cpu_s"]) / len(samples) * 1e6

            async def bare() -> float:
                words = [sys.executable, "-c", BARE, str(options.rate), str(options.seconds)]
                process = await rig.spawn("bare", words, this_machine().generator)
                message = await process.hear()
                assert message is not None, "the bare loop ended without a word"
                await rig.stop(process)
                return float(message["cpu_us"])

            measures: dict[str, Measure] = {"noop driver": noop, "bare loop": bare}
            lines = await interleaved(measures, options.rounds)
    for name, line in lines.items():
        print(f"{name:<12} {line.words('µs CPU an operation', 1)}")
    for mark in (50, 99, 99.9):
        lag = Line(tuple(float(np.percentile(values, mark)) for values in lags))
        print(f"send lag p{mark:<5} {lag.words('µs')}")
    everything = sum(totals, Counts())
    print(f"planned {everything.planned}, dropped {everything.dropped}, done {everything.done}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
