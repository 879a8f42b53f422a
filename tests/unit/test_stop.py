"""A load that ends before its time: what was planned until then is accounted for, and no more."""

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.trial import SPEC
from harness import results
from harness.brake import Brake
from harness.generators import Generators
from harness.load.__main__ import cut
from harness.load.generator import Generator
from harness.load.lanes import Lanes
from harness.load.producing import Producing
from harness.load.recorder import Recorder
from harness.load_process import Load, LoadProcess
from harness.record import finished_trials
from harness.results import DONE
from harness.rig.process import Rig
from harness.run import may_begin
from tests.support import LIMIT_S, Run
from tests.unit.test_generator import NS, at_once, instants, sleeper
from tests.unit.test_producing import FakeProducer, acknowledge, arrived, concluded, producing

HOURS = 3600 * 1000.0


async def stopped(generator: Generator | Producing, after_s: float, ahead_s: float = 0.1) -> int:
    """Stop a load that goes on; the instant."""
    await asyncio.sleep(after_s)
    at = time.monotonic_ns() + round(ahead_s * 1e9)
    generator.stop(at)
    return at


def generator_of(recorder: Recorder, seconds: float = 0.0) -> Generator:
    perform = sleeper(seconds) if seconds else at_once
    return Generator(perform, Lanes(2, True), recorder, 1024, LIMIT_S)


@pytest.mark.parametrize(
    ("told", "begins", "left"),
    [
        (b'{"event": "begin"}\n{"event": "stop"}\n', True, b'{"event": "stop"}\n'),
        (b'{"event": "stop"}\n', False, b""),
        (b'{"event": "beg', False, b""),
        (b"", False, b""),
    ],
)
def test_a_run_that_is_told_as_lines_begins_when_it_is_let(
    told: bytes, begins: bool, left: bytes
) -> None:
    """And leaves what comes after for the run."""
    reading, writing = os.pipe()
    os.write(writing, told)
    os.close(writing)
    assert may_begin(reading) is begins
    assert os.read(reading, 100) == left
    os.close(reading)


def test_an_open_loop_is_cut_at_the_instant(run: Run) -> None:
    """Issue 8: totals equal the plan up to the stop."""

    async def case() -> None:
        planned = instants(100_000, 1)
        recorder = Recorder(planned)
        generator = generator_of(recorder, 0.02)
        _, at = await asyncio.gather(generator.open_loop(), stopped(generator, 0.1))
        samples = recorder.samples((0, 2**62), {})
        assert (samples.planned == planned[planned < at]).all()
        assert len(samples) == np.count_nonzero(planned < at) > 0
        assert (samples.outcome == DONE).all()

    run(case())


def test_what_was_due_before_a_late_stop_stays(run: Run) -> None:
    async def case() -> None:
        planned = instants(100_000, 1)
        recorder = Recorder(planned)
        generator = generator_of(recorder)
        _, at = await asyncio.gather(generator.open_loop(), stopped(generator, 0.1, -0.05))
        samples = recorder.samples((0, 2**62), {})
        assert (samples.outcome == DONE).all()
        assert len(samples) > np.count_nonzero(planned < at)

    run(case())


def test_a_stop_does_not_wait_for_what_is_planned_hours_later(run: Run) -> None:
    async def case() -> Recorder:
        recorder = Recorder(instants(3, HOURS))
        generator = generator_of(recorder)
        await asyncio.wait_for(
            asyncio.gather(generator.open_loop(), stopped(generator, 0.1)), LIMIT_S
        )
        return recorder

    assert run(case()).count == 1


@pytest.mark.parametrize("think_s", [0.0, 3600.0])
def test_users_leave_also_while_they_think(run: Run, think_s: float) -> None:
    async def case() -> None:
        recorder = Recorder()
        generator = generator_of(recorder, 0.01)
        until = time.monotonic_ns() + round(HOURS * 1e6)
        loop = generator.closed_loop(4, think_s, until)
        _, at = await asyncio.wait_for(asyncio.gather(loop, stopped(generator, 0.1)), LIMIT_S)
        samples = recorder.samples((0, 2**62), {})
        assert (samples.planned < at).all()
        assert (samples.outcome == DONE).all()
        assert len(samples) >= 4

    run(case())


@pytest.mark.parametrize("model", ["open", "closed"])
def test_messages_are_cut_likewise(run: Run, tmp_path: Path, model: str) -> None:
    async def case() -> None:
        planned = instants(100_000, 1)
        recorder = Recorder(planned) if model == "open" else Recorder()
        generator, _ = producing(FakeProducer(acknowledge), recorder)
        far = time.monotonic_ns() + 3600 * NS
        loop = generator.open_loop() if model == "open" else generator.closed_loop(far)
        _, at = await asyncio.gather(loop, stopped(generator, 0.1))
        samples = concluded(recorder, arrived([], tmp_path / "rows"))
        assert len(samples) > 0
        assert (samples.planned < at).all()
        assert (samples.acked != 0).all()
        if model == "open":
            assert len(samples) == np.count_nonzero(planned < at)

    run(case())


def test_a_window_ends_where_the_load_ended() -> None:
    assert cut((100, 200), 150) == (100, 150)
    assert cut((100, 200), 250) == (100, 200)
    assert cut((100, 200), 50) == (50, 51)


def test_a_window_is_one_whether_a_generator_has_sent_all_or_not(
    run: Run, rig: Rig, tmp_path: Path
) -> None:
    """One has the first of two operations, and the other the second, which is due in an hour."""
    recording = tmp_path / "when.txt"
    recording.write_text("0\n3600\n")
    path = tmp_path / "1.parquet"
    spec = replace(
        SPEC,
        driver="clients.noop:Noop",
        load=replace(SPEC.load, model="replay", file=str(recording)),
        warm_up_s=0.0,
        duration_s=3601.0,
        samples_path=str(path),
    )

    async def case() -> int:
        async def start(_: int, role: str) -> Load:
            return await LoadProcess.start(rig, None, role)

        async with contextlib.AsyncExitStack() as stack:
            generators = await Generators.start(start, 2, stack, lambda: False)
            await generators.open(spec)
            generators.send()
            first, second = generators.all
            await first.drained()
            at = time.monotonic_ns() + round(0.3 * NS)
            generators.stop(at)
            await second.drained()
            await generators.finish()
            return at

    at = run(case())
    samples = results.read_samples(path)
    assert len(samples) == 1
    assert samples.meta["window"][1] == at


def test_a_brake_stops_once_and_says_whether_somebody_stops() -> None:
    told: list[str] = []
    idle, under_load = Brake(), Brake()
    under_load.stop = lambda: told.append("stop")
    assert not idle.pull()
    assert under_load.pull()
    assert under_load.pull()
    assert idle.pulled
    assert told == ["stop"]


def test_a_trial_that_was_stopped_runs_again_when_its_run_goes_on() -> None:
    events = [{"cell": "a", "trial": n, "kind": "trial_started", "detail": ""} for n in (1, 2)]
    events.append({"cell": "a", "trial": 2, "kind": "trial_stopped", "detail": ""})
    found = results.Run(Path(), {}, {"a": [Path("1.parquet"), Path("2.parquet")]}, [], events)
    assert finished_trials(found) == {("a", 1)}
