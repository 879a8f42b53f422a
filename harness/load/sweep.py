"""Looks at what is under way some times a second, and by that sees how late its event loop is."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from orders.alarm import Alarm, sharpest_alarm

PERIOD_NS = 10_000_000


class Sweep:
    """Calls `look` with the current instant every PERIOD_NS.

    Its instants are a fixed grid. A loop that is held up past several of them is late for each, and
    each is noted; a timer that counts from its last call would note a second of standing still but
    once, as if it had been a moment. So a share of the lags is a share of the time, and a lag is
    what an answer that came at such an instant waited to be seen.
    """

    def __init__(self, look: Callable[[int], None]) -> None:
        self._look = look
        self._alarm: Alarm | None = None
        self._first_ns = 0
        self._lags_ns: list[int] = []

    def start(self) -> None:
        """Look from now on. Needs a running loop."""
        self._alarm = sharpest_alarm(asyncio.get_running_loop(), self._due)
        self._first_ns = time.monotonic_ns()
        self._due()

    def stop(self) -> None:
        """Look no more. Harmless before the start."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def lags_ns(self, start_ns: int, end_ns: int) -> npt.NDArray[np.int64]:
        """How late the loop was for each instant of the grid from `start_ns` to `end_ns`."""
        low, high = (max(0, -(-(at - self._first_ns) // PERIOD_NS)) for at in (start_ns, end_ns))
        return np.array(self._lags_ns[low:high], np.int64)

    def _due(self) -> None:
        assert self._alarm is not None
        now = time.monotonic_ns()
        passed = (now - self._first_ns) // PERIOD_NS + 1
        for number in range(len(self._lags_ns), passed):
            self._lags_ns.append(now - self._first_ns - number * PERIOD_NS)
        self._look(now)
        self._alarm.arm(self._first_ns + passed * PERIOD_NS)
