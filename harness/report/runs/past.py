"""Past runs and calibrations in a folder, as far as they can be known without their trials."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from harness.analysis.verdicts import Status
from harness.record import being_written
from harness.results import FORMAT

PAGE = "report.html"


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("no time of day that there is") from None


When = Annotated[AwareDatetime, AfterValidator(_utc)]
Figure = Annotated[float, Field(ge=0, le=1e12)]


class _Read(BaseModel):
    """What is needed of a file; everything else in it is passed over."""

    model_config = ConfigDict(frozen=True)

    format: Annotated[int, Field(le=FORMAT)] = 0


class _Part(BaseModel):
    version: Any


class _Placement(BaseModel):
    generator: Any
    server: Any
    generators: int = 1


class _Environment(BaseModel):
    machine: dict[str, Any] | None = None
    kernel: dict[str, Any] | None = None
    python: dict[str, Any] | None = None
    libraries: dict[str, Any] | None = None
    project: dict[str, Any] | None = None


class _Scenario(BaseModel):
    model_config = ConfigDict(extra="allow")

    timeout_s: Figure


class RunInfo(_Read):
    """Of run.json."""

    status: str
    question: str
    run: str
    scenario: _Scenario
    command: list[str]
    started_at: When
    environment: _Environment
    placement: _Placement
    parts: dict[str, _Part] = {}
    targets: dict[str, str] = {}
    awake: Any = None
    beside: list[str] = []


class _Latency(BaseModel):
    p50: Figure | None
    p99: Figure | None
    not_resolvable: list[str] = []


class _Reason(BaseModel):
    code: str


class _Verdict(BaseModel):
    status: Status
    reasons: list[_Reason]


class _Load(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str
    words: str


class _Condition(BaseModel):
    model_config = ConfigDict(extra="allow")

    asked: list[str] = []
    how: list[str] = []
    durability: str = "A"


class PastCell(BaseModel):
    """A cell in summary.json."""

    id: str
    style: str
    variant: str
    load: _Load
    condition: _Condition
    again: str = ""
    throughput_per_s: Figure | None
    latency_ms: _Latency
    range: dict[str, tuple[Figure, Figure] | None] = {}
    """Runs whose summary was made by an earlier version have none."""
    verdict: _Verdict


class SummaryInfo(_Read):
    """Of summary.json."""

    cells: list[PastCell]
    headline: list[str] = []


class _Judged(BaseModel):
    checks: int
    not_met: int


class CalibrationInfo(_Read):
    """Of calibration.json."""

    calibrated_at: When
    headline: _Judged
    environment: _Environment


@dataclass(frozen=True)
class PastRun:
    """A run."""

    name: str
    """Its folder's."""
    info: RunInfo
    going_on: bool
    """Whether a process is at it."""
    summary: SummaryInfo | None
    lacking: str
    """Why there is no summary; empty where there is one."""
    has_page: bool

    @cached_property
    def raw(self) -> Mapping[str, Any]:
        """As run.json has it, for harness.analysis.sameness: without what it did not note."""
        return self.info.model_dump(exclude_unset=True)

    @property
    def started(self) -> datetime:
        """When it began."""
        return self.info.started_at

    def link(self, cell: str = "") -> str:
        """To its report, or to a cell in it, from the folder around; empty without a report."""
        return _link(self.name, PAGE, cell) if self.has_page else ""


@dataclass(frozen=True, slots=True)
class PastCalibration:
    """A calibration that came to a conclusion."""

    name: str
    info: CalibrationInfo

    @property
    def link(self) -> str:
        """To its conclusion, from the folder around."""
        return _link(self.name, "calibration.json")


@dataclass(frozen=True, slots=True)
class Past:
    """All that is in a folder."""

    runs: Sequence[PastRun]
    """The newest first."""
    calibrations: Sequence[PastCalibration]
    """The newest first."""
    others: Sequence[tuple[str, str]]
    """Folders that are neither, by name, and why."""


def read_past(folder: Path) -> Past:
    """Look through a folder's folders, but for hidden ones. Raises OSError where it cannot be
    listed; a folder that cannot be read is one of the others."""
    runs, calibrations, others = [], [], []
    for inner in sorted(folder.iterdir()):
        if inner.name.startswith(".") or not inner.is_dir():
            continue
        try:
            if (inner / "calibration.json").is_file():
                info = _read(inner / "calibration.json", CalibrationInfo)
                calibrations.append(PastCalibration(inner.name, info))
            else:
                runs.append(_run(inner))
        except (ValueError, OSError) as error:
            others.append((inner.name, str(error)))
    return Past(
        sorted(runs, key=lambda run: run.started, reverse=True),
        sorted(calibrations, key=lambda each: each.info.calibrated_at, reverse=True),
        others,
    )


def holds_runs(folder: Path) -> bool:
    """Whether a folder is one around runs or calibrations."""
    return any(
        next(folder.glob(f"*/{name}"), None) is not None
        for name in ("run.json", "calibration.json")
    )


def _run(folder: Path) -> PastRun:
    if not (folder / "run.json").is_file():
        inside = "; it holds runs, as a calibration that was interrupted does"
        raise ValueError(f"no run.json{inside if holds_runs(folder) else ''}")
    info = _read(folder / "run.json", RunInfo)
    summary, lacking = None, ""
    try:
        summary = _read(folder / "summary.json", SummaryInfo)
    except ValueError as error:
        lacking = str(error)
    return PastRun(
        folder.name,
        info,
        info.status == "running" and being_written(folder),
        summary,
        lacking,
        (folder / PAGE).is_file(),
    )


Kind = TypeVar("Kind", bound=BaseModel)


def _read(path: Path, kind: type[Kind]) -> Kind:
    """What is needed of a file. Raises ValueError in words that name the file."""
    if not path.is_file():
        raise ValueError(f"no {path.name}")
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        if (where, first["type"]) == ("format", "less_than_equal"):
            said = f"format {first['input']}; this program reads up to {FORMAT}"
        else:
            said = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(f"{path.name}: {said}") from None


def _link(*parts: str) -> str:
    """Names of files are bytes, and may be anything but `/`."""
    name, file, *place = parts
    at = "".join(f"#{quote(each, safe='')}" for each in place if each)
    return f"{quote(os.fsencode(name), safe='')}/{file}{at}"
