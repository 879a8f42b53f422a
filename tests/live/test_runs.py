"""The program as its users start it: runs, interruptions, kills, services that misbehave."""

import asyncio
import json
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from clients import catalog
from harness.results import open_run, read_samples
from harness.rig.process import Process, Rig
from harness.rig.server import Serving, start_server
from tests.live.support import balanced, bench, bench_done, connected, marked, words
from tests.support import LIMIT_S, Run, until

QUICK = ["--duration", "1", "--repeats", "1", "--rate", "100"]


def summary(folder: Path) -> dict[str, Any]:
    """A run's summary.json."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def cell_of(folder: Path, style: str) -> dict[str, Any]:
    """A style's only cell."""
    (found,) = [c for c in summary(folder)["cells"] if c["style"] == style]
    return dict(found)


def codes(cell: dict[str, Any]) -> set[str]:
    """The reasons of a cell's verdict."""
    return {reason["code"] for reason in cell["verdict"]["reasons"]}


def test_smoke_runs_every_style_and_leaves_every_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, err = bench_done("run", "smoke", *QUICK, "--out", str(out))
    assert code == 0, said + err
    assert err == ""
    cells = summary(out)["cells"]
    assert [c["style"] for c in cells] == [s for s in catalog.styles() if s != "noop"]
    assert balanced(summary(out))
    for cell in cells:
        assert cell["counts"]["planned"] == 100
        assert cell["counts"]["done"] > 0
        assert cell["latency_ms"]["p50"] > 0
        assert cell["client_cpu_us_per_op"] > 0
        assert cell["server_cpu_us_per_op"] > 0
        assert cell["verdict"]["status"] not in {"failed", "skipped"}
        samples = read_samples(out / "trials" / cell["id"] / "1.parquet")
        assert not samples.measured.all()  # the warm-up is there, marked
        assert (samples.processed > samples.sent).all()
        assert (samples.processed < samples.done).all()
    for name in ("run.json", "telemetry.parquet", "events.parquet", "summary.csv", "report.html"):
        assert (out / name).stat().st_size > 0, name
    assert list((out / "charts").glob("*.svg"))
    assert json.loads((out / "run.json").read_text())["status"] == "complete"
    assert "report.html" in said


