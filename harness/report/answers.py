"""The answer to a run's question, in sentences made from its figures and nothing else.

Figures stand with their range over trials, which ranks nothing; what may be ranked is said by
harness.report.findings. Cells that are invalid, failed or skipped are named, never used.
"""

import math
from collections.abc import Callable, Sequence
from statistics import median

from harness.analysis.summary import CellResult, Summary
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Status
from harness.condition import size
from harness.report.capacity import capacity_words
from harness.report.charts.stack import stack_words
from harness.report.concurrency import concurrency_words
from harness.report.findings import finding_words
from harness.report.message_answers import Messages, fault_words
from harness.report.words import (
    Group,
    durability,
    durability_words,
    figure,
    groups,
    labels,
    ms,
    spread,
)
from harness.report.words import whole_number as number

USABLE = (Status.VALID, Status.QUALIFIED)
BOOTED_FAST = (
    'Kafka ran with little of the JVM (boot = "fast"): this is a smoke test, and its figures are'
    " not to be used."
)
MANY = 100
"""Subscribers from which on their share of the server's memory can be told from its own."""


def answers(summary: Summary) -> list[str]:
    """The report's first lines, a sentence or two each."""
    searched = capacity_words(summary)
    said = searched or [*_Speaker(summary.once).say(), *finding_words(summary)]
    if not said:
        return ["No cell of this run can carry an answer; the verdicts below say why."]
    if _boots_fast(summary):
        said.insert(0, BOOTED_FAST)
    if promises := durability_words(summary.cells):
        said.append(promises)
    if searched:
        return said
    if left_out := _left_out(summary):
        others = [c for c in summary.cells if c.verdict.status not in USABLE]
        but = ", but for its messages' account" if any(c.ledger for c in others) else ""
        said.append(f"Not used here{but}: {'; '.join(left_out)}.")
    repeats = max(len(cell.trials) for cell in summary.cells)
    if repeats > 1:
        said.append(
            f"In round brackets the range over {repeats} trials, in square brackets a 95 % interval"
            " of the mean."
        )
    else:
        said.append("Each figure is from one trial; with more --repeats their range is shown.")
    return said


def ranking_answers(summary: Summary) -> bool:
    """Whether it is asked who is ahead, so that what cells say of each other is the answer."""
    return not summary.capacities and not _Speaker(summary.once).beyond_latency()


def _boots_fast(summary: Summary) -> bool:
    boot = summary.info["scenario"].get("broker", {}).get("boot")
    return boot == "fast" and "kafka" in summary.info.get("parts", {})


def _left_out(summary: Summary) -> list[str]:
    """The cells that carry no answer, with their load where another of their name is used."""
    named = labels(summary.cells)
    used = {named[c.info["id"]] for c in summary.cells if c.verdict.status in USABLE}
    found: dict[str, None] = {}
    for group in groups(summary):
        for cell in group.cells:
            # Of a null one nobody expects an answer.
            if cell.verdict.status not in USABLE and not cell.info.get("null"):
                name = named[cell.info["id"]]
                at = f" at {group.title}" if name in used else ""
                found[f"{name}{at} ({cell.verdict.status.value})"] = None
    return list(found)


