"""CPU time, memory and context switches of the processes under test, and what all processors did,
read from outside."""

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_CPUCLOCK_SCHED = 2
_FORGET_PEAK = "5"  # clear_refs of proc_pid_clear_refs(5)
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 10**7
"""What the kernel counts user and system time in."""


@dataclass(frozen=True, slots=True)
class Switches:
    """How often the threads of a process gave their processor away since they began."""

    voluntary: int
    """To wait."""
    involuntary: int
    """Because another was to have it."""


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
    return sum(cpu_split_ns(pid))


def cpu_split_ns(pid: int) -> tuple[int, int]:
    """User and system time of a process in nanoseconds, in steps of the system's accounting (10 ms
    mostly). Raises ProcessLookupError when there is no such process.

    On Linux the kernel takes a sample at each timer interrupt and divides what its CPU clock says
    in that proportion, so that the split of little time is coarse.
    """
    if sys.platform == "linux":
        user, system = _read(pid, "stat").rpartition(")")[2].split()[11:13]
        return int(user) * TICK_NS, int(system) * TICK_NS
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"no process {pid}") from None
    return round(used.user * 1e9), round(used.system * 1e9)


def rss_bytes(pid: int) -> int:
    """A process's resident memory. Raises ProcessLookupError when there is no such process."""
    if sys.platform == "linux":
        return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        raise ProcessLookupError(f"no process {pid}") from None


def peak_bytes(pid: int) -> int | None:
    """The most memory that a process has had resident since `forget_peak`, or since its beginning;
    None where the system does not tell. Raises ProcessLookupError when there is none such."""
    if sys.platform != "linux":
        return None
    peak = status_field(_read(pid, "status"), "VmHWM")
    return None if peak is None else peak * 1024


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory be what it has now, where that is allowed."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as forget:
        forget.write(_FORGET_PEAK)


def switches(pid: int) -> Switches | None:
    """Of all threads that a process has now; None where the system does not tell. Raises
    ProcessLookupError when there is no such process.

    It reads a file a thread: not for the measured window.
    """
    if sys.platform != "linux":
        return None
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None
    voluntary = involuntary = 0
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):
            status = _read(pid, f"task/{thread.name}/status")
            voluntary += status_field(status, "voluntary_ctxt_switches") or 0
            involuntary += status_field(status, "nonvoluntary_ctxt_switches") or 0
    return Switches(voluntary, involuntary)


def status_field(status: str, name: str) -> int | None:
    """A number in the text of /proc/PID/status; None where it is not there."""
    _, found, rest = f"\n{status}".partition(f"\n{name}:")
    return int(rest.split(maxsplit=1)[0]) if found else None


def family(pid: int) -> list[int]:
    """A process and all that it has started, while they run."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [pid, *(child.pid for child in children)]


def processors() -> list[dict[str, float]]:
    """What each processor has done since the machine's start, in seconds: `user`, `nice`, `system`,
    `idle` and, on Linux, `iowait`, `irq`, `softirq`, `steal`."""
    return [
        {name: value for name, value in each._asdict().items() if not name.startswith("guest")}
        for each in psutil.cpu_times(percpu=True)
    ]


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None
