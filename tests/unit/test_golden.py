"""What a report says of runs that went wrong, or are short, partial or old, to the letter (issue
7). tests/unit/golden/README.md says how to write the letters anew."""

import json
import os
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.analysis.summary import Summary, summarize
from harness.analysis.two_runs import family_of
from harness.analysis.verdicts import Code, Reason
from harness.report.build import build_report
from harness.report.charts.every import make_charts
from harness.report.markdown import to_markdown
from harness.report.page import render_page
from harness.results import load_run, open_run
from tests.unit import capacity_summaries, message_summaries, summaries
from tests.unit.summaries import OPEN, STYLES, cell, not_run, summary, trial

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
FORMAT_1 = HERE / "data" / "format-1"
"""Made by the first revision that could: commit 12bc7d2, run smoke --styles rest,websocket
--duration 1 --repeats 2 --rate 100; summary.json is what that revision made of it."""


def one_trial() -> Summary:
    """All styles, one trial each: nothing that could be ranked."""
    cells = [cell(style, OPEN[0], (), [trial(style, OPEN[0])]) for style in STYLES]
    made = summary(cells)
    scenario = {**made.info["scenario"], "repeats": 1}
    return Summary({**made.info, "scenario": scenario, "planned_trials": len(cells)}, cells)


def nothing_worked() -> Summary:
    """Every style failed, each in a way of its own."""
    died = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1 after 1.2 s")
    never = Reason(Code.TRIAL_FAILED, "trial 1: the generator could not connect: refused")
    wrong = Reason(Code.WRONG_REPLY, "12 of 2400 operations: the total is wrong")
    silent = Reason(Code.NO_COMPLETIONS, "none of 2400 operations was answered rightly")
    some = [trial("grpc-unary", OPEN[0], n, failed=4) for n in (1, 2, 3)]
    none = [trial("grpc-stream", OPEN[0], n, timed_out=800) for n in (1, 2, 3)]
    return summary(
        [
            cell("rest", OPEN[0], [died], []),
            cell("websocket", OPEN[0], [never], []),
            cell("grpc-unary", OPEN[0], [wrong], some),
            cell("grpc-stream", OPEN[0], [silent], none),
        ]
    )


def all_invalid() -> Summary:
    """The generator was the limit everywhere."""
    late = Reason(Code.GENERATOR_BOUND, "trial 2: send lag p99 9.1 ms makes up most of the latency")
    return summary([cell(style, OPEN[0], [late]) for style in ("rest", "websocket")])


def interrupted_at_once() -> Summary:
    """Ended before its first trial."""
    cells = [not_run(style, OPEN[0]) for style in ("rest", "websocket")]
    return summary(cells, status="partial", ended_at=None)


def killed() -> Summary:
    """Still `running` on disk: whoever ran it was killed."""
    made = summaries.partial()
    return replace(made, info={**made.info, "status": "running", "ended_at": None})


def format_1() -> Summary:
    """The first runs there were."""
    return summarize(open_run(FORMAT_1))


CASES = (
    summaries.failed_style,
    nothing_worked,
    summaries.invalid,
    all_invalid,
    one_trial,
    summaries.one_cell,
    summaries.partial,
    killed,
    interrupted_at_once,
    summaries.censored,
    summaries.not_resolvable,
    message_summaries.brokers,
    message_summaries.lossy,
    message_summaries.failover,
    capacity_summaries.every_ending,
    format_1,
)


class Told(HTMLParser):
    """The text of a page's header, and of its sections, by their ids, a line a paragraph."""

    LINES = ("p", "li", "h1", "h2", "h3", "tr", "div")
    SILENT = ("style", "svg", "nav", "script")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: dict[str, str] = {}
        self._open: list[str] = []
        self._part = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta":
            return
        self._open.append(tag)
        if tag == "header":
            self._part = "header"
        elif tag == "section":
            self._part = given.get("aria-labelledby") or ""
        if tag in self.LINES:
            self._say("\n")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag in ("header", "section"):
            self._part = ""

    def handle_data(self, data: str) -> None:
        if not set(self._open) & set(self.SILENT):
            self._say(data.replace("\n", " "))

    def _say(self, text: str) -> None:
        self.parts[self._part] = self.parts.get(self._part, "") + text

    def of(self, part: str) -> str:
        """What a part says."""
        lines = (" ".join(line.split()) for line in self.parts.get(part, "").splitlines())
        return "\n".join(filter(None, lines))


def said(made: Summary) -> str:
    """All that is compared."""
    page = Told(render_page(made, make_charts(made)))
    parts = [page.of(part) for part in ("header", "missing", "verdicts")]
    return "\n\n".join([*filter(None, parts), "---- summary.md", to_markdown(made)])


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_report_says_what_it_said(make: summaries.Make) -> None:
    path = GOLDEN / f"{make.__name__}.txt"
    text = said(make())
    if os.environ.get("ORDERBENCH_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_letters_are_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {make.__name__ for make in CASES}


def test_a_run_of_the_first_format_is_counted_as_it_was(tmp_path: Path) -> None:
    folder = shutil.copytree(FORMAT_1, tmp_path / "run")
    then = json.loads((folder / "summary.json").read_text())["cells"]
    build_report(folder)
    now = json.loads((folder / "summary.json").read_text())["cells"]
    for key in ("id", "trials", "counts", "throughput_per_s", "latency_ms", "service_time_ms"):
        assert [cell[key] for cell in now] == [cell[key] for cell in then], key
    for key in ("client_cpu_us_per_op", "server_cpu_us_per_op", "lanes_opened", "verdict"):
        assert [cell[key] for cell in now] == [cell[key] for cell in then], key
    assert load_run(folder).cells["planned"].tolist() == [200, 200]


def test_a_run_of_the_first_format_can_be_held_against_one_of_today() -> None:
    """Its families are those of the catalog, though none is in its summary."""
    assert [family_of(cell.info) for cell in format_1().cells] == ["sync", "sync"]
    assert [family_of({**cell.info, "family": ""}) for cell in format_1().cells] == ["", ""]


def test_nothing_is_made_up_of_what_the_first_format_did_not_note() -> None:
    for made in format_1().to_json()["cells"]:
        for key in ("ack_ms", "connections", "bytes_to_server_per_op", "ledger", "watched"):
            assert made[key] is None, key
        assert made["family"] is None
        assert made["overhead"]["other_busy"] is None
        assert made["overhead"]["wire"] == []
        costs = made["overhead"]["roles"].values()
        assert {(c["user_us"], c["peak_bytes"], c["voluntary"]) for c in costs} == {(None,) * 3}
