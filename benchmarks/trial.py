"""One trial of a real generator child against a server that a benchmark or a test started."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.load.messages import LoadSpec, TrialSpec
from harness.load_process import LoadProcess
from harness.results import Samples, read_samples
from harness.rig.placement import this_machine
from harness.rig.process import Process, Rig
from harness.rig.server import Server, drain

During = Callable[[Process, int], Awaitable[None]]
"""(generator, start instant) while a trial runs."""

DRAIN_LIMIT_S = 120.0

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
    key_prefix="",
    samples_path="",
)


async def one_trial(
    rig: Rig,
    spec: TrialSpec,
    folder: Path,
    during: During | None = None,
    cpus: Sequence[int] | None = this_machine().generator,
    workers: Sequence[Server] = (),
) -> Samples:
    """The samples of one trial; their health says what CPU the generator used.

    `workers` at a broker are drained before its end. Raises TrialFailed if there are no samples.
    """
    path = folder / f"{secrets.token_hex(8)}.parquet"
    spec = replace(spec, samples_path=str(path), key_prefix=f"{secrets.token_hex(6)}-")
    generator = await LoadProcess.start(rig, cpus)
    try:
        await generator.open(spec)
        began = generator.send()
        if during is not None:
            await during(generator.process, began)
        await generator.drained()
        taken = await drain(workers, folder, DRAIN_LIMIT_S)
        await generator.finish([each.file for each in taken])
    finally:
        await rig.stop(generator.process)
    return read_samples(path)
