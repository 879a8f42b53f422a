"""The warden with real processes: what it starts, what it tells, and that nothing outlives it."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.rig import warden

LIMIT_S = 60.0
ROOT = Path(warden.__file__).parents[2]

# A child, its child and a daemon that left both; the pids are printed, the child's own last.
FAMILY = """
sleep 600 >&2 & echo $!
(setsid sleep 600 >&2 & echo $!)
echo $$
exec sleep 600 >&2
"""

# Always one process, soon another: each forks its successor and ends; 400 times, then it rests.
CHAIN = """
import os, time
print("on", flush=True)
for _ in range(400):
    if os.fork():
        os._exit(0)
    time.sleep(0.005)
time.sleep(600)
"""

# What stands in for the harness: says the warden's pid, then what the family says.
HARNESS = """
import signal, sys
from harness.rig import warden
link, process = warden.start()
print(process.pid, flush=True)
warden.send(link, {"op": "spawn", "id": 1, "argv": ["sh", "-c", sys.argv[1]]}, (0, 1, 2))
if sys.stdin.readline() == "crash\\n":
    raise SystemExit("a harness with a mistake")
signal.pause()
"""

# A harness that runs one command, a lock in the warden's hands.
RUNNER = """
import fcntl, sys
from harness.rig import warden
with open(sys.argv[2], "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        warden.run(["sh", "-c", sys.argv[1]], keep_fds=[lock.fileno()])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


class Harness:
    """This side of a warden."""

    def __init__(self) -> None:
        self.link, self.process = warden.start()
        self.link.settimeout(LIMIT_S)

    def spawn(
        self, argv: list[str], number: int = 1, stdin: str = "", **details: Any
    ) -> dict[str, Any]:
        """Spawn, with the answer and, in it, the pipe that carries the child's output."""
        source, sink = os.pipe()
        output, end = os.pipe()
        os.write(sink, stdin.encode())
        os.close(sink)
        request = {"op": "spawn", "id": number, "argv": argv, **details}
        warden.send(self.link, request, (source, end, 2))
        os.close(source)
        os.close(end)
        return {**self.event(), "output": os.fdopen(output)}

    def event(self) -> dict[str, Any]:
        """The next thing that the warden tells."""
        event = warden.receive(self.link)
        assert event is not None
        return event

    def signal(self, number: int, what: int) -> None:
        """Have a signal sent."""
        warden.send(self.link, {"op": "signal", "id": number, "signal": what})

    def close(self) -> None:
        """Go away, and wait until the warden has too."""
        self.link.close()
        self.process.wait(LIMIT_S)


@pytest.fixture
def harness() -> Iterator[Harness]:
    """A harness and its warden."""
    made = Harness()
    yield made
    made.close()


class Watched:
    """A process whose end can be waited for, whoever its parent is."""

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)

    def ended(self, within_s: float = LIMIT_S) -> bool:
        """Whether it ends within that time."""
        return bool(select.select([self.fd], [], [], within_s)[0])

    def __del__(self) -> None:
        os.close(self.fd)


def stand_in(source: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script that plays the harness."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said_pids(process: subprocess.Popen[str], count: int) -> list[Watched]:
    """The processes that a stand-in names, one a line."""
    assert process.stdout is not None
    return [Watched(int(process.stdout.readline())) for _ in range(count)]


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a stand-in's end; what else it said."""
    said, _ = process.communicate(timeout=LIMIT_S)
    return said


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9), ("kill -15 $$", -15)]
)
def test_exit_code_is_told(harness: Harness, script: str, code: int) -> None:
    spawned = harness.spawn(["sh", "-c", script])
    spawned["output"].close()
    assert spawned["event"] == "spawned"
    assert harness.event() == {"event": "exited", "id": 1, "pid": spawned["pid"], "code": code}


def test_standard_streams_pass_through(harness: Harness) -> None:
    with harness.spawn(["cat"], stdin="one\ntwo\n")["output"] as output:
        assert output.read() == "one\ntwo\n"


def test_folder_and_environment_are_the_ones_asked_for(harness: Harness, tmp_path: Path) -> None:
    spawned = harness.spawn(
        ["sh", "-c", "pwd -P; echo $COLOUR"],
        cwd=str(tmp_path.resolve()),
        env={"PATH": os.environ["PATH"], "COLOUR": "blue"},
    )
    with spawned["output"] as output:
        assert output.read() == f"{tmp_path.resolve()}\nblue\n"


