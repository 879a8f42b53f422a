"""What is told of the machine, from files as kernels write them (issue 6.10)."""

import gzip
import json
import platform
import time
from pathlib import Path

import pytest

from harness.observe import environment
from harness.observe.environment import (
    collect_before,
    collect_environment,
    collect_kernel,
    collect_limits,
    collect_machine,
    collect_network,
    pressure,
    warnings,
)
from harness.report.words import plain

GUEST = """\
processor\t: 0
model name\t: A Processor @ 2.60GHz
flags\t\t: fpu hypervisor smep

processor\t: 1
model name\t: Another
"""


def files(root: Path, texts: dict[str, str]) -> Path:
    """A root folder with files by their paths."""
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


CPU = "sys/devices/system/cpu"


def test_a_guest_with_all_there_is_to_tell(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/cpuinfo": GUEST,
            "proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
            f"{CPU}/intel_pstate/no_turbo": "0\n",
            f"{CPU}/smt/active": "1\n",
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            ".dockerenv": "",
        },
    )
    told = collect_machine(root)
    assert told["cpu"] == "A Processor @ 2.60GHz"
    assert told["memory_bytes"] == 16384000 * 1024
    assert (told["governor"], told["turbo"], told["smt"]) == ("performance", True, True)
    assert (told["hypervisor"], told["container"]) == ("QEMU", "docker")


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    told = collect_machine(tmp_path)
    for key in ("governor", "turbo", "smt", "hypervisor", "container", "memory_bytes"):
        assert told[key] is None
    assert told["cpus"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
    ],
)
def test_turbo_by_either_driver(tmp_path: Path, name: str, text: str, said: bool) -> None:
    assert collect_machine(files(tmp_path, {f"{CPU}/{name}": text}))["turbo"] is said


def test_a_pod_is_seen_by_its_control_group(tmp_path: Path) -> None:
    groups = "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1f.scope\n"
    assert collect_machine(files(tmp_path, {"proc/self/cgroup": groups}))["container"] == "kubepods"


def test_limits_of_version_2_are_the_tightest_up_the_tree(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/memory.max": "2147483648\n",
            "sys/fs/cgroup/a/memory.max": "max\n",
        },
    )
    told = collect_limits(root)
    assert told["cgroup_processors"] == 1.5
    assert told["cgroup_memory_bytes"] == 2**31


def test_limits_of_version_1(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/x\n1:cpu,cpuacct:/x\n0::/\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    told = collect_limits(root)
    assert told["cgroup_processors"] == 0.5
    assert told["cgroup_memory_bytes"] is None


def test_no_limits(tmp_path: Path) -> None:
    told = collect_limits(tmp_path)
    assert (told["cgroup_processors"], told["cgroup_memory_bytes"]) == (None, None)


def test_network_settings_are_those_that_there_are(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/sys/net/core/somaxconn": "4096\n",
            "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
            "sys/class/net/lo/mtu": "65536\n",
        },
    )
    assert collect_network(root) == {
        "somaxconn": "4096",
        "ip_local_port_range": "32768 60999",
        "loopback_mtu": "65536",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CONFIG_IRQ_TIME_ACCOUNTING=y", "to nobody, apart"),
        ("# CONFIG_IRQ_TIME_ACCOUNTING is not set", "to whoever is interrupted"),
    ],
)
def test_who_pays_for_receiving_is_read_from_the_kernels_configuration(
    tmp_path: Path, line: str, said: str
) -> None:
    text = f"CONFIG_HZ=250\n{line}\n"
    boot = files(tmp_path / "boot", {f"boot/config-{platform.release()}": text})
    assert collect_kernel(boot)["interrupts_are_charged"] == said
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(text.encode()))
    assert collect_kernel(tmp_path)["interrupts_are_charged"] == said


def test_an_unknown_kernel_is_unknown(tmp_path: Path) -> None:
    told = collect_kernel(tmp_path)
    assert told["interrupts_are_charged"] is None
    assert told["tcp_congestion_control"] is None


def test_pressure_is_the_share_of_the_last_ten_seconds(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/pressure/cpu": "some avg10=55.60 avg60=34.68 avg300=15.75 total=2852659772\n"
            "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "proc/pressure/io": "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n",
        },
    )
    assert pressure(root) == {"cpu": 55.6, "io": 1.5}


def test_a_quiet_machine_is_no_reason_to_warn() -> None:
    assert warnings(0.19, {}) == []


def test_a_busy_one_is_and_says_by_whom() -> None:
    (said,) = warnings(1.4, {"cc1": 0.9, "mypy": 0.5})
    assert "1.4 processors" in said
    assert "(cc1 0.9, mypy 0.5)" in said
    assert warnings(1.4, {})


def test_who_is_busy_is_named_and_processes_of_a_name_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = iter(
        [
            {1: ("cc1", 10.0), 2: ("cc1", 20.0), 3: ("idle", 0.0)},
            {1: ("cc1", 10.1), 2: ("cc1", 20.1), 3: ("idle", 0.0), 4: ("new", 9.0)},
        ]
    )
    idle = iter([[{"idle": 100.0}] * 2, [{"idle": 100.0}] * 2])
    monkeypatch.setattr(environment, "_used", lambda: next(names))
    monkeypatch.setattr(environment, "processors", lambda: next(idle))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    told = collect_before()
    assert told["busy_processors"] == 2
    assert list(told["busiest"]) == ["cc1"]
    (said,) = told["warnings"]
    assert "(cc1 " in said


def test_everything_is_plain_and_can_be_read() -> None:
    told = collect_environment()
    assert json.loads(json.dumps(told)) == told
    for topic in told.values():
        assert plain(topic, "not known")
