"""A search for capacity, and rates that change, as users run them (issue 6.5). What is asserted are
states and what must follow from each other; never a rate."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.capacity import outcome
from harness.analysis.summary import summarize
from harness.results import open_run, read_samples
from harness.search import Outcome, Search
from tests.live.support import balanced, bench, bench_done
from tests.support import LIMIT_S

SEARCH = """
question = "How much does each carry?"
styles = ["rest", "websocket"]
repeats = 1
warm_up_s = 0.1
duration_s = 0.5
timeout_s = 2.0
objective = { percentile = 50, latency_ms = LATENCY }
load = { model = "constant", rate = 40 }
capacity = { limit = 160, width = 1.0 }
service = { time = "fixed", mean_ms = 60 }
"""
ALONG = """
question = "Along a rate?"
styles = ["rest", "grpc-stream", "noop"]
repeats = 1
warm_up_s = 0.2
duration_s = 1.0
timeout_s = 60.0
[[load]]
model = "ramp"
rates = [20, 180]
[[load]]
model = "steps"
rates = [50, 150, 100]
hold_s = 0.4
[[load]]
model = "replay"
file = "recorded.jsonl"
column = "at"
"""


def run(folder: Path, text: str) -> tuple[Path, dict[str, Any], str]:
    """A run of a scenario: its folder, its summary, what it said."""
    path = folder / "s.toml"
    path.write_text(text)
    out = folder / "run"
    code, said, err = bench_done("run", str(path), "--out", str(out))
    assert code == 0, said + err
    made = json.loads((out / "summary.json").read_text())
    assert balanced(made)
    return out, made, said


def consistent(out: Path) -> None:
    """Whether the answer of each search follows from its trials, and each trial from the one
    before."""
    summary = summarize(open_run(out))
    scenario = summary.info["scenario"]
    for found in summary.capacities:
        search = Search(40, 160, 1.0, 1)
        outcomes: dict[float, list[Outcome]] = {}
        on_disk = {probe.rate: probe for probe in found.probes}
        while (rate := search.following(outcomes)) is not None and rate in on_disk:
            number = len(outcomes.setdefault(rate, []))
            trials = on_disk[rate].cell.trials
            if number == len(trials):
                break
            outcomes[rate].append(outcome(trials[number], scenario["objective"]))
        assert found.found == search.found(outcomes)
        assert sum(map(len, outcomes.values())) == sum(len(p.cell.trials) for p in found.probes)
        held, missed = found.found.held, found.found.missed
        assert held is None or missed is None or held < missed


def test_a_search_ends_with_a_bracket_that_its_trials_bear_out(tmp_path: Path) -> None:
    # Far more than the work takes: it holds wherever nothing is left undone.
    out, made, said = run(tmp_path, SEARCH.replace("LATENCY", "1900"))
    assert [each["style"] for each in made["capacity"]] == ["rest", "websocket"]
    for each in made["capacity"]:
        assert each["ending"] in {"found", "limit", "generator", "below"}
        assert each["probes"][0]["rate"] == 40
        for probe in each["probes"]:
            samples = out / "trials" / probe["cell"]
            assert len(list(samples.glob("*.parquet"))) == len(probe["outcomes"])
    consistent(out)
    assert "nothing left undone: rest" in said
    assert "What the searches found" in (out / "report.html").read_text()
    assert (out / "charts" / "capacity.svg").exists()
    before = (out / "summary.json").read_text()
    (out / "summary.json").unlink()
    assert bench_done("report", str(out))[0] == 0
    assert (out / "summary.json").read_text() == before


def test_a_service_that_never_meets_its_objective_is_below_the_lowest_rate(tmp_path: Path) -> None:
    # Less than the work takes: physics forbids it at any rate.
    out, made, said = run(tmp_path, SEARCH.replace("LATENCY", "50"))
    for each in made["capacity"]:
        assert each["held_per_s"] is None
        assert each["missed_per_s"] == 40
        assert [probe["rate"] for probe in each["probes"]] == [40]
        assert each["ending"] in {"below", "generator"}
    consistent(out)
    assert "the lowest rate that was asked for" in said or "the generator was late" in said


def test_a_search_that_was_interrupted_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(SEARCH.replace("LATENCY", "1900").replace("limit = 160", "limit = 640"))
    out = tmp_path / "run"
    process = bench("run", str(path), "--out", str(out))
    limit = time.monotonic() + LIMIT_S
    # Not one of the first round, which run.json has from the start.
    while len({p.parent for p in out.glob("trials/*/*.parquet")}) < 3:
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < limit, "no trial of the second round was seen"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=5 * LIMIT_S)
    assert process.returncode == 130, said + err
    cells = json.loads((out / "run.json").read_text())["cells"]
    folders = {p.parent.name for p in out.glob("trials/*/*.parquet")}
    assert folders <= {cell["id"] for cell in cells}
    code, said, err = bench_done("report", str(out))
    assert code == 0, said + err
    made = json.loads((out / "summary.json").read_text())
    assert sum(len(p["outcomes"]) for each in made["capacity"] for p in each["probes"]) >= 3
    consistent(out)


@pytest.mark.parametrize("style", ["rest", "grpc-stream", "noop"])
def test_a_rate_that_changes_is_sent_as_planned(tmp_path: Path, style: str) -> None:
    offsets = [0.0, 0.1, 0.1, 0.15, 0.9, 1.0]
    rows = "".join(json.dumps({"at": 1700000000 + at}) + "\n" for at in offsets)
    (tmp_path / "recorded.jsonl").write_text(rows)
    text = ALONG.replace('["rest", "grpc-stream", "noop"]', f'["{style}"]')
    out, made, _ = run(tmp_path, text)
    by_model = {cell["load"]["model"]: cell for cell in made["cells"]}
    # The mean of 20 and 180 for a second; 50, 150 and 100 for 0.4 s each; six instants.
    assert abs(by_model["ramp"]["counts"]["planned"] - 100) <= 1
    assert abs(by_model["steps"]["counts"]["planned"] - 120) <= 1
    assert by_model["replay"]["counts"]["planned"] == 6
    for cell in by_model.values():
        assert cell["counts"]["done"] == cell["counts"]["planned"]
        assert {r["code"] for r in cell["verdict"]["reasons"]}.isdisjoint(
            {"warm_up", "not_stationary"}
        )
        total = sum(each["planned_per_s"] for each in cell["timeline"]) / len(cell["timeline"])
        window_s = cell["counts"]["planned"] / total
        assert window_s == pytest.approx(
            {"ramp": 1, "steps": 1.2, "replay": 1.2}[cell["load"]["model"]]
        )
    replayed = read_samples(out / "trials" / by_model["replay"]["id"] / "1.parquet")
    planned = replayed.planned[replayed.measured]
    assert ((planned - planned[0]) / 1e9).tolist() == pytest.approx(offsets, abs=1e-6)
    charts = [path.stem for path in (out / "charts").glob("timeline*.svg")]
    assert len(charts) == 3
