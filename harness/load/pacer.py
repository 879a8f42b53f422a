"""Wakes the generator at an instant of CLOCK_MONOTONIC, as sharply as the platform can.

On Linux a timerfd watched by the event loop (microseconds late); elsewhere the loop's own timer
(about a millisecond late). Which one it was is recorded.
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


class Pacer(Protocol):
    """Calls `due` at or after the armed instant, once an arming."""

    name: str

    def arm(self, at_ns: int) -> None:
        """Set the next instant, in nanoseconds; an instant that has passed is due at once."""

    def close(self) -> None:
        """Disarm and give back."""


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerfdPacer:
    """See timerfd_create(2). Setting the timer also clears what made its descriptor readable."""

    name = "timerfd"

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        # Without errno, which would cost every arming a fifth of its time; it cannot fail here.
        self._settime = ctypes.CDLL(None).timerfd_settime
        self._spec = _Spec()
        self._reference = ctypes.byref(self._spec)
        self._loop = loop
        loop.add_reader(self._fd, due)

    def arm(self, at_ns: int) -> None:
        """See Pacer.arm."""
        spec = self._spec
        spec.value_s, spec.value_ns = divmod(at_ns, 1_000_000_000)
        self._settime(self._fd, _ABSOLUTE, self._reference, None)

    def close(self) -> None:
        """See Pacer.close."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


class LoopPacer:
    """The event loop's own timer."""

    name = "event loop"

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        self._loop = loop
        self._due = due
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, at_ns: int) -> None:
        """See Pacer.arm."""
        delay = (at_ns - time.monotonic_ns()) / 1e9
        self._handle = self._loop.call_later(max(delay, 0.0), self._fire)

    def close(self) -> None:
        """See Pacer.close."""
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._due()


def best_pacer(loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> Pacer:
    """The sharpest pacer of this platform."""
    if sys.platform == "linux":
        return TimerfdPacer(loop, due)
    return LoopPacer(loop, due)
