"""Runs that are interrupted and go on, that take turns, and that are held against a gate (issue
6.9), as a user has them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.record import finished_trials
from harness.results import open_run, read_samples
from tests.live.support import ROOT, bench, bench_done, marked
from tests.support import LIMIT_S, Run, until

SCENARIO = """
question = "?"
styles = ["rest", "noop"]
repeats = 3
warm_up_s = 0.2
duration_s = 1.0
timeout_s = 60.0
noise = false
[load]
model = "poisson"
rate = 100
"""
LATE = "        await asyncio.sleep(0.02)\n"


def summary(folder: Path) -> dict[str, Any]:
    """A run's summary.json."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def accounts(folder: Path) -> dict[str, dict[str, int]]:
    """Each cell's counts."""
    return {cell["id"]: cell["counts"] for cell in summary(folder)["cells"]}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """Two styles, three short trials each."""
    path = tmp_path / "s.toml"
    path.write_text(SCENARIO)
    return path


def start_and_interrupt(words: list[str], trials: int) -> int:
    """The exit code of a run that is interrupted after so many of its trials have ended."""
    process = bench(*words)
    assert process.stdout is not None
    ended = 0
    while ended < trials:
        line = process.stdout.readline()
        assert line, "the run ended early"
        ended += ": p99 " in line
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5 * LIMIT_S)
    return process.returncode


def test_interrupted_twice_it_comes_to_what_it_would_have_been(
    scenario: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    code, said, err = bench_done("run", str(scenario), "--out", str(whole))
    assert code == 0, said + err
    assert start_and_interrupt(["run", str(scenario), "--out", str(out)], 1) == 130
    kept = {path: path.read_bytes() for path in out.glob("trials/*/*.parquet")}
    assert len(kept) == 1
    assert start_and_interrupt(["run", "--resume", str(out)], 2) == 130
    kept |= {path: path.read_bytes() for path in out.glob("trials/*/*.parquet")}
    code, said, err = bench_done("run", "--resume", str(out))
    assert code == 0, said + err
    run = open_run(out)
    assert run.info["status"] == "complete"
    assert len(run.info["resumed"]) == 2
    assert len(finished_trials(run)) == run.info["planned_trials"] == 6
    assert all(path.read_bytes() == before for path, before in kept.items())
    started = Counter((e["cell"], e["trial"]) for e in run.events if e["kind"] == "trial_started")
    assert len(started) == 6
    assert set(started.values()) == {1}
    marks = Counter((r["cell"], r["trial"]) for r in run.telemetry if r["mark"] == "window_end")
    assert set(started) <= set(marks)
    assert accounts(out) == accounts(whole)
    # The schedule is the seed's and the block's, whoever runs it.
    for cell, paths in run.trials.items():
        for path in paths:
            ours, theirs = read_samples(path), read_samples(whole / "trials" / cell / path.name)
            offsets = [s.planned - s.meta["window"][0] for s in (ours, theirs)]
            assert (offsets[0] == offsets[1]).all()
    assert bench_done("run", "--resume", str(out))[0] == 2


def test_a_killed_run_goes_on(scenario: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "run"
    mark = uuid.uuid4().hex
    process = bench("run", str(scenario), "--out", str(out), mark=mark)
    run(until("a trial has ended", lambda: len(list(out.glob("trials/*/*.parquet"))) > 0))
    code, _, err = bench_done("run", "--resume", str(out))
    assert code == 2
    assert "is still being written" in err
    process.kill()
    process.communicate(timeout=LIMIT_S)
    run(until("no process is left", lambda: not marked(mark)))
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    code, said, err = bench_done("run", "--resume", str(out))
    assert code == 0, said + err
    assert {c["done"] for c in accounts(out).values()} == {
        c["planned"] for c in accounts(out).values()
    }
    assert len(finished_trials(open_run(out))) == 6


def test_a_gate_and_its_exit_codes(scenario: Path, tmp_path: Path) -> None:
    out, junit = tmp_path / "run", tmp_path / "junit.xml"
    gate = tmp_path / "gate.toml"
    gate.write_text('[[objective]]\ncells = "*noop*"\np50_ms = 60000\nthroughput_per_s = 1\n')
    words = ["--gate", str(gate), "--junit", str(junit)]
    code, said, err = bench_done("run", str(scenario), "--out", str(out), *words)
    assert (code, "gate: 2 of 2 checks met" in said) == (0, True), said + err
    (suite,) = ET.parse(junit).getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["2", "0", "0"]
    # Nothing answers in a microsecond.
    gate.write_text('[[objective]]\ncells = "*rest*"\np50_ms = 0.001\n')
    code, said, err = bench_done("report", str(out), *words)
    assert code == 4, said + err
    (suite,) = ET.parse(junit).getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["1", "1", "0"]
    # On a machine of which nothing is known a regression cannot be told, which does not pass.
    gate.write_text("[[regression]]\np50 = 1000\n")
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    code, said, err = bench_done(
        "compare", str(out), str(copy), *words, env={"ORDERBENCH_CACHE": str(tmp_path / "cache")}
    )
    assert code == 4, said + err
    assert "no between-run floor" in said
    (suite,) = ET.parse(junit).getroot()
    assert suite.get("errors") == "2"
    for bad in (["compare", str(out), str(out)], ["compare", str(out), str(tmp_path)]):
        assert bench_done(*bad)[0] == 2


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This project in a repository of its own, of two commits: in the second `websocket` answers
    20 ms later."""
    root = tmp_path / "project"
    rooms = ("clients", "harness", "orders", "patterns", "protos", "servers")
    for room in rooms:
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bench.py", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)

    def git(*words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "before")
    path = root / "servers" / "websocket.py"
    line = "        result = await answer(self._desk, request.ask, request.context)\n"
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, line + LATE))
    git("commit", "-qam", "20 ms later")
    return root


def test_two_revisions_take_turns(project: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "s.toml"
    scenario.write_text(SCENARIO.replace('"noop"', '"websocket"'))
    out = tmp_path / "run"
    (tmp_path / "tmp").mkdir()
    words = ["run", str(scenario), "--interleave", "HEAD~1", "HEAD", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness.cli", *words],
        env={**os.environ, "PYTHONPATH": str(project), "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        timeout=5 * LIMIT_S,
    )
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    # Its folder, and that of every trial's private files, are gone.
    assert not list((tmp_path / "tmp").iterdir())
    sides = [tmp_path / "run-a", tmp_path / "run-b"]
    infos = [json.loads((side / "run.json").read_text()) for side in sides]
    commits = [info["environment"]["project"]["commit"] for info in infos]
    assert len(set(commits)) == 2
    assert [info["interleaved"]["revision"] for info in infos] == ["HEAD~1", "HEAD"]
    assert accounts(sides[0]) == accounts(sides[1])
    # They took turns: no more than two trials of one side stand next to each other.
    begun = sorted(
        (event["at"], number)
        for number, side in enumerate(sides)
        for event in open_run(side).events
        if event["kind"] == "trial_started"
    )
    order = "".join(str(side) for _, side in begun)
    assert len(order) == 12
    assert "000" not in order
    assert "111" not in order
    cells = [{c["style"]: c for c in summary(side)["cells"]} for side in sides]
    # What the second revision waits, it certainly takes longer.
    assert cells[1]["websocket"]["latency_ms"]["p50"] >= 20
    assert "which took turns" in said
    assert f"commit: {commits[0]} / {commits[1]}" in said
