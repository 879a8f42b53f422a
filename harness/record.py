"""What is written down of a run: run.json and the journal, and what an earlier start of it left."""

import asyncio
import fcntl
import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import results
from harness.journal import Journal
from harness.plan import Trial
from harness.results import Run

CUT_SHORT = "cut_short"
"""The kind of an event of a trial that was not finished, once the run goes on."""


class Record:
    """A run's folder while the run goes on; nobody else writes to it meanwhile."""

    def __init__(
        self,
        folder: Path,
        info: Mapping[str, Any],
        journal: Journal,
        finished: Collection[tuple[str, int]] = (),
    ) -> None:
        """`info` as in run.json; `finished`: trials (cell, number) that need not run again. Raises
        BlockingIOError where another process is at it."""
        self.folder = folder
        self.journal = journal
        self._finished = finished
        self._info = dict(info)
        self._lock = os.open(folder, os.O_RDONLY)
        self._complete = False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise

    @classmethod
    def resumed(cls, folder: Path, how: Mapping[str, Any]) -> Self:
        """The record of a run that was interrupted, with `how` it goes on as the last of its
        `resumed`. What was seen of trials that were not finished stays, but as no trial's."""
        run = results.open_run(folder)
        finished = finished_trials(run)
        journal = Journal(folder)
        for row in run.telemetry:
            known = (row["cell"], row["trial"]) in finished
            journal.telemetry.append(row if known else {**row, "cell": "", "trial": 0})
        for event in run.events:
            known = event["cell"] is None or (event["cell"], event["trial"]) in finished
            journal.events.append(event if known else _cut_short(event))
        info = {
            **run.info,
            "run": folder.name,
            "status": "running",
            "ended_at": None,
            "resumed": [*run.info.get("resumed", ()), dict(how)],
        }
        return cls(folder, info, journal, finished)

    def __enter__(self) -> Self:
        self.note()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is asyncio.CancelledError:
            self.journal.event("interrupted")
        self.journal.write()
        self.note(status="complete" if self._complete else "partial", ended_at=now())
        os.close(self._lock)

    @property
    def info(self) -> Mapping[str, Any]:
        """As in run.json."""
        return self._info

    def note(self, **changes: Any) -> None:
        """Write run.json with these keys changed."""
        self._info |= changes
        results.write_json(self.folder / "run.json", self._info)

    def has(self, trial: Trial) -> bool:
        """Whether a trial was finished by an earlier start."""
        return (trial.cell.id, trial.block + 1) in self._finished

    def complete(self) -> None:
        """All trials were run."""
        self._complete = True


def finished_trials(run: Run) -> set[tuple[str, int]]:
    """(cell, number) of the trials that left samples and were seen to their planned end, and of
    those that failed, which is a result as well."""
    seen = {(e["cell"], e["trial"]) for e in run.events if e["kind"] == "trial_started"}
    stopped = {(e["cell"], e["trial"]) for e in run.events if e["kind"] == "trial_stopped"}
    failed = {(e["cell"], e["trial"]) for e in run.events if e["kind"] == "trial_failed"}
    left = {(cell, int(path.stem)) for cell, paths in run.trials.items() for path in paths}
    return (left & seen - stopped) | failed


def being_written(folder: Path) -> bool:
    """Whether a process is at a run's folder."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def now() -> str:
    """The time of day, as run.json has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cut_short(event: Mapping[str, Any]) -> dict[str, Any]:
    told = f"{event['cell']}, trial {event['trial']}: {event['kind']} {event['detail']}"
    return {**event, "cell": None, "trial": None, "kind": CUT_SHORT, "detail": told}
