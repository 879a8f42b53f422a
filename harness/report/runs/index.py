"""`index.html` beside runs: which there are, what each found, and how a cell went over them."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from clients import catalog
from harness.analysis.verdicts import Status
from harness.condition import counted
from harness.report.cell_table import mark_of
from harness.report.charts.look import Look, look_of
from harness.report.charts.svg import mark_points
from harness.report.rendering import rendered
from harness.report.runs.history import History, Point, histories
from harness.report.runs.history_chart import FRAME, MARK, Plot, figure_of, head_of, plots, when
from harness.report.runs.past import Past, PastCell, PastRun, read_past
from harness.report.words import class_of
from harness.results import write_text

NAME = "index.html"
SIGN = b'<meta name="generator" content="orderbench, index of runs">'
"""By which an index of ours is known; in the template as well."""
HEAD_BYTES = 300
COMMIT = 7
"""Characters of a commit that are shown."""
STATES = {"running": "unfinished"}
"""What is said of a status when no process is at the run."""


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the table."""

    name: str
    link: str
    started: str
    question: str
    command: str
    state: str
    cells: Sequence[tuple[str, int]]
    """Statuses, and how many cells have each."""
    said: Sequence[str]
    lacking: str
    commit: str
    machine: str


@dataclass(frozen=True, slots=True)
class CellSection:
    """A cell over runs."""

    name: str
    load: str
    mark: Markup
    look: Look
    plots: Sequence[Plot]
    heads: Sequence[str]
    rows: Sequence[tuple[Point, str, Sequence[str], str]]
    """Point, when, a figure a head, and the verdict; the newest first."""
    older: int

    @property
    def symbol(self) -> str:
        """The id of its mark in the page."""
        return f"mark-{ord(self.look.mark)}"


def build_index(folder: Path) -> None:
    """Write a folder's index.html from the runs in it. Raises OSError where that cannot be done."""
    page = render_index(folder.resolve().name, read_past(folder))
    # Names of folders are bytes, and need not be text.
    write_text(folder / NAME, page.encode("utf-8", "replace").decode())


def is_index(path: Path) -> bool:
    """Whether a file is an index that this program made, and so may be made anew."""
    try:
        with path.open("rb") as file:
            return SIGN in file.read(HEAD_BYTES)
    except OSError:
        return False


def render_index(around: str, past: Past) -> str:
    """The page; `around` is the folder's name. Every text is escaped."""
    found = histories(past.runs)
    styles = list(
        dict.fromkeys([*catalog.styles(), *(c.newest.style for each in found for c in each.cells)])
    )
    groups = [(each, list(_sections(each, styles))) for each in found]
    drawn = [section for _, sections in groups for section in sections]
    return rendered(
        "index.html.j2",
        around=around,
        runs=[_row(run, around) for run in past.runs],
        calibrations=[
            (
                each.name,
                each.link,
                each.info.calibrated_at.strftime("%Y-%m-%d %H:%M"),
                each.info.headline,
                _commit(each.info.environment.project),
                _machine(each.info.environment.machine, each.info.environment.kernel),
            )
            for each in past.calibrations
        ],
        others=past.others,
        groups=groups,
        symbols={each.symbol: mark_points(each.look.mark, MARK) for each in drawn},
        machine=_machine,
        commit=_commit,
        frame=FRAME,
    )


def _row(run: PastRun, around: str) -> Row:
    info = run.info
    by_status = Counter(cell.verdict.status for cell in (run.summary.cells if run.summary else ()))
    remedy = shlex.join(["bench.py", "report", f"{around}/{run.name}"])
    return Row(
        run.name,
        run.link(),
        run.started.strftime("%Y-%m-%d %H:%M"),
        info.question,
        shlex.join(info.command[2:]),
        info.status if run.going_on else STATES.get(info.status, info.status),
        [(status.value, by_status[status]) for status in Status if by_status[status]],
        run.summary.headline if run.summary else [],
        f"{run.lacking}: {remedy} makes it from the trials that there are" if run.lacking else "",
        _commit(info.environment.project),
        _machine(info.environment.machine, info.environment.kernel),
    )


def _sections(history: History, styles: Sequence[str]) -> Iterator[CellSection]:
    for cell in history.cells:
        look = look_of(cell.newest.style, styles)
        yield CellSection(
            cell.newest.variant,
            _load(cell.newest),
            mark_of(look),
            look,
            plots(cell),
            [head_of(metric) for metric in cell.metrics],
            [
                (
                    point,
                    when(point),
                    [figure_of(point, metric) for metric in cell.metrics],
                    _verdict(point.cell),
                )
                for point in reversed(cell.points)
            ],
            cell.older,
        )


def _load(cell: PastCell) -> str:
    """What of a cell its variant does not say."""
    condition = cell.condition
    promise = class_of(condition.durability)
    return ", ".join([cell.load.words, *condition.asked, *condition.how, promise])


def _verdict(cell: PastCell) -> str:
    codes = dict.fromkeys(reason.code.replace("_", " ") for reason in cell.verdict.reasons)
    return f"{cell.verdict.status}: {', '.join(codes)}" if codes else cell.verdict.status


def _commit(project: Mapping[str, Any] | None) -> str:
    if not project or not project.get("commit"):
        return "not known"
    return f"{project['commit']}"[:COMMIT] + (", changed" if project.get("changed") else "")


def _machine(machine: Mapping[str, Any] | None, kernel: Mapping[str, Any] | None) -> str:
    """In a few words."""
    machine, kernel = machine or {}, kernel or {}
    cpus = machine.get("cpus")
    said = [
        machine.get("cpu") or machine.get("architecture"),
        counted(len(cpus), "processor") if isinstance(cpus, list) else None,
        " ".join(str(kernel[key]) for key in ("system", "release") if kernel.get(key)),
    ]
    return ", ".join(str(each) for each in said if each) or "not known"
