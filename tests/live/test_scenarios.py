"""Asynchronous styles, subscribers, jobs, conditions, drivers of one's own: as users run them."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.results import open_run, read_samples, read_sightings, sightings_path
from tests.live.support import OWN_DRIVER, balanced, bench_done

PLACES = """
question = "Do results of work arrive?"
styles = ["rest", "rest-poll", "sse", "webhook", "zeromq"]
repeats = 1
warm_up_s = 0.2
duration_s = 1.5
timeout_s = 60.0
load = { model = "constant", rate = 20 }
service = { time = "fixed", mean_ms = 120 }
poll = { policy = ["fixed", "long"], interval_ms = 50 }
"""
WATCHES = """
question = "Does everyone see it?"
operation = "watch"
styles = ["grpc-stream", "websocket", "sse", "rest-poll", "zeromq", "rest"]
repeats = 1
warm_up_s = 0.2
duration_s = 1.5
timeout_s = 60.0
load = { model = "constant", rate = 8 }
watch = { subscribers = 20, stalled = 1 }
poll = { interval_ms = 100 }
"""
JOBS = """
question = "Who survives?"
operation = "job"
styles = ["rest", "sse", "grpc-stream"]
repeats = 1
warm_up_s = 0.2
duration_s = 1.0
timeout_s = 60.0
load = { model = "constant", rate = 4 }
service = { time = "fixed", mean_ms = 4000 }
poll = { interval_ms = 300 }
gateway = { cuts_idle_s = 2.0 }
"""
REPEATS = """
question = "How often is the work done?"
styles = ["rest"]
repeats = 1
warm_up_s = 0.0
duration_s = 1.5
timeout_s = 60.0
load = { model = "constant", rate = 10 }
service = { time = "fixed", mean_ms = 2000 }
retry = { attempts = 3, timeout_s = 0.4 }
memory = { remember = ["nothing", "keys", "requests", "gateway"] }
"""
WAYS = """
question = "Do all ways work?"
styles = ["rest", "zeromq"]
repeats = 1
warm_up_s = 0.1
duration_s = 0.5
timeout_s = 60.0
load = { model = "constant", rate = 20 }
wire = { tls = [false, true], codec = "protobuf", compression = [false, true] }
connection = { kept = [true, false] }
"""


def run(tmp_path: Path, scenario: str, *words: str) -> tuple[int, dict[str, Any], Path]:
    """Exit code, summary and folder of a scenario's run; every account balances."""
    path, out = tmp_path / "scenario.toml", tmp_path / "run"
    path.write_text(scenario)
    code, said, err = bench_done("run", str(path), "--out", str(out), *words)
    assert (out / "summary.json").exists(), said + err
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    assert balanced(summary)
    return code, summary, out


def status(cell: dict[str, Any]) -> str:
    """A cell's verdict."""
    return str(cell["verdict"]["status"])


def test_accepted_processed_and_seen_are_three_instants(tmp_path: Path) -> None:
    code, summary, out = run(tmp_path, PLACES)
    assert code == 0
    assert len(summary["cells"]) == 6
    for cell in summary["cells"]:
        assert cell["counts"]["done"] == cell["counts"]["planned"] == 30
        samples = read_samples(out / "trials" / cell["id"] / "1.parquet")
        # The work takes 120 ms, whatever the style.
        assert (samples.processed - samples.sent >= 119_000_000).all()
        assert (samples.done > samples.processed).all()
        early = cell["style"] in ("rest-poll", "sse", "webhook")
        assert (cell["ack_ms"] is not None) == early
        if early:
            assert (samples.acked > samples.sent).all()
            assert (samples.acked < samples.done).all()
        if cell["style"] == "rest-poll":
            polls, empty = samples.notes["polls"], samples.notes.get("empty_polls")
            assert (polls >= 1).all()
            assert empty is None or (polls - empty == 1).all()
        assert cell["worked_per_order"] == 1.0
        assert cell["bytes_to_server_per_op"] > 0
    page = (out / "report.html").read_text()
    answer = page[page.index("</h1>") :][:200]
    assert "mean time from the end of the work" in answer


