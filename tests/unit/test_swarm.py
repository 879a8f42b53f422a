"""Locust's side: the form's words, the tables, and figures as Locust's statistics."""

import importlib
import json
from typing import Any

import pytest

from harness.cli.paths import scenario_path
from harness.plan import make_plan
from harness.scenario import BadInput, load_scenario
from harness.swarm import form
from harness.swarm.board import TABLES, Board, percentile

Given = dict[str, list[str]]


def test_the_form_says_what_bench_run_is_told() -> None:
    given: Given = {
        "scenario": ["compare"],
        "styles": ["rest", "sse"],
        "load": ["closed"],
        "closed_users": ["16"],
        "rate": [""],
        "items": ["3"],
        "duration": [" 5 "],
        "repeats": ["1"],
    }
    assert form.problems(given) == []
    assert form.words(given) == [
        "compare", "--styles=rest,sse", "--load=closed", "--users=16", "--items=3",
        "--duration=5", "--repeats=1", "--budget=86400",
    ]  # fmt: skip


def test_the_scenarios_own_load_is_left_alone() -> None:
    given: Given = {"scenario": ["smoke"], "styles": ["rest"], "load": [form.AS_IT_IS]}
    assert form.words(given) == ["smoke", "--styles=rest", "--budget=86400"]


def test_a_load_through_several_rates() -> None:
    given: Given = {"load": ["steps"], "rate": ["100,300"], "duration": ["8"]}
    (load,) = [word for word in form.words(given) if word.startswith("--load=")]
    overrides = {"--load": load.removeprefix("--load="), "--budget": form.NO_BUDGET_S}
    raw = load_scenario(scenario_path("smoke"), overrides)
    cells = make_plan(raw).cells
    assert {cell.load.rates for cell in cells} == {(100.0, 300.0)}
    assert {cell.window_s for cell in cells} == {8.0}
    assert form.problems({"load": ["steps"], "rate": ["x"]}) == [
        "rate: a load of steps goes through several, as in 100, 200, 400",
        "duration: the steps share it; say how many seconds",
    ]


def test_every_choice_that_is_not_offered_is_refused_at_once() -> None:
    """Issue 8: refused by the server. A style may be a file, which would be run."""
    given: Given = {"scenario": ["../x.toml"], "styles": ["rest", "x.py:A"], "load": ["no"]}
    found = form.problems(given)
    assert [problem.partition(":")[0] for problem in found] == ["scenario", "styles", "load"]
    assert form.problems({"styles": ["x.py:A"]}, own=["x.py:A"]) == []


@pytest.mark.parametrize("value", ["--out=/x", "x", "-1"])
def test_a_text_is_never_another_option(value: str) -> None:
    words = form.words({"rate": [value], "scenario": ["smoke"]})
    assert words[1] == f"--rate={value}"


def test_every_style_and_variant_is_offered() -> None:
    from clients import catalog
    from harness.variant import parse_variant

    offered = [parse_variant(word).entry for word in form.styles()]
    assert len(offered) == len(catalog.ENTRIES)
    assert all(entry in offered for entry in catalog.ENTRIES)


def test_load_by_option_keeps_what_it_can() -> None:
    path = scenario_path("smoke")
    poisson = load_scenario(path, {"--load": "poisson"})
    assert poisson.load[0].model_dump() == {"model": "poisson", "rate": [200.0]}
    closed = load_scenario(path, {"--load": "closed", "--users": [4]})
    assert closed.load[0].model_dump() == {"model": "closed", "users": [4], "think_s": 0.0}
    for text, said in (
        ("closed", "--load.users: is missing"),
        ('model = "ramp", rates = [1]', "--load.rates: "),
        ("often", "--load: 'often' is no model"),
    ):
        with pytest.raises(BadInput) as refused:
            load_scenario(path, {"--load": text})
        assert any(problem.startswith(said) for problem in refused.value.problems), text


ENDED: dict[str, Any] = {
    "event": "trial_ended",
    "subject": ["rest", "place"],
    "number": 3,
    "load": "100/s",
    "overhead": {"cpu_us": {"generator": 100.5, "server": 90.0}, "bytes": [380, 260]},
    "generator": {
        "send_lag_us": [70.0, None, 900.0],
        "loop_lag_p99_us": None,
        "busy": 0.1234,
        "pacer": "timerfd",
        "lanes": 4,
    },
    "ledger": {
        "planned": 10, "sent": 9, "done": 8, "failed": 0, "timed_out": 1, "dropped": 1, "late": 0,
        "wrong": [],
        "messages": {"lost_acknowledged": 2, "duplicated": 0, "reordered": 0},
    },
}  # fmt: skip


def test_a_trial_fills_a_row_of_every_table() -> None:
    board = Board()
    board.hear({"event": "trial", **{k: ENDED[k] for k in ("subject", "number", "load")}}, 0.0)
    assert board.now == "3 rest place at 100/s"
    board.hear(ENDED, 1.0)
    here = dict.fromkeys(TABLES["hosts"][1], 0)
    board.hear({"event": "hosts", "rows": [here, here]}, 1.0)
    board.hear({"event": "hosts", "rows": [here]}, 1.0)
    for key, (_, columns) in TABLES.items():
        (row,) = board.rows[key]
        assert set(row) == set(columns), key
    assert board.rows["ledger"][0]["lost"] == 2
    assert board.rows["generator"][0]["lag_p99"] == "–"
    json.dumps(board.rows, allow_nan=False)


def test_lines_have_a_point_a_batch() -> None:
    board = Board()
    row = {"milestone": "done", "count": 50, "times": [[1000, 49], [9000, 1]]}
    for at in (10.0, 10.5, 11.0):
        board.hear({"event": "figures", "subject": ["rest", "place"], "rows": [row]}, at)
    assert list(board.lines["rest place [done]"]) == [
        (10.5, 100.0, 1.0, 9.0),
        (11.0, 100.0, 1.0, 9.0),
    ]
    assert percentile([], 0.5) is None


def test_batches_become_locusts_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 8: microsecond buckets; only `done` is in the total, so that nothing counts twice."""
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    stats_of_locust = importlib.import_module("locust.stats")
    merge = importlib.import_module("harness.swarm.figures").merge
    stats = stats_of_locust.RequestStats()
    done = {
        "milestone": "done", "count": 4, "failed": {"timeout": 1}, "sum_us": 4500, "min_us": 1001,
        "max_us": 2003, "times": [(1001, 1), (1500, 1), (2003, 1)],
    }  # fmt: skip
    acked = {**done, "milestone": "acked", "count": 3, "failed": {}}
    for _ in range(2):
        for row in (acked, done):
            merge(stats, ["rest", "place"], row)
    total = stats.total.to_dict()
    assert (total["num_requests"], total["num_failures"]) == (8, 2)
    assert total["median_response_time"] == 1.5
    assert stats.total.avg_response_time == 1.5
    rows = {(entry.method, entry.name): entry for entry in stats.entries.values()}
    assert set(rows) == {("rest", "place [done]"), ("rest", "place [acked]")}
    assert rows["rest", "place [acked]"].num_requests == 6
    assert dict(rows["rest", "place [done]"].response_times) == {1.001: 2, 1.5: 2, 2.003: 2}
    assert [error.occurrences for error in stats.errors.values()] == [2]
