"""The answer to a run that sent messages, in sentences: rates, delays, and what became of them."""

import math
from collections.abc import Callable, Sequence

from harness.analysis.stats import Distribution
from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Code
from harness.report.messages import blemishes, headline
from harness.report.words import Group, figure, groups, labels, ms, share, spread

Pick = Callable[[CellResult | TrialResult], Distribution | None]


class Messages:
    """Speaks of a run of messages. What became of them is told of every cell that counted them,
    whatever its verdict: that a cell failed is often just that."""

    def __init__(self, summary: Summary, usable: Sequence[Group]) -> None:
        """`usable`: the groups without the cells whose figures carry no answer."""
        self._usable = usable
        self._groups = [
            Group(group.title, group.loop, cells)
            for group in groups(summary)
            if (cells := [c for c in group.cells if c.ledger is not None])
        ]
        self._labels = labels(summary.cells)
        self._timeout_s = summary.info["scenario"]["timeout_s"]
        self._fault = summary.info["scenario"].get("fault")

    def say(self) -> list[str]:
        """Its sentences; none where no cell has a figure."""
        said = []
        for group in self._usable:
            figures = self._rates if group.loop == "closed loop" else self._delays
            said += self._told(group.title, group.cells, figures)
        for group in self._groups:
            said += self._told(f"{group.title}, by its accounts", group.cells, self._account)
        return said + self._killed() + self._read_again()

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

    def _account(self, cell: CellResult) -> str:
        # What a kill has repeated and disordered has a sentence of its own.
        return ", ".join([headline(cell), *blemishes(cell, disorder=not _was_killed(cell))])

    def _killed(self) -> list[str]:
        """Told only where a node did die."""
        said = []
        for group in self._groups:
            hit = [cell for cell in group.cells if _was_killed(cell)]
            said += self._told(f"{group.title}, without a message for at most", hit, _hurt)
        return [self._meaning(), *said] if said else []

    def _meaning(self) -> str:
        if self._fault and self._fault["wipe"]:
            return (
                "In every trial a node was killed and its folder removed: this tests replication,"
                " since nothing of what that node alone had is left."
            )
        return (
            "In every trial a node was killed; this tests replication, not fsync: what a killed"
            " process had given to the kernel survives it."
        )

    def _read_again(self) -> list[str]:
        said = []
        for group in self._groups:
            what = "After the workers had consumed them, a further consumer could read again"
            where = f" ({group.title})" if len(self._groups) > 1 else ""
            said += self._told(what + where, group.cells, _again)
        return said


def _ack(of: CellResult | TrialResult) -> Distribution | None:
    return of.ack


def _done_with(of: CellResult | TrialResult) -> Distribution | None:
    return of.processed


def _was_killed(cell: CellResult) -> bool:
    return any(reason.code is Code.FAULT for reason in cell.verdict.reasons)


def _hurt(cell: CellResult) -> str:
    kept = cell.ledger
    if kept is None:
        return ""
    disorder = f"{kept.reordered:,} behind a later one of their key"
    return f"{ms(kept.longest_gap_ms)}, {kept.duplicated:,} repeated, {disorder}"


def _again(cell: CellResult) -> str:
    return "" if cell.read_again is None else f"{share(cell.read_again)} of the messages"