def test_every_subscriber_that_reads_sees_every_change_once(tmp_path: Path) -> None:
    code, summary, out = run(tmp_path, WATCHES)
    assert code == 0
    for cell in summary["cells"]:
        if cell["style"] == "rest":
            assert status(cell) == "skipped"
            assert [r["code"] for r in cell["verdict"]["reasons"]] == ["not_offered"]
            continue
        assert cell["counts"]["done"] == cell["counts"]["planned"] == 12
        readers = 20 - cell["condition"]["stalled"]
        watched = cell["watched"]
        assert watched["delivered"] == watched["expected"] == 12 * readers
        assert watched["repeated"] == 0
        sightings = read_sightings(sightings_path(out / "trials" / cell["id"] / "1.parquet"))
        assert sightings is not None
        assert (sightings.seen > sightings.happened).all()
        assert (
            watched["first_ms"]["p50"] <= watched["median_ms"]["p50"] <= watched["last_ms"]["p50"]
        )
        assert cell["server_memory_bytes"]["before_open"] > 0
        assert cell["connections"] >= 20


def test_a_gateway_cuts_what_is_idle_and_that_is_a_result(tmp_path: Path) -> None:
    code, summary, out = run(tmp_path, JOBS)
    assert code == 0
    by_style = {cell["style"]: cell for cell in summary["cells"]}
    assert by_style["rest"]["counts"]["done"] == 0
    assert by_style["rest"]["verdict"]["reasons"][0]["code"] == "cut"
    assert status(by_style["rest"]) == "qualified"
    for style in ("sse", "grpc-stream"):
        counts = by_style[style]["counts"]
        assert counts["done"] == counts["planned"] == 4, style
        assert by_style[style]["progress_ms"]["max"] > 0
    told = [e["detail"] for e in open_run(out).events if e["kind"] == "relay_stopped"]
    assert len(told) == 3
    assert any(json.loads(detail)["cut"] for detail in told)


def test_a_repeat_is_answered_and_not_redone(tmp_path: Path) -> None:
    code, summary, _ = run(tmp_path, REPEATS)
    assert code == 0
    for cell in summary["cells"]:
        remember = cell["condition"]["remember"]
        assert cell["counts"]["done"] == cell["counts"]["planned"] == 15
        # The work outlasts every attempt but the last, so each order is asked for three times.
        assert cell["notes_per_op"] == {"retries": 2.0}
        assert cell["worked_per_order"] == (3.0 if remember == "nothing" else 1.0)


def test_every_way_of_talking_and_a_style_that_has_none(tmp_path: Path) -> None:
    code, summary, _ = run(tmp_path, WAYS, "--strict")
    assert code == 3  # something was skipped
    assert len(summary["cells"]) == 16
    for cell in summary["cells"]:
        condition = cell["condition"]
        if cell["style"] == "zeromq" and condition["compression"]:
            assert status(cell) == "skipped"
            continue
        assert cell["counts"]["done"] == cell["counts"]["planned"] == 10, cell["id"]
        if not condition["kept"]:
            # One for each operation, the warm-up's included.
            assert cell["lanes_opened"] == 12
            assert cell["bytes_to_server_per_op"] > 0


def test_a_driver_of_ones_own_runs_beside_the_styles(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN_DRIVER)
    out = tmp_path / "run"
    words = ["--styles", "rest", "--duration", "1", "--rate", "50", "--out", str(out)]
    code, said, err = bench_done("run", "smoke", "--driver", f"{mine}:Mine", *words)
    assert code == 0, said + err
    cells = json.loads((out / "summary.json").read_text())["cells"]
    assert [cell["style"] for cell in cells] == ["rest", "mine"]
    assert all(cell["counts"]["done"] == cell["counts"]["planned"] == 50 for cell in cells)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}:Nobody", "has no class 'Nobody'"),
        ("{}.missing.py:Mine", "cannot be read"),
        ("{}:Mine=UPPER", "is not style"),
    ],
)
def test_a_driver_that_cannot_be_used_is_said_so(tmp_path: Path, given: str, said: str) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN_DRIVER)
    out = tmp_path / "run"
    code, _, err = bench_done("run", "smoke", "--driver", given.format(mine), "--out", str(out))
    assert code == 2
    assert said in err
    assert not out.exists()


def test_a_driver_without_a_service_asks_for_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN_DRIVER.replace('server = "rest"', "talks = True"))
    out = tmp_path / "run"
    code, _, err = bench_done("run", "smoke", "--driver", f"{mine}:Mine", "--out", str(out))
    assert code == 2
    assert "--target mine=ADDRESS" in err


def test_spans_need_a_folder_to_go_to(tmp_path: Path) -> None:
    out = tmp_path / "run"
    spans = tmp_path / "nowhere" / "spans.jsonl"
    code, _, err = bench_done("run", "smoke", "--trace", str(spans), "--out", str(out))
    assert code == 2
    assert f"--trace: {spans.parent} is no folder" in err
    assert not out.exists()
