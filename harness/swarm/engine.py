"""Ties Locust's start and stop to runs of the harness."""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import gevent
from locust import LoadTestShape, User, events, task
from locust.env import Environment

from harness.swarm import figures, form
from harness.swarm.board import Board
from harness.swarm.session import Session

log = logging.getLogger("orderbench")

INTERRUPTED = 130


class Engine:
    """What was started last: one run, or one of each style together."""

    def __init__(self) -> None:
        self.environment: Environment
        self.offer = form.Offer()
        self.sessions: Mapping[str, Session] = {}
        """By the name of their style, or "" for one of all."""
        self.board = Board()
        self._checked: Mapping[str, Session] = {}
        self._asked = False
        self._stopping = False
        self._worst = 0

    @property
    def running(self) -> bool:
        """Whether a run goes on, its report included, or Locust waits for its end."""
        return self._stopping or any(session.running for session in self.sessions.values())

    def check(self, given: Mapping[str, Sequence[str]]) -> list[str]:
        """What is wrong with a start, in words; without, the run is planned and `begin` lets it
        go on."""
        if self.running:
            return ["a run goes on; stop it first"]
        self.forget()
        if problems := form.problems(given, self.offer):
            return problems
        runs = form.runs(given, self.offer, datetime.now())
        self._checked = {name: Session(words) for name, words in runs.items()}
        found = [problem for each in self._checked.values() for problem in each.problems()]
        if found:
            self.forget()
        return list(dict.fromkeys(found))

    def forget(self) -> None:
        """End what was planned and not begun."""
        for session in self._checked.values():
            session.kill()
        self._checked = {}

    def begin(self) -> None:
        """Locust has started: so does the run, as it was checked, or else by Locust's options."""
        if not self._checked and (problems := self.check(self.options())):
            for problem in problems:
                log.error("%s", problem)
            self._worst = max(self._worst, 2)
            return
        self.sessions, self._checked, self._asked = self._checked, {}, False
        self.board = Board()
        for name, session in self.sessions.items():
            session.begin(partial(self._hear, name))
            gevent.spawn(self._see_end, name, session)

    def ask_to_stop(self) -> None:
        """A person stops the run: that its results are partial is then no failure."""
        self._asked = True

    def stopping(self) -> None:
        """Locust stops: not before everything that was sent is answered, counted and on disk."""
        running = [session for session in self.sessions.values() if session.running]
        if running:
            self._stopping = True
            gevent.joinall([gevent.spawn(session.stop) for session in running])
            self._stopping = False

    def quitting(self) -> None:
        """Locust ends, with the worst exit code of its runs."""
        self.forget()
        self.stopping()
        gevent.sleep(0)
        for session in self.sessions.values():
            self._judge(session)
        self.environment.process_exit_code = self._worst

    def options(self) -> dict[str, list[str]]:
        """The form as Locust's command line has filled it."""
        options = vars(self.environment.parsed_options)
        given = {field.name: options[field.name] for field in form.fields(self.offer)}
        return {name: [v] if isinstance(v, str) else list(v) for name, v in given.items() if v}

    def _hear(self, run: str, message: Mapping[str, Any]) -> None:
        self.board.hear(message, time.monotonic(), run)
        if message["event"] == "figures":
            for row in message["rows"]:
                figures.merge(self.environment.stats, message["subject"], row)
        elif message["event"] == "trial_failed":
            log.error("%s: %s", " ".join(message["subject"]), message["reason"])

    def _see_end(self, name: str, session: Session) -> None:
        session.ended.wait()
        self._judge(session)
        if session.report is None:
            run = f"the run of {name}" if name else "the run"
            self.board.problems.append(f"{run} ended with code {session.code}: see Logs")
            log.error("%s ended with code %s and left no report", run, session.code)

    def _judge(self, session: Session) -> None:
        code = 1 if session.code is None or session.code < 0 else session.code
        if code == INTERRUPTED and self._asked:
            code = 0
        self._worst = max(self._worst, code)


ENGINE = Engine()


class Token(User):
    """Stands for a run, so that Locust has something to start and to stop; it sends nothing."""

    host = "orderbench"

    @task
    def stand(self) -> None:
        """The load is the run's own."""
        gevent.sleep(1.0)


class WhileTheRunLasts(LoadTestShape):
    """One token until the run has ended."""

    def tick(self) -> tuple[int, float] | None:
        """See LoadTestShape."""
        return (1, 1.0) if ENGINE.running or not self._begun() else None

    def _begun(self) -> bool:
        return self.runner is not None and self.runner.user_count > 0


events.test_start.add_listener(lambda **_: ENGINE.begin())
events.test_stopping.add_listener(lambda **_: ENGINE.stopping())
events.quitting.add_listener(lambda **_: ENGINE.quitting())
