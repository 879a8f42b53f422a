"""The history of a cell: what it came to in each run that measured the same on the same machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.analysis.between import name_of, scenario_of
from harness.analysis.sameness import (
    machine_differences,
    machine_facts,
    setting_differences,
    software_differences,
)
from harness.analysis.two_runs import WORDS
from harness.analysis.verdicts import Status
from harness.condition import Condition
from harness.report.runs.past import PastCell, PastRun

MOST = 50
"""Runs of a cell that are shown; older ones are counted."""
METRICS = {"p50": "ms", "p99": "ms", "throughput_per_s": "operations/s"}
"""Each with its unit; the last of closed loops alone."""
USUAL = Condition().to_json()


@dataclass(frozen=True, slots=True)
class Point:
    """A cell in one run."""

    run: PastRun
    cell: PastCell

    @property
    def failed(self) -> bool:
        """Whether it has no figures worth showing."""
        return self.cell.verdict.status in (Status.FAILED, Status.SKIPPED)

    @property
    def invalid(self) -> bool:
        """Whether its figures say nothing of the style."""
        return self.cell.verdict.status is Status.INVALID

    def value(self, metric: str) -> float | None:
        """None where it failed, came too late or is not resolvable."""
        if self.failed:
            return None
        if metric == "throughput_per_s":
            return self.cell.throughput_per_s
        found: float | None = getattr(self.cell.latency_ms, metric)
        return found

    def range(self, metric: str) -> tuple[float, float] | None:
        """The least and the most over trials, where the run noted them."""
        return self.cell.range.get(metric) if self.value(metric) is not None else None


@dataclass(frozen=True, slots=True)
class CellHistory:
    """A cell over runs."""

    points: Sequence[Point]
    """The oldest first."""
    older: int
    """How many more there are."""

    @property
    def newest(self) -> PastCell:
        """The cell as it was last."""
        return self.points[-1].cell

    @property
    def metrics(self) -> list[str]:
        """Those that it has a figure of."""
        asked = list(METRICS) if self.newest.load.model == "closed" else list(METRICS)[:2]
        return [m for m in asked if any(each.value(m) is not None for each in self.points)]


@dataclass(frozen=True)
class History:
    """Runs that measured the same on the same machine."""

    runs: Sequence[PastRun]
    """The newest first."""
    apart: Sequence[str]
    """In what they are unlike the newer runs of the same question."""

    @cached_property
    def cells(self) -> list[CellHistory]:
        """Cells that two of the runs have, or more, in the order of the newest."""
        found: dict[str, list[Point]] = {}
        for run in self.runs:
            for cell in run.summary.cells if run.summary else ():
                if not cell.again and cell.verdict.status is not Status.SKIPPED:
                    found.setdefault(_same(cell), []).append(Point(run, cell))
        return [
            CellHistory(points[:MOST][::-1], len(points[MOST:]))
            for points in found.values()
            if len(points) > 1
        ]

    @property
    def changes(self) -> list[tuple[PastRun, list[str]]]:
        """Runs that had other software than the run before, but for the commit; the newest
        first."""
        found = []
        for run, before in zip(self.runs, self.runs[1:], strict=False):
            other = software_differences(before.raw, run.raw)
            if said := [each for each in other if not each.startswith("commit: ")]:
                found.append((run, said))
        return found


def histories(runs: Sequence[PastRun]) -> list[History]:
    """Of runs, the newest first; histories are in the order of their newest runs. Copies of a run
    count once."""
    groups: list[_Group] = []
    for run in {name_of(run.raw): run for run in runs if run.summary}.values():
        group = next((group for group in groups if group.takes(run)), None)
        if group is None:
            groups.append(group := _Group(run))
        group.add(run)
    newest: dict[str, PastRun] = {}
    found = []
    for history in (group.history(newest.get(group.question)) for group in groups):
        if history.cells:
            newest.setdefault(history.runs[0].info.question, history.runs[0])
            found.append(history)
    return found


class _Group:
    """Runs that are alike."""

    def __init__(self, first: PastRun) -> None:
        self.question = first.info.question
        self._asked = _asked(first)
        self._runs: list[PastRun] = []
        self._machines: dict[str, PastRun] = {}

    def takes(self, run: PastRun) -> bool:
        """Whether a run is like all that are in it. What a run did not note differs from nothing,
        so that two that are alike with a third need not be with each other."""
        return _asked(run) == self._asked and (
            _machine(run) in self._machines
            or not any(machine_differences(o.raw, run.raw) for o in self._machines.values())
        )

    def add(self, run: PastRun) -> None:
        self._runs.append(run)
        self._machines.setdefault(_machine(run), run)

    def history(self, newest: PastRun | None) -> History:
        """`newest`: the newest run of the same question that is in another group."""
        return History(self._runs, _unlike(newest, self._runs[0]) if newest else [])


def _asked(run: PastRun) -> tuple[str, Mapping[str, str]]:
    return scenario_of(run.raw), run.info.targets


def _machine(run: PastRun) -> str:
    return json.dumps(machine_facts(run.raw))


def _unlike(a: PastRun, b: PastRun) -> list[str]:
    found = [*machine_differences(a.raw, b.raw), *setting_differences(a.raw, b.raw)]
    return found if a.info.targets == b.info.targets else [*found, "services by address"]


def _same(cell: PastCell) -> str:
    """What cells of alike runs must share to be the same. A key that an older run did not know has
    its default."""
    condition = {**USUAL, **cell.condition.model_dump(exclude_unset=True)}
    parts = [
        {key: value for key, value in part.items() if key not in WORDS}
        for part in (cell.load.model_dump(), condition)
    ]
    return json.dumps([cell.id, cell.variant, *parts], sort_keys=True)
