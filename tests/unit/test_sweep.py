"""The sweep: how late the loop was, of which no instant is left out (issue 6.3)."""

import asyncio
import time

import numpy as np

from harness.load.sweep import PERIOD_NS, Sweep
from tests.support import Run, until

STILL_S = 0.25


def test_a_loop_that_stood_still_was_late_for_every_instant_meanwhile(run: Run) -> None:
    looked: list[int] = []

    async def case() -> tuple[int, int, Sweep]:
        sweep = Sweep(looked.append)
        sweep.start()
        await until("it has looked", lambda: len(looked) > 3)
        began = time.monotonic_ns()
        time.sleep(STILL_S)
        ended = time.monotonic_ns()
        before = len(looked)
        await until("it has looked again", lambda: len(looked) > before + 2)
        sweep.stop()
        return began, ended, sweep

    began, ended, sweep = run(case())
    lags = sweep.lags_ns(began, ended)
    # Each instant of the grid is there once, and was as late as the loop came back after it.
    assert len(lags) in {(ended - began) // PERIOD_NS, (ended - began) // PERIOD_NS + 1}
    assert (np.diff(lags) == -PERIOD_NS).all()
    assert lags.max() >= STILL_S * 1e9 - PERIOD_NS
    # It has looked once for all of them.
    assert len(looked) < len(sweep.lags_ns(0, ended + 10**12))
    assert len(sweep.lags_ns(ended + 10**12, ended + 2 * 10**12)) == 0


def test_it_looks_until_it_is_stopped(run: Run) -> None:
    looked: list[int] = []

    async def case() -> None:
        sweep = Sweep(looked.append)
        sweep.stop()
        sweep.start()
        await until("it has looked", lambda: len(looked) > 2)
        sweep.stop()
        seen = len(looked)
        await asyncio.sleep(3 * PERIOD_NS / 1e9)
        assert len(looked) == seen

    run(case())
    assert looked == sorted(looked)
