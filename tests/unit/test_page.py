"""The report page: true, whole, escaped, and a folder's other files."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html import escape, unescape
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from harness import results
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Code, Reason
from harness.report.answers import answers
from harness.report.build import build_report
from harness.report.guide.properties import PROPERTIES
from harness.report.guide.rules import Holds, rules
from harness.report.headline import headline
from harness.report.markdown import to_markdown
from harness.report.page import render_page
from harness.report.rows import COLUMNS, to_csv
from harness.report.steps_table import STEPS
from tests.unit import message_summaries, summaries
from tests.unit.test_charts import drawn

ALL = [*summaries.ALL, *message_summaries.ALL]
VOID = {"meta", "br", "img", "hr", "input", "link", "wbr", "col"}


class Page(HTMLParser):
    """A page as a list of elements; fails on tags that do not balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
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
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self._row = self.rows.setdefault(given["id"], []) if "id" in given else []
            self.tables[-1].append(self._row)
        elif tag in ("td", "th") and self._row is not None:
            self._row.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "tr":
            self._row = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "text", "script"):
            self.text += data
        if self._row:
            self._row[-1] += data.strip()

    def table(self, head: str) -> list[list[str]]:
        """The one table with such a head in its first row."""
        heads = [[head.replace("\u00ad", "") for head in table[0]] for table in self.tables]
        (found,) = (t for t, names in zip(self.tables, heads, strict=True) if head in names)
        return found

    def all(self, attribute: str) -> list[str]:
        return [given[attribute] for _, given in self.elements if attribute in given]


@cache
def text_of(make: summaries.Make) -> str:
    """The page of a made-up run, rendered once for all tests."""
    return render_page(make(), drawn(make))


def page_of(make: summaries.Make) -> Page:
    return Page(text_of(make))


@pytest.mark.parametrize("make", ALL)
def test_a_page_is_whole_and_needs_nothing_else(make: summaries.Make) -> None:
    made = make()
    text = text_of(make)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"@import|url\((?!#)|src=", text)
    assert Counter(tag for tag, _ in page.elements)["h1"] == 1
    assert [given for tag, given in page.elements if tag == "script"] == [{}]
    assert not any(tag in ("link", "iframe", "object") for tag, _ in page.elements)
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    outside = {each.source.url for known in PROPERTIES.values() for each in known.values()}
    for reference in page.all("href"):
        assert reference.removeprefix("#") in ids or reference in outside
    assert set(re.findall(r"https?://[^\s\"<]+", text)) <= outside
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


@pytest.mark.parametrize(
    "make",
    [
        summaries.asynchronous,
        summaries.jobs,
        summaries.failed_style,
        summaries.hostile,
        message_summaries.failover,
    ],
)
def test_the_answer_is_the_first_thing_after_the_heading(make: summaries.Make) -> None:
    made = make()
    _, _, below = text_of(make).partition("</h1>")
    shown, *_ = below.partition('<div class="state">')
    paragraphs = re.findall(r"<p>(.*?)</p>", shown)
    assert [unescape(each) for each in paragraphs] == headline(made)
    assert re.fullmatch(r'\s*<div class="answer">(\s*<p>[^<]*</p>)+\s*</div>\s*', shown)


def test_hostile_words_in_an_answer_are_escaped() -> None:
    made = summaries.hostile()
    usable = replace(made.cells[-1], verdict=made.cells[0].verdict)
    alone = Summary(made.info, [usable])
    assert summaries.HOSTILE in answers(alone)[0]
    text = render_page(alone, [])
    assert text.count("<script") == 1
    _, _, below = text.partition("</h1>")
    answer, *_ = below.partition('<div class="state">')
    assert escape(answers(alone)[0], quote=False) in answer


def test_hostile_words_in_the_table_of_steps_are_escaped() -> None:
    table = page_of(summaries.hostile).table("processed")
    names = {row[0] for row in table[1:]}
    assert any(summaries.HOSTILE in name for name in names)


def steps_of(make: summaries.Make) -> tuple[list[str], list[dict[str, str]]]:
    """The table of steps: its heads, and what stands under them in each row."""
    heads, *rows = next(t for t in page_of(make).tables if t[0][:2] == ["style", "load"])
    return heads[2:], [dict(zip(heads, row, strict=True)) for row in rows]


def test_steps_that_no_cell_took_have_no_column() -> None:
    heads, rows = steps_of(summaries.complete)
    assert heads == ["processed", "seen", "mean delay of the result"]
    assert len(rows) == len(summaries.complete().cells)
    assert all("–" not in row.values() for row in rows)
    heads, rows = steps_of(summaries.asynchronous)
    assert heads == [
        "accepted", "processed", "seen", "mean delay of the result", "in theory", "polls",
        "empty polls", "other steps", "bytes to the server", "bytes from it", "connections held",
    ]  # fmt: skip
    for make in summaries.ALL:
        heads, rows = steps_of(make)
        assert heads == [head for head in STEPS if head in heads]
        for head in heads:
            assert any(row[head] != "–" for row in rows), (make, head)


