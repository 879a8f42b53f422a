"""`python -m harness.load`: the generator child. See harness.load.messages for what is said."""

import asyncio
import gc
import importlib.util
import json
import logging
import os
import resource
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import uvloop

from clients.base import Driver, DriverError, Ingests, Places, Poll, Watches, Wire, Works
from harness.load.consumption import conclude, read_rows
from harness.load.contexts import Contexts
from harness.load.dealing import Share
from harness.load.floor import Floor, raise_descriptor_limit, receiving_floor
from harness.load.generator import Generator, Perform
from harness.load.lanes import Hold, Lanes
from harness.load.live import MILESTONES, Live
from harness.load.messages import TrialSpec, WireSpec
from harness.load.operations.place import Ask, Place, Retry
from harness.load.operations.watch import Watch
from harness.load.orders import OrderBook
from harness.load.outbox import Outbox
from harness.load.producing import Producing
from harness.load.recorder import Recorder
from harness.load.schedule import planned_instants
from harness.recording import read_recording
from harness.redaction import redacted
from harness.results import (
    FORMAT,
    arrivals_path,
    sightings_path,
    write_arrivals,
    write_samples,
    write_sightings,
)

OPEN_LIMIT_S = 10.0
SUBSCRIBE_LIMIT_S = 25.0
SPARE_DESCRIPTORS = 200
PROGRESS_S = 0.5


def say(event: str, **fields: object) -> None:
    """Write one JSON line to standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)


def driver_named(where: str) -> Driver:
    """The driver at `module:Class`, or at `path/file.py:Class` for one of the user's own."""
    place, _, name = where.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    driver: Driver = getattr(module, name)()
    return driver


def listen(
    loop: asyncio.AbstractEventLoop,
) -> tuple[asyncio.Future[int], asyncio.Future[int], asyncio.Future[list[str]]]:
    """The instants of `start` and of `stop`, and the arrivals of `close`, when the harness sends
    them; the process ends when its input does."""
    start: asyncio.Future[int] = loop.create_future()
    stop: asyncio.Future[int] = loop.create_future()
    close: asyncio.Future[list[str]] = loop.create_future()

    def read() -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            match message["event"]:
                case "start":
                    loop.call_soon_threadsafe(start.set_result, message["at_ns"])
                case "stop":
                    loop.call_soon_threadsafe(stop.set_result, message["at_ns"])
                case "close":
                    loop.call_soon_threadsafe(close.set_result, message["arrivals"])
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return start, stop, close


