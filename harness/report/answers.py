"""The answer to a run's question, in sentences made from its figures and nothing else.

No sentence ranks: figures stand with their range over trials, and the reader is told what
overlapping ranges mean. Cells that are invalid, failed or skipped are named, never used.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import median

from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Status
from harness.condition import size
from harness.report.words import Group, groups, labels
from harness.report.words import whole_number as number

USABLE = (Status.VALID, Status.QUALIFIED)
MANY = 100
"""Subscribers from which on their share of the server's memory can be told from its own."""


def answers(summary: Summary) -> list[str]:
    """The report's first lines, a sentence or two each."""
    said = _Speaker(summary).say()
    if not said:
        return ["No cell of this run can carry an answer; the verdicts below say why."]
    left_out = [c for c in summary.cells if c.verdict.status not in USABLE]
    if left_out:
        named = labels(summary.cells)
        names = dict.fromkeys(f"{named[c.info['id']]} ({c.verdict.status.value})" for c in left_out)
        said.append(f"Not used here: {', '.join(names)}.")
    repeats = max(len(cell.trials) for cell in summary.cells)
    if repeats > 1:
        said.append(
            f"In round brackets the range over {repeats} trials: where two of them overlap, this"
            " run shows no difference. In square brackets a 95 % interval of the mean."
        )
    else:
        said.append("Each figure is from one trial; with more --repeats their range is shown.")
    return said


class _Speaker:
    def __init__(self, summary: Summary) -> None:
        self._groups = [
            Group(group.title, group.loop, cells)
            for group in groups(summary)
            if (cells := [c for c in group.cells if c.verdict.status in USABLE])
        ]
        self._labels = labels(summary.cells)
        self._operation = summary.info["scenario"]["operation"]
        self._timeout_s = summary.info["scenario"]["timeout_s"]

    def say(self) -> list[str]:
        match self._operation:
            case "watch":
                return self._watch()
            case "job":
                return self._job()
        cells = [cell for group in self._groups for cell in group.cells]
        said = []
        if any(c.info["condition"]["work_mean_ms"] for c in cells):
            said += self._results_after_work()
        elif any(cell.info["condition"]["how"] for cell in cells):
            said += self._ways()
        else:
            said += self._latency()
        return said + self._repeats(cells)

    def _name(self, cell: CellResult) -> str:
        return self._labels[cell.info["id"]]

    def _each(self, cells: Sequence[CellResult], figure: Callable[[CellResult], str]) -> str:
        return "; ".join(f"{self._name(c)} {text}" for c in cells if (text := figure(c)))

    def _latency(self) -> list[str]:
        return [
            f"{group.title}: answered within: {self._each(group.cells, self._p50_and_p99)}."
            for group in self._groups
        ]

    def _p50_and_p99(self, cell: CellResult) -> str:
        parts = []
        for mark, words in (("p50", "for half"), ("p99", "for 99 %")):
            value = getattr(cell.latency, mark)
            if math.isinf(value):
                parts.append(f"more than {self._timeout_s:g} s {words}")
            elif not math.isnan(value):
                parts.append(f"{_ms(value)}{_range(cell, mark)} {words}")
        return ", ".join(parts)

    def _results_after_work(self) -> list[str]:
        said = []
        for group in self._groups:
            by_excess = sorted(group.cells, key=lambda c: c.excess.value if c.excess else math.inf)
            said.append(
                f"{group.title}, mean time from the end of the work to the result in the client's"
                f" hand: {self._each(by_excess, _excess)}."
            )
            polling = [c for c in group.cells if c.notes.get("polls")]
            if polling:
                said.append(f"Polling: {self._each(polling, _polls)}.")
            said.append(f"Price of an order: {self._each(group.cells, _price)}.")
        return said

    def _ways(self) -> list[str]:
        """What a way of doing it changes, style by style: against the first of its ways."""
        said = []
        for group in self._groups:
            for _, each in groupby(group.cells, key=lambda c: c.info["variant"]):
                first, *others = each
                told = [f"{self._name(first)} {_figures(first)}"]
                told += [f"{_difference(first, cell)} {_figures(cell, first)}" for cell in others]
                said.append(f"{group.title}, half answered within: {'; '.join(told)}.")
        return said

    def _repeats(self, cells: Sequence[CellResult]) -> list[str]:
        """Where calls were made again: how often the work was done."""
        if not any(c.info["condition"]["attempts"] > 1 for c in cells):
            return []
        worked = self._each(
            cells,
            lambda c: (
                f"{c.worked_per_order:.2f} times" if c.worked_per_order is not None else "not told"
            ),
        )
        return [f"The work of an order was done: {worked}."]

    def _watch(self) -> list[str]:
        said = []
        for group in self._groups:
            cells = sorted(
                (c for c in group.cells if c.watched is not None), key=lambda c: _last(c)
            )
            if not cells:
                continue
            floor = [f["last_us"] for c in cells for t in c.trials if (f := t.health["floor_us"])]
            beside = f" A bare loop needs {_ms(median(floor) / 1e3)} to receive as many."
            said.append(
                f"{group.title}, time until the last subscriber knew:"
                f" {self._each(cells, _last_and_price)}.{beside if floor else ''}"
            )
        return said

    def _job(self) -> list[str]:
        said = []
        for group in self._groups:
            through = [c for c in group.cells if c.info["condition"]["cut_idle_s"]]
            direct = [c for c in group.cells if not c.info["condition"]["cut_idle_s"]]
            if through:
                whole = [c for c in through if c.counts.done == c.counts.planned]
                broken = [c for c in through if c.counts.done < c.counts.planned]
                limit = through[0].info["condition"]["cut_idle_s"]
                text = f"Through a gateway that cuts what is idle for {limit:g} s"
                if whole:
                    text += f", every job was answered by {self._names(whole)}"
                if broken:
                    text += f"{';' if whole else ','} not all by " + self._each(
                        broken, lambda c: f"({c.counts.done} of {c.counts.planned})"
                    )
                said.append(f"{text}.")
            if direct:
                said.append(f"Without it, {group.title}: {self._each(direct, _job_figures)}.")
        return said

    def _names(self, cells: Sequence[CellResult]) -> str:
        return ", ".join(self._name(c) for c in cells)


