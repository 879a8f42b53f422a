"""What was done to a run on purpose, and what its verdict says of it (issue 6, "must be seen")."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.rig.process import Rig
from tests.live.support import balanced, bench, bench_done, connected, marked, words
from tests.support import LIMIT_S, Run, until

FREEZE_S = 2.0
SCENARIO = """
question = "?"
styles = ["{style}"]
repeats = {repeats}
noise = false
warm_up_s = 0.5
duration_s = {duration_s}
timeout_s = 60.0
[load]
model = "constant"
rate = {rate}
"""
BLOCKING = '''
import asyncio
import time

from clients.websocket import WebSocket


class Blocking(WebSocket):
    """Keeps its event loop to itself nearly all of the time."""

    server = "websocket"

    async def open(self, *arguments: object) -> None:
        await super().open(*arguments)
        self.blocking = asyncio.create_task(self.block())

    async def block(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            time.sleep(0.4)

    async def close(self) -> None:
        self.blocking.cancel()
        await super().close()
'''


def scenario(
    folder: Path, style: str = "rest", repeats: int = 1, duration_s: float = 4.0, rate: int = 100
) -> Path:
    """A scenario file."""
    path = folder / "verdicts.toml"
    path.write_text(SCENARIO.format(style=style, repeats=repeats, duration_s=duration_s, rate=rate))
    return path


def cell_of(folder: Path) -> dict[str, Any]:
    """A run's only cell."""
    summary = json.loads((folder / "summary.json").read_text())
    assert balanced(summary)
    (cell,) = summary["cells"]
    return dict(cell)


def codes(cell: dict[str, Any]) -> set[str]:
    """The reasons of a cell's verdict."""
    return {reason["code"] for reason in cell["verdict"]["reasons"]}


def switches(pid: int) -> int:
    """How often a process has gone to sleep by itself: about once an order."""
    return int(psutil.Process(pid).num_ctx_switches().voluntary)


async def freeze(process: "subprocess.Popen[str]", mark: str, who: str) -> None:
    """Let the server or the generator of a run stand still for a while, in its measured window."""
    found: dict[str, int] = {}

    def both_run() -> bool:
        assert process.poll() is None, "the run ended early"
        for pid in marked(mark):
            found.update({n: pid for n in ("servers", "harness.load") if n in words(pid)})
        return len(found) == 2 and connected(found["servers"])

    await until("the server has clients", both_run)
    before = switches(found["servers"])
    await until("the load is past its warm-up", lambda: switches(found["servers"]) > before + 250)
    os.kill(found[who], signal.SIGSTOP)
    await asyncio.sleep(FREEZE_S)
    os.kill(found[who], signal.SIGCONT)


def frozen(run: Run, folder: Path, who: str) -> dict[str, Any]:
    """The cell of a run of which one process stood still."""
    mark, out = uuid.uuid4().hex, folder / "run"
    path = scenario(folder, duration_s=8.0, rate=200)
    process = bench("run", str(path), "--out", str(out), mark=mark)
    run(freeze(process, mark, who))
    said, err = process.communicate(timeout=5 * LIMIT_S)
    assert process.returncode == 0, said + err
    return cell_of(out)


def test_a_generator_that_stood_still_makes_its_cell_invalid(run: Run, tmp_path: Path) -> None:
    cell = frozen(run, tmp_path, "harness.load")
    assert "generator_bound" in codes(cell)
    assert cell["verdict"]["status"] == "invalid"
    assert cell["latency_ms"]["p99"] > 1e3 * FREEZE_S / 2
    # The service answered as soon as it was asked.
    assert cell["counts"]["done"] == cell["counts"]["planned"] == 1600


def test_a_server_that_stood_still_is_a_result(run: Run, tmp_path: Path) -> None:
    cell = frozen(run, tmp_path, "servers")
    assert not codes(cell) & {"generator_bound", "rate_not_reached", "stopped_answering"}
    assert cell["verdict"]["status"] in {"valid", "qualified"}
    assert cell["latency_ms"]["p99"] > 1e3 * FREEZE_S / 2
    assert cell["service_time_ms"]["p99"] > 1e3 * FREEZE_S / 2
    assert cell["counts"]["done"] == cell["counts"]["planned"] == 1600


def test_a_driver_that_blocks_its_loop_is_no_slow_service(tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    out = tmp_path / "run"
    driver = f"{tmp_path / 'blocking.py'}:Blocking"
    path = scenario(tmp_path, style=driver)
    code, said, err = bench_done("run", str(path), "--out", str(out))
    assert code == 0, said + err
    cell = cell_of(out)
    assert "generator_bound" in codes(cell)
    assert cell["verdict"]["status"] == "invalid"
    reason = next(r for r in cell["verdict"]["reasons"] if r["code"] == "generator_bound")
    assert "added by the generator" in reason["detail"]
    assert "invalid" in said


def test_a_server_that_drifts_is_not_stationary(rig: Rig, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = scenario(tmp_path)

    async def case() -> tuple[int, str, str]:
        argv = [sys.executable, "-m", "tests.live.wrong_server", "rest", "drifts", "200"]
        server = await rig.spawn("drifts", argv)
        ready = await server.hear()
        assert ready is not None
        words = ["run", str(path), "--target", f"rest={ready['address']}", "--out", str(out)]
        done = await asyncio.to_thread(bench_done, *words)
        await rig.stop(server)
        return done

    code, said, err = run(case())
    assert code == 0, said + err
    cell = cell_of(out)
    assert "not_stationary" in codes(cell)
    assert not codes(cell) & {"warm_up", "generator_bound"}
    assert cell["verdict"]["status"] == "qualified"


@pytest.mark.parametrize("style", ["rest", "grpc-unary"])
def test_a_run_that_nobody_disturbs_has_nothing_impossible(style: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = scenario(tmp_path, style=style, repeats=2, duration_s=2.0)
    code, said, err = bench_done("run", str(path), "--out", str(out))
    assert code == 0, said + err
    cell = cell_of(out)
    assert not codes(cell) & {"accounts", "implausible"}
    assert cell["counts"]["planned"] == 400
