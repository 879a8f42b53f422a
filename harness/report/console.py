"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from harness.analysis.stats import Distribution
from harness.analysis.summary import Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Status
from harness.plan import Plan, Trial
from harness.report.brief import LOST, brief, latency_words
from harness.report.words import class_of

PLAIN_WIDTH = 120
COLOURS = {
    Status.VALID: "green",
    Status.QUALIFIED: "yellow",
    Status.INVALID: "red",
    Status.FAILED: "red",
    Status.SKIPPED: "red",
}


def console(stderr: bool = False) -> Console:
    """Standard output, or error; wide enough for a table where it is no terminal."""
    terminal = Console(stderr=stderr)
    return terminal if terminal.is_terminal else Console(stderr=stderr, width=PLAIN_WIDTH)


class ConsoleWatcher:
    """Says what runs, how long is left, the live rate and failures, and each trial's p99."""

    figures = None

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

    def hosts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See trial.Watcher: what is said of them is enough."""

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
    made = brief(summary)
    _say(made.answer, console)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("style", "load"):
        table.add_column(name)
    for name in made.heads:
        table.add_column(name, justify="right")
    table.add_column("verdict")
    lost = made.heads.index(LOST) if LOST in made.heads else None
    for row in made.rows:
        figures = [
            f"[red]{escape(text)}[/]" if row.lost and place == lost else escape(text)
            for place, text in enumerate(row.figures)
        ]
        table.add_row(
            escape(row.name),
            row.load,
            *figures,
            f"[{COLOURS[row.status]}]{row.status.value}[/]",
            style="dim" if row.status is Status.INVALID else None,
        )
    console.print(table)
    _say(made.notes, console)


def _say(sentences: Sequence[str], console: Console) -> None:
    for sentence in sentences:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


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
    text = latency_words(latency.p99, plan.scenario.timeout_s)
    return f"{text} ms" if math.isfinite(latency.p99) else text


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
