"""One run of the harness, in a process of its own."""

import contextlib
import json
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent
from gevent import subprocess
from gevent.event import Event

log = logging.getLogger("orderbench")

PLAN_LIMIT_S = 30.0
STOP_LIMIT_S = 300.0
"""For the longest timeout of an operation, and the report; who waits can interrupt again."""

Listener = Callable[[Mapping[str, Any]], None]


class Session:
    """`bench.py run --lines`; it ends when this process does."""

    def __init__(self, words: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.cli", "run", *words, "--lines"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C comes to who asks it to stop.
            start_new_session=True,
        )
        self._words: deque[str] = deque(maxlen=100)
        self._listener: Listener | None = None
        self._heard = Event()
        self.plan: Mapping[str, Any] | None = None
        """What it said of its plan; None where it was refused."""
        self.ended = Event()
        self.code: int | None = None
        self.report: str | None = None
        self._errors = gevent.spawn(self._hear_errors)
        gevent.spawn(self._hear)

    def problems(self) -> list[str]:
        """Wait for its plan; what is wrong with its words, none if it was planned."""
        if not self._heard.wait(PLAN_LIMIT_S):
            self.kill()
            return [f"the run made no plan within {PLAN_LIMIT_S:g} s"]
        if self.plan is not None:
            return []
        self.ended.wait(PLAN_LIMIT_S)
        return list(self._words) or [f"the run ended with code {self.code}"]

    def begin(self, listener: Listener) -> None:
        """Let it do what it has planned, and give what it says from now on to a listener."""
        self._listener = listener
        self._tell("begin")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self.ended.is_set()

    def stop(self) -> None:
        """Let it answer what was sent, write its report, and end; and wait for that. One that has
        not within STOP_LIMIT_S is killed."""
        self._tell("stop")
        if not self.ended.wait(STOP_LIMIT_S):
            log.error("the run did not end within %g s, and is killed", STOP_LIMIT_S)
            self.kill()

    def kill(self) -> None:
        """End it at once; all that it started ends with it."""
        self._process.kill()
        self.ended.wait()

    def _tell(self, event: str) -> None:
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            self._process.stdin.write(json.dumps({"event": event}).encode() + b"\n")
            self._process.stdin.flush()

    def _hear(self) -> None:
        try:
            # Closed where hearing fails: the run then ends, in place of waiting to be heard.
            with self._process.stdout as lines:
                for message in filter(None, map(_message, lines)):
                    self._take(message)
        finally:
            self._errors.join()
            self.code = self._process.wait()
            self.ended.set()
            self._heard.set()

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["event"] == "planned":
            self.plan = message
            self._heard.set()
        if message["event"] == "end":
            self.report = message["report"]
        if self._listener is not None:
            self._listener(message)

    def _hear_errors(self) -> None:
        for line in self._process.stderr:
            said = line.decode(errors="replace").rstrip()
            self._words.append(said)
            if self.plan is not None:
                log.info("%s", said)


def _message(line: bytes) -> Mapping[str, Any] | None:
    """What a line says; None for one that is not the run's, or that was cut off when it was
    killed."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "event" in message else None
