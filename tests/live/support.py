"""Runs of the program as a user starts them, and single trials against servers of a test's own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import trial as benchmark
from benchmarks.trial import During, one_trial
from clients import catalog
from harness.load.messages import LoadSpec
from harness.results import Samples
from harness.rig.process import Rig
from harness.rig.server import Server
from tests.support import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
MARK = "ORDERBENCH_TEST_MARK"
OWN_DRIVER = '''
"""A driver of a user's own."""

from clients.rest_aiohttp import RestAiohttp


class Mine(RestAiohttp):
    """REST, as it is."""

    server = "rest"
'''


def constant(rate: float) -> LoadSpec:
    """Evenly spaced load."""
    return replace(benchmark.SPEC.load, rate=rate)


SPEC = replace(benchmark.SPEC, load=constant(100.0), warm_up_s=0.2, duration_s=1.0, connections=2)


async def trial(
    rig: Rig,
    entry: catalog.Entry,
    target: str,
    folder: Path,
    during: During | None = None,
    workers: Sequence[Server] = (),
    **changes: Any,
) -> Samples:
    """One trial by a real generator child; `changes` are fields of its TrialSpec."""
    spec = replace(SPEC, driver=entry.driver, target=target, **changes)
    return await one_trial(rig, spec, folder, during, cpus=None, workers=workers)


_started: list[subprocess.Popen[str]] = []


def bench(
    *words: str, mark: str = "", env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """`bench.py WORDS`, started as a process of its own; `env` on top of this one's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, MARK: mark, **(env or {})},
        cwd=ROOT,
        **options,
    )
    _started.append(process)
    return process


def end_what_was_started() -> None:
    """Of a test that failed no process is left, nor a pipe that the next test would find."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT_S)


def bench_done(*words: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    process = bench(*words, env=env)
    try:
        out, err = process.communicate(timeout=5 * LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"bench.py {' '.join(words)} did not end") from None
    return process.returncode, out, err


def marked(mark: str) -> list[int]:
    """Processes that were started with a mark in their environment, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0"):
                found.append(int(folder.name))
    return found


def words(pid: int) -> list[str]:
    """A process's command line; none of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def connected(pid: int) -> bool:
    """Whether a process has connections."""
    try:
        return any(c.status == "ESTABLISHED" for c in psutil.Process(pid).net_connections())
    except psutil.NoSuchProcess:
        return False


def balanced(summary: dict[str, Any]) -> bool:
    """Whether every cell of a summary.json balances."""
    return all(
        c["planned"] == c["sent"] + c["dropped"]
        and c["sent"] == c["done"] + c["failed"] + c["timed_out"]
        for c in (cell["counts"] for cell in summary["cells"])
    )
