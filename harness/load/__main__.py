"""`python -m harness.load`: the generator child. See harness.load.messages for what is said."""

import asyncio
import gc
import importlib
import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np
import uvloop

from clients.base import DriverError, Places
from harness.load.generator import Generator
from harness.load.lanes import Lanes
from harness.load.messages import TrialSpec
from harness.load.operations.place import Place
from harness.load.recorder import Recorder
from harness.load.schedule import planned_instants
from harness.results import FORMAT, write_samples
from orders.samples import orders_from_file, sample_orders

OPEN_LIMIT_S = 10.0
PROGRESS_S = 0.5


def say(event: str, **fields: object) -> None:
    """Write one JSON line to standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)


def driver_named(where: str) -> Places:
    """The driver at `module:Class`."""
    module, name = where.split(":")
    driver: Places = getattr(importlib.import_module(module), name)()
    return driver


def listen(loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
    """The instant of `start`, when the harness sends it; the process ends when its input does."""
    start: asyncio.Future[int] = loop.create_future()

    def read() -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["event"] == "start":
                loop.call_soon_threadsafe(start.set_result, message["at_ns"])
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return start


async def report_progress(recorder: Recorder, began_ns: int) -> None:
    """Say every PROGRESS_S what has been planned, ended and failed so far."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        say(
            "progress",
            elapsed_s=(time.monotonic_ns() - began_ns) / 1e9,
            ended=recorder.ended,
            failed=recorder.failed,
        )


async def run_trial(spec: TrialSpec) -> None:
    """Open, wait for the start, send, and leave the samples on disk."""
    start = listen(asyncio.get_running_loop())
    load = spec.load
    pool = (
        orders_from_file(Path(spec.orders_file))
        if spec.orders_file is not None
        else sample_orders(spec.items or 1, spec.seed)
    )
    length_s = spec.warm_up_s + spec.duration_s
    offsets = (
        None if load.model == "closed" else planned_instants(load, length_s, spec.seed, spec.block)
    )
    driver = driver_named(spec.driver)
    connections = min(spec.connections, spec.in_flight)
    recorder = Recorder(offsets)
    try:
        async with asyncio.timeout(OPEN_LIMIT_S):
            await driver.open(spec.target, connections, recorder)
    except (DriverError, TimeoutError) as error:
        said = str(error) or f"no answer from {spec.target} within {OPEN_LIMIT_S:g} s"
        say("failed", reason=f"could not open: {said}")
        await driver.close()
        return
    lanes = Lanes(connections, driver.multiplexes)
    perform = Place(driver, pool, spec.key_prefix).perform
    generator = Generator(perform, lanes, recorder, spec.in_flight, spec.timeout_s)
    gc.collect()
    gc.freeze()
    gc.disable()
    say("ready", pid=os.getpid(), lanes=connections)

    began = await start
    if offsets is not None:
        recorder.planned[:] = type(recorder.planned)("q", (offsets + began).tobytes())
    window = (began + round(spec.warm_up_s * 1e9), began + round(length_s * 1e9))
    memory, cpu = peak_bytes(), time.process_time_ns()
    progress = asyncio.create_task(report_progress(recorder, began))
    if load.users is not None:
        await asyncio.sleep(max(0.0, (began - time.monotonic_ns()) / 1e9))
        await generator.closed_loop(load.users, load.think_s, window[1])
    else:
        await generator.open_loop()
    progress.cancel()
    cpu = time.process_time_ns() - cpu
    await driver.close()
    lag = np.array(generator.loop_lag_ns)
    health = {
        "cpu_s": cpu / 1e9,
        "memory_growth_bytes": peak_bytes() - memory,
        "loop_lag_us": {
            "p50": float(np.percentile(lag, 50)) / 1e3,
            "p99": float(np.percentile(lag, 99)) / 1e3,
            "max": float(lag.max()) / 1e3,
        },
        "pacer": generator.pacer_name,
        "lanes_opened": lanes.opened,
        "stray_replies": recorder.stray,
        "failure_details": [[*key, count] for key, count in recorder.details.most_common()],
    }
    meta = {
        "format": FORMAT,
        "cell": spec.cell,
        "trial": spec.trial,
        "block": spec.block,
        "seed": spec.seed,
        "part": 0,
        "window": window,
        "health": health,
    }
    write_samples(Path(spec.samples_path), recorder.samples(window, meta))
    say("end", **health)


def peak_bytes() -> int:
    """The most memory that this process has had resident, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Read the trial from line 1 of standard input and run it."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # Slow to import, and needed only when the load is over: now, while the server starts.
    importlib.import_module("pyarrow.parquet")
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(1)
    code = 0
    try:
        uvloop.run(run_trial(TrialSpec.from_line(line)))
    except Exception as error:
        logging.exception("the trial broke off")
        say("failed", reason=f"{type(error).__name__}: {error}")
        code = 1
    sys.stdout.flush()
    # The thread that reads standard input may still be blocked.
    os._exit(code)


if __name__ == "__main__":
    main()
