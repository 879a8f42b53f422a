"""No coordinated omission: what a pause of the server or of the generator does to the numbers."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.trial import During
from clients import catalog
from clients.catalog import Entry
from clients.framed import FramedDriver
from harness.analysis import accounts
from harness.analysis.trial import summarize_trial
from harness.load.__main__ import driver_named
from harness.load.messages import LoadSpec
from harness.load.schedule import planned_instants
from harness.results import DROPPED, Samples
from harness.rig.process import Process, Rig
from harness.rig.server import Serving, start_server
from tests.live.support import constant, trial
from tests.support import AtBroker, Run, Serve, until

FREEZE_S = 1.0


async def frozen(rig: Rig, process: Process, began: int) -> tuple[int, int]:
    """Stop a process for FREEZE_S, one second into the load; from and until when, at least."""
    await asyncio.sleep(max(0.0, (began - time.monotonic_ns()) / 1e9) + 1.0)
    rig.signal(process, signal.SIGSTOP)
    await until(
        "it stands still",
        lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED,
    )
    start = time.monotonic_ns()
    await asyncio.sleep(FREEZE_S)
    end = time.monotonic_ns()
    rig.signal(process, signal.SIGCONT)
    return start, end


def freezing(rig: Rig, process: Process) -> During:
    """What freezes a process while a trial runs."""

    async def freeze(_: Process, began: int) -> None:
        await frozen(rig, process, began)

    return freeze


def longest(samples: Samples, start: str, end: str) -> float:
    """The longest span between two instants of the operations that are done, in seconds."""
    done = samples.done != 0
    return float((getattr(samples, end)[done] - getattr(samples, start)[done]).max() / 1e9)


async def with_frozen_server(
    rig: Rig, entry: Entry, serving: Serving, folder: Path, in_flight: int
) -> Samples:
    """3 s at 300/s, the server frozen for one of them."""
    server = await start_server(rig, serving)
    samples = await trial(
        rig,
        entry,
        server.address,
        folder,
        during=freezing(rig, server.process),
        load=constant(300.0),
        duration_s=3.0,
        timeout_s=60.0,
        in_flight=in_flight,
    )
    await rig.stop(server.process)
    return samples


def test_a_frozen_server_shows_in_every_styles_p99(
    entry: Entry, rig: Rig, at_broker: AtBroker, run: Run, tmp_path: Path
) -> None:
    serving = at_broker(Serving(entry.talks_to))
    samples = run(with_frozen_server(rig, entry, serving, tmp_path, in_flight=1024))
    result = summarize_trial(samples, 1, 60.0)
    assert result.counts.imbalances == []
    # A third of the operations was planned while nothing answered.
    assert result.latency.p99 > 500
    assert longest(samples, "sent", "done") > 0.9 * FREEZE_S


@pytest.mark.parametrize("style", ["rest", "websocket", "webhook"])
def test_a_frozen_server_with_a_small_window_is_censored_never_small(
    style: str, rig: Rig, run: Run, tmp_path: Path
) -> None:
    # The window is the generator's: one of each kind of lane.
    entry = catalog.find(style)
    samples = run(with_frozen_server(rig, entry, Serving(style), tmp_path, in_flight=16))
    result = summarize_trial(samples, 1, 60.0)
    assert result.counts.imbalances == []
    assert (samples.outcome == DROPPED).sum() > 0.5 * FREEZE_S * 300
    shown = result.latency.to_json()
    assert shown["p99"] is None
    assert shown["censored"] is True
    assert int(samples.meta["health"]["lanes_opened"]) <= 16


def test_a_frozen_generator_is_told_apart_from_a_slow_service(
    serve: Serve, rig: Rig, run: Run, tmp_path: Path
) -> None:
    entry = catalog.find("rest")
    server = serve("rest", 0.0)
    frost: list[tuple[int, int]] = []

    async def freeze(generator: Process, began: int) -> None:
        frost.append(await frozen(rig, generator, began))

    samples: Samples = run(
        trial(
            rig,
            entry,
            server.address,
            tmp_path,
            during=freeze,
            load=constant(300.0),
            duration_s=4.0,
            timeout_s=60.0,
        )
    )
    result = summarize_trial(samples, 1, 60.0)
    assert result.counts.imbalances == []
    assert result.latency.p99 > 500
    assert result.send_lag_us.p99 > 500_000
    ((start, end),) = frost
    meanwhile = (samples.planned > start) & (samples.planned < end)
    assert meanwhile.sum() > 0.5 * FREEZE_S * 300
    # Sent after the thaw, so that the freeze is lag and latency but no part of the service time.
    assert (samples.sent[meanwhile] >= end).all()


def test_service_time_is_a_lower_bound_of_latency(
    entry: Entry, serve: Serve, rig: Rig, run: Run, tmp_path: Path
) -> None:
    server = serve(entry.talks_to, 300.0)
    samples: Samples = run(
        trial(
            rig,
            entry,
            server.address,
            tmp_path,
            load=constant(20.0),
            timeout_s=60.0,
        )
    )
    counts = accounts.count(samples)
    assert counts.done == counts.planned == 20
    # The loop's timer may be a clock step early.
    assert ((samples.processed - samples.sent) >= 298_000_000).all()
    assert (samples.done > samples.processed).all()


def test_the_schedule_is_the_same_for_every_style(
    entry: Entry, serve: Serve, rig: Rig, run: Run, tmp_path: Path
) -> None:
    server = serve(entry.talks_to, 0.0)
    poisson = LoadSpec("poisson", 200.0, None, 0.0, 0, 0.0)

    async def offsets(block: int) -> list[int]:
        samples = await trial(
            rig,
            entry,
            server.address,
            tmp_path,
            load=poisson,
            duration_s=0.5,
            block=block,
        )
        start = samples.meta["window"][0]
        return [int(p) - start for p in samples.planned]

    for block in (0, 1):
        expected = planned_instants(poisson, 0.7, 1, block) - 200_000_000
        assert run(offsets(block)) == expected.tolist()


def test_answers_that_are_wrong_are_counted_each(
    direct: Entry, rig: Rig, run: Run, tmp_path: Path
) -> None:
    async def case() -> Samples:
        words = [direct.talks_to, "totals", "10"]
        argv = [sys.executable, "-m", "tests.live.wrong_server", *words]
        server = await rig.spawn("wrong", argv)
        ready = await server.hear()
        assert ready is not None
        samples = await trial(
            rig, direct, ready["address"], tmp_path, warm_up_s=0.0, timeout_s=60.0
        )
        await rig.stop(server)
        return samples

    samples = run(case())
    assert accounts.failures(samples) == {"wrong_reply": 10}
    assert accounts.count(samples).done == 90


def test_late_answers_are_counted_and_stay_timed_out(
    entry: Entry, serve: Serve, rig: Rig, run: Run, tmp_path: Path
) -> None:
    server = serve(entry.talks_to, 300.0)
    samples: Samples = run(
        trial(
            rig,
            entry,
            server.address,
            tmp_path,
            load=constant(50.0),
            timeout_s=0.1,
        )
    )
    counts = accounts.count(samples)
    assert counts.timed_out == counts.sent == counts.planned == 50
    # Where the answer comes by itself it comes also to who no longer waits.
    pushed = entry.style in ("sse", "webhook")
    framed = isinstance(driver_named(entry.driver), FramedDriver)
    assert (counts.late > 0) == (framed or pushed or bool(entry.broker))
