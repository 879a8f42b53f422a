"""CPU time and memory of the processes under test, read from outside."""

import os
import sys
import time

import psutil

_CPUCLOCK_SCHED = 2


def cpu_ns(pid: int) -> int:
    """The CPU time that a process has used, user and system, in nanoseconds.

    On Linux by its CPU clock (clock_getcpuclockid(3)), which is exact; elsewhere in the system's
    accounting steps. Raises ProcessLookupError when there is no such process.
    """
    if sys.platform == "linux":
        try:
            return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
        except OSError:
            raise ProcessLookupError(f"no process {pid}") from None
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"no process {pid}") from None
    return round((used.user + used.system) * 1e9)


def rss_bytes(pid: int) -> int:
    """A process's resident memory. Raises ProcessLookupError when there is no such process."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/statm", "rb") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            raise ProcessLookupError(f"no process {pid}") from None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"no process {pid}") from None
