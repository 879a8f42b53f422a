"""Stand between the harness and everything it starts, so that nothing outlives the harness.

`python -I warden.py FD` speaks on FD, its end of an AF_UNIX SOCK_SEQPACKET pair; every message is
one JSON object of at most `MESSAGE_LIMIT` bytes.

Requests:
    {"op": "spawn", "id": N, "argv": [...], "cwd": str|null, "env": {...}|null, "cpus": [...]|null}
        with the child's stdin, stdout and stderr attached; null means "as the warden has it"
    {"op": "signal", "id": N, "signal": 15}
        to that child alone; nothing happens when it has ended
Events:
    {"event": "spawned", "id": N, "pid": P}
    {"event": "failed", "id": N, "error": "..."}
    {"event": "exited", "id": N, "pid": P, "code": C}, where -9 means "by signal 9"

When the other end is closed, however that came about, every descendant is killed and the warden
ends. SIGTERM does the same. Should the warden itself be killed, its children die with it.

Standard library only and nothing of ours: bench.py needs this before any package is installed.
"""

import contextlib
import ctypes
import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MESSAGE_LIMIT = 1 << 18

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SCRIPT = os.path.abspath(__file__)


def start(keep_fds: Iterable[int] = ()) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a warden and return this side's end of the pair, which must stay in this process.

    `keep_fds` are inherited by the warden, not by what it starts: a lock on one of them is held
    until the last descendant is gone. Raises OSError when no process can be made.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # -S: no .pth of a broken environment may keep the warden from starting.
        warden = subprocess.Popen(
            [sys.executable, "-I", "-S", _SCRIPT, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), *keep_fds),
            start_new_session=True,
        )
    return ours, warden


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdio: tuple[int, int, int] = (0, 1, 2),
    keep_fds: Iterable[int] = (),
) -> int:
    """Run one command under a warden of its own and return its exit code, negative for a signal.

    When this returns or raises, the command and all that it started are gone; Ctrl-C raises
    KeyboardInterrupt. Raises OSError when the command cannot be started.
    """
    link, warden = start(keep_fds)
    command = {"argv": argv, "cwd": cwd, "env": None if env is None else dict(env)}
    try:
        send(link, {"op": "spawn", "id": 0, **command}, stdio)
        while event := receive(link):
            if event["event"] == "failed":
                raise OSError(event["error"])
            if event["event"] == "exited":
                return int(event["code"])
        raise ConnectionError("the warden ended before the command did")
    finally:
        link.close()
        warden.wait()


def send(link: socket.socket, message: Mapping[str, Any], fds: Iterable[int] = ()) -> None:
    """Send one message. Raises OSError when the other end is closed or the message too long."""
    socket.send_fds(link, [json.dumps(message).encode()], list(fds))


def receive(link: socket.socket) -> dict[str, Any] | None:
    """Wait for one message; None when the other end is closed."""
    try:
        data = link.recv(MESSAGE_LIMIT)
    except ConnectionError:
        return None
    return json.loads(data) if data else None


class _Warden:
    """One thread that spawns, signals and reaps."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._ids: dict[int, int] = {}

    def serve(self) -> None:
        """Answer requests until the other end is closed."""
        wakeup, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        # Functions, not SIG_IGN: exec gives children the default back. The session has no terminal.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._hang_up())
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            selector.register(wakeup, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == wakeup:
                        os.read(wakeup, 4096)
                        self._reap()
                    elif not self._answer():
                        return

    def _hang_up(self) -> None:
        """Make the link look closed, also to a send that is being waited for."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def _answer(self) -> bool:
        """Carry out one request; False when there will be no more."""
        try:
            data, fds, _, _ = socket.recv_fds(self._link, MESSAGE_LIMIT, 3, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        try:
            if not data:
                return False
            request = json.loads(data)
            if request["op"] == "spawn":
                self._spawn(request, fds)
            elif child := self._children.get(request["id"]):
                with contextlib.suppress(PermissionError):  # it may have become another user's
                    # Not reaped yet, so that the pid cannot be another's.
                    os.kill(child.pid, request["signal"])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _spawn(self, request: Mapping[str, Any], fds: Sequence[int]) -> None:
        warden = os.getpid()
        cpus = request.get("cpus")

        def in_child() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != warden:  # it died before it could have been noticed
                os.kill(os.getpid(), signal.SIGKILL)
            if cpus is not None:
                os.sched_setaffinity(0, cpus)

        try:
            available = os.sched_getaffinity(0)
            if cpus is not None and not (cpus and available.issuperset(cpus)):
                raise OSError(errno.EINVAL, f"cpus {cpus} are not among {sorted(available)}")
            stdin, stdout, stderr = fds
            child = subprocess.Popen(
                request["argv"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=request.get("cwd"),
                env=request.get("env"),
                preexec_fn=in_child,
                start_new_session=True,  # a script's `kill 0` must not reach the warden
            )
        except OSError as error:
            culprit = error.filename or request["argv"][0]
            self._tell("failed", request["id"], error=f"{culprit}: {error.strerror}")
        except Exception as error:  # a request that makes no sense must not end the others
            self._tell("failed", request["id"], error=f"{type(error).__name__}: {error}")
        else:
            self._children[request["id"]] = child
            self._ids[child.pid] = request["id"]
            self._tell("spawned", request["id"], pid=child.pid)

    def _reap(self) -> None:
        """Collect all that have ended, orphans too, and tell of those that were asked for."""
        for pid, code in _ended():
            if (name := self._ids.pop(pid, None)) is not None:
                # Popen must not wait for this pid again: it may soon be another's.
                self._children.pop(name).returncode = code
                self._tell("exited", name, pid=pid, code=code)

    def _tell(self, event: str, name: int, **details: Any) -> None:
        with contextlib.suppress(ConnectionError):  # the next read finds the end
            send(self._link, {"event": event, "id": name, **details})


def _ended() -> Iterable[tuple[int, int]]:
    """Reap every child that has ended: its pid and exit code."""
    with contextlib.suppress(ChildProcessError):
        while (waited := os.waitpid(-1, os.WNOHANG))[0]:
            yield waited[0], os.waitstatus_to_exitcode(waited[1])


def _descendants(root: int) -> list[int]:
    """Every process below `root`, zombies included, as /proc shows them now."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
            # The command's name may hold spaces and brackets; the last bracket ends it.
            parent = stat.read().rpartition(b")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    level = [root]
    while level := [child for pid in level for child in children.get(pid, ())]:
        found += level
    return found


def _send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False where that is not allowed or there is nobody."""
    try:
        os.kill(pid, number)
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _sweep() -> None:
    """Kill and reap every descendant until none is left that may be killed.

    All are stopped before the first is killed: each death frees a place in the process table, and
    what forks faster than it is killed would take it. A pass that finds nobody new ends the
    stopping; what hung below one that died comes to the subreaper and is found by the next round.
    """
    while found := [pid for pid in _descendants(os.getpid()) if _send(pid, signal.SIGSTOP)]:
        stopped = set(found)
        while new := [pid for pid in _descendants(os.getpid()) if pid not in stopped]:
            stopped.update(new)
            if not any([_send(pid, signal.SIGSTOP) for pid in new]):
                break
        for pid in stopped:
            _send(pid, signal.SIGKILL)
        time.sleep(0.002)
        for _ in _ended():
            pass


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _main() -> None:
    with contextlib.suppress(PermissionError):  # start() has made it a session leader already
        os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with socket.socket(fileno=int(sys.argv[1])) as link:
        try:
            _Warden(link).serve()
        finally:
            _sweep()


if __name__ == "__main__":
    _main()
