"""The answer to a run that sent messages, in sentences: rates, delays, and what became of them."""

import math
from collections.abc import Callable, Sequence

from harness.analysis.ledger import Ledger
from harness.analysis.stats import Distribution
from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Code
from harness.report.messages import BEHIND, Account, account
from harness.report.words import Group, figure, labels, ms, share, spread

KILLED = (
    "In every trial a node was killed; this tests replication, not fsync: what a killed process had"
    " given to the kernel survives it."
)
WIPED = (
    "In every trial a node was killed and its folder removed: this tests replication, since nothing"
    " of what that node alone had is left."
)
Pick = Callable[[CellResult | TrialResult], Distribution | None]


class Messages:
    """Speaks of a run of messages. What became of them is told of all cells that counted them,
    whatever their verdict: that a cell failed is often just that."""

    def __init__(self, summary: Summary, usable: Sequence[Group]) -> None:
        """`usable`: the groups without the cells whose figures carry no answer."""
        self._summary = summary
        self._usable = usable
        self._each = _by_name(summary)
        self._labels = labels(summary.cells)
        self._timeout_s = summary.info["scenario"]["timeout_s"]

    def say(self) -> list[str]:
        """Its sentences; none where no cell has a figure."""
        said = []
        for group in self._usable:
            figures = self._rates if group.loop == "closed loop" else self._delays
            said += self._told(group.title, group.cells, figures)
        return (
            said
            + self._accounts()
            + fault_words(self._summary)
            + self._killed()
            + self._read_again()
        )

    def _told(
        self, what: str, cells: Sequence[CellResult], of: Callable[[CellResult], str]
    ) -> list[str]:
        each = [f"{self._labels[c.info['id']]} {text}" for c in cells if (text := of(c))]
        return [f"{what}: {'; '.join(each)}."] if each else []

    def _rates(self, cell: CellResult) -> str:
        acked = completed = ""
        if cell.acked_per_s is not None:
            every = spread([t.acked_per_s for t in cell.trials])
            acked = f"{figure(cell.acked_per_s)}{every} acknowledged"
        if cell.throughput_per_s is not None:
            every = spread([t.throughput_per_s for t in cell.trials])
            completed = f"{figure(cell.throughput_per_s)}{every} completed a second"
        both = f"{acked} and {completed}" if acked else completed
        return ", ".join(part for part in (both, self._processed(cell)) if part)

    def _delays(self, cell: CellResult) -> str:
        half, most = (self._within(cell, mark, _ack) for mark in ("p50", "p99"))
        told = [f"{half} for half"] if half else []
        told += [f"{most} for 99 %"] if most else []
        acked = f"acknowledged within {' and '.join(told)}" if told else ""
        return ", ".join(part for part in (acked, self._processed(cell)) if part)

    def _processed(self, cell: CellResult) -> str:
        within = self._within(cell, "p99", _done_with)
        return f"processed within {within} for 99 %" if within else ""

    def _within(self, cell: CellResult, mark: str, of: Pick) -> str:
        """A percentile with its range over trials; empty where there is none to tell."""
        found = of(cell)
        value = math.nan if found is None else getattr(found, mark)
        if math.isinf(value):
            return f"more than {self._timeout_s:g} s"
        every = [getattr(each, mark) for trial in cell.trials if (each := of(trial))]
        return "" if math.isnan(value) else f"{ms(value)}{spread(every)}"

    def _accounts(self) -> list[str]:
        told = []
        for name, found, killed in self._each:
            # What a kill has repeated and disordered has a sentence of its own.
            told.append(f"{name} {', '.join([found.headline, *found.blemishes(not killed)])}")
        return [f"Message by message: {'; '.join(told)}."] if told else []

    def _killed(self) -> list[str]:
        """Told only where a node did die."""
        told = [f"{name} {_hurt(found.kept)}" for name, found, killed in self._each if killed]
        return [f"No message arrived for at most: {'; '.join(told)}."] if told else []

    def _read_again(self) -> list[str]:
        what = "After the workers had consumed them, a further consumer could read again"
        told = [
            f"{name} {share(found.read_again)} of the messages"
            for name, found, _ in self._each
            if found.read_again is not None
        ]
        return [f"{what}: {'; '.join(told)}."] if told else []


def fault_words(summary: Summary) -> list[str]:
    """What the death of a node tests; told only where one did die."""
    if not any(_was_killed(cell) for cell in summary.cells):
        return []
    wiped = summary.info["scenario"]["fault"]["wipe"]
    return [WIPED if wiped else KILLED]


def _was_killed(cell: CellResult) -> bool:
    return any(reason.code is Code.FAULT for reason in cell.verdict.reasons)


def _by_name(summary: Summary) -> list[tuple[str, Account, bool]]:
    """Name, account, and whether a node was killed, of all cells of one name together."""
    named = labels(summary.cells)
    alike: dict[tuple[str, bool], list[TrialResult]] = {}
    for cell in summary.cells:
        alike.setdefault((named[cell.info["id"]], _was_killed(cell)), []).extend(cell.trials)
    return [
        (name, found, killed)
        for (name, killed), trials in alike.items()
        if (found := account(trials)) is not None
    ]


def _ack(of: CellResult | TrialResult) -> Distribution | None:
    return of.ack


def _done_with(of: CellResult | TrialResult) -> Distribution | None:
    return of.processed


def _hurt(kept: Ledger) -> str:
    disorder = f"{kept.reordered:,} {BEHIND}"
    return f"{ms(kept.longest_gap_ms)}, {kept.duplicated:,} repeated, {disorder}"
