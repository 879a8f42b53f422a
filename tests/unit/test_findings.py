"""What a report says of cells beside each other, and what it keeps silent about (issue 6.2)."""

import re
from functools import cache
from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.ranking import Word
from harness.report.answers import answers
from harness.report.charts.every import make_charts
from harness.report.console import print_summary
from harness.report.findings import (
    finding_table,
    finding_words,
    floor_table,
    percent_above,
    repeats_words,
)
from harness.report.page import render_page
from harness.report.words import labels
from tests.unit import message_summaries, summaries

EVERY = pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])


@cache
def page() -> str:
    """The page of a run that ran against itself."""
    made = summaries.against_itself()
    return render_page(made, make_charts(made))


def section(name: str) -> str:
    """A part of the page, by the id of its heading."""
    found = re.search(
        rf'<section class="table" aria-labelledby="{name}">.*?</section>', page(), re.S
    )
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (1.0, "0.0 %"), (1.034, "3.4 %"), (1.0996, "10 %"), (1.1, "10 %"), (1.5, "50 %"),
        (2.0, "factor 2.0"), (13.9, "factor 13.9"), (float("inf"), "without bound"),
    ],
)  # fmt: skip
def test_a_floor_in_words(ratio: float, said: str) -> None:
    assert percent_above(ratio) == said


def test_sentences_name_who_is_ahead_and_what_is_not_ranked() -> None:
    (sentence,) = finding_words(summaries.against_itself())
    assert sentence == (
        "200/s, class A: at the median 2 of 6 pairs differ, nothing was found faster than websocket"
        " and sse and nothing slower than rest, grpc-unary and sse, 3 of 6 pairs not ranked;"
        " at 99 % 2 of 6 pairs differ, nothing was found faster than websocket and sse and nothing"
        " slower than rest, grpc-unary and sse, 3 of 6 pairs not ranked."
    )
    assert sentence in answers(summaries.against_itself())


@EVERY
def test_where_nothing_may_be_ranked_one_sentence_says_so(make: summaries.Make) -> None:
    made = make()
    if made.findings.floors:
        return
    assert len(finding_words(made)) <= 1
    for sentence in finding_words(made):
        assert re.fullmatch(r"Nothing is ranked: .*no A/A of the family \w+\.", sentence)
    assert finding_table(made).parts == ()
    assert floor_table(made) == []
    assert repeats_words(made) == ""


def test_a_pair_has_ratio_interval_and_word() -> None:
    made = summaries.against_itself()
    table = finding_table(made)
    assert table.heads == ["at the median", "at 99 %"]
    ((title, pairs),) = table.parts
    assert title == "200/s, class A"
    said = {pair.names: pair.said for pair in pairs}
    number = r"\d+\.\d\d"
    interval = rf"{number} \[{number}, {number}\]"
    for text in said["rest", "websocket"]:
        assert re.fullmatch(rf"0\.\d\d \[{number}, {number}\] faster", text)
    for text in said["rest", "grpc-unary"]:
        assert re.fullmatch(rf"{interval} no difference found \(floor \d+\.\d %\)", text)
    for text in said["rest", "sse"]:
        assert re.fullmatch(rf"{interval} not ranked", text)
    assert table.silent == ["no A/A of the family async"]
    # Another class, and what was spoilt, are beside nobody.
    assert not any("kafka" in name or "grpc-stream" in name for names in said for name in names)


def test_floors_have_a_table_of_their_own() -> None:
    made = summaries.against_itself()
    rows = floor_table(made)
    assert [(row.name, row.load, row.figures[0]) for row in rows] == [
        ("rest (sync)", "200/s, class A", "the median"),
        ("rest (sync)", "200/s, class A", "99 %"),
        ("kafka (broker)", "200/s, class B", "the median"),
        ("kafka (broker)", "200/s, class B", "99 %"),
    ]
    for row, floor in zip(rows, made.findings.floors, strict=True):
        assert row.figures[2] == percent_above(floor.ratio)
        assert row.figures[3] == str(floor.repeats_needed)
        assert row.figures[4:] == ["5", "paired t"]


def test_the_page_shows_findings_and_floors() -> None:
    table = finding_table(summaries.against_itself())
    for title, pairs in table.parts:
        assert f"{title}: {len(pairs)} pairs" in section("findings")
        for pair in pairs:
            for text in pair.said:
                assert f">{text}</td>" in section("findings")
    assert "Not ranked: no A/A of the family async." in section("findings")
    assert "What this machine calls no difference" in section("floors")
    assert repeats_words(summaries.against_itself()) in section("floors")
    for link in ("#findings", "#floors"):
        assert f'<a href="{link}">' in page()


def test_no_chart_shows_what_ran_again() -> None:
    made = summaries.against_itself()
    again = {cell.info["id"] for cell in made.cells if cell.info["again"]}
    charts = make_charts(made)
    shown = {one.cell for chart in charts for one in chart.series}
    shown |= {one.cell for chart in charts for one in chart.missing}
    assert len(again) == 2
    assert not again & shown
    assert shown == {cell.info["id"] for cell in made.once.cells}
    assert all("again" not in chart.alt for chart in charts)
    # But its row stands among all cells.
    for name in again:
        assert f'<tr id="{name}">' in page()


def test_a_second_label_changes_no_name() -> None:
    made = summaries.against_itself()
    named, plain = labels(made.cells), labels(made.once.cells)
    assert {name: text for name, text in named.items() if name in plain} == plain
    assert {text for name, text in named.items() if name not in plain} == {
        "rest again, class A",
        "kafka again, class B",
    }


def test_the_console_ends_with_the_repeats_that_a_difference_takes() -> None:
    made = summaries.against_itself()
    screen = Console(file=StringIO(), width=200)
    print_summary(made, screen)
    assert isinstance(screen.file, StringIO)
    lines = screen.file.getvalue().splitlines()
    assert lines[-1] == repeats_words(made)
    most = made.findings.repeats_needed
    assert lines[-1] == (
        "Repeats that it takes to find a difference of 10 % nine times in ten, at the noise of this"
        f" run: at the median about {most['p50']}, at 99 % about {most['p99']}."
    )
    table = [line for line in lines if re.search(r" (valid|invalid)\s*$", line)]
    assert len(table) == len(made.once.cells)


@EVERY
def test_words_and_tables_agree(make: summaries.Make) -> None:
    made = make()
    found = [c for c in made.findings.comparisons if c.word in (Word.FASTER, Word.SLOWER)]
    table = " ".join(
        text for _, pairs in finding_table(made).parts for p in pairs for text in p.said
    )
    assert len(re.findall(r"\] (?:faster|slower)", table)) == len(found)
    for sentence in finding_words(made):
        assert not re.search(r"\b(nan|inf|None)\b", sentence)