def _excess(cell: CellResult) -> str:
    mean = cell.excess
    if mean is None:
        return ""
    interval = f" [{number(mean.low)}, {number(mean.high)}]" if math.isfinite(mean.low) else ""
    return f"{_ms(mean.value)}{interval}"


def _polls(cell: CellResult) -> str:
    polls = cell.notes["polls"]
    empty = cell.notes.get("empty_polls", 0.0)
    return f"{polls:.2f} polls an order, {empty / polls:.0%} of them empty"


def _price(cell: CellResult) -> str:
    parts = []
    client, server = cell.cpu_us_per_op["generator"], cell.cpu_us_per_op["server"]
    if client is not None and server is not None:
        parts.append(f"{number(client + server)} µs of CPU")
    if cell.bytes_per_op is not None:
        parts.append(f"{number(sum(cell.bytes_per_op))} bytes")
    return " and ".join(parts)


def _difference(first: CellResult, cell: CellResult) -> str:
    """What a cell does otherwise than the first of its style."""
    usual, ways = (c.info["condition"]["how"] for c in (first, cell))
    return "with " + " and ".join([w for w in ways if w not in usual] or ["the same"])


def _figures(cell: CellResult, first: CellResult | None = None) -> str:
    """Latency, CPU and bytes; each as a multiple of the first cell's where there is one."""

    def of(each: CellResult) -> list[tuple[str, float]]:
        found = [(f"{_ms(each.latency.p50)}{_range(each, 'p50')}", each.latency.p50)]
        client, server = each.cpu_us_per_op["generator"], each.cpu_us_per_op["server"]
        if client is not None and server is not None:
            found.append((f"{number(client + server)} µs of CPU", client + server))
        if each.bytes_per_op is not None:
            found.append((f"{number(sum(each.bytes_per_op))} bytes", sum(each.bytes_per_op)))
        return found

    mine = of(cell)
    if first is None:
        return ", ".join(words for words, _ in mine)
    parts = []
    for (words, value), (_, base) in zip(mine, of(first), strict=False):
        times = f" ({value / base:.2f} times)" if base and math.isfinite(value / base) else ""
        parts.append(words + times)
    if _overlap(first, cell):
        parts[0] = mine[0][0]
    return ", ".join(parts)


def _overlap(one: CellResult, other: CellResult) -> bool:
    """Whether the ranges over trials of two median latencies share a value."""
    low, high = ([t.latency.p50 for t in cell.trials] for cell in (one, other))
    return len(low) > 1 and len(high) > 1 and min(low) <= max(high) and min(high) <= max(low)


def _last(cell: CellResult) -> float:
    assert cell.watched is not None
    return cell.watched.last.p50


def _last_and_price(cell: CellResult) -> str:
    value = _last(cell)
    if not math.isfinite(value):
        return "not all within the timeout" if math.isinf(value) else ""
    parts = [f"{_ms(value)}{_range(cell, 'last')}"]
    subscribers = cell.info["condition"]["subscribers"]
    if subscribers >= MANY:
        client, server = cell.cpu_us_per_op["generator"], cell.cpu_us_per_op["server"]
        if client is not None and server is not None:
            parts.append(f"{number((client + server) / subscribers)} µs of CPU")
        if cell.bytes_per_op is not None:
            parts.append(f"{number(sum(cell.bytes_per_op) / subscribers)} bytes a delivery")
        if memory := cell.server_memory.get("per_subscriber"):
            parts.append(f"{size(round(memory / 1024) * 1024)} of the server's memory a subscriber")
    if cell.info["condition"]["stalled"] and cell.server_memory:
        grown = cell.server_memory["window_end"] - cell.server_memory["window_start"]
        parts.append(f"the server grew by {grown / 2**20:,.1f} MiB")
    return ", ".join(parts)


def _job_figures(cell: CellResult) -> str:
    parts = []
    if cell.connections is not None:
        parts.append(f"held {cell.connections} connections")
    if cell.progress is not None and math.isfinite(cell.progress.p50):
        parts.append(f"progress was {_ms(cell.progress.p50)} old when seen")
    else:
        parts.append("told no progress")
    if price := _price(cell):
        parts.append(f"{price} a job")
    return ", ".join(parts)


def _range(cell: CellResult, mark: str) -> str:
    """The least and most over trials, of a latency's percentile or of the last to know."""

    def of(trial: TrialResult) -> float:
        if mark == "last":
            return trial.watched.last.p50 if trial.watched else math.nan
        value: float = getattr(trial.latency, mark)
        return value

    values = [of(trial) for trial in cell.trials]
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return ""
    return f" ({number(min(values))}–{number(max(values))})"


def _ms(value: float) -> str:
    return f"{value:,.2f} ms" if value < 10 else f"{value:,.0f} ms"
