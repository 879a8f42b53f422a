"""The index of runs (issue 7.6): which there are, what each found, how a cell went over them."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import results
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Code, Reason
from harness.cli import indexing
from harness.cli.__main__ import main
from harness.condition import BrokerWay
from harness.report.build import build_report
from harness.report.headline import headline
from harness.report.runs.history import MOST, History, histories
from harness.report.runs.history_chart import _ticks, figure_of, plots
from harness.report.runs.index import build_index
from harness.report.runs.past import read_past
from harness.scenario import usual
from tests.unit import summaries
from tests.unit.test_page import Page, samples

DAY = "2030-01-{:02}T03:04:05+00:00"
LATE = Reason(Code.GENERATOR_BOUND, "trial 2: send lag p99 9.1 ms")
DIED = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1")


def left(around: Path, name: str, made: Summary, page: bool = True, **info: Any) -> Path:
    """What a run leaves, but for its trials."""
    folder = around / name
    said = {**made.to_json(), "headline": headline(made)}
    results.write_json(folder / "run.json", {**made.info, "run": name, **info})
    results.write_json(folder / "summary.json", said)
    if page:
        (folder / "report.html").touch()
    return folder


def on_days(around: Path, *made: Summary, **info: Any) -> None:
    """A run a day."""
    for day, each in enumerate(made, 1):
        left(around, f"run-{day}", each, started_at=DAY.format(day), **info)


def page_of(around: Path) -> Page:
    build_index(around)
    return Page((around / "index.html").read_text())


def histories_of(around: Path) -> list[History]:
    return histories(read_past(around).runs)


def other(made: Summary, topic: str, **changes: Any) -> dict[str, Any]:
    """A run's environment with something else in one topic."""
    environment = made.info["environment"]
    return {**environment, topic: {**environment[topic], **changes}}


def test_runs_are_listed_newest_first_with_what_each_found(tmp_path: Path) -> None:
    first, second = summaries.failed_style(), summaries.against_itself()
    on_days(tmp_path, first, second)
    changed = other(first, "project", changed=True)
    left(tmp_path, "part", first, status="partial", started_at=DAY.format(3), environment=changed)
    heads, *rows = page_of(tmp_path).tables[0]
    assert heads[3:6] == ["cells", "what it found", "commit"]
    assert [
        row[0].startswith(name) for row, name in zip(rows, ("part", "run-2", "run-1"), strict=True)
    ]
    assert [row[2] for row in rows] == ["partial", "complete", "complete"]
    assert [row[3] for row in rows] == ["1 valid2 failed", "7 valid1 invalid", "1 valid2 failed"]
    assert [row[5] for row in rows] == ["0123456, changed", "0123456", "0123456"]
    assert rows[1][1] == "2030-01-02 03:04"
    assert rows[1][4] == "".join(headline(second))
    assert second.info["question"] in rows[1][0]
    assert "run compare --styles 'rest, websocket'" in rows[1][0]
    assert rows[1][6] == "Example 9000, 2 processors, Linux 6.1.0"


def test_a_report_leaves_what_the_index_reads(tmp_path: Path) -> None:
    made = summaries.one_cell()
    cell = made.cells[0].info["id"]
    folder = tmp_path / "run"
    results.write_json(folder / "run.json", made.info)
    for number, count in ((1, 500), (2, 700)):
        path = results.trial_path(folder, cell, number)
        results.write_samples(path, samples(cell, count))
    summary = build_report(folder)
    said = json.loads((folder / "summary.json").read_text())
    assert said["headline"] == headline(summary) != []
    p50 = [trial.latency.p50 for trial in summary.cells[0].trials]
    assert said["cells"][0]["range"]["p50"] == pytest.approx([min(p50), max(p50)])
    assert p50[0] != p50[1]
    assert read_past(tmp_path).runs[0].summary is not None


