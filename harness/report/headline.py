"""The answer on the first screen: two or three sentences, and none that the intervals do not carry.

A difference is said of cells of one load that promise the same, where harness.report.findings has
it. Where nothing is ranked, or something else is asked than who is ahead, the figures speak first,
as harness.report.answers gives them.
"""

import math
from collections.abc import Mapping, Sequence

from harness.analysis.ranking import Comparison, Word
from harness.analysis.summary import CellResult, Summary
from harness.condition import counted
from harness.report.answers import answers, ranking_answers
from harness.report.findings import (
    AT,
    FOUND,
    any_ranked,
    listed,
    loser,
    names,
    parts,
    percent_above,
    winner,
)
from harness.report.words import ms
from harness.report.words import whole_number as number

MOST = 2
"""Loads that are spoken of; of further ones it is said that they are below."""
ORDER = ("throughput", "p99", "p50")
"""Which metric is spoken of where several show a difference; throughput is compared in closed loops
alone, which are there for it."""


def headline(summary: Summary) -> list[str]:
    """See above."""
    if not any_ranked(summary) or not ranking_answers(summary):
        return answers(summary)[:MOST]
    spoken = [
        sentence
        for title, by_metric in parts(summary).items()
        if (sentence := _Part(summary, title, by_metric).sentence())
    ]
    # The run's last loads are its highest.
    said = spoken[-MOST:]
    if more := len(spoken) - len(said):
        said.append(f"{counted(more, 'further load')} below, in figures.")
    return said


def figures(summary: Summary) -> list[str]:
    """What else there is to say, in the figures of every cell."""
    first = headline(summary)
    return [sentence for sentence in answers(summary) if sentence not in first]


class _Part:
    """Cells that may be compared."""

    def __init__(
        self, summary: Summary, title: str, by_metric: Mapping[str, Sequence[Comparison]]
    ) -> None:
        self._named = names(summary)
        self._cells = {cell.info["id"]: cell for cell in summary.cells}
        self._title = title
        self._by_metric = by_metric
        self._doing = "handles" if summary.info["scenario"]["operation"] == "ingest" else "answers"

    def sentence(self) -> str:
        """What the first metric that shows a difference says; else that none was found."""
        for metric in ORDER:
            if any(each.word in FOUND for each in self._by_metric.get(metric, ())):
                return self._difference(metric, self._by_metric[metric])
        ranked = [
            each
            for metric in ORDER
            for each in self._by_metric.get(metric, ())
            if each.word is Word.NO_DIFFERENCE
        ]
        if not ranked:
            return ""
        ids = dict.fromkeys(name for each in ranked for name in each.cells)
        floor = percent_above(max(each.floor for each in ranked))
        between = listed([self._named[name] for name in ids], "{} cells")
        return f"{self._title}: no difference was found between {between} (floor {floor})."

    def _difference(self, metric: str, part: Sequence[Comparison]) -> str:
        """The best of those that nothing was found ahead of, beside the last of those behind it."""
        found = [each for each in part if each.word in FOUND]
        ahead, behind = {winner(each) for each in found}, {loser(each) for each in found}
        best = min(ahead - behind or ahead, key=lambda name: self._rank(name, metric))
        over = {loser(each): each for each in found if winner(each) == best}
        last = max(over, key=lambda name: self._rank(name, metric))
        ratio, low, high = _times(over[last], best, metric)
        times = f"{ratio:.2f} times [{low:.2f}, {high:.2f}]"
        name, other = self._named[best], self._named[last]
        if metric == "throughput":
            rate = number(self._cells[best].throughput_per_s)
            said = f"{name} {self._doing} {rate} a second, {times} as many as {other}"
        else:
            value = ms(_latency(self._cells[best], metric))
            said = f"{name} {self._doing} in {value} {AT[metric]}; {other} takes {times} as long"
        alike = [e for e in part if best in e.cells and e.word is Word.NO_DIFFERENCE]
        if alike:
            ids = [next(i for i in each.cells if i != best) for each in alike]
            others = listed([self._named[i] for i in ids], "{} others")
            floor = percent_above(max(each.floor for each in alike))
            said += f"; between {name} and {others} no difference was found (floor {floor})"
        return f"{self._title}: {said}."

    def _rank(self, name: str, metric: str) -> float:
        """Smaller is better."""
        cell = self._cells[name]
        if metric == "throughput":
            return -(cell.throughput_per_s or 0.0)
        value = _latency(cell, metric)
        return math.inf if math.isnan(value) else value


def _latency(cell: CellResult, metric: str) -> float:
    value: float = getattr(cell.latency, metric)
    return value


def _times(each: Comparison, best: str, metric: str) -> tuple[float, float, float]:
    """The larger figure over the smaller, and its interval: of time the other's over the best's, of
    answers a second the best's over the other's."""
    upright = (each.cells[0] == best) == (metric != "throughput")
    if upright:
        return each.effect.ratio, each.low, each.high
    return 1 / each.effect.ratio, 1 / each.high, 1 / each.low
