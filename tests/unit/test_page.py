"""The report page: true, whole, escaped, and a folder's other files."""

import csv
import json
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from harness import results
from harness.analysis.verdicts import Code, Reason
from harness.report.build import COLUMNS, build_report, to_csv
from harness.report.charts import make_charts
from harness.report.page import render_page
from tests.unit import summaries

VOID = {"meta", "br", "img", "hr", "input", "link", "wbr", "col"}


class Page(HTMLParser):
    """A page as a list of elements; fails on tags that do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: dict[str, list[str]] = {}
        self.text = ""
        self._row: list[str] | None = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert len(given) == len(attrs), f"an attribute of {tag} is given twice"
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr" and "id" in given:
            self._row = self.rows.setdefault(given["id"], [])
        elif tag in ("td", "th") and self._row is not None:
            self._row.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "tr":
            self._row = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "text"):
            self.text += data
        if self._row:
            self._row[-1] += data.strip()

    def all(self, attribute: str) -> list[str]:
        return [given[attribute] for _, given in self.elements if attribute in given]


@cache
def text_of(make: summaries.Make) -> str:
    """The page of a made-up run, rendered once for all tests."""
    return render_page(make(), make_charts(make()))


def page_of(make: summaries.Make) -> Page:
    return Page(text_of(make))


@pytest.mark.parametrize("make", summaries.ALL)
def test_a_page_is_whole_and_needs_nothing_else(make: summaries.Make) -> None:
    made = make()
    text = text_of(make)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"https?:|@import|url\((?!#)|src=", text)
    assert Counter(tag for tag, _ in page.elements)["h1"] == 1
    assert not any(tag in ("script", "link", "iframe", "object") for tag, _ in page.elements)
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    for reference in page.all("href"):
        assert reference.removeprefix("#") in ids
    for reference in page.all("aria-labelledby") + page.all("aria-describedby"):
        assert reference in ids
    for cell in made.cells:
        assert cell.info["id"] in page.rows
    assert all(
        "aria-label" in given or "aria-hidden" in given
        for tag, given in page.elements
        if tag == "svg"
    )
    assert len(text) < 1_000_000


def test_the_question_and_the_state_come_first() -> None:
    page = page_of(summaries.complete)
    assert "Which style answers one order fastest" in page.text
    assert "36 of 36 planned trials left samples" in page.text
    assert "12 cells: 12 valid." in page.text
    assert "Why not all are valid" not in page.text


def test_no_sentence_ranks_styles() -> None:
    question = summaries.complete().info["question"]
    text = page_of(summaries.complete).text.replace(question, "").lower()
    assert not re.search(r"fastest|slowest|faster than|winner|best\b|times as", text)


def test_a_row_has_the_cells_figures() -> None:
    made = summaries.complete()
    cell = made.cells[0]
    row = page_of(summaries.complete).rows[cell.info["id"]]
    assert len(row) == 20
    assert row[:3] == ["rest:aiohttp+fastapi", "valid", "200"]
    assert row[3] == f"{cell.latency.p50:.2f}"
    assert row[6] == "n/r"  # 800 operations do not resolve 99.9 %
    assert row[9:13] == ["80", "90", "150", "4"]
    assert row[13:] == ["2,400", "2,400", "0", "2,400", "0", "0", "0"]


def test_a_censored_percentile_is_a_bound_and_never_a_number() -> None:
    made = summaries.censored()
    row = page_of(summaries.censored).rows[made.cells[0].info["id"]]
    assert row[1] == "qualified"
    assert row[5] == "> 2 s"
    assert row[7] == "> 2 s"
    assert row[15] == "270"


def test_what_was_not_measured_is_a_dash() -> None:
    made = summaries.partial()
    page = page_of(summaries.partial)
    assert "Partial: the run was interrupted" in page.text
    assert "2 cells: 1 qualified, 1 skipped." in page.text
    row = page.rows[made.cells[1].info["id"]]
    assert row[1] == "skipped"
    assert set(row[2:]) == {"–"}


def test_every_verdict_has_its_reason_and_remedy() -> None:
    made = summaries.failed_style()
    page = page_of(summaries.failed_style)
    assert "3 cells: 1 valid, 2 failed." in page.text
    assert "connection reset by peer" in page.text
    assert "see whether the service restarted or refused connections" in page.text
    assert "the server ended with code 1" in page.text
    for cell in made.cells[1:]:
        assert f"why.{cell.info['id']}" in page.all("id")


def test_cells_with_the_same_reasons_are_told_once() -> None:
    reason = [Reason(Code.SHARED_CORE, "they share a processor")]
    cells = [summaries.cell(style, summaries.OPEN[0], reason) for style in summaries.STYLES]
    assert page_of(lambda: summaries.summary(cells)).text.count("they share a processor") == 1


def test_users_strings_are_shown_and_never_run() -> None:
    text = text_of(summaries.hostile)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert page_of(summaries.hostile).text.count(summaries.HOSTILE) > 5


def test_the_command_can_be_pasted() -> None:
    text = page_of(summaries.complete).text
    assert "python3 bench.py run compare --styles 'rest, websocket'" in text


def test_environment_and_processors_are_listed() -> None:
    text = page_of(summaries.complete).text
    for words in ("Example 9000", "16.0 GiB", "grpcio", "1.85.1", "clock source", "generator"):
        assert words in text


@pytest.mark.parametrize("make", summaries.ALL)
def test_csv_has_a_row_a_cell_under_a_stable_header(make: summaries.Make) -> None:
    made = make()
    rows = list(csv.DictReader(StringIO(to_csv(made))))
    assert [row["cell"] for row in rows] == [cell.info["id"] for cell in made.cells]
    assert tuple(rows[0]) == COLUMNS
    for row, cell in zip(rows, made.cells, strict=True):
        assert row["planned"] == str(cell.counts.planned)
        assert row["verdict"] == cell.verdict.status.value


def test_a_folder_gets_all_its_files_and_the_same_again(tmp_path: Path) -> None:
    made = summaries.one_cell()
    cell = made.cells[0].info["id"]
    results.write_json(tmp_path / "run.json", {**made.info, "question": summaries.HOSTILE})
    results.write_samples(results.trial_path(tmp_path, cell, 1), samples(cell, 500))
    summary = build_report(tmp_path)
    assert summary.cells[0].counts.planned == 500
    names = ("summary.json", "summary.csv", "report.html", *(
        f"charts/{name}.svg" for name in ("latency", "throughput", "cpu")
    ))  # fmt: skip
    first = {name: (tmp_path / name).read_bytes() for name in names}
    assert json.loads(first["summary.json"])["cells"][0]["id"] == cell
    assert b"<script" not in first["report.html"]
    build_report(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == first


def samples(cell: str, count: int) -> results.Samples:
    """A trial in which every operation took a millisecond and more."""
    planned = np.arange(1, count + 1, dtype=np.int64) * 5_000_000
    done = planned + 1_000_000 + np.arange(count, dtype=np.int64) * 1000
    return results.Samples(
        planned=planned,
        sent=planned + 50_000,
        acked=np.zeros(count, np.int64),
        processed=done - 100_000,
        done=done,
        outcome=np.zeros(count, np.int8),
        measured=np.ones(count, np.bool_),
        lane=np.zeros(count, np.int32),
        meta={
            "format": results.FORMAT,
            "cell": cell,
            "trial": 1,
            "window": [0, int(planned[-1]) + 5_000_000],
            "health": {"lanes_opened": 1, "failure_details": []},
        },
    )
