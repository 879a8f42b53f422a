"""A generator as the harness sees it: one process, one trial."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from harness.load.messages import TrialSpec
from harness.rig.process import Process, Rig

START_DELAY_S = 0.1
READY_LIMIT_S = 40.0
END_GRACE_S = 60.0

Progress = Callable[[float, float, int], None]
"""(seconds since the start, operations ended a second since the last time, failed so far)"""
Figures = Callable[[Sequence[Mapping[str, Any]]], None]
"""What has become of operations since the last time; see harness.load.live.Figures."""


def soon() -> int:
    """The instant, in CLOCK_MONOTONIC's ns, at which load may begin that is let go now."""
    return time.monotonic_ns() + round(START_DELAY_S * 1e9)


class TrialFailed(Exception):
    """A trial that left no samples, and why."""


class PartLost(TrialFailed):
    """A generator that has gone with its machine: what others have of the trial may be kept."""


class Load(ABC):
    """A generator, wherever it runs; `open`, `send`, `drained`, `finish`, `end` in this order."""

    def __init__(self) -> None:
        self.figures: Figures | None = None
        """Who is told them, where the trial is live."""
        self._spec: TrialSpec

    @property
    @abstractmethod
    def pid(self) -> int:
        """Of its process, on its machine."""

    async def open(self, spec: TrialSpec) -> None:
        """Tell it its trial and wait until its lanes are open. Raises TrialFailed."""
        self._spec = spec
        self._say(spec.to_line())
        await self._ready()

    def send(self, began: int | None = None) -> int:
        """Let the load begin at an instant of this machine's CLOCK_MONOTONIC, in ns; without one in
        START_DELAY_S. Returns it."""
        began = soon() if began is None else began
        self._say(json.dumps({"event": "start", "at_ns": self._there(began)}) + "\n")
        return began

    def stop(self, at_ns: int) -> None:
        """Let it plan nothing from an instant on, which should be one to come, and drain."""
        self._say(json.dumps({"event": "stop", "at_ns": self._there(at_ns)}) + "\n")

    async def drained(self, progress: Progress | None = None) -> None:
        """Wait until every operation has ended; its connections stand. Raises TrialFailed."""
        spec = self._spec
        length = START_DELAY_S + spec.warm_up_s + spec.duration_s + spec.timeout_s
        await self._expect("drained", length + END_GRACE_S, progress)

    async def finish(self, arrivals: Sequence[Path] = ()) -> dict[str, Any]:
        """Let it close its connections and wait until its samples are on disk; returns its health.

        `arrivals`: the files of the workers that took its messages. Raises TrialFailed.
        """
        files = [str(path) for path in arrivals]
        self._say(json.dumps({"event": "close", "arrivals": files}) + "\n")
        return await self._done()

    async def _ready(self) -> None:
        await self._expect("ready", READY_LIMIT_S, None)

    async def _done(self) -> dict[str, Any]:
        return await self._expect("end", END_GRACE_S, None)

    def _there(self, at_ns: int) -> int:
        """An instant of this machine's clock in that of the generator's."""
        return at_ns

    @abstractmethod
    async def end(self, by_force: bool = False) -> int:
        """End its process; returns its exit code. Raises RigError."""

    @abstractmethod
    def _say(self, line: str) -> None: ...

    @abstractmethod
    async def _hear(self) -> Mapping[str, Any] | None:
        """The next message; None when it has ended. Raises TrialFailed when it cannot be heard."""

    @abstractmethod
    def _last_words(self) -> str: ...

    async def _expect(
        self, event: str, limit_s: float, progress: Progress | None
    ) -> dict[str, Any]:
        ended, elapsed = 0, 0.0
        try:
            async with asyncio.timeout(limit_s):
                while message := await self._hear():
                    match message["event"]:
                        case "progress":
                            span = message["elapsed_s"] - elapsed
                            rate = (message["ended"] - ended) / span if span > 0 else 0.0
                            ended, elapsed = message["ended"], message["elapsed_s"]
                            if progress is not None:
                                progress(elapsed, rate, message["failed"])
                        case "figures":
                            if self.figures is not None:
                                self.figures(message["rows"])
                        case "failed":
                            raise TrialFailed(message["reason"])
                        case said if said == event:
                            return dict(message)
        except TimeoutError:
            raise TrialFailed(f"the generator did not say {event!r} in {limit_s:g} s") from None
        code = await self.end()
        words = self._last_words() or "no words"
        raise TrialFailed(f"the generator ended with code {code} before {event!r}: {words}")


class LoadProcess(Load):
    """A generator that is a child of this process."""

    def __init__(self, rig: Rig, process: Process) -> None:
        super().__init__()
        self.process = process
        self._rig = rig

    @classmethod
    async def start(
        cls, rig: Rig, cpus: Sequence[int] | None = None, name: str = "generator"
    ) -> Self:
        """A fresh one, on `cpus` only where given. It imports its libraries meanwhile."""
        return cls(rig, await rig.program(name, ["harness.load"], cpus))

    @property
    def pid(self) -> int:
        """See Load."""
        return self.process.pid

    async def end(self, by_force: bool = False) -> int:
        """See Load."""
        return await (self._rig.kill if by_force else self._rig.stop)(self.process)

    def _say(self, line: str) -> None:
        self.process.say(line)

    async def _hear(self) -> Mapping[str, Any] | None:
        return await self.process.hear()

    def _last_words(self) -> str:
        return self._rig.last_words(self.process.name)