def test_a_report_is_made_again_from_the_trials(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, err = bench_done("run", "smoke", *QUICK, "--styles", "rest", "--out", str(out))
    assert code == 0, said + err
    made = ("summary.json", "summary.csv", "report.html")
    before = {name: (out / name).read_text() for name in made}
    for name in made:
        (out / name).unlink()
    assert bench_done("report", str(out))[0] == 0
    assert {name: (out / name).read_text() for name in made} == before


@pytest.mark.parametrize("load", ["closed", "poisson", "burst"])
def test_every_load_model_runs(tmp_path: Path, load: str) -> None:
    text = {
        "closed": 'model = "closed"\nusers = 4',
        "poisson": 'model = "poisson"\nrate = 200',
        "burst": 'model = "burst"\nrate = 50\nburst_size = 40\nevery_s = 0.5',
    }[load]
    path = tmp_path / "s.toml"
    path.write_text(
        'question = "?"\nstyles = ["rest", "grpc-stream", "noop"]\nrepeats = 1\n'
        f"warm_up_s = 0.5\nduration_s = 1.0\ntimeout_s = 60.0\n[load]\n{text}\n"
    )
    out = tmp_path / "run"
    code, said, err = bench_done("run", str(path), "--out", str(out))
    assert code == 0, said + err
    assert balanced(summary(out))
    for cell in summary(out)["cells"]:
        counts = cell["counts"]
        assert counts["done"] == counts["planned"] > 0
        if load == "burst":
            assert counts["planned"] == 50 + 2 * 40
    if load == "burst":
        # Forty at one instant: a style of one operation a lane opens further ones.
        assert cell_of(out, "rest")["lanes_opened"] > cell_of(out, "grpc-stream")["lanes_opened"]


BAD = """
question = "?"
stiles = ["rest"]
styles = ["rest", "grcp-unary"]
repeats = "three"
[load]
model = "constant"
rate = -5
[order]
file = "nowhere.jsonl"
"""


def test_bad_input_is_said_all_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    out = tmp_path / "out"
    code, said, err = bench_done("run", str(path), "--out", str(out), "--target", "nonsense")
    assert code == 2
    assert said == ""
    for mistake in (
        "stiles: unknown key; did you mean 'styles'?",
        "styles[1]: unknown style 'grcp-unary'",
        "did you mean 'grpc-unary'?",
        "repeats: input should be a valid integer, not 'three'",
        "load.rate: input should be greater than 0, not -5",
        "order.file: cannot read",
        "--target: 'nonsense' is not STYLE=ADDRESS",
    ):
        assert mistake in err
    assert err.count("bad.toml") >= 5
    assert not out.exists()
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("keep")
    code, _, err = bench_done("run", "smoke", "--out", str(full))
    assert code == 2
    assert "is not empty" in err
    assert [p.name for p in full.iterdir()] == ["mine"]


def test_list_says_each_question_and_length() -> None:
    code, said, _ = bench_done("list")
    assert code == 0
    for name in ("smoke", "compare", "burst"):
        assert name in said


def test_a_service_by_address_that_is_not_there_fails_and_the_rest_runs(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, err = bench_done(
        "run", "smoke", *QUICK, "--styles", "rest,websocket",
        "--target", "rest=http://user:hunter2@127.0.0.1:9", "--out", str(out),
    )  # fmt: skip
    assert code == 1, said + err
    assert codes(cell_of(out, "rest")) == {"trial_failed"}
    assert cell_of(out, "websocket")["counts"]["done"] > 0
    assert balanced(summary(out))
    for path in out.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


async def against(
    rig: Rig, style: str, server: Process, address: str, out: Path, harm: signal.Signals | None
) -> int:
    """`bench.py run` against a server, which gets a signal in the middle; returns its exit code."""
    scenario = out.with_name("against.toml")
    timeout_s = 2.0 if harm is signal.SIGSTOP else 60.0
    scenario.write_text(
        f'question = "?"\nstyles = ["{style}", "noop"]\nrepeats = 1\nwarm_up_s = 0.5\n'
        f'duration_s = 4.0\ntimeout_s = {timeout_s}\n[load]\nmodel = "constant"\nrate = 100\n'
    )
    process = bench("run", str(scenario), "--target", f"{style}={address}", "--out", str(out))
    events = out / "logs" / "generator.log"
    if harm is not None:
        await until("the first generator runs", events.exists)
        trial = f"trials/*{style}-*"
        while not list(out.glob(trial)) and process.poll() is None:
            await asyncio.sleep(0.2)
            if connected(server.pid):
                await asyncio.sleep(1.2)
                rig.signal(server, harm)
                break
    await asyncio.to_thread(process.communicate, timeout=5 * LIMIT_S)
    return process.returncode


@pytest.mark.parametrize("style", ["rest", "grpc-stream", "websocket", "sse"])
@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
def test_a_service_that_dies_or_stalls(
    rig: Rig, run: Run, tmp_path: Path, style: str, harm: signal.Signals
) -> None:
    out = tmp_path / "run"

    async def case() -> int:
        server = await start_server(rig, Serving(style))
        code = await against(rig, style, server.process, server.address, out, harm)
        await rig.kill(server.process)
        return code

    code = run(case())
    cell = cell_of(out, style)
    counts = cell["counts"]
    assert code == 1
    assert balanced(summary(out))
    assert counts["planned"] == 400
    assert cell_of(out, "noop")["counts"]["done"] == 400
    if harm is signal.SIGKILL:
        assert "disconnected" in codes(cell)
        assert counts["failed"] > 0
    else:
        assert counts["timed_out"] > 0
        assert codes(cell) & {"stopped_answering", "no_completions"}
        assert cell["latency_ms"]["p99"] is None


def test_a_service_with_a_wrong_total_fails_and_the_rest_runs(
    rig: Rig, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"

    async def case() -> int:
        argv = [sys.executable, "-m", "tests.live.wrong_server", "rest", "totals", "10"]
        server = await rig.spawn("wrong", argv)
        ready = await server.hear()
        assert ready is not None
        code = await against(rig, "rest", server, ready["address"], out, None)
        await rig.stop(server)
        return code

    assert run(case()) == 1
    cell = cell_of(out, "rest")
    assert "wrong_reply" in codes(cell)
    assert cell["counts"]["failed"] in (39, 40, 41)  # every tenth, warm-up included
    assert "the total is not the order's" in cell["verdict"]["reasons"][0]["detail"]
    assert cell_of(out, "noop")["verdict"]["status"] != "failed"


def test_a_server_of_ours_that_dies_is_named(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    mark = uuid.uuid4().hex

    async def case() -> int:
        process = bench(
            "run", "smoke", "--styles", "rest,noop", "--rate", "100", "--duration", "2",
            "--out", str(out), mark=mark,
        )  # fmt: skip
        victims: list[int] = []

        def server_with_clients() -> bool:
            victims[:] = [p for p in marked(mark) if "servers" in words(p) and connected(p)]
            return bool(victims)

        await until("the server has clients", server_with_clients)
        await asyncio.sleep(1.0)
        import os

        os.kill(victims[0], signal.SIGKILL)
        await asyncio.to_thread(process.communicate, timeout=5 * LIMIT_S)
        return process.returncode

    assert run(case()) == 1
    assert {"server_died", "disconnected"} <= codes(cell_of(out, "rest"))
    assert cell_of(out, "noop")["counts"]["done"] == 200


def test_interrupted_after_two_trials(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    mark = uuid.uuid4().hex
    process = bench("run", "smoke", "--duration", "1", "--out", str(out), mark=mark)
    assert process.stdout is not None
    finished = 0
    while finished < 2:
        line = process.stdout.readline()
        assert line, "the run ended early"
        finished += ": p99 " in line
    # The third trial is on its way.
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5 * LIMIT_S)
    assert process.returncode == 130
    assert json.loads((out / "run.json").read_text())["status"] == "partial"
    found = open_run(out)
    files = [path for paths in found.trials.values() for path in paths]
    assert len(files) == 2
    for path in files:
        assert len(read_samples(path)) > 0
    assert (out / "report.html").exists()
    statuses = [c["verdict"]["status"] for c in summary(out)["cells"]]
    assert statuses.count("skipped") == len(statuses) - 2 > 0
    run(until("no process is left", lambda: not marked(mark)))


@pytest.mark.parametrize("delay_s", [0.0, 0.4, 1.2, 2.5, 4.0])
def test_a_kill_at_any_moment_leaves_no_process(run: Run, tmp_path: Path, delay_s: float) -> None:
    mark = uuid.uuid4().hex
    out = tmp_path / "run"
    process = bench("run", "smoke", "--out", str(out), mark=mark)
    run(until("it runs", lambda: bool(marked(mark))))
    time.sleep(delay_s)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    run(until("no process is left", lambda: not marked(mark)))
    if (out / "run.json").exists():
        open_run(out)
    assert not list(out.rglob("*.parquet.partial"))


def test_serve_by_hand(run: Run) -> None:
    mark = uuid.uuid4().hex
    process = bench("serve", "rest", mark=mark)
    assert process.stdout is not None
    assert "rest listens at http://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    run(until("no process is left", lambda: not marked(mark)))
    code, _, err = bench_done("serve", "soap")
    assert code == 2
    assert "'soap' is no style with a server" in err
