"""What the harness itself saw of a run, written again after every trial."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import results
from harness.observe.telemetry import cpu_ns, cpu_split_ns, peak_bytes, rss_bytes, switches
from harness.plan import Trial


@dataclass(frozen=True, slots=True)
class Notes:
    """What is seen of one trial."""

    cell: str
    trial: int
    telemetry: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def event(self, kind: str, detail: str = "") -> None:
        """Note that something happened now."""
        self.events.append(_event(kind, detail, self.cell, self.trial))

    def sample(self, pids: Mapping[str, int], mark: str = "", whole: bool = False) -> None:
        """Note CPU time and memory of each role's process, with `whole` also its peak of memory and
        its context switches, which takes longer; one that has ended is passed over."""
        for role, pid in pids.items():
            with contextlib.suppress(ProcessLookupError):
                user, system = cpu_split_ns(pid)
                row = {
                    "at": time.monotonic_ns(),
                    "cell": self.cell,
                    "trial": self.trial,
                    "role": role,
                    "cpu_ns": cpu_ns(pid),
                    "user_ns": user,
                    "system_ns": system,
                    "rss_bytes": rss_bytes(pid),
                    "mark": mark,
                }
                if whole and (switched := switches(pid)) is not None:
                    row |= asdict(switched)
                    row["peak_bytes"] = peak_bytes(pid)
                self.telemetry.append(row)


@dataclass
class Journal:
    """What the harness itself saw, written again after every trial so that a kill loses little."""

    folder: Path
    telemetry: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    _rested: set[tuple[Any, ...]] = field(default_factory=set)

    @property
    def marks(self) -> list[dict[str, Any]]:
        """Rows of telemetry that are at a mark."""
        return [row for row in self.telemetry if row["mark"]]

    def of(self, trial: Trial) -> Notes:
        """Where what is seen of a trial is noted."""
        return Notes(trial.cell.id, trial.block + 1, self.telemetry, self.events)

    def event(self, kind: str, detail: str = "", trial: Trial | None = None) -> None:
        """Note that something happened now."""
        cell, number = (trial.cell.id, trial.block + 1) if trial else (None, None)
        self.events.append(_event(kind, detail, cell, number))

    def first(self, trial: Trial) -> bool:
        """Whether this has not been asked before of a cell that costs the same at rest."""
        known = trial.cell.at_rest in self._rested
        self._rested.add(trial.cell.at_rest)
        return not known

    def write(self) -> None:
        """Put both files on disk."""
        folder = self.folder
        results.write_table(
            folder / "telemetry.parquet", self.telemetry, results.telemetry_schema()
        )
        results.write_table(folder / "events.parquet", self.events, results.events_schema())


def _event(kind: str, detail: str, cell: str | None, trial: int | None) -> dict[str, Any]:
    at = time.monotonic_ns()
    return {"at": at, "cell": cell, "trial": trial, "kind": kind, "detail": detail}
