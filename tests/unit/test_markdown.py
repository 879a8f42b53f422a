"""The summary for a pull request (issue 7.6)."""

import html
import re
from dataclasses import replace

import pytest

from harness.analysis.verdicts import Code, Reason
from harness.plan import LoadPoint
from harness.report.answers import answers
from harness.report.brief import LOST, brief
from harness.report.markdown import plain, to_markdown
from tests.unit.capacity_summaries import every_ending
from tests.unit.summaries import cell, summary, trial

LOAD = LoadPoint("constant", rate=400)
LATE = Reason(Code.GENERATOR_BOUND, "the generator was late")


def made() -> str:
    return to_markdown(
        summary(
            [
                cell("rest", LOAD, (), [trial("rest", LOAD, n) for n in (1, 2, 3)]),
                cell("websocket", LOAD, [LATE], [trial("websocket", LOAD, n) for n in (1, 2, 3)]),
            ]
        )
    )


def test_it_has_the_answer_a_row_a_cell_the_reasons_and_the_command() -> None:
    parts = html.unescape(made()).split("\n\n")
    assert parts[0].startswith("## ")
    table = next(part for part in parts if part.startswith("|"))
    heads, aligned, *rows = table.splitlines()
    assert heads.startswith("| style | load | p50 ms | p99 ms |")
    assert {line.count("|") for line in (heads, aligned, *rows)} == {heads.count("|")}
    assert [row.split(" | ")[0] for row in rows] == ["| rest", "| websocket"]
    assert rows[0].endswith("| valid |")
    assert rows[1].endswith("| **invalid** |")
    assert any("the generator was late. Remedy: " in part for part in parts)
    assert parts[-1].startswith("```\npython3 bench.py")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "| a | b",
        "[x](http://y)",
        "@someone #1",
        "`a` *b* _c_ &lt;",
        "- a",
        "1. a",
        "12) a",
        "= b",
    ],
)
def test_what_users_write_is_read_as_they_wrote_it(text: str) -> None:
    shown = plain(text)
    assert html.unescape(shown) == text
    assert not re.search(r"[<>|`*_\[\]@]|&(?!#\d+;)|^[-+=]|^\d+[.)]", shown)
    assert plain(f"a\n\n{text}\n") == plain(f"a {text}")


def test_a_command_cannot_leave_its_fence() -> None:
    asked = summary([cell("rest", LOAD, (), [trial("rest", LOAD, 1)])])
    asked = replace(asked, info={**asked.info, "command": ["python3", "a```\n# b"]})
    fence, *_, last = to_markdown(asked).rstrip().split("\n\n")[-1].splitlines()
    assert fence == last == "````"


def test_of_a_search_it_has_its_ends() -> None:
    found = brief(every_ending())
    assert [row.load for row in found.rows if row.name == "rest"] == ["2263/s", "2363/s"]
    assert list(found.answer) == answers(every_ending())
    assert LOST not in found.heads
