"""What is said of cells beside each other: in sentences, in a table of pairs, and in one of the
floors below which nothing is said."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.effects import MOST_REPEATS
from harness.analysis.floors import METRICS, SOUGHT
from harness.analysis.ranking import Comparison, Word
from harness.analysis.summary import Summary
from harness.report.words import class_of, durability, groups, labels

AT = {"p50": "at the median", "p99": "at 99 %", "throughput": "in answers a second"}
"""Metrics as sentences and heads say them."""
FEW = 3
"""Cells that a sentence names; more are counted."""
FOUND = (Word.FASTER, Word.SLOWER)

Parts = Mapping[str, Mapping[str, Sequence[Comparison]]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two cells as the table shows them."""

    ids: tuple[str, str]
    names: tuple[str, str]
    said: Sequence[str]
    """For each head: ratio, interval and word."""


@dataclass(frozen=True, slots=True)
class FindingTable:
    """All pairs of a run, each beside those that it may be compared with."""

    heads: Sequence[str]
    parts: Sequence[tuple[str, Sequence[Pair]]]
    """A title, and its pairs."""
    silent: Sequence[str]
    """Why some are not ranked."""


@dataclass(frozen=True, slots=True)
class FloorRow:
    """An A/A pair and a metric, as the table shows them."""

    id: str
    name: str
    load: str
    figures: Sequence[str]
    """Under FLOOR_HEADS."""


FLOOR_HEADS = ("of what", "against itself", "floor", "repeats for 10 %", "pairs", "method")


def finding_words(summary: Summary) -> list[str]:
    """A sentence for each group of cells that may be compared; one where nothing is ranked."""
    comparisons = summary.findings.comparisons
    if not comparisons:
        return []
    if not any_ranked(summary):
        return [f"Nothing is ranked: {comparisons[0].why}."]
    named = names(summary)
    return [
        f"{title}: {'; '.join(_said(part, AT[m], named) for m, part in by_metric.items())}."
        for title, by_metric in parts(summary).items()
    ]


def any_ranked(summary: Summary) -> bool:
    """Whether there is a pair of which something can be said."""
    return any(each.word is not Word.NOT_RANKED for each in summary.findings.comparisons)


def repeats_words(summary: Summary) -> str:
    """How many repeats it takes to find a difference of 10%; empty where the noise is not known."""
    needed = [
        f"{AT[metric]} {f'about {count:,}' if count else f'more than {MOST_REPEATS:,}'}"
        for metric, count in summary.findings.repeats_needed.items()
    ]
    if not needed:
        return ""
    return (
        f"Repeats that it takes to find a difference of {percent_above(SOUGHT)} nine times in ten,"
        f" at the noise of this run: {', '.join(needed)}."
    )


def finding_table(summary: Summary) -> FindingTable:
    """Every pair with its figures; empty where nothing can be ranked."""
    if not any_ranked(summary):
        return FindingTable((), (), ())
    comparisons = summary.findings.comparisons
    named = names(summary)
    used = [metric for metric in METRICS if any(each.metric == metric for each in comparisons)]
    found = []
    for title, by_metric in parts(summary).items():
        said: dict[tuple[str, str], dict[str, str]] = {}
        for metric, part in by_metric.items():
            for each in part:
                said.setdefault(each.cells, {})[metric] = comparison_words(each)
        pairs = [
            Pair((a, b), (named[a], named[b]), [words.get(metric, "–") for metric in used])
            for (a, b), words in said.items()
        ]
        found.append((title, pairs))
    silent = dict.fromkeys(each.why for each in comparisons if each.why)
    return FindingTable([AT[metric] for metric in used], found, list(silent))


def floor_table(summary: Summary) -> list[FloorRow]:
    """A row for each metric of each A/A pair."""
    named, under = names(summary), titles(summary)
    rows = []
    for floor in summary.findings.floors:
        first, _ = floor.cells
        needed = floor.repeats_needed or (f"> {MOST_REPEATS:,}" if floor.noise else "–")
        unknown = math.isnan(floor.ratio)
        figures = [
            AT[floor.metric].removeprefix("at ").removeprefix("in "),
            _figures(floor.effect.ratio, floor.effect.low, floor.effect.high),
            floor.effect.reason if unknown else percent_above(floor.ratio),
            str(needed),
            str(floor.effect.pairs),
            floor.effect.method,
        ]
        rows.append(FloorRow(first, f"{named[first]} ({floor.family})", under[first], figures))
    return rows