class _Speaker:
    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._groups = [
            Group(group.title, group.loop, cells)
            for group in groups(summary)
            if (cells := [c for c in group.cells if c.verdict.status in USABLE])
        ]
        self._labels = labels(summary.cells)
        self._operation = summary.info["scenario"]["operation"]
        self._timeout_s = summary.info["scenario"]["timeout_s"]

    def say(self) -> list[str]:
        if self._operation == "ingest":
            return Messages(self._summary, self._groups).say()
        if self._operation in ("watch", "job"):
            return self.beyond_latency()
        cells = [cell for group in self._groups for cell in group.cells]
        said = self.beyond_latency() or self._latency()
        return said + self._repeats(cells) + fault_words(self._summary)

    def beyond_latency(self) -> list[str]:
        """The answer where more is asked than how long each takes at a load; else none."""
        match self._operation:
            case "watch":
                return self._watch()
            case "job":
                return self._job()
            case "ingest":
                return []
        if taken_apart := stack_words(self._summary):
            return taken_apart
        cells = [cell for group in self._groups for cell in group.cells]
        if any(c.info["condition"]["work_mean_ms"] for c in cells):
            return self._results_after_work()
        if any(len(each) > 1 for group in self._groups for each in _by_way(group.cells)):
            return self._ways()
        return concurrency_words(self._groups, self._summary.cells)

    def _name(self, cell: CellResult) -> str:
        return self._labels[cell.info["id"]]

    def _each(self, cells: Sequence[CellResult], figure: Callable[[CellResult], str]) -> str:
        return "; ".join(f"{self._name(c)} {text}" for c in cells if (text := figure(c)))

    def _told(
        self, what: str, cells: Sequence[CellResult], figure: Callable[[CellResult], str]
    ) -> list[str]:
        """A sentence with the figure of each cell that has one; none where none has."""
        each = self._each(cells, figure)
        return [f"{what}: {each}."] if each else []

    def _latency(self) -> list[str]:
        return [
            sentence
            for group in self._groups
            for sentence in self._told(
                f"{group.title}: answered within", group.cells, self._p50_and_p99
            )
        ]

    def _p50_and_p99(self, cell: CellResult) -> str:
        marks = {"p50": "for half", "p99": "for 99 %"}
        return ", ".join(
            f"{within} {words}"
            for mark, words in marks.items()
            if (within := self._within(cell, mark))
        )

    def _within(self, cell: CellResult, mark: str) -> str:
        """A percentile of the latency with its range; empty where it is not resolvable."""
        value = getattr(cell.latency, mark)
        if math.isinf(value):
            return f"more than {self._timeout_s:g} s"
        return "" if math.isnan(value) else f"{ms(value)}{_range(cell, mark)}"

    def _results_after_work(self) -> list[str]:
        said = []
        for group in self._groups:
            by_excess = sorted(group.cells, key=lambda c: c.excess.value if c.excess else math.inf)
            what = "mean time from the end of the work to the result in the client's hand"
            said += self._told(f"{group.title}, {what}", by_excess, _excess)
            said += self._told("Polling", [c for c in group.cells if c.notes.get("polls")], _polls)
            said += self._told("Price of an order", group.cells, _price)
        return said

    def _ways(self) -> list[str]:
        """What a way of doing it changes, style by style: against the first of its ways."""
        said = []
        for group in self._groups:
            for first, *others in _by_way(group.cells):
                told = [f"{self._name(first)} {self._figures(first)}"]
                told += [
                    f"{_difference(first, cell)} {self._figures(cell, first)}" for cell in others
                ]
                said.append(f"{group.title}, half answered within: {'; '.join(told)}.")
        return said

    def _figures(self, cell: CellResult, first: CellResult | None = None) -> str:
        """Latency, CPU and bytes; each as a multiple of the first cell's where there is one."""

        def of(each: CellResult) -> dict[str, tuple[str, float | None]]:
            cpu, moved = _cpu_us(each), each.bytes_per_op and sum(each.bytes_per_op)
            return {
                "latency": (self._within(each, "p50") or "not resolvable", each.latency.p50),
                "CPU": (f"{number(cpu)} µs of CPU", cpu),
                "bytes": (f"{number(moved)} bytes", moved),
            }

        usual = of(first) if first is not None else {}
        parts = []
        for what, (words, value) in of(cell).items():
            if value is None:
                continue
            base = usual[what][1] if usual else None
            alike = what == "latency" and first is not None and _overlap(first, cell)
            told = base and math.isfinite(base) and math.isfinite(value) and not alike
            parts.append(f"{words}, {value / base:.2f} times as much" if base and told else words)
        return ", ".join(parts)

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
            floor = [f["last_us"] for c in cells for t in c.trials if (f := t.health["floor_us"])]
            beside = f" A bare loop needs {ms(median(floor) / 1e3)} to receive as many."
            what = f"{group.title}, time until the last subscriber knew"
            told = self._told(what, cells, _last_and_price)
            said += [sentence + (beside if floor else "") for sentence in told]
        return said

    def _job(self) -> list[str]:
        def cut(group: Group) -> bool:
            return any(cell.info["condition"]["cut_idle_s"] for cell in group.cells)

        said = []
        for group in sorted(self._groups, key=cut, reverse=True):
            if not cut(group):
                said += self._told(group.title, group.cells, _job_figures)
                continue
            whole = [self._name(c) for c in group.cells if c.counts.done == c.counts.planned]
            broken = self._each(
                [c for c in group.cells if c.counts.done < c.counts.planned],
                lambda c: f"({c.counts.done} of {c.counts.planned})",
            )
            told = [f"every job was answered by {'; '.join(whole)}."] if whole else []
            told += [f"{'Not' if whole else 'not'} every one by {broken}."] if broken else []
            said.append(f"{group.title}: {' '.join(told)}")
        return said