@pytest.mark.parametrize(
    ("argv", "details", "named"),
    [
        (["no-such-command"], {}, "no-such-command: No such file"),
        (["true"], {"cwd": "/no/such/folder"}, "/no/such/folder: No such file"),
        (["true"], {"cpus": [100_000]}, "[100000] are not among"),
        (["true"], {"cpus": []}, "[] are not among"),
        ([], {}, "IndexError"),
    ],
)
def test_what_cannot_be_started_is_named_and_the_rest_goes_on(
    harness: Harness, argv: list[str], details: dict[str, Any], named: str
) -> None:
    failed = harness.spawn(argv, **details)
    failed["output"].close()
    assert failed["event"] == "failed"
    assert named in failed["error"]
    harness.spawn(["true"], number=2)["output"].close()
    assert harness.event()["code"] == 0


def test_only_the_child_asked_for_gets_a_signal(harness: Harness) -> None:
    for number in (1, 2):
        harness.spawn(["sleep", "600"], number)["output"].close()
    harness.signal(2, signal.SIGTERM)
    assert (told := harness.event())["id"] == 2
    assert told["code"] == -signal.SIGTERM
    harness.signal(2, signal.SIGTERM)  # it has ended: nothing happens
    harness.signal(1, signal.SIGINT)
    assert (told := harness.event())["id"] == 1
    assert told["code"] == -signal.SIGINT


def test_child_runs_on_its_cpus_only(harness: Harness) -> None:
    cpu = max(os.sched_getaffinity(0))
    script = "import os; print(sorted(os.sched_getaffinity(0)))"
    for cpus in ([cpu], None):
        with harness.spawn([sys.executable, "-c", script], cpus=cpus)["output"] as output:
            assert json.loads(output.read()) == (cpus or sorted(os.sched_getaffinity(0)))
        assert harness.event()["code"] == 0


def test_child_gets_three_descriptors_and_a_session_of_its_own(tmp_path: Path) -> None:
    script = (
        "import os; print([os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if int(fd) > 2 and os.path.exists(f'/proc/self/fd/{fd}')], os.getsid(0) == os.getpid())"
    )
    with (tmp_path / "kept").open("w") as kept, (tmp_path / "said").open("w+") as said:
        warden.run(
            [sys.executable, "-c", script],
            stdio=(0, said.fileno(), 2),
            keep_fds=[kept.fileno()],
        )
        said.seek(0)
        assert said.read() == "[] True\n"


def test_orphans_are_reaped(harness: Harness) -> None:
    script = "(sleep 600 >&2 & echo $!)"
    with harness.spawn(["sh", "-c", script])["output"] as output:
        pid = int(output.readline())
    assert harness.event()["code"] == 0
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LIMIT_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("death", ["kill -9", "kill -15", "crash"])
def test_nothing_outlives_the_harness(death: str) -> None:
    process = stand_in(HARNESS, FAMILY)
    family = said_pids(process, 4)
    assert process.stdin is not None
    if death == "crash":
        process.stdin.write("crash\n")
        process.stdin.flush()
    else:
        process.send_signal(int(death.removeprefix("kill -")))
    finish(process)
    assert all(member.ended() for member in family)


def test_what_forks_meanwhile_is_caught() -> None:
    harness = Harness()
    with harness.spawn([sys.executable, "-c", CHAIN])["output"] as output:
        assert output.readline() == "on\n"
        harness.close()
        # Its pipe ends when the last that could write to it has ended.
        assert select.select([output], [], [], LIMIT_S)[0]
        assert output.read() == ""


def test_warden_told_to_end_takes_all_along() -> None:
    process = stand_in(HARNESS, FAMILY)
    guard, *family = said_pids(process, 4)
    signal.pidfd_send_signal(guard.fd, signal.SIGTERM)
    assert all(member.ended() for member in (guard, *family))
    process.kill()
    finish(process)


def test_children_die_with_a_killed_warden(harness: Harness) -> None:
    spawned = harness.spawn(["sleep", "600"])
    spawned["output"].close()
    child = Watched(spawned["pid"])
    harness.process.kill()
    assert child.ended()


def test_nothing_outlives_a_command_that_was_run(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+") as said:
        code = warden.run(
            ["sh", "-c", "(setsid sleep 600 >&2 & echo $!); exit 7"], stdio=(0, said.fileno(), 2)
        )
        said.seek(0)
        assert not Path(f"/proc/{said.read().strip()}").exists()
    assert code == 7
    with pytest.raises(OSError, match="no-such-command"):
        warden.run(["no-such-command"])


def test_interrupt_comes_after_the_end_of_all(tmp_path: Path) -> None:
    process = stand_in(RUNNER, FAMILY, str(tmp_path / "lock"))
    family = said_pids(process, 3)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted\n"
    assert all(member.ended(within_s=0) for member in family)
    finish(process)
    assert process.returncode == 0


def test_kept_lock_is_held_until_the_end_of_all(tmp_path: Path) -> None:
    process = stand_in(RUNNER, FAMILY, str(tmp_path / "lock"))
    family = said_pids(process, 3)
    process.kill()
    finish(process)
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert all(member.ended(within_s=0) for member in family)
