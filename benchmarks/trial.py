"""One trial of a real generator child against a server that a benchmark started."""

import json
import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path

from harness.load.messages import LoadSpec, TrialSpec
from harness.observe.telemetry import cpu_ns
from harness.results import Samples, read_samples
from harness.rig.placement import this_machine
from harness.rig.process import Rig

SPEC = TrialSpec(
    cell="benchmark",
    trial=1,
    block=0,
    operation="place",
    driver="",
    target="",
    load=LoadSpec("constant", 1000.0, None, 0.0, 0, 0.0),
    seed=1,
    warm_up_s=1.0,
    duration_s=4.0,
    timeout_s=2.0,
    in_flight=1024,
    connections=4,
    items=3,
    orders_file=None,
    key_prefix="",
    samples_path="",
)


async def one_trial(rig: Rig, spec: TrialSpec, folder: Path) -> tuple[Samples, float]:
    """The samples, and the generator's CPU seconds from its start signal to its end.

    Raises RuntimeError if the generator ends early.
    """
    path = folder / f"{secrets.token_hex(8)}.parquet"
    cpus = this_machine().generator
    generator = await rig.spawn("generator", [sys.executable, "-m", "harness.load"], cpus)
    spec = replace(spec, samples_path=str(path), key_prefix=f"{secrets.token_hex(6)}-")
    generator.say(spec.to_line())
    used = 0.0
    while (message := await generator.hear()) is not None and message["event"] != "end":
        match message["event"]:
            case "failed":
                raise RuntimeError(message["reason"])
            case "ready":
                before = cpu_ns(generator.pid)
                start = {"event": "start", "at_ns": time.monotonic_ns() + 100_000_000}
                generator.say(json.dumps(start) + "\n")
            case "progress":
                used = (cpu_ns(generator.pid) - before) / 1e9
    if message is None:
        raise RuntimeError("the generator ended without a word")
    await rig.stop(generator)
    return read_samples(path), message.get("cpu_s", used)