def test_a_range_is_of_two_trials_that_both_have_the_figure() -> None:
    ranges = {
        make.__name__: make().cells[0].to_json()["range"]
        for make in (summaries.partial, summaries.not_resolvable, summaries.censored)
    }
    nothing = {"p50": None, "p99": None, "throughput_per_s": None}
    assert ranges["partial"] == nothing
    assert ranges["not_resolvable"]["p50"] is not None
    assert ranges["not_resolvable"]["p99"] is None
    assert ranges["censored"]["p50"] is not None
    assert ranges["censored"]["p99"] is None


def test_a_cell_of_two_runs_has_its_figures_with_their_range(tmp_path: Path) -> None:
    made = summaries.complete()
    on_days(tmp_path, made, made, made)
    (history,) = histories_of(tmp_path)
    assert [cell.newest.id for cell in history.cells] == [cell.info["id"] for cell in made.cells]
    for cell, measured in zip(history.cells, made.cells, strict=True):
        closed = measured.info["load"]["model"] == "closed"
        assert cell.metrics == ["p50", "p99", *(["throughput_per_s"] if closed else [])]
        assert [point.run.name for point in cell.points] == ["run-1", "run-2", "run-3"]
        of_trials = [trial.latency.p99 for trial in measured.trials]
        for point in cell.points:
            assert point.value("p99") == pytest.approx(measured.latency.p99, abs=1e-6)
            assert point.range("p99") == pytest.approx((min(of_trials), max(of_trials)), abs=1e-6)
        for plot in plots(cell):
            assert (len(plot.dots), len(plot.lines)) == (3, 2)
            assert plot.ends == ("2030-01-01", "2030-01-03")
            for dot in plot.dots:
                assert dot.whisker is not None
                assert dot.whisker[0] <= dot.y <= dot.whisker[1]


def test_every_point_stands_in_a_table_and_links_to_its_cell(tmp_path: Path) -> None:
    made = summaries.complete()
    on_days(tmp_path, made, made)
    page = page_of(tmp_path)
    tables = page.tables[1:]
    assert len(tables) == len(made.cells)
    for table, cell in zip(tables, made.cells, strict=True):
        assert [row[0] for row in table] == ["run", "run-2", "run-1"]
        assert table[0][3:5] == ["p50, ms", "p99, ms"]
        low, high = cell.to_json()["range"]["p50"]
        assert table[1][3] == f"{cell.latency.p50:.2f} ({low:.2f}–{high:.2f})"
        assert table[1][-1] == "valid"
    links = [given for tag, given in page.elements if tag == "a"]
    by_hand = {each["href"] for each in links if each.get("tabindex") == "-1"}
    by_key = {each["href"] for each in links if "tabindex" not in each}
    cells = {f"{n}/report.html#{c.info['id']}" for n in ("run-1", "run-2") for c in made.cells}
    assert by_hand == cells <= by_key


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"environment": other(summaries.complete(), "kernel", release="6.2.0")}, "kernel.release"),
        ({"environment": other(summaries.complete(), "machine", cpu="Example 1")}, "machine.cpu"),
        ({"placement": {"generator": [0], "server": [0], "shared": True}}, "processors of server"),
        ({"scenario": {**summaries.complete().info["scenario"], "duration_s": 9.0}}, "duration_s"),
        ({"targets": {"rest": "http://host:1"}}, "services by address"),
    ],
)
def test_what_is_not_comparable_is_never_joined(
    tmp_path: Path, changes: Mapping[str, Any], why: str
) -> None:
    made = summaries.complete()
    for day, name in enumerate(("here-1", "there-1", "here-2", "there-2"), 1):
        more = changes if name.startswith("there") else {}
        left(tmp_path, name, made, started_at=DAY.format(day), **more)
    found = histories_of(tmp_path)
    assert [[run.name for run in each.runs] for each in found] == [
        ["there-2", "there-1"],
        ["here-2", "here-1"],
    ]
    assert found[0].apart == []
    assert [each for each in found[1].apart if why in each]
    assert why in page_of(tmp_path).text


