"""One schedule dealt over several generators, as a user starts it (issue 8.3)."""

import asyncio
import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.load.messages import LoadSpec
from harness.load.schedule import planned_instants
from harness.results import DONE, Samples, open_run, read_samples
from tests.live.support import balanced, bench, bench_done, connected, marked, words
from tests.support import LIMIT_S, Run, until

SCENARIO = """
question = "?"
styles = ["{style}"]
operation = "{operation}"
repeats = 1
noise = false
warm_up_s = 0.4
duration_s = {seconds}
timeout_s = 60.0
"""
CONSTANT = '[[load]]\nmodel = "constant"\nrate = 101\n'
CLOSED = '[[load]]\nmodel = "closed"\nusers = 5\n'


def scenario(
    folder: Path, loads: str, style: str = "rest", operation: str = "place", seconds: float = 1.0
) -> str:
    """A scenario's file."""
    path = folder / "dealt.toml"
    path.write_text(SCENARIO.format(style=style, operation=operation, seconds=seconds) + loads)
    return str(path)


def summary(out: Path) -> dict[str, Any]:
    """A run's summary.json."""
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


def of_load(out: Path, model: str) -> tuple[dict[str, Any], Samples]:
    """The cell of a load, and its samples."""
    (cell,) = [each for each in summary(out)["cells"] if each["load"]["model"] == model]
    return cell, read_samples(out / "trials" / cell["id"] / "1.parquet")


def test_two_generators_send_the_plan_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = scenario(tmp_path, CONSTANT + CLOSED)
    code, said, err = bench_done("run", path, "--workers", "2", "--out", str(out))
    assert code == 0, said + err
    assert "2 generators" in said
    assert balanced(summary(out))
    run = open_run(out)
    assert run.info["placement"]["generators"] == 2
    assert {"generator", "generator.2"} <= {row["role"] for row in run.telemetry}

    cell, samples = of_load(out, "constant")
    start = samples.meta["window"][0] - 400_000_000
    load = LoadSpec("constant", 101.0, None, 0.0, 0, 0.0)
    plan = planned_instants(load, 1.4, samples.meta["seed"], samples.meta["block"])
    assert (samples.planned - start).tolist() == plan.tolist()
    assert samples.numbers.tolist() == list(range(len(plan)))
    assert (samples.outcome == DONE).all()
    # Who sent what is in the number, and no lane is both generators'.
    for part in (0, 1):
        lanes = samples.lane[samples.numbers % 2 == part]
        assert (lanes % 2 == part).all()
    assert cell["lanes_opened"] == sum(h["lanes_opened"] for h in samples.meta["health_of_parts"])
    assert cell["lanes_opened"] >= 4
    assert cell["connections"] >= 4

    cell, samples = of_load(out, "closed")
    assert cell["counts"]["planned"] > 0
    numbers = np.sort(samples.numbers)
    assert (np.diff(numbers) > 0).all()
    for part in (0, 1):
        own = numbers[numbers % 2 == part]
        assert own.tolist() == list(range(part, 2 * len(own), 2))
    # Never more at once than there are users.
    begun = np.searchsorted(np.sort(samples.sent), samples.sent, side="right")
    ended = np.searchsorted(np.sort(samples.done), samples.sent, side="right")
    assert (begun - ended).max() <= 5


def test_what_cannot_be_dealt_is_bad_input(tmp_path: Path) -> None:
    out = tmp_path / "run"
    watch = scenario(tmp_path, CONSTANT, "websocket", "watch")
    code, said, err = bench_done("run", watch, "--workers", "5", "--out", str(out))
    assert (code, said) == (2, "")
    assert "watch is not dealt" in err
    assert "connection.connections = 4 cannot be dealt to 5 generators" in err
    assert not out.exists()


def disturbed(
    run: Run, tmp_path: Path, disturb: Callable[[subprocess.Popen[str], list[int]], None]
) -> tuple[int, Path]:
    """A run of two generators that something happens to while they send; what is left of it."""
    out, mark = tmp_path / "run", uuid.uuid4().hex
    path = scenario(tmp_path, CONSTANT, seconds=4.0)
    process = bench("run", path, "--workers", "2", "--out", str(out), mark=mark)

    def generators() -> list[int]:
        return [pid for pid in marked(mark) if "harness.load" in words(pid)]

    async def case() -> None:
        await until("both send", lambda: sum(map(connected, generators())) == 2)
        await asyncio.sleep(1.0)
        disturb(process, generators())
        await asyncio.to_thread(process.communicate, timeout=5 * LIMIT_S)
        await until("no process is left", lambda: not marked(mark))

    run(case())
    return process.returncode, out


@pytest.mark.parametrize("which", [0, 1])
def test_a_generator_that_dies_is_named_and_half_a_trial_is_none(
    run: Run, tmp_path: Path, which: int
) -> None:
    code, out = disturbed(run, tmp_path, lambda _, pids: os.kill(sorted(pids)[which], 9))
    assert code == 1
    (cell,) = summary(out)["cells"]
    (reason,) = cell["verdict"]["reasons"]
    assert reason["code"] == "trial_failed"
    assert re.search(r"generator [12] of 2: .* ended with code -9", reason["detail"])
    assert cell["counts"]["planned"] == 0
    assert not list(out.rglob("trials/*/*"))


def test_an_interrupt_ends_all_generators(run: Run, tmp_path: Path) -> None:
    code, out = disturbed(run, tmp_path, lambda process, _: process.send_signal(signal.SIGINT))
    assert code == 130
    assert json.loads((out / "run.json").read_text())["status"] == "partial"
    assert not list(out.rglob("trials/*/*"))
