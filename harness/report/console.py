"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

import math

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from harness.analysis.stats import Distribution
from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import RULES, Code, Status
from harness.plan import Plan, Trial
from harness.report.answers import answers
from harness.report.findings import repeats_words
from harness.report.instrument import quoted
from harness.report.messages import account
from harness.report.words import class_of, groups, labels

PLAIN_WIDTH = 120
SHOWN = 3
"""Cells that are named for one kind of reason."""
COLOURS = {
    Status.VALID: "green",
    Status.QUALIFIED: "yellow",
    Status.INVALID: "red",
    Status.FAILED: "red",
    Status.SKIPPED: "red",
}


def console() -> Console:
    """Standard output; wide enough for a table where it is no terminal."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=PLAIN_WIDTH)


class ConsoleWatcher:
    """Says what runs, how long is left, the live rate and failures, and each trial's p99."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._number = 0
        self._whose = ""
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[left]} left  {task.fields[now]}"),
                console=console,
            )
            self._task = self._live.add_task("", total=plan.seconds, left="", now="")
            self._live.start()

    def said(self, words: str) -> None:
        """See trial.Watcher."""
        self._print(escape(words))

    def trial_started(self, trial: Trial, number: int, revision: str = "") -> None:
        """See trial.Watcher."""
        self._number = number
        self._whose = f"{escape(revision)}: " if revision else ""
        if self._live is not None:
            self._live.update(
                self._task,
                description=f"{number}/{self._plan.most_trials} {self._whose}{_words(trial)}",
                now="starting",
            )
            self._advance(0.0)

    def trial_progress(self, elapsed_s: float, rate: float, failed: int) -> None:
        """See trial.Watcher."""
        if self._live is not None:
            now = f"{rate:,.0f}/s" + (f"  {failed} failed" if failed else "")
            self._live.update(self._task, now=now)
            self._advance(elapsed_s)

    def trial_ended(self, trial: Trial, result: TrialResult) -> None:
        """See trial.Watcher."""
        counts = result.counts
        lost = counts.dropped + counts.failed + counts.timed_out
        self._print(
            f"{self._whose}{_words(trial)}: p99 {_p99(result.latency, self._plan)}, "
            f"{result.throughput_per_s:,.0f}/s"
            + (f", [red]{lost} of {counts.planned} not done[/red]" if lost else "")
        )

    def trial_failed(self, trial: Trial, reason: str) -> None:
        """See trial.Watcher."""
        self._print(f"{self._whose}{_words(trial)}: [red]failed[/red]: {escape(reason)}")

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()

    def _print(self, text: str) -> None:
        total = self._plan.most_trials
        left = "" if self._live else f"  ({_minutes(self._left(0.0, self._number))} left)"
        where = self._live.console if self._live else self._console
        line = f"{self._number:>{len(str(total))}}/{total} {text}{left}"
        where.print(line, highlight=False, soft_wrap=True)

    def _left(self, elapsed_s: float, finished: int) -> float:
        return max(self._plan.seconds - finished * self._plan.trial_seconds - elapsed_s, 0.0)

    def _advance(self, elapsed_s: float) -> None:
        assert self._live is not None
        left = self._left(elapsed_s, self._number - 1)
        self._live.update(self._task, completed=self._plan.seconds - left, left=_minutes(left))


def print_summary(summary: Summary, console: Console) -> None:
    """The table of a run, a row a cell, and the reasons of verdicts that are not valid."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("style", "load"):
        table.add_column(name)
    counted = any(cell.ledger for cell in summary.cells)
    messages = ("acked/s", "acked, lost") if counted else ()
    for name in ("p50 ms", "p99 ms", *messages, "done/s", "client µs", "server µs"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    timeout = float(summary.info["scenario"]["timeout_s"])
    for sentence in answers(summary):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    named = labels(summary.cells)
    shown = _shown(summary)
    for group in groups(shown.once):
        for cell in group.cells:
            status = cell.verdict.status
            table.add_row(
                escape(named[cell.info["id"]]),
                group.title,
                _milliseconds(cell.latency.p50, timeout),
                _milliseconds(cell.latency.p99, timeout),
                *(_messages(cell) if counted else ()),
                _per_s(cell.throughput_per_s),
                *(_microseconds(cell.cpu_us_per_op[role]) for role in ("generator", "server")),
                f"[{COLOURS[status]}]{status.value}[/]",
                style="dim" if status is Status.INVALID else None,
            )
    console.print(table)
    if instrument := quoted(summary.info):
        console.print(f"Instrument: {instrument}.", markup=False, highlight=False, soft_wrap=True)
    for code, cells in _by_code(shown).items():
        names = [f"{named[c.info['id']]}, {c.info['load']['words']}" for c in cells[:SHOWN]]
        if len(cells) > SHOWN:
            names.append(f"{len(cells) - SHOWN} more")
        details = "; ".join(r.detail for r in cells[0].verdict.reasons if r.code is code)
        first = "" if len(cells) == 1 else "the first: "
        console.print(
            f"{'; '.join(names)}: {code}: {first}{details}. Remedy: {RULES[code][1]}.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if needed := repeats_words(summary):
        console.print(needed, markup=False, highlight=False, soft_wrap=True)


def _shown(summary: Summary) -> Summary:
    """All of a run; of searches the rates between which they ended, the report has the others."""
    ends = [probe.cell for found in summary.capacities for probe in found.ends]
    return Summary(summary.info, ends) if summary.capacities else summary


def _by_code(summary: Summary) -> dict[Code, list[CellResult]]:
    found: dict[Code, list[CellResult]] = {}
    for cell in summary.cells:
        for code in dict.fromkeys(reason.code for reason in cell.verdict.reasons):
            found.setdefault(code, []).append(cell)
    return found


def _short(variant: str) -> str:
    """Without the server's library, which the report has."""
    style, _, label = variant.partition("=")
    return style.partition("+")[0] + (f"={label}" if label else "")


def _words(trial: Trial) -> str:
    condition = trial.cell.condition
    what = ", ".join([_short(trial.cell.variant.name), *condition.how])
    if condition.broker is not None:
        what += f", {class_of(condition.durability)}"
    load = ", ".join([trial.cell.load.words, *condition.asked])
    return f"{what} at {load}, trial {trial.block + 1}"


def _p99(latency: Distribution, plan: Plan) -> str:
    text = _milliseconds(latency.p99, plan.scenario.timeout_s)
    return f"{text} ms" if math.isfinite(latency.p99) else text


def _milliseconds(value: float, timeout_s: float) -> str:
    if math.isnan(value):
        return "not resolvable"
    return f"> {timeout_s:g} s" if math.isinf(value) else f"{value:.2f}"


def _messages(cell: CellResult) -> tuple[str, str]:
    """Acknowledgements a second, and how many acknowledged messages were lost."""
    found = account(cell.trials)
    if found is None or not found.kept.acknowledges:
        return "–", "–"
    lost = found.lost_acknowledged
    return _per_s(cell.acked_per_s), f"[red]{lost:,}[/red]" if lost else "0"


def _per_s(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _microseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