def test_two_runs_like_a_third_that_noted_less_are_not_joined(tmp_path: Path) -> None:
    made = summaries.complete()
    for day, noted in enumerate(({"awake": True}, {"awake": False}, {}, {"awake": True}), 1):
        left(tmp_path, f"run-{day}", made, started_at=DAY.format(day), **noted)
    (history,) = histories_of(tmp_path)
    assert [run.name for run in history.runs] == ["run-4", "run-3", "run-1"]


def test_a_setting_that_an_older_run_did_not_know_has_its_default(tmp_path: Path) -> None:
    made = summaries.complete()
    scenario = made.info["scenario"]
    left(tmp_path, "old", made, started_at=DAY.format(1))
    left(tmp_path, "new", made, scenario={**scenario, "fault": usual()["fault"]})
    assert [len(each.runs) for each in histories_of(tmp_path)] == [2]


def test_a_cell_of_one_run_and_an_a_a_pair_have_no_history(tmp_path: Path) -> None:
    on_days(
        tmp_path,
        summaries.against_itself(),
        summaries.summary(summaries.against_itself().cells[1:]),
    )
    (history,) = histories_of(tmp_path)
    ids = [cell.info["id"] for cell in summaries.against_itself().cells]
    assert [cell.newest.id for cell in history.cells] == ids[1:6]


def test_a_cell_under_another_condition_is_another(tmp_path: Path) -> None:
    made = summaries.one_cell()
    one = made.cells[0]
    condition = {**one.info["condition"], "in_flight": 7}
    told = made.to_json()
    told["cells"][0]["condition"] = condition
    on_days(tmp_path, made, made)
    results.write_json(tmp_path / "run-2" / "summary.json", told)
    assert histories_of(tmp_path) == []


def test_invalid_is_grey_and_said_and_failed_has_no_figure(tmp_path: Path) -> None:
    load = summaries.OPEN[0]
    cells = [[summaries.cell("rest", load, reasons)] for reasons in ([], [LATE], [], [DIED], [])]
    on_days(tmp_path, *map(summaries.summary, cells))
    (cell,) = histories_of(tmp_path)[0].cells
    plot = plots(cell)[0]
    assert [dot.grey for dot in plot.dots] == [False, True, False, False]
    assert plot.lines == []  # no two usable runs follow each other
    assert "1 of 5 runs without" in plot.title
    assert plot.dots[1].said.endswith("invalid")
    rows = page_of(tmp_path).tables[1][1:]
    assert [row[-1] for row in rows] == [
        "valid", "failed: server died", "valid", "invalid: generator bound", "valid",
    ]  # fmt: skip
    assert rows[1][3:5] == ["–", "–"]
    text = (tmp_path / "index.html").read_text()
    assert text.count("fill:var(--invalid)") == 2  # p50 and p99


def test_what_is_no_number_reads_as_in_the_report(tmp_path: Path) -> None:
    for make, seen in ((summaries.censored, "> 2 s"), (summaries.not_resolvable, "n/r")):
        around = tmp_path / make.__name__
        on_days(around, make(), make())
        cell = histories_of(around)[0].cells[0]
        assert figure_of(cell.points[0], "p99") == seen
        assert cell.metrics == ["p50"]


def test_copies_of_a_run_count_once(tmp_path: Path) -> None:
    made = summaries.complete()
    for name in ("run", "copy"):
        left(tmp_path, name, made)
        results.write_json(tmp_path / name / "run.json", made.info)
    assert histories_of(tmp_path) == []
    assert len(read_past(tmp_path).runs) == 2


def test_older_runs_than_are_shown_are_counted(tmp_path: Path) -> None:
    made = summaries.one_cell()
    for number in range(MOST + 2):
        left(tmp_path, f"run-{number:02}", made, started_at=f"2030-01-02T03:{number:02}:00+00:00")
    (cell,) = histories_of(tmp_path)[0].cells
    assert (len(cell.points), cell.older) == (MOST, 2)
    assert cell.points[0].run.name == "run-02"
    assert "2 older ones not shown" in page_of(tmp_path).text