async def report_progress(
    recorder: Recorder, outbox: Outbox | None, live: Live | None, began_ns: int
) -> None:
    """Say every PROGRESS_S what has ended and failed so far, and what is live."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        say(
            "progress",
            elapsed_s=(time.monotonic_ns() - began_ns) / 1e9,
            ended=recorder.ended if outbox is None else outbox.settled,
            failed=recorder.not_done,
        )
        tell(live)


def tell(live: Live | None, whole: bool = False) -> None:
    """Say the figures since the last time, where somebody wants them."""
    if live is not None and (rows := live.figures(whole)):
        say("figures", rows=rows)


async def run_trial(spec: TrialSpec) -> None:
    """Open, wait for the start, send, and leave the samples on disk."""
    start, stop, close = listen(asyncio.get_running_loop())
    load, share = spec.load, Share(spec.part, spec.parts)
    book = OrderBook(spec.order, spec.key_prefix, spec.seed, spec.block)
    contexts = Contexts.fresh(spec.request_ids, spec.trace is not None)
    length_s = spec.warm_up_s + spec.duration_s
    recorded = read_recording(Path(load.file), load.column) if load.file else []
    offsets = (
        None
        if load.model == "closed"
        else share.of(
            planned_instants(load, length_s, spec.seed, spec.block, spec.warm_up_s, recorded)
        )
    )
    users = None if load.users is None else share.amount(load.users)
    in_flight = share.amount(spec.in_flight)
    driver = driver_named(spec.driver)
    connections = min(share.amount(spec.connections), in_flight)
    recorder = Recorder(offsets, spec.key_prefix, share)
    floor: Floor | None = None
    outbox: Outbox | None = None
    raise_descriptor_limit(2 * (in_flight + spec.subscribers) + SPARE_DESCRIPTORS)
    try:
        if spec.subscribers:
            floor = receiving_floor(spec.subscribers)
        if spec.operation == "ingest":
            outbox = Outbox(recorder, users or in_flight, spec.timeout_s)
        async with asyncio.timeout(OPEN_LIMIT_S):
            await driver.open(
                spec.target, connections, outbox or recorder, wire_of(spec.wire, share.part)
            )
        perform = await performing(spec, driver, book, contexts, recorder, connections)
    except (DriverError, TimeoutError, OSError) as error:
        said = str(error) or f"no answer from {redacted(spec.target)} in time"
        say("failed", reason=f"could not open: {said}")
        await driver.close()
        return
    lanes = Lanes(connections, driver.multiplexes, spec.wire.kept)
    generator: Generator | Producing
    if outbox is None:
        assert perform is not None
        generator = Generator(perform, lanes, recorder, in_flight, spec.timeout_s)
    else:
        assert isinstance(driver, Ingests)
        generator = Producing(driver, book, contexts, recorder, outbox, spec.keys)
    gc.collect()
    gc.freeze()
    gc.disable()
    say("ready", pid=os.getpid(), lanes=connections)

    began = await start
    if offsets is not None:
        recorder.planned[:] = type(recorder.planned)("q", (offsets + began).tobytes())
    window = (began + round(spec.warm_up_s * 1e9), began + round(length_s * 1e9))
    memory, cpu = peak_bytes(), time.process_time_ns()
    live = None
    if spec.live:
        # What becomes of a message is decided when the load is over.
        during = MILESTONES if outbox is None else MILESTONES[: int(spec.acknowledges)]
        live = Live(recorder, during)
    progress = asyncio.create_task(report_progress(recorder, outbox, live, began))
    stop.add_done_callback(lambda at: generator.stop(at.result()))
    if users is not None:
        await asyncio.sleep(max(0.0, (began - time.monotonic_ns()) / 1e9))
        if isinstance(generator, Producing):
            await generator.closed_loop(window[1])
        else:
            await generator.closed_loop(users, load.think_s, window[1])
    else:
        await generator.open_loop()
    progress.cancel()
    cpu = time.process_time_ns() - cpu
    tell(live)
    say("drained")
    files = [Path(name) for name in await close]
    # Also where it had sent all: another, which had not, is told the same.
    if stop.done():
        window = cut(window, stop.result())
    await driver.close()
    health = {
        "cpu_s": cpu / 1e9,
        "memory_growth_bytes": peak_bytes() - memory,
        "loop_lag_us": in_us(generator.sweep.lags_ns(*window)),
        "pacer": generator.pacer_name,
        "lanes_opened": lanes.opened,
        "stray_replies": recorder.stray,
        "repeated_sightings": recorder.sightings.repeated,
        "floor_us": None if floor is None else asdict(floor),
        "failure_details": [[*key, count] for key, count in recorder.details.most_common()],
    }
    meta = {
        "format": FORMAT,
        "cell": spec.cell,
        "trial": spec.trial,
        "block": spec.block,
        "seed": spec.seed,
        "part": share.part,
        "parts": share.parts,
        "window": window,
        "health": health,
    }
    samples_path = Path(spec.samples_path)
    if outbox is not None:
        assert isinstance(driver, Ingests)
        arrivals = read_rows(files)
        conclude(recorder, arrivals, driver.producer, spec.acknowledges, spec.timeout_s)
        # All parts have read the same.
        if share.part == 0:
            write_arrivals(arrivals_path(samples_path), arrivals)
        meta |= {
            "producer": driver.producer,
            "keys": spec.keys,
            "acknowledges": spec.acknowledges,
        }
    tell(live, whole=True)
    sightings = recorder.sightings.sightings()
    if len(sightings):
        write_sightings(sightings_path(samples_path), sightings)
    samples = recorder.samples(window, meta)
    write_samples(samples_path, samples)
    if spec.trace is not None:
        from harness.load.tracing import write_spans

        write_spans(spec.trace, spec, contexts, samples)
    say("end", **health)


async def performing(
    spec: TrialSpec,
    driver: Driver,
    book: OrderBook,
    contexts: Contexts,
    recorder: Recorder,
    connections: int,
) -> Perform | None:
    """How an operation is done over an open driver, subscribers included; None for messages, which
    are not done one by one. Raises DriverError or TimeoutError."""
    if spec.operation == "ingest":
        return None
    retry = Retry(spec.attempts, spec.attempt_timeout_s)
    ask = way_to_ask(driver, spec.operation)
    place = Place(ask, book, contexts, recorder, retry, spec.priced)
    perform: Perform = place.perform
    if spec.operation == "watch":
        assert isinstance(driver, Watches)
        first_lane = spec.in_flight + connections
        watch = Watch(driver, place, recorder.sightings, first_lane, spec.subscribers)
        async with asyncio.timeout(SUBSCRIBE_LIMIT_S):
            await watch.subscribe(spec.stalled)
        perform = watch.perform
    return perform if spec.wire.kept else dropping(driver, perform)


def way_to_ask(driver: Driver, operation: str) -> Ask:
    """How the driver places the orders of an operation. Raises TypeError if it cannot."""
    if operation == "job" and isinstance(driver, Works):
        return driver.work
    if isinstance(driver, Places):
        return driver.place
    raise TypeError(f"{type(driver).__name__} places no orders")


def wire_of(spec: WireSpec, part: int = 0) -> Wire:
    """The wire as a driver takes it."""
    poll = Poll(spec.poll_policy, spec.poll_interval_s, spec.poll_longest_s)
    return Wire(spec.codec, spec.ca, spec.compression, poll, part)


def dropping(driver: Driver, perform: Perform) -> Perform:
    """Give each operation's connection back when it has ended, which is no part of its latency but
    of its cost."""
    closing: set[asyncio.Task[None]] = set()

    async def once(operation: int, hold: Hold) -> int:
        lane = hold.lane
        try:
            return await perform(operation, hold)
        finally:
            task = asyncio.create_task(driver.drop(lane))
            closing.add(task)
            task.add_done_callback(closing.discard)

    return once


def cut(window: tuple[int, int], at_ns: int) -> tuple[int, int]:
    """What was measured of a window when the load ended at an instant; never nothing at all."""
    start = min(window[0], at_ns)
    return start, max(start + 1, min(window[1], at_ns))


def in_us(lags_ns: npt.NDArray[np.int64]) -> dict[str, float] | None:
    """What a trial's health says of the loop's lags; None where there are none."""
    if not len(lags_ns):
        return None
    return {
        "p50": float(np.percentile(lags_ns, 50)) / 1e3,
        "p99": float(np.percentile(lags_ns, 99)) / 1e3,
        "max": float(lags_ns.max()) / 1e3,
    }


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
