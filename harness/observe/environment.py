"""Where a run took place: one `collect_*` function a topic."""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from clients import catalog

LIBRARIES = ("httptools", "numpy", "orjson", "protobuf", "uvicorn", "uvloop")
"""Beside those of the catalog."""


def collect_environment() -> dict[str, Any]:
    """Everything, as plain values for run.json."""
    return {
        "machine": collect_machine(),
        "kernel": collect_kernel(),
        "python": {"version": platform.python_version(), "build": platform.python_implementation()},
        "libraries": collect_libraries(),
        "project": collect_project(),
    }


def collect_libraries() -> dict[str, str]:
    """Versions of what clients and servers are made of, as far as it is installed."""
    named = {name for entry in catalog.ENTRIES for name in (entry.client, entry.server)}
    versions = {}
    for name in sorted({*LIBRARIES, *named} - {""}):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def collect_machine() -> dict[str, Any]:
    """Processors, memory, and the load that was there before."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = _read("/proc/meminfo").split()
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "architecture": platform.machine(),
        "cpu": model,
        "cpus": cpus if cpus is not None else list(range(os.cpu_count() or 1)),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "memory_bytes": int(memory[1]) * 1024 if len(memory) > 1 else None,
        "load_1m_before": round(os.getloadavg()[0], 2),
    }


def collect_kernel() -> dict[str, Any]:
    """The system and what it does with TCP."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "tcp_congestion_control": _read("/proc/sys/net/ipv4/tcp_congestion_control") or None,
        "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        or None,
    }


def collect_project() -> dict[str, Any]:
    """Which version of this program, by its git commit where there is one."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain")
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": None if changed is None else bool(changed),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