def test_other_software_than_before_is_said(tmp_path: Path) -> None:
    made = summaries.complete()
    on_days(tmp_path, made, made)
    newer = other(made, "libraries", aiohttp="9.9")
    left(tmp_path, "run-3", made, started_at=DAY.format(3), environment=newer)
    (history,) = histories_of(tmp_path)
    assert [(run.name, said) for run, said in history.changes] == [
        ("run-3", ["aiohttp: 3.14.5 / 9.9"])
    ]
    assert "aiohttp: 3.14.5 / 9.9" in page_of(tmp_path).text


def test_a_summary_by_an_earlier_version_has_neither_range_nor_sentences(tmp_path: Path) -> None:
    made = summaries.complete()
    on_days(tmp_path, made, made)
    for folder in tmp_path.iterdir():
        told = made.to_json()
        for cell in told["cells"]:
            del cell["range"]
        results.write_json(folder / "summary.json", told)
    (history,) = histories_of(tmp_path)
    assert figure_of(history.cells[0].points[0], "p50") == f"{made.cells[0].latency.p50:.2f}"
    assert "not noted by the version that made its report" in page_of(tmp_path).text


def test_a_run_that_goes_on_and_one_that_was_killed(tmp_path: Path) -> None:
    made = summaries.complete()
    names = ("going", "killed")
    for name in names:
        left(tmp_path, name, made, page=False, status="running")
        (tmp_path / name / "summary.json").unlink()
    with written(tmp_path / "going"):
        page = page_of(tmp_path)
    states = {row[0][:6].strip("W"): row[2] for row in page.tables[0][1:]}
    assert states == {"going": "running", "killed": "unfinished"}
    assert "no summary.json: bench.py report" in page.text
    assert page.all("href") == ["#runs"]


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """A process is at a run's folder meanwhile."""
    import fcntl

    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    os.close(lock)


def test_calibrations_are_listed_apart(tmp_path: Path) -> None:
    environment = summaries.complete().info["environment"]
    kept = {
        "format": 1,
        "calibrated_at": "2030-01-01T00:00:00+00:00",
        "headline": {"checks": 32, "not_met": 4},
        "environment": environment,
    }
    results.write_json(tmp_path / "calibrate-1" / "calibration.json", kept)
    left(tmp_path / "calibrate-1", "part", summaries.one_cell())
    left(tmp_path / "calibrate-2", "part", summaries.one_cell())
    page = page_of(tmp_path)
    assert page.tables[0][1][:4] == ["calibrate-1", "2030-01-01 00:00", "28 of 32", "0123456"]
    assert "calibrate-1/calibration.json" in page.all("href")
    assert read_past(tmp_path).runs == []
    assert read_past(tmp_path).others == [
        ("calibrate-2", "no run.json; it holds runs, as a calibration that was interrupted does")
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "run.json: Invalid JSON"),
        (b"[" * 100_000, "run.json: Invalid JSON: recursion limit"),
        (b"\xff\xfe", "run.json: Invalid JSON"),
        (b"[]", "run.json: Input should be an object"),
        (b'{"format": 9}', "run.json: format 9; this program reads up to 2"),
        (b'{"format": "x"}', "run.json: format: Input should be a valid integer"),
        (b'{"format": 1}', "run.json: status: Field required"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, text: bytes, why: str
) -> None:
    left(tmp_path, "good", summaries.one_cell())
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_bytes(text)
    past = read_past(tmp_path)
    assert [run.name for run in past.runs] == ["good"]
    (bad, said), notes = past.others
    assert bad == "bad"
    assert said.startswith(why)
    assert notes == ("notes", "no run.json")
    page = page_of(tmp_path)
    assert page.text.count("bad – ") == page.text.count("notes – no run.json") == 1
    assert ".hidden" not in page.text


