"""Ties Locust's start and stop to runs of the harness."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
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
    """The run that is going on, and those that were; one at a time."""

    def __init__(self) -> None:
        self.environment: Environment
        self.session: Session | None = None
        self.board = Board()
        self.own: Sequence[str] = ()
        """Drivers of the user's own."""
        self.more: Sequence[str] = ()
        """Words for every run, beside those of the form."""
        self._checked: Session | None = None
        self._asked = False
        self._stopping = False
        self._worst = 0

    @property
    def running(self) -> bool:
        """Whether a run goes on, its report included, or Locust waits for its end."""
        return self.session is not None and (self.session.running or self._stopping)

    def check(self, given: Mapping[str, Sequence[str]]) -> list[str]:
        """What is wrong with a start, in words; without, the run is planned and `begin` lets it
        go on."""
        if self.running:
            return ["a run goes on; stop it first"]
        self.forget()
        if problems := form.problems(given, self.own):
            return problems
        session = Session([*form.words(given), *self.more])
        if problems := session.problems():
            return problems
        self._checked = session
        return []

    def forget(self) -> None:
        """End what was planned and not begun."""
        if self._checked is not None:
            self._checked.kill()
            self._checked = None

    def begin(self) -> None:
        """Locust has started: so does the run, as it was checked, or else by Locust's options."""
        if self._checked is None and (problems := self.check(self.options())):
            for problem in problems:
                log.error("%s", problem)
            self._worst = max(self._worst, 2)
            return
        self.session, self._checked, self._asked = self._checked, None, False
        assert self.session is not None
        self.board = Board()
        self.session.follow(self._hear)
        gevent.spawn(self._see_end, self.session)

    def ask_to_stop(self) -> None:
        """A person stops the run: that its results are partial is then no failure."""
        self._asked = True

    def stopping(self) -> None:
        """Locust stops: not before everything that was sent is answered, counted and on disk."""
        if self.session is not None and self.session.running:
            self._stopping = True
            self.session.stop()
            self._stopping = False

    def quitting(self) -> None:
        """Locust ends, with the worst exit code of its runs."""
        self.forget()
        self.stopping()
        gevent.sleep(0)
        if self.session is not None:
            self._judge(self.session)
        self.environment.process_exit_code = self._worst

    def options(self) -> dict[str, list[str]]:
        """The form as Locust's command line has filled it."""
        options = vars(self.environment.parsed_options)
        given = {field.name: options[field.name] for field in form.fields(self.own)}
        return {name: [v] if isinstance(v, str) else list(v) for name, v in given.items() if v}

    def _hear(self, message: Mapping[str, Any]) -> None:
        self.board.hear(message, time.monotonic())
        if message["event"] == "figures":
            for row in message["rows"]:
                figures.merge(self.environment.stats, message["subject"], row)
        elif message["event"] == "trial_failed":
            log.error("%s: %s", " ".join(message["subject"]), message["reason"])

    def _see_end(self, session: Session) -> None:
        session.ended.wait()
        self._judge(session)
        if session.report is None:
            self.board.problems.append(f"the run ended with code {session.code}: see Logs")
            log.error("the run ended with code %s and left no report", session.code)

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


def report_of(session: Session | None) -> Path | None:
    """A run's page, once it is written."""
    return Path(session.report) if session is not None and session.report else None


events.test_start.add_listener(lambda **_: ENGINE.begin())
events.test_stopping.add_listener(lambda **_: ENGINE.stopping())
events.quitting.add_listener(lambda **_: ENGINE.quitting())
