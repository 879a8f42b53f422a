"""The answer on the first screen: no sentence that the intervals do not carry (issue 7.1)."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.analysis.ranking import Word
from harness.analysis.summary import CellResult, Summary
from harness.plan import LoadPoint
from harness.report.answers import answers
from harness.report.charts.every import make_charts
from harness.report.findings import percent_above
from harness.report.headline import MOST, figures, headline
from harness.report.page import render_page
from tests.unit import capacity_summaries, message_summaries, summaries
from tests.unit.test_stack import usual as stacked

EVERY = pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])
LOADS = (*summaries.OPEN, summaries.CLOSED)


def run(factors: Mapping[str, float], load: LoadPoint = summaries.OPEN[0]) -> Summary:
    """Repeats of styles that take so many times as long, the first also against itself."""
    return summaries.summary(cells_of(factors, load))


def cells_of(factors: Mapping[str, float], load: LoadPoint) -> list[CellResult]:
    made = [
        summaries.cell(style, load, (), summaries.repeated(style, load, factor))
        for style, factor in factors.items()
    ]
    first, factor = next(iter(factors.items()))
    again = summaries.repeated(f"{first}=again", load, factor)
    pair = summaries.cell(f"{first}=again", load, (), again, again=made[0].info["id"])
    return [*made, pair]


def p99(summary: Summary, style: str) -> float:
    (cell,) = (c for c in summary.once.cells if c.info["style"] == style)
    return cell.latency.p99


def test_the_fastest_is_named_with_its_figure_and_the_slowest_with_the_interval() -> None:
    made = run({"rest": 1.0, "websocket": 0.5, "grpc-unary": 3.0})
    (sentence,) = headline(made)
    (each,) = (
        c
        for c in made.findings.comparisons
        if c.metric == "p99" and all(s in " ".join(c.cells) for s in ("websocket", "grpc-unary"))
    )
    first_is_best = "websocket" in each.cells[0]
    figures_of = (each.effect.ratio, each.low, each.high)
    ratio, low, high = (
        figures_of if first_is_best else (1 / figures_of[0], 1 / figures_of[2], 1 / figures_of[1])
    )
    assert sentence == (
        f"200/s: websocket answers in {p99(made, 'websocket'):.2f} ms at 99 %; grpc-unary takes"
        f" {ratio:.2f} times [{low:.2f}, {high:.2f}] as long."
    )


def test_the_contrary_is_said_as_well_and_who_is_alike() -> None:
    made = run({"rest": 1.0, "grpc-unary": 1.0, "websocket": 2.0})
    (sentence,) = headline(made)
    best, other = sorted(("rest", "grpc-unary"), key=lambda style: p99(made, style))
    assert sentence.startswith(f"200/s: {best} answers in ")
    assert "; websocket takes " in sentence
    assert f"; between {best} and {other} no difference was found (floor " in sentence


def test_where_all_are_alike_nothing_is_ranked_and_the_floor_is_said() -> None:
    made = run({"rest": 1.0, "grpc-unary": 1.0})
    (sentence,) = headline(made)
    bar = max(c.floor for c in made.findings.comparisons if c.metric != "throughput")
    assert sentence == (
        f"200/s: no difference was found between rest and grpc-unary (floor {percent_above(bar)})."
    )


def test_more_loads_than_fit_are_counted() -> None:
    cells = [cell for load in LOADS for cell in cells_of({"rest": 1.0, "websocket": 0.5}, load)]
    said = headline(summaries.summary(cells))
    assert len(said) == MOST + 1
    assert said[0].startswith("1000/s: ")
    assert said[1].startswith("closed loop, 16 users: ")
    assert said[2] == "1 further load below, in figures."


@EVERY
def test_a_multiple_is_said_only_of_pairs_that_were_found_to_differ(make: summaries.Make) -> None:
    made = make()
    said = headline(made)
    assert len(said) <= MOST + 1
    if not any(c.word in (Word.FASTER, Word.SLOWER) for c in made.findings.comparisons):
        assert not any("times [" in sentence and " as long" in sentence for sentence in said)


@EVERY
def test_every_answer_is_on_the_page_once(make: summaries.Make) -> None:
    made = make()
    assert {*answers(made)} <= {*headline(made), *figures(made)}
    assert not {*headline(made)} & {*figures(made)}


def test_where_nothing_is_ranked_the_figures_speak() -> None:
    made = summaries.complete()
    assert headline(made) == answers(made)[:MOST]


def test_in_a_closed_loop_it_is_answers_a_second() -> None:
    made = run({"rest": 1.0, "websocket": 1.0}, summaries.CLOSED)
    more = [
        replace(trial, completed_in_window=trial.completed_in_window * 2)
        for trial in made.cells[1].trials
    ]
    quick = summaries.cell("websocket", summaries.CLOSED, (), more)
    (sentence,) = headline(summaries.summary([made.cells[0], quick, made.cells[2]]))
    assert re.fullmatch(
        r"closed loop, 16 users: websocket answers [\d,]+ a second, 2\.00 times \[[\d.]+, [\d.]+\]"
        r" as many as rest\.",
        sentence,
    )


def test_a_question_of_another_kind_is_answered_in_its_own_words() -> None:
    taken_apart = summaries.summary(stacked())
    assert taken_apart.findings.comparisons
    assert headline(taken_apart) == answers(taken_apart)[:MOST]
    assert " = " in headline(taken_apart)[0]
    with_work = summaries.asynchronous()
    assert headline(with_work) == answers(with_work)[:MOST]


def test_a_search_is_answered_by_its_rates() -> None:
    made = capacity_summaries.every_ending()
    assert headline(made) == answers(made)[:MOST]


def test_the_first_screen_has_the_answer_then_a_chart_then_figures() -> None:
    made = summaries.against_itself()
    page = render_page(made, make_charts(made))
    places = [page.index(part) for part in ('class="answer"', 'id="ratios"', 'id="figures"')]
    assert places == sorted(places)