def _excess(cell: CellResult) -> str:
    mean = cell.excess
    if mean is None:
        return ""
    interval = f" [{figure(mean.low)}, {figure(mean.high)}]" if math.isfinite(mean.low) else ""
    return f"{ms(mean.value)}{interval}"


def _polls(cell: CellResult) -> str:
    polls = cell.notes["polls"]
    empty = cell.notes.get("empty_polls", 0.0)
    return f"{polls:.2f} polls an order, {empty / polls:.0%} of them empty"


def _price(cell: CellResult) -> str:
    parts = []
    if (cpu := _cpu_us(cell)) is not None:
        parts.append(f"{number(cpu)} µs of CPU")
    if cell.bytes_per_op is not None:
        parts.append(f"{number(sum(cell.bytes_per_op))} bytes")
    return " and ".join(parts)


def _cpu_us(cell: CellResult) -> float | None:
    """CPU time an operation of client, server and the gateway where there is one."""
    client, server = cell.cpu_us_per_op["generator"], cell.cpu_us_per_op["server"]
    if client is None or server is None:
        return None
    return client + server + (cell.cpu_us_per_op["gateway"] or 0.0)


def _by_way(cells: Sequence[CellResult]) -> list[list[CellResult]]:
    """The ways of each variant, apart by what they promise: only like is compared with like."""
    found: dict[tuple[str, str], list[CellResult]] = {}
    for cell in cells:
        found.setdefault((cell.info["variant"], durability(cell)), []).append(cell)
    return list(found.values())


def _difference(first: CellResult, cell: CellResult) -> str:
    """What a cell does otherwise than the first of its style."""
    usual, ways = (c.info["condition"]["how"] for c in (first, cell))
    added = [way for way in ways if way not in usual]
    left_out = [way for way in usual if way not in ways]
    return f"with {' and '.join(added)}" if added else f"without {' and '.join(left_out)}"


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
    parts = [f"{ms(value)}{_range(cell, 'last')}"]
    subscribers = cell.info["condition"]["subscribers"]
    if subscribers >= MANY:
        if (cpu := _cpu_us(cell)) is not None:
            parts.append(f"{number(cpu / subscribers)} µs of CPU")
        if cell.bytes_per_op is not None:
            parts.append(f"{number(sum(cell.bytes_per_op) / subscribers)} bytes a delivery")
        if memory := cell.server_memory.get("per_subscriber"):
            parts.append(f"{size(round(memory / 1024) * 1024)} of the server's memory a subscriber")
    if cell.info["condition"]["stalled"] and cell.server_memory:
        grown = cell.server_memory["window_end"] - cell.server_memory["window_start"]
        parts.append(f"the server grew by {grown / 2**20:,.1f} MiB")
        if cell.connections is not None:
            parts.append(f"{cell.connections} connections stood at the end")
    return ", ".join(parts)


def _job_figures(cell: CellResult) -> str:
    parts = []
    if cell.connections is not None:
        parts.append(f"held {cell.connections} connections")
    if cell.progress is not None and math.isfinite(cell.progress.p50):
        parts.append(f"progress was {ms(cell.progress.p50)} old when seen")
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

    return spread([of(trial) for trial in cell.trials])
