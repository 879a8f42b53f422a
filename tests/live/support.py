"""Runs of the program as a user starts them, and single trials against servers of a test's own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clients import catalog
from harness.load.messages import LoadSpec, TrialSpec
from harness.results import Samples, read_samples
from harness.rig.process import Process, Rig
from tests.support import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
MARK = "ORDERBENCH_TEST_MARK"
During = Callable[[Process, int], Awaitable[None]]
"""(generator, start instant) while a trial runs."""

SPEC = TrialSpec(
    cell="c",
    trial=1,
    block=0,
    operation="place",
    driver="",
    target="",
    load=LoadSpec("constant", 100.0, None, 0.0, 0, 0.0),
    seed=1,
    warm_up_s=0.2,
    duration_s=1.0,
    timeout_s=2.0,
    in_flight=1024,
    connections=2,
    items=3,
    orders_file=None,
    key_prefix="t-",
    samples_path="",
)


def constant(rate: float) -> LoadSpec:
    """Evenly spaced load."""
    return replace(SPEC.load, rate=rate)


async def trial(
    rig: Rig,
    entry: catalog.Entry,
    target: str,
    path: Path,
    during: During | None = None,
    **changes: Any,
) -> Samples:
    """One trial by a real generator child; `changes` are fields of its TrialSpec."""
    spec = replace(
        SPEC,
        driver=entry.driver,
        target=target,
        samples_path=str(path),
        key_prefix=f"{os.urandom(6).hex()}-",
        **changes,
    )
    generator = await rig.spawn("generator", [sys.executable, "-m", "harness.load"])
    generator.say(spec.to_line())
    message = await generator.hear()
    assert message is not None
    assert message["event"] == "ready", message
    began = time.monotonic_ns() + 50_000_000
    generator.say(json.dumps({"event": "start", "at_ns": began}) + "\n")
    if during is not None:
        await during(generator, began)
    while (message := await generator.hear()) is not None and message["event"] != "end":
        pass
    assert message is not None, "the generator ended without a word"
    await rig.stop(generator)
    return read_samples(path)


def bench(*words: str, mark: str = "", **options: Any) -> subprocess.Popen[str]:
    """`bench.py WORDS`, started as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, MARK: mark},
        cwd=ROOT,
        **options,
    )


def bench_done(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    process = bench(*words)
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


def balanced(summary: dict[str, Any]) -> bool:
    """Whether every cell of a summary.json balances."""
    return all(
        c["planned"] == c["sent"] + c["dropped"]
        and c["sent"] == c["done"] + c["failed"] + c["timed_out"]
        for c in (cell["counts"] for cell in summary["cells"])
    )