def test_a_summary_that_cannot_be_read_leaves_its_run_in_the_list(tmp_path: Path) -> None:
    folder = left(tmp_path, "run", summaries.one_cell())
    results.write_json(folder / "summary.json", {"format": 9, "cells": []})
    rows = page_of(tmp_path).tables[0][1:]
    assert rows[0][3] == "–"
    assert "summary.json: format 9; this program reads up to 2" in rows[0][4]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to all that is in a JSON value."""
    yield at
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, each in inner:
        yield from places(each, (*at, key))


MADE = summaries.one_cell()
UNREAD = ("overhead", "latency_by_percentile_ms", "counts", "warm_up")
FILES: Mapping[str, Any] = {
    "run.json": {**MADE.info, "parts": {"kafka": {"version": "4.3.1"}}, "awake": True},
    "summary.json": {
        "format": 1,
        "cells": [
            {key: value for key, value in cell.items() if key not in UNREAD}
            for cell in MADE.to_json()["cells"]
        ],
        "headline": headline(MADE),
    },
}
"""Of what an index reads, and little else."""
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([summaries.HOSTILE, "", "\0", "9999-12-31T23:59:59-14:00", 10**400, 1e-320]),
    st.just([]),
    st.just({}),
    st.just([[{"a": [None]}]]),
    st.just({"a": {"b": []}}),
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_file_the_index_is_made(data: st.DataObject) -> None:
    from tempfile import TemporaryDirectory

    file = data.draw(st.sampled_from(sorted(FILES)))
    told = json.loads(json.dumps(FILES[file]))
    way = data.draw(st.sampled_from([at for at in places(told) if at]))
    inside = told
    for key in way[:-1]:
        inside = inside[key]
    inside[way[-1]] = data.draw(ODD)
    with TemporaryDirectory() as folder:
        around = Path(folder)
        on_days(around, MADE, MADE)
        (around / "run-2" / file).write_text(json.dumps(told))
        build_index(around)
        text = (around / "index.html").read_text()
        assert "<script" not in text
        Page(text)


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    names = [b"javascript:alert(1)", b'"><script>alert(1)<', b"\xff", b"a b#?%41", b"&lt;"]
    for day, name in enumerate(names, 1):
        left(tmp_path, os.fsdecode(name), summaries.hostile(), started_at=DAY.format(day), run="x")
    (tmp_path / "<script>").mkdir()
    page = page_of(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert not re.search(r"<script|https?:|@import|url\((?!#)|src=", text)
    assert page.text.count(summaries.HOSTILE) > len(names)
    links = [href for href in page.all("href") if not href.startswith("#")]
    assert {unquote_to_bytes(href.partition("/")[0]) for href in links} == set(names)
    for href in links:
        assert re.fullmatch(r"[A-Za-z0-9%._~()-]+/report\.html(#[^#]+)?", href)
        assert (tmp_path / os.fsdecode(unquote_to_bytes(href.partition("#")[0]))).is_file()


def test_a_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    made = summaries.many()
    on_days(tmp_path, made, made, summaries.asynchronous(), summaries.asynchronous())
    left(tmp_path / "calibrate", "part", made)
    page = page_of(tmp_path)
    assert not any(tag in ("script", "link", "img", "iframe") for tag, _ in page.elements)
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    for reference in page.all("href"):
        if reference.startswith("#"):
            assert reference.removeprefix("#") in ids
    for reference in page.all("aria-labelledby") + page.all("aria-describedby"):
        assert reference in ids
    heads = [given for tag, given in page.elements if tag == "th"]
    assert all(given.get("scope") in ("col", "row") for given in heads)
    pictures = [given for tag, given in page.elements if tag == "svg"]
    assert all("aria-label" in given or "aria-hidden" in given for given in pictures)


def test_a_style_has_one_mark_and_colour_wherever_it_stands(tmp_path: Path) -> None:
    on_days(tmp_path, *[summaries.many(), summaries.complete()] * 2)
    (history,) = histories_of(tmp_path)
    build_index(tmp_path)
    articles = (tmp_path / "index.html").read_text().split("<article>")[1:]
    drawn: dict[str, set[tuple[str, str]]] = {}
    for cell, article in zip(history.cells, articles, strict=True):
        looks = re.findall(r'<use href="#(mark-\d+)"[^>]*fill:(#\w+)', article)
        drawn.setdefault(cell.newest.style, set()).update(looks)
    assert set(drawn) == {"rest", "grpc-stream", "grpc-unary", "websocket"}
    assert all(len(looks) == 1 for looks in drawn.values())
    assert len({look for looks in drawn.values() for look in looks}) == len(drawn)


def test_trials_are_never_read(tmp_path: Path) -> None:
    made = summaries.one_cell()
    folder = left(tmp_path, "run", made)
    before = page_of(tmp_path).text
    for name in (
        "telemetry.parquet",
        "events.parquet",
        f"trials/{made.cells[0].info['id']}/1.parquet",
    ):
        results.write_text(folder / name, "no Parquet")
    assert page_of(tmp_path).text == before


def test_no_runs_yet(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "None yet" in page.text
    assert page.tables == []


def test_an_interrupt_leaves_the_old_index_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_of(tmp_path)
    before = (tmp_path / "index.html").read_bytes()
    left(tmp_path, "run", summaries.one_cell())

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_index(tmp_path)
    assert (tmp_path / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "run"]


@given(st.floats(0, 1e12))
def test_ticks_begin_at_zero_and_reach_the_highest(top: float) -> None:
    ticks = list(_ticks(top))
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-6)
    assert 2 <= len(ticks) <= 5


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's results/, and a user's own folder beside it."""
    monkeypatch.setattr(indexing, "RESULTS", tmp_path / "results")
    return tmp_path