def comparison_words(each: Comparison) -> str:
    """The second of a pair over the first: ratio, interval, word."""
    word = each.word.value
    if each.word is Word.NO_DIFFERENCE:
        word += f" (floor {percent_above(each.floor)})"
    return f"{_figures(each.effect.ratio, each.low, each.high)} {word}"


def percent_above(ratio: float) -> str:
    """How far a ratio is above 1, as a floor is said: `3 %`, or `factor 2.5` from 2 on."""
    if not math.isfinite(ratio):
        return "without bound"
    if ratio >= 2:
        return f"factor {ratio:.1f}"
    percents = 100 * (ratio - 1)
    return f"{percents:.1f} %" if percents < 9.95 else f"{percents:.0f} %"


def _figures(ratio: float, low: float, high: float) -> str:
    if math.isnan(ratio):
        return "–"
    return f"{ratio:.2f}" if math.isnan(low) else f"{ratio:.2f} [{low:.2f}, {high:.2f}]"


def names(summary: Summary) -> dict[str, str]:
    """What cells are called among those of their class, which the title says."""
    classes = dict.fromkeys(durability(cell) for cell in summary.cells)
    found: dict[str, str] = {}
    for promise in classes:
        found |= labels([cell for cell in summary.cells if durability(cell) == promise])
    return found


def titles(summary: Summary) -> dict[str, str]:
    """Under what load and condition each cell ran, by its id, with its class where not all have
    the same."""
    mixed = len({durability(cell) for cell in summary.cells}) > 1
    return {
        cell.info["id"]: group.title + (f", {class_of(durability(cell))}" if mixed else "")
        for group in groups(summary)
        for cell in group.cells
    }


def parts(summary: Summary) -> Parts:
    """The comparisons by title, then by metric."""
    under = titles(summary)
    found: dict[str, dict[str, list[Comparison]]] = {}
    for each in summary.findings.comparisons:
        by_metric = found.setdefault(under[each.cells[0]], {})
        by_metric.setdefault(each.metric, []).append(each)
    return found


def _said(part: Sequence[Comparison], at: str, named: Mapping[str, str]) -> str:
    """What a metric shows among cells that may be compared."""
    found = [each for each in part if each.word in FOUND]
    ids = list(dict.fromkeys(name for each in part for name in each.cells))
    silent = sum(each.word is Word.NOT_RANKED for each in part)
    if silent == len(part):
        return f"{at} nothing is ranked"
    unranked = f", {silent} of {len(part)} pairs not ranked" if silent else ""
    if not found:
        floor = max(each.floor for each in part if not math.isnan(each.floor))
        between = listed([named[i] for i in ids], "{} cells")
        return (
            f"{at} no difference found between {between} (floor {percent_above(floor)}){unranked}"
        )
    if len(part) == 1:
        first, second = (named[i] for i in part[0].cells)
        ratio = part[0].effect.ratio
        return f"{at} {second} is {part[0].word.value} than {first} ({ratio:.2f} times)"
    lost = {loser(each) for each in found}
    won = {winner(each) for each in found}
    ahead = listed([named[i] for i in ids if i not in lost], "{} of them")
    behind = listed([named[i] for i in ids if i not in won], "{} of them")
    return (
        f"{at} {len(found)} of {len(part)} pairs differ, nothing was found faster than {ahead} and"
        f" nothing slower than {behind}{unranked}"
    )


def winner(each: Comparison) -> str:
    """The id of the cell that is ahead, of two that differ."""
    return each.cells[each.word is Word.FASTER]


def loser(each: Comparison) -> str:
    """The id of the cell that is behind, of two that differ."""
    return each.cells[each.word is Word.SLOWER]


def listed(named: Sequence[str], otherwise: str) -> str:
    """Names as a sentence has them, or how many they are."""
    if len(named) > FEW:
        return otherwise.format(len(named))
    return " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