def test_the_table_of_steps_has_the_cells_figures() -> None:
    made = summaries.asynchronous()
    _, rows = steps_of(summaries.asynchronous)
    assert [row["style"] for row in rows] == [
        "rest", "rest-poll, every 20 ms", "rest-poll, long polls", "sse",
    ]  # fmt: skip
    for cell, row in zip(made.cells, rows, strict=True):
        assert row["load"] == "200/s, 3 items, 50 ms work"
        assert row["seen"] == f"{cell.latency.p50:.2f}"
        assert row["processed"] == f"{cell.processed.p50:.2f}"
        assert row["accepted"] == (f"{cell.ack.p50:.2f}" if cell.ack else "–")
        assert cell.excess is not None
        mean = cell.excess
        delay = f"{mean.value:,.2f} [{mean.low:,.2f}, {mean.high:,.2f}]"
        assert row["mean delay of the result"] == delay
        assert cell.bytes_per_op is not None
        assert row["bytes to the server"] == f"{cell.bytes_per_op[0]:,.0f}"
    assert [row["polls"] for row in rows] == ["–", "3", "1", "–"]
    assert [row["empty polls"] for row in rows] == ["–", "2", "–", "–"]
    # After work of 50 ms polls every 20 ms find it at 60 ms; the others have no formula.
    assert [row["in theory"] for row in rows] == [
        "–",
        "12.00 (without a round trip 10.00)",
        "–",
        "–",
    ]
    assert [row["other steps"] for row in rows] == ["–", "–", "–", "reconnects 0.01"]
    assert {row["connections held"] for row in rows} == {"4"}


def test_the_table_of_steps_tells_who_knew_when_and_what_it_took() -> None:
    made = summaries.watch()
    heads, rows = steps_of(summaries.watch)
    assert {"first knew", "last knew", "bare loop", "server memory a subscriber"} <= set(heads)
    assert "age of progress when seen" not in heads
    for cell, row in zip(made.cells, rows, strict=True):
        assert cell.watched is not None
        assert row["first knew"] == f"{cell.watched.first.p50:.2f}"
        assert row["last knew"] == f"{cell.watched.last.p50:.2f}"
        assert row["bare loop"] == "0.04"
        assert row["server memory a subscriber"] == "8.0 KiB"
        stalled = cell.info["condition"]["stalled"]
        assert row["server memory grew by"] == f"{3.0 * stalled:.1f} MiB"
    heads, rows = steps_of(summaries.jobs)
    ages = [row["age of progress when seen"] for row in rows]
    assert ages == ["–", "–", "1.00", "1.00"]
    # Jobs that were lost rank beyond the timeout, and are not left out.
    assert rows[1]["seen"] == "> 2 s"


def test_a_cell_without_trials_has_no_steps() -> None:
    _, rows = steps_of(summaries.partial)
    assert [row["style"] for row in rows] == ["rest"]
    nothing = summaries.summary([summaries.not_run("rest", summaries.OPEN[0])])
    text = render_page(nothing, [])
    assert "steps-table" not in text


def test_the_question_and_the_state_come_first() -> None:
    page = page_of(summaries.complete)
    assert "Which style answers one order fastest" in page.text
    assert "36 of 36 planned trials left samples" in page.text
    assert "12 cells: 12 valid." in page.text
    assert "Why not all are valid" not in page.text


def test_a_run_that_was_not_alone_says_so_before_its_verdicts() -> None:
    """Issue 8.2: styles that run together share the processors."""
    run = summaries.complete()
    crowded = replace(run, info={**run.info, "beside": ["sse", "<b>"]})
    page, note = render_page(crowded, []), "Other runs measured sse, &lt;b&gt; on this machine"
    assert page.index(note) < page.index("cells: ")
    assert "Other runs measured sse, <b> on this machine" in unescape(to_markdown(crowded))
    assert "Other runs measured" not in render_page(run, []) + to_markdown(run)


def test_no_sentence_ranks_styles() -> None:
    question = summaries.complete().info["question"]
    text = page_of(summaries.complete).text.replace(question, "").lower()
    for rule in rules(summaries.complete()):
        assert rule.holds is Holds.UNKNOWN
        text = text.replace(rule.test.lower(), "")
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
    assert text.count("<script") == 1
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert page_of(summaries.hostile).text.count(summaries.HOSTILE) > 5


def test_the_command_can_be_pasted() -> None:
    text = page_of(summaries.complete).text
    assert "python3 bench.py run compare --styles 'rest, websocket'" in text


def test_environment_and_processors_are_listed() -> None:
    text = page_of(summaries.complete).text
    for words in ("Example 9000", "16.0 GiB", "grpcio", "1.85.1", "clock source", "generator"):
        assert words in text


@pytest.mark.parametrize("make", ALL)
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
    assert first["report.html"].count(b"<script") == 1
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
