"""Rules of thumb, held against what a run measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.analysis.ranking import Comparison, Word
from harness.analysis.summary import CellResult, Summary
from harness.report.answers import USABLE
from harness.report.findings import AT, FOUND, comparison_words, names, titles
from harness.report.words import labels, share

MOST = 6
"""Figures that stand beside a rule; further ones are counted."""


class Holds(StrEnum):
    """What the figures say of a rule, here."""

    HOLDS = "holds here"
    NOT = "does not hold here"
    SOMETIMES = "holds here in part"
    SILENT = "no difference found here"
    UNKNOWN = "not tested here"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was seen of a cell, or of one beside another."""

    text: str
    cell: str
    """The id of its row."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and what became of it."""

    text: str
    test: str
    """What it takes for it to hold."""
    holds: Holds
    figures: Sequence[Figure]
    more: int
    """Further figures that are not shown."""
    unmeasured: str = ""
    """The command that would test it, where this run did not."""


def rules(summary: Summary) -> list[Rule]:
    """Every rule, tested or not."""
    cells = summary.once.cells
    return [
        _between(
            summary,
            "Use gRPC for low latency",
            "it holds where gRPC is found faster than REST at one load",
            ("rest",),
            lambda cell: cell.info["style"].startswith("grpc-"),
            Word.FASTER,
            "compare",
        ),
        _between(
            summary,
            "Brokers do not replace synchronous calls",
            "it holds where an answer through a broker is found slower than one of a call that"
            " promises the same",
            ("rest", "grpc-unary"),
            lambda cell: cell.info["family"] == "broker",
            Word.SLOWER,
            "compare",
        ),
        _counted(
            "Most polls are empty",
            "it holds where more than half of the polls at intervals bring nothing",
            [cell for cell in cells if _policy(cell) in ("fixed", "backoff")],
            _empty_polls,
            "async",
        ),
        _counted(
            "Kafka spreads messages round-robin",
            "it holds where nine of ten messages go to the partition that follows the one before;"
            " messages have their order's number for a key",
            [cell for cell in cells if cell.info["style"] == "kafka"],
            _round_robin,
            "ingest",
        ),
    ]


def _between(
    summary: Summary,
    text: str,
    test: str,
    usual: Sequence[str],
    other: Callable[[CellResult], bool],
    wanted: Word,
    scenario: str,
) -> Rule:
    """A rule that says of some cells beside the usual ones that they are `wanted`."""
    named, under = names(summary), titles(summary)
    words: list[Word] = []
    figures: list[Figure] = []
    for each, first, second in _pairs(summary):
        if first.info["style"] in usual and other(second):
            words.append(each.word)
        elif second.info["style"] in usual and other(first):
            words.append(_OPPOSITE.get(each.word, each.word))
        else:
            continue
        one, beside = named[second.info["id"]], named[first.info["id"]]
        at = f"{under[second.info['id']]}, {AT[each.metric]}"
        said = f"{at}: {one} beside {beside} {comparison_words(each)}"
        figures.append(Figure(said, second.info["id"]))
    return _rule(text, test, _verdict(words, wanted), figures, scenario)


_OPPOSITE = {Word.FASTER: Word.SLOWER, Word.SLOWER: Word.FASTER}


def _pairs(summary: Summary) -> Iterator[tuple[Comparison, CellResult, CellResult]]:
    """The comparisons of latency that were ranked, of the variants that stand for their styles."""
    cells = {cell.info["id"]: cell for cell in summary.cells}
    stands: dict[str, str] = {}
    for cell in summary.cells:
        stands.setdefault(cell.info["style"], cell.info["variant"])
    for each in summary.findings.comparisons:
        if each.word is Word.NOT_RANKED or each.metric == "throughput":
            continue
        first, second = (cells[name] for name in each.cells)
        if all(stands[c.info["style"]] == c.info["variant"] for c in (first, second)):
            yield each, first, second


def _verdict(words: Sequence[Word], wanted: Word) -> Holds:
    if not words:
        return Holds.UNKNOWN
    found = {word for word in words if word in FOUND}
    if not found:
        return Holds.SILENT
    if found == {wanted}:
        # Where it was only sometimes found, elsewhere it may not be so.
        return Holds.HOLDS if Word.NO_DIFFERENCE not in words else Holds.SOMETIMES
    return Holds.SOMETIMES if wanted in found else Holds.NOT


def _counted(
    text: str,
    test: str,
    cells: Sequence[CellResult],
    count: Callable[[CellResult, str], tuple[bool, str] | None],
    scenario: str,
) -> Rule:
    """A rule that each cell bears out, or does not, by what was counted in it."""
    named = labels(cells)
    told = [
        (found, cell)
        for cell in cells
        if cell.verdict.status in USABLE and (found := count(cell, named[cell.info["id"]]))
    ]
    borne_out = [found[0] for found, _ in told]
    figures = [Figure(found[1], cell.info["id"]) for found, cell in told]
    if not borne_out:
        holds = Holds.UNKNOWN
    elif all(borne_out):
        holds = Holds.HOLDS
    else:
        holds = Holds.SOMETIMES if any(borne_out) else Holds.NOT
    return _rule(text, test, holds, figures, scenario)


def _policy(cell: CellResult) -> str:
    """How the cell polls; empty where it does not."""
    return str((cell.info["condition"].get("poll") or {}).get("policy", ""))


def _empty_polls(cell: CellResult, name: str) -> tuple[bool, str] | None:
    polls, empty = cell.notes.get("polls", 0.0), cell.notes.get("empty_polls", 0.0)
    if not polls:
        return None
    return empty / polls > 0.5, f"{name}: {share(empty / polls)} of its polls were empty"


def _round_robin(cell: CellResult, name: str) -> tuple[bool, str] | None:
    seen = cell.spread
    if seen is None or seen.partitions < 2 or not seen.pairs:
        return None
    following = seen.following / seen.pairs
    said = (
        f"{name}: of {seen.pairs:,} messages over {seen.partitions} partitions {share(following)}"
        f" went to the one that follows, {share(seen.same / seen.pairs)} stayed (by chance"
        f" {share(1 / seen.partitions)} each)"
    )
    return following >= 0.9, said


def _rule(text: str, test: str, holds: Holds, figures: Sequence[Figure], scenario: str) -> Rule:
    return Rule(
        text,
        test,
        holds,
        figures[:MOST],
        len(figures) - len(figures[:MOST]),
        f"python3 bench.py run {scenario}" if holds is Holds.UNKNOWN else "",
    )
