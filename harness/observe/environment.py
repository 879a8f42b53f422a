"""Where a run takes place: one `collect_*` function a topic.

Those that read the system's own files take the folder below which they are, for tests.
"""

import contextlib
import gzip
import os
import platform
import resource
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from clients import catalog
from harness.observe.telemetry import processors

LIBRARIES = ("hpack", "httptools", "numpy", "orjson", "protobuf", "uvicorn", "uvloop")
"""Beside those of the catalog."""
SYSCTLS = (
    "net/core/somaxconn",
    "net/core/netdev_max_backlog",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_slow_start_after_idle",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_tw_reuse",
)
"""What changes how TCP behaves under load."""
BUSY_SPAN_S = 0.3
BUSY = 0.2
"""Processors in use by others from which on a machine is called busy."""
_ROOT = Path("/")


def collect_environment() -> dict[str, Any]:
    """Everything, as plain values for run.json. Takes BUSY_SPAN_S."""
    return {
        "machine": collect_machine(),
        "kernel": collect_kernel(),
        "network": collect_network(),
        "limits": collect_limits(),
        "before": collect_before(),
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


def collect_machine(root: Path = _ROOT) -> dict[str, Any]:
    """Processors and memory, and the load that was there before."""
    cpuinfo = _fields(_read(root / "proc/cpuinfo"))
    memory = _read(root / "proc/meminfo").split()
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    system = root / "sys/devices/system/cpu"
    return {
        "architecture": platform.machine(),
        "cpu": cpuinfo.get("model name") or platform.processor(),
        "cpus": cpus if cpus is not None else list(range(os.cpu_count() or 1)),
        "governor": _read(system / "cpu0/cpufreq/scaling_governor") or None,
        "turbo": _turbo(system),
        "smt": {"1": True, "0": False}.get(_read(system / "smt/active")),
        "hypervisor": _hypervisor(root, cpuinfo),
        "container": _container(root),
        "memory_bytes": int(memory[1]) * 1024 if len(memory) > 1 else None,
        "load_1m_before": round(os.getloadavg()[0], 2),
    }


def _turbo(system: Path) -> bool | None:
    """Whether processors may run faster than their nominal frequency; None where it is not told."""
    if no_turbo := _read(system / "intel_pstate/no_turbo"):
        return no_turbo == "0"
    return {"1": True, "0": False}.get(_read(system / "cpufreq/boost"))


def _hypervisor(root: Path, cpuinfo: dict[str, str]) -> str | None:
    """What this machine is a guest of, as far as it tells; None if it seems to be none."""
    if "hypervisor" not in cpuinfo.get("flags", "").split():
        return None
    told = _read(root / "sys/class/dmi/id/sys_vendor") or _read(root / "sys/hypervisor/type")
    return told or "there is one"


def _container(root: Path) -> str | None:
    """In what kind of container this runs, as far as it can be seen; None if in none."""
    for mark, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / mark).exists():
            return name
    groups = _read(root / "proc/self/cgroup")
    return next((n for n in ("kubepods", "docker", "containerd", "lxc") if n in groups), None)


def collect_kernel(root: Path = _ROOT) -> dict[str, Any]:
    """The system and what it does with TCP."""
    clocks = root / "sys/devices/system/clocksource/clocksource0"
    return {
        "system": platform.system(),
        "release": platform.release(),
        "tcp_congestion_control": _read(root / "proc/sys/net/ipv4/tcp_congestion_control") or None,
        "clock_source": _read(clocks / "current_clocksource") or None,
        "interrupts_are_charged": _interrupts(root),
    }


def _interrupts(root: Path) -> str | None:
    """To whom the kernel charges the time of its interrupts, TCP's receiving among them; None where
    its configuration cannot be read."""
    config = ""
    with contextlib.suppress(OSError, EOFError):
        config = gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    config = config or _read(root / f"boot/config-{platform.release()}")
    if not config:
        return None
    apart = "CONFIG_IRQ_TIME_ACCOUNTING=y" in config
    return "to nobody, apart" if apart else "to whoever is interrupted"


