"""The generators of one trial: one process, or several that one schedule is dealt to."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

from harness import merging
from harness.load.messages import TrialSpec
from harness.load_process import Figures, Load, PartLost, Progress, TrialFailed, soon
from harness.results import part_path
from harness.rig.parts import numbered

ROLE = "generator"
T = TypeVar("T")


class Generators:
    """As a Load: `start`, `open`, `send`, `drained`, `finish` in this order. What fails in
    one of several is told with its number."""

    def __init__(self, loads: Sequence[Load] = ()) -> None:
        self.all = list(loads)
        self.lost: list[Load] = []
        """Those that others went on without."""
        self._path: Path | None = None

    @classmethod
    async def start(
        cls,
        start: Callable[[int, str], Awaitable[Load]],
        parts: int,
        stack: contextlib.AsyncExitStack,
        hurried: Callable[[], bool],
    ) -> Self:
        """Fresh ones: `start` makes one of its number and its role. When the stack unwinds each is
        ended, by force where that is `hurried`, and what they have left by themselves is
        removed."""
        generators = cls()
        stack.callback(generators.forget)
        for part, role in enumerate(numbered(ROLE, range(parts))):
            each = await start(part, role)
            stack.push_async_callback(cls._end, each, hurried)
            generators.all.append(each)
        return generators

    @staticmethod
    async def _end(each: Load, hurried: Callable[[], bool]) -> None:
        await each.end(by_force=hurried())

    @property
    def pids(self) -> dict[str, int]:
        """By role: `generator`, `generator.2`..."""
        return numbered(ROLE, [each.pid for each in self.all])

    async def open(self, spec: TrialSpec, figures: Figures | None = None) -> None:
        """See Load.open; `spec` is of the whole, and `figures` is told those of all. Raises
        TrialFailed."""
        self._path, parts = Path(spec.samples_path), len(self.all)
        specs = [spec]
        if parts > 1:
            specs = [
                replace(spec, part=n, parts=parts, samples_path=str(part_path(self._path, n)))
                for n in range(parts)
            ]
        for each in self.all:
            each.figures = figures
        await self._together([each.open(s) for each, s in zip(self.all, specs, strict=True)])

    def send(self) -> int:
        """Let all begin at one instant, which it returns; see Load.send."""
        began = soon()
        for each in self.all:
            each.send(began)
        return began

    def stop(self, at_ns: int) -> None:
        """See Load.stop: all at the same instant."""
        for each in self._left:
            each.stop(at_ns)

    async def drained(
        self, progress: Progress | None = None, losing: Callable[[str], None] | None = None
    ) -> None:
        """Wait until every operation of all has ended. Raises TrialFailed. One that is lost is told
        to `losing`, where there is such and others are left, and the waiting goes on for those."""
        rates, failed = [0.0] * len(self.all), [0] * len(self.all)

        def told(part: int) -> Progress:
            def tell(elapsed: float, rate: float, bad: int) -> None:
                rates[part], failed[part] = rate, bad
                if progress is not None and part == 0:
                    progress(elapsed, sum(rates), sum(failed))

            return tell

        waiting = {
            asyncio.create_task(self._named(n, each.drained(told(n - 1)))): each
            for n, each in enumerate(self.all, 1)
        }
        pending = set(waiting)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        task.result()
                    except PartLost as error:
                        if losing is None or len(self._left) == 1:
                            raise
                        self.lost.append(waiting[task])
                        losing(str(error))
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def finish(self, arrivals: Sequence[Path] = ()) -> None:
        """Let all close their connections, and put their samples together. Raises TrialFailed."""
        await self._together([each.finish(arrivals) for each in self._left])
        if len(self.all) == 1:
            return
        assert self._path is not None
        parts = [part for part, each in enumerate(self.all) if each not in self.lost]
        try:
            await asyncio.to_thread(merging.merge, self._path, parts)
        except (OSError, ValueError, merging.Unlike) as error:
            raise TrialFailed(f"the generators' parts do not fit together: {error}") from None

    def forget(self) -> None:
        """Remove what each has left by itself."""
        if self._path is not None and len(self.all) > 1:
            merging.forget(self._path, len(self.all))

    @property
    def _left(self) -> list[Load]:
        return [each for each in self.all if each not in self.lost]

    async def _together(self, waiting: Sequence[Awaitable[T]]) -> list[T]:
        """What all return; the first failure ends the waiting for the others."""
        tasks = [asyncio.create_task(self._named(n, each)) for n, each in enumerate(waiting, 1)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _named(self, number: int, waiting: Awaitable[T]) -> T:
        try:
            return await waiting
        except TrialFailed as error:
            if len(self.all) == 1:
                raise
            raise type(error)(f"generator {number} of {len(self.all)}: {error}") from None
