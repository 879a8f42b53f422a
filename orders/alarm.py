"""Wakes a process at an instant of CLOCK_MONOTONIC, as sharply as the platform can: the generator
when an operation is planned, a server when work is done.

On Linux a timerfd watched by the event loop (microseconds late); elsewhere the loop's own timer
(about a millisecond late). Which one it was is recorded. A server whose every departure is to be
known can have one that never sleeps.
"""

import asyncio
import ctypes
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_MOST_AHEAD_NS = 50_000
"""How far ahead of an instant a timer is set at most, whatever its delay was."""
_STEP_NS = 200.0
"""By how much the learned delay grows with every wake-up that took longer."""
_LONGER = 9
"""Wake-ups that take longer than the learned delay, for each that takes no longer."""
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


class Alarm(Protocol):
    """Calls `due` at or after the armed instant; `due` arms it again, or disarms it."""

    name: str

    def arm(self, at_ns: int) -> None:
        """Set the next instant, in nanoseconds, in the place of the one that was set; an instant
        that has passed is due at once."""

    def disarm(self) -> None:
        """Set none."""

    def close(self) -> None:
        """Disarm and give back."""


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerfdAlarm:
    """See timerfd_create(2). Setting the timer also clears what made its descriptor readable.

    From the timer to the event loop's callback it takes some 20 microseconds, always. That much is
    learned, as the delay that one wake-up in ten stays below, and the timer set as much ahead; who
    wakes up too early waits for the instant without sleeping.
    """

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
        self._due = due
        self._at = 0
        self._timer_at: float = math.inf
        self._ahead = 0.0
        loop.add_reader(self._fd, self._fire)

    def arm(self, at_ns: int) -> None:
        """See Alarm.arm."""
        self._at = at_ns
        timer_at = self._timer_at = max(1, at_ns - int(self._ahead))
        self._set(timer_at)

    def disarm(self) -> None:
        """See Alarm.disarm: the instant 0 is none."""
        self._timer_at = math.inf
        self._set(0)

    def close(self) -> None:
        """See Alarm.close."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _set(self, at_ns: int) -> None:
        spec = self._spec
        spec.value_s, spec.value_ns = divmod(at_ns, 1_000_000_000)
        self._settime(self._fd, _ABSOLUTE, self._reference, None)

    def _fire(self) -> None:
        clock, at = time.monotonic_ns, self._at
        now = clock()
        if now < self._timer_at:
            return  # set anew after it had gone off, and before this was called
        if now - self._timer_at > self._ahead:
            self._ahead = min(self._ahead + _STEP_NS, _MOST_AHEAD_NS)
        else:
            self._ahead = max(self._ahead - _LONGER * _STEP_NS, 0.0)
        while now < at:
            now = clock()
        self._due()


class LoopAlarm:
    """The event loop's own timer."""

    name = "event loop"

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        self._loop = loop
        self._due = due
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, at_ns: int) -> None:
        """See Alarm.arm."""
        self.disarm()
        delay = (at_ns - time.monotonic_ns()) / 1e9
        self._handle = self._loop.call_later(max(delay, 0.0), self._fire)

    def disarm(self) -> None:
        """See Alarm.disarm."""
        if self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        """See Alarm.close."""
        self.disarm()

    def _fire(self) -> None:
        self._due()


class PollingAlarm:
    """Asks for the time at every turn of the event loop, which does not sleep meanwhile: neither
    the wake-up nor what a processor forgets while it rests makes it late. Takes a processor, and
    gives way at every turn to other threads that want it: some libraries read their sockets there.
    """

    name = "polling"

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> None:
        self._loop = loop
        self._due = due
        self._at: int | None = None
        self._turning = False

    def arm(self, at_ns: int) -> None:
        """See Alarm.arm."""
        self._at = at_ns
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def disarm(self) -> None:
        """See Alarm.disarm."""
        self._at = None

    def close(self) -> None:
        """See Alarm.close."""
        self.disarm()

    def _turn(self) -> None:
        if self._at is not None and time.monotonic_ns() >= self._at:
            self._at = None
            self._due()
        self._turning = self._at is not None
        if self._turning:
            os.sched_yield()
            self._loop.call_soon(self._turn)


def sharpest_alarm(loop: asyncio.AbstractEventLoop, due: Callable[[], None]) -> Alarm:
    """The sharpest alarm of this platform."""
    if sys.platform == "linux":
        return TimerfdAlarm(loop, due)
    return LoopAlarm(loop, due)