def collect_network(root: Path = _ROOT) -> dict[str, str]:
    """SYSCTLS, as far as there are such, and the size of a packet on loopback."""
    found = {name.rpartition("/")[2]: _read(root / "proc/sys" / name) for name in SYSCTLS}
    found["loopback_mtu"] = _read(root / "sys/class/net/lo/mtu")
    return {name: " ".join(value.split()) for name, value in found.items() if value}


def collect_limits(root: Path = _ROOT) -> dict[str, Any]:
    """What this process may use at most: descriptors, and what its control groups say; None where
    nothing is said."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {
        "descriptors": None if descriptors == resource.RLIM_INFINITY else descriptors,
        "cgroup_processors": _least(root, "cpu", _processors_allowed),
        "cgroup_memory_bytes": _least(root, "memory", _memory_allowed),
    }


def _least(root: Path, controller: str, allowed: Any) -> Any:
    """The tightest limit of a controller, of version 2 or 1, from this process's group up."""
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if names else "")
        group = base / path.lstrip("/")
        for place in (group, *group.parents):
            if (limit := allowed(place)) is not None:
                found.append(limit)
            if place == base:
                break
    return min(found, default=None)


def _processors_allowed(group: Path) -> float | None:
    quota, period = (_read(group / "cpu.max").split() or ["", ""])[:2]
    if not quota:
        quota = _read(group / "cpu.cfs_quota_us")
        period = _read(group / "cpu.cfs_period_us")
    if not quota or quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def _memory_allowed(group: Path) -> int | None:
    limit = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
    # Version 1 says a number near 2**63 for no limit.
    return int(limit) if limit.isdecimal() and int(limit) < 1 << 60 else None


def collect_before(root: Path = _ROOT, span_s: float = BUSY_SPAN_S) -> dict[str, Any]:
    """How busy the machine is for `span_s` seconds in which this process does nothing, and whether
    that speaks against measuring now."""
    first, names = processors(), _used()
    began = time.monotonic()
    time.sleep(span_s)
    span_s = time.monotonic() - began
    last = processors()
    shares: dict[str, float] = {}
    for pid, (name, cpu_s) in _used().items():
        if pid in names and pid != os.getpid():
            shares[name] = shares.get(name, 0.0) + (cpu_s - names[pid][1]) / span_s
    rest_s = sum(_idle(b) - _idle(a) for a, b in zip(first, last, strict=True))
    busy = round(max(len(last) - rest_s / span_s, 0.0), 2)
    most = sorted(shares.items(), key=lambda each: -each[1])[:3]
    busiest = {name: round(share, 2) for name, share in most if share >= BUSY / 2}
    return {
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "busy_processors": busy,
        "busiest": busiest,
        "pressure": pressure(root),
        "warnings": warnings(busy, busiest),
    }


def _idle(each: Mapping[str, float]) -> float:
    return each["idle"] + each.get("iowait", 0.0)


def _used() -> dict[int, tuple[str, float]]:
    """The name and the CPU time of each process. Not its command line, which may hold secrets."""
    return {
        process.pid: (process.info["name"], sum(process.info["cpu_times"][:2]))
        for process in psutil.process_iter(["name", "cpu_times"])
        if process.info["cpu_times"] is not None
    }


def pressure(root: Path = _ROOT) -> dict[str, float]:
    """For how much of the last 10 s something waited for a processor, memory or a disk, in per
    cent: pressure stall information of the kernel; empty where it is off."""
    found = {}
    for name in ("cpu", "memory", "io"):
        for line in _read(root / "proc/pressure" / name).splitlines():
            kind, *pairs = line.split()
            if kind == "some":
                found[name] = float(dict(pair.split("=") for pair in pairs)["avg10"])
    return found


def warnings(busy: float, busiest: Mapping[str, float]) -> list[str]:
    """What so many processors in use, and by whom, mean for a run that begins now."""
    if busy < BUSY:
        return []
    who = f" ({', '.join(f'{name} {share:g}' for name, share in busiest.items())})"
    said = f"this machine is busy: others keep {busy:g} processors at work{who if busiest else ''}"
    return [f"{said}; let them finish, or expect disturbed figures"]


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


def _fields(text: str) -> dict[str, str]:
    """The first value of each `name : value` line."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