def real(folder: Path) -> Path:
    """A run with a trial, that a report can be made of."""
    made = summaries.one_cell()
    cell = made.cells[0].info["id"]
    results.write_json(folder / "run.json", {**made.info, "run": folder.name})
    results.write_samples(results.trial_path(folder, cell, 1), samples(cell, 500))
    return folder


def test_an_index_is_kept_in_results_and_nowhere_unasked(home: Path) -> None:
    ours, users = real(home / "results" / "run"), real(home / "mine" / "run")
    assert main(["report", str(ours)]) == main(["report", str(users)]) == 0
    assert "run/report.html" in (home / "results" / "index.html").read_text()
    assert [path.name for path in (home / "mine").iterdir()] == ["run"]


def test_an_index_that_was_asked_for_is_kept(home: Path) -> None:
    mine = home / "mine"
    real(mine / "run-1")
    assert main(["report", str(mine)]) == 0
    assert "run-2" not in (mine / "index.html").read_text()
    assert main(["report", str(real(mine / "run-2"))]) == 0
    assert "run-2/report.html" in (mine / "index.html").read_text()


def test_a_page_of_the_users_own_is_not_overwritten(home: Path) -> None:
    own = home / "mine" / "index.html"
    results.write_text(own, "<!DOCTYPE html><title>mine</title>")
    assert main(["report", str(real(home / "mine" / "run"))]) == 0
    assert own.read_text() == "<!DOCTYPE html><title>mine</title>"


def test_an_index_that_cannot_be_written_spoils_no_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "results" / "index.html").mkdir(parents=True)
    ours = real(home / "results" / "run")
    assert main(["report", str(ours)]) == 0
    assert (ours / "report.html").is_file()
    assert "cannot be written: Is a directory" in capsys.readouterr().out
    assert main(["report", str(home / "results")]) == 2


def test_a_gate_is_about_one_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real(home / "mine" / "run")
    gate = home / "gate.toml"
    gate.write_text("[[objective]]\np99_ms = 20\n")
    assert main(["report", str(home / "mine"), "--gate", str(gate)]) == 2
    assert "--gate: is about one run" in capsys.readouterr().err
    assert not (home / "mine" / "index.html").exists()
    assert main(["report", str(home)]) == 2  # no run, and none in it
    assert "there is no run.json in it" in capsys.readouterr().err


def test_a_class_of_durability_is_said(tmp_path: Path) -> None:
    condition = replace(summaries.USUAL, broker=BrokerWay(durability="D"))
    made = summaries.summary([summaries.cell("kafka", summaries.OPEN[0], condition=condition)])
    on_days(tmp_path, made, made)
    assert "200/s, 3 items, class D" in page_of(tmp_path).text
