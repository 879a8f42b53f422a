"""What is read of processes: of real ones, and from texts as the kernel writes them (issue 6.6)."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.observe import telemetry
from harness.observe.telemetry import (
    cpu_ns,
    cpu_split_ns,
    family,
    forget_peak,
    peak_bytes,
    processors,
    rss_bytes,
    status_field,
    switches,
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
NOBODY = 2**22 + 1  # more than the kernel's largest

STATUS = """\
Name:\tpython3 VmHWM: 5
Umask:\t0022
State:\tS (sleeping)
VmPeak:\t  123456 kB
VmHWM:\t   58432 kB
VmRSS:\t   57000 kB
Threads:\t3
voluntary_ctxt_switches:\t126
nonvoluntary_ctxt_switches:\t704
"""


def test_a_field_of_a_status_is_the_one_of_that_name() -> None:
    assert status_field(STATUS, "VmHWM") == 58432
    assert status_field(STATUS, "voluntary_ctxt_switches") == 126
    assert status_field(STATUS, "nonvoluntary_ctxt_switches") == 704
    assert status_field(STATUS, "VmSwap") is None  # a kernel thread has none of memory


@on_linux
def test_user_and_system_are_read_past_a_name_with_brackets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = " ".join(map(str, range(3, 53)))
    stat = f"4711 (a) b (c)) {fields}\n"  # field n has the number n, from the third on
    monkeypatch.setattr(telemetry, "_read", lambda *_: stat)
    assert cpu_split_ns(4711) == (14 * telemetry.TICK_NS, 15 * telemetry.TICK_NS)


@on_linux
def test_the_split_adds_up_to_what_was_used() -> None:
    before, split = cpu_ns(os.getpid()), cpu_split_ns(os.getpid())
    while cpu_ns(os.getpid()) - before < 50_000_000:
        Path("/").stat()
    used = sum(cpu_split_ns(os.getpid())) - sum(split)
    # The steps of user and of system each hide less than one.
    assert used + 2 * telemetry.TICK_NS > 50_000_000


@on_linux
def test_threads_that_wait_are_counted_wherever_they_wait() -> None:
    begun = switches(os.getpid())
    assert begun is not None
    seen = []

    def wait() -> None:
        for _ in range(50):
            time.sleep(0.0001)
        seen.append(switches(os.getpid()))

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    (ended,) = seen
    assert ended is not None
    assert ended.voluntary - begun.voluntary >= 50


@pytest.fixture
def hungry() -> Iterator[subprocess.Popen[str]]:
    """A process that takes 64 MiB, gives it back, and says so."""
    code = "x = bytearray(64 << 20); del x; print(); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@on_linux
def test_a_peak_stays_until_it_is_forgotten(hungry: subprocess.Popen[str]) -> None:
    assert hungry.stdout is not None
    hungry.stdout.readline()
    peak = peak_bytes(hungry.pid)
    assert peak is not None
    assert peak >= 64 << 20
    forget_peak(hungry.pid)
    now = peak_bytes(hungry.pid)
    assert now is not None
    assert now < 64 << 20
    assert rss_bytes(hungry.pid) < 64 << 20


def test_a_family_has_whom_a_process_started(hungry: subprocess.Popen[str]) -> None:
    assert hungry.pid in family(os.getpid())
    assert family(hungry.pid) == [hungry.pid]
    assert family(NOBODY) == []


def test_what_nobody_used() -> None:
    for read in (cpu_ns, cpu_split_ns, rss_bytes, peak_bytes, switches):
        if read is not peak_bytes or sys.platform == "linux":
            with pytest.raises(ProcessLookupError):
                read(NOBODY)
    forget_peak(NOBODY)


def test_processors_only_ever_do_more() -> None:
    first, last = processors(), processors()
    assert len(first) == len(last) == os.cpu_count()
    for before, after in zip(first, last, strict=True):
        assert {"user", "system", "idle"} <= before.keys()
        assert not any(name.startswith("guest") for name in before)  # it is in user already
        assert after["user"] >= before["user"]


def test_another_system_tells_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_bytes(os.getpid()) is None
    assert switches(os.getpid()) is None
    assert rss_bytes(os.getpid()) > 0
    assert cpu_ns(os.getpid()) <= sum(cpu_split_ns(os.getpid()))
    with pytest.raises(ProcessLookupError):
        rss_bytes(NOBODY)
