"""Locust's side: the form's words, the tables, and figures as Locust's statistics."""

import argparse
import dataclasses
import importlib
import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import run
from harness.cli.numeric import numbers
from harness.cli.paths import RESULTS, scenario_path
from harness.load.live import Live
from harness.load.messages import LoadSpec
from harness.load.recorder import Recorder
from harness.load.schedule import planned_instants
from harness.plan import LoadPoint, make_plan
from harness.scenario import BadInput, load_scenario
from harness.sections import LOADS
from harness.swarm import form
from harness.swarm.board import TABLES, Board, percentile
from harness.swarm.session import Session
from harness.swarm.shape import steps
from tests.support import LIMIT_S

Given = dict[str, list[str]]
NOW = datetime(2025, 1, 2, 3, 4, 5)
SMOKE = scenario_path("smoke")
PLAIN = form.Offer()


def words(given: Given, offer: form.Offer = PLAIN) -> list[str]:
    """Of the one run that it makes."""
    (said,) = form.runs(given, offer, NOW).values()
    return said


def load_of(given: Given) -> LoadPoint:
    """As the harness plans it."""
    assert form.problems(given, PLAIN) == []
    told = dict(word.removeprefix("--").split("=", 1) for word in words(given)[1:])
    overrides = {
        "--load": told["load"],
        "--rate": numbers(told["rate"]) if "rate" in told else None,
        "--users": numbers(told["users"]) if "users" in told else None,
        "--styles": ["rest"],
    }
    (load,) = {cell.load for cell in make_plan(load_scenario(SMOKE, overrides)).cells}
    return load


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
    assert form.problems(given, PLAIN) == []
    assert words(given) == [
        "compare", "--styles=rest,sse", "--load=closed", "--users=16", "--items=3",
        "--duration=5", "--repeats=1", "--budget=86400",
    ]  # fmt: skip


def test_the_scenarios_own_load_is_left_alone() -> None:
    given: Given = {"scenario": ["smoke"], "styles": ["rest"]}
    given |= {"load": [form.AS_IT_IS], "items": [form.AS_IT_IS], "turns": [form.IN_TURN]}
    assert form.problems(given, PLAIN) == []
    assert words(given) == ["smoke", "--styles=rest", "--budget=86400"]


def test_every_load_but_a_recording_can_be_said() -> None:
    """Issue 8.1."""
    assert load_of(
        {"load": ["burst"], "rate": ["50"], "burst_size": ["100"], "every_s": ["0.5"]}
    ) == LoadPoint("burst", rate=50.0, burst_size=100, every_s=0.5)
    assert load_of({"load": ["closed"], "closed_users": ["4"]}) == LoadPoint("closed", users=4)
    assert load_of({"load": ["closed"], "closed_users": ["4"], "think_s": ["1.5"]}) == LoadPoint(
        "closed", users=4, think_s=1.5
    )
    assert load_of({"load": ["poisson"], "rate": ["70"]}) == LoadPoint("poisson", rate=70.0)
    assert load_of({"load": ["ramp"], "rate": ["70,90"]}).rates == (70.0, 90.0)
    assert set(LOADS) - {"replay"} == set(form.LOADS) - {form.AS_IT_IS}


def test_what_belongs_to_another_load_is_refused_and_so_is_what_is_no_number() -> None:
    given: Given = {"load": ["constant"], "burst_size": ["5"], "think_s": ["1"]}
    assert form.problems(given, PLAIN) == [
        "burst_size: is of a burst load; choose that, or leave it empty",
        "think_s: is of a closed load; choose that, or leave it empty",
    ]
    given = {"load": ["burst"], "burst_size": ["5, rate = 7"], "every_s": ["x"]}
    assert form.problems(given, PLAIN) == [
        "burst_size: '5, rate = 7' is no number",
        "every_s: 'x' is no number",
    ]


def test_only_the_command_line_may_ask_for_any_number_of_lines() -> None:
    """Issue 8.1: payload by drop-down."""
    (said,) = form.problems({"items": ["7"]}, PLAIN)
    assert said.startswith("items: '7' is none of the scenario's own, 1, 3, 10, ")
    asked = form.Offer(items="7")
    assert form.problems({"items": ["7"]}, asked) == []
    assert "--items=7" in words({"items": ["7"]}, asked)
    (field,) = [field for field in form.fields(asked) if field.name == "items"]
    assert field.default == "7"


def test_together_every_style_has_a_run_of_its_own() -> None:
    """Issue 8.2: each with its folder, its target, and a note of the others."""
    given: Given = {"styles": ["rest", "rest:httpx+fastapi", "sse"], "turns": [form.TOGETHER]}
    offer = form.Offer(targets=["rest=http://a", "noop=http://b"], out=Path("there/run"))
    assert form.problems(given, offer) == []
    budget, nobodys = "--budget=86400", "--target=noop=http://b"
    assert form.runs(given, offer, NOW) == {
        "rest": [
            "smoke", "--styles=rest", budget, "--target=rest=http://a", nobodys,
            "--out=there/run-rest-aiohttp", "--beside=rest:httpx+fastapi,sse",
        ],
        "rest:httpx+fastapi": [
            "smoke", "--styles=rest:httpx+fastapi", budget, "--target=rest=http://a", nobodys,
            "--out=there/run-rest-httpx", "--beside=rest,sse",
        ],
        "sse": [
            "smoke", "--styles=sse", budget, nobodys,
            "--out=there/run-sse-aiohttp", "--beside=rest,rest:httpx+fastapi",
        ],
    }  # fmt: skip
    (*_, out, _), *_ = form.runs(given, form.Offer(), NOW).values()
    assert Path(out.removeprefix("--out=")) == RESULTS / "smoke-20250102-030405-rest-aiohttp"
    assert list(form.runs({**given, "styles": ["rest"]}, offer, NOW)) == [""]
    assert form.problems({**given, "styles": ["sse", "sse"]}, offer) == [
        "styles: one is there twice"
    ]


def test_a_load_through_several_rates() -> None:
    given: Given = {"load": ["steps"], "rate": ["100,300"], "duration": ["8"]}
    (load,) = [word for word in words(given) if word.startswith("--load=")]
    overrides = {"--load": load.removeprefix("--load="), "--budget": form.NO_BUDGET_S}
    raw = load_scenario(SMOKE, overrides)
    cells = make_plan(raw).cells
    assert {cell.load.rates for cell in cells} == {(100.0, 300.0)}
    assert {cell.window_s for cell in cells} == {8.0}
    assert form.problems({"load": ["steps"], "rate": ["x"]}, PLAIN) == [
        "rate: a load of steps goes through several, as in 100, 200, 400",
        "duration: the steps share it; say how many seconds",
    ]


SHAPES = """
from locust import LoadTestShape

class Stages(LoadTestShape):
    stages = [(10, 100), (30, 300), (35, 50)]

    def tick(self):
        for end, users in self.stages:
            if self.get_run_time() < end:
                return users, 1000
        return None

class Spike(LoadTestShape):
    def tick(self):
        second = self.get_run_time()
        return None if second >= 9 else (500 if second in (3, 4) else 0, 1)

class Endless(LoadTestShape):
    def tick(self):
        return self.get_current_user_count() + 10, 1, []

class Everywhere(LoadTestShape):
    def tick(self):
        return 100 + self.get_run_time() % 2, 1

class Broken(LoadTestShape):
    def tick(self):
        return 1 / (3 - self.get_run_time()), 1

class Talking(LoadTestShape):
    def tick(self):
        return "many", 1

class Idle(LoadTestShape):
    def tick(self):
        return None

class Unmade(LoadTestShape):
    def __init__(self, how):
        self.how = how
"""


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    path = tmp_path / "mine.py"
    path.write_text(SHAPES)
    return path


def planned(*options: str) -> tuple[str, list[int]]:
    """What a generator draws for options of `bench.py run`, and the load in words."""
    parser = argparse.ArgumentParser()
    run.arguments(parser)
    said = parser.parse_args(["smoke", "--styles=rest", *options])
    overrides = {"--load": said.load, "--duration": said.duration, "--styles": said.styles}
    (cell,) = make_plan(load_scenario(SMOKE, overrides)).cells
    told = {f.name: getattr(cell.load, f.name) for f in dataclasses.fields(LoadSpec)}
    return cell.load.words, planned_instants(
        LoadSpec(**told), 0.5 + cell.window_s, seed=1, block=0, warm_up_s=0.5
    ).tolist()


def shaped(shape: str, duration: str = "") -> tuple[str, list[int]]:
    offer = form.Offer(shape=shape)
    given: Given = {"styles": ["rest"], "load": [offer.load], "duration": [duration]}
    assert form.problems(given, offer) == []
    return planned(*words(given, offer)[1:])


def test_a_shape_of_locusts_is_planned_like_the_scenarios_own_steps(shapes: Path) -> None:
    """Issue 8.3: stages and spikes, by LoadTestShape and by the scenario's plan, the same."""
    said, instants = shaped(f"{shapes}:Stages")
    assert said == "steps 100/s for 10 s → 300/s for 20 s → 50/s for 5 s"
    own = 'model = "steps", rates = [100, 100, 300, 300, 300, 300, 50], hold_s = 5'
    assert (said, instants) == planned(f"--load={own}")
    assert len(instants) == pytest.approx(50 + 1000 + 6000 + 250, abs=1)  # the warm-up's first
    said, instants = shaped(f"{shapes}:Spike")
    own = 'model = "steps", rates = [0, 0, 0, 500, 500, 0, 0, 0, 0], hold_s = 1'
    assert (said, instants) == planned(f"--load={own}")
    assert said == "steps 0/s for 3 s → 500/s for 2 s → 0/s for 4 s"
    assert len(instants) == 1000
    assert all(3.5e9 <= instant < 5.5e9 for instant in instants)


def test_a_shape_that_never_ends_is_cut(shapes: Path) -> None:
    said, _ = shaped(f"{shapes}:Endless", "3.5")
    assert said == "steps 10 → 20 → 30/s, 1 s each"
    offer = form.Offer(shape=f"{shapes}:Endless")
    assert form.problems({"load": [offer.load]}, offer) == [
        "--shape: Endless has not ended after 3600 s; say a duration, which cuts it"
    ]
    for length in ("x", "inf", "0.5", "1e9"):
        assert form.problems({"load": [offer.load], "duration": [length]}, offer) == [
            f"duration: {length!r} is not 1 to 86400 seconds"
        ]


def test_a_shape_of_many_steps_is_said_in_short(shapes: Path) -> None:
    offer = form.Offer(shape=f"{shapes}:Everywhere")
    given: Given = {"styles": ["rest"], "load": [offer.load], "duration": ["60"]}
    assert shaped(offer.shape, "60")[0] == "60 steps of 100 to 101/s in 60 s"
    told = [word for word in words(given, offer) if word.startswith("--load=")]
    overrides = {"--load": told[0].removeprefix("--load="), "--styles": ["rest"]}
    (cell,) = make_plan(load_scenario(SMOKE, overrides)).cells
    assert len(cell.id) < 60
    (said,) = form.problems({**given, "duration": ["5000"]}, offer)
    assert said.startswith("--shape: Everywhere comes to 5000 steps, more than 3600; ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Broken", "Broken.tick() raised ZeroDivisionError at 3 s: division by zero"),
        ("Talking", "Talking.tick() returned ('many', 1) at 0 s, which is neither None nor"),
        ("Idle", "Idle asks for no users at all"),
        ("Unmade", "TypeError: Can't instantiate abstract class Unmade"),
        ("Nobody", "mine.py has no class 'Nobody' with a method tick"),
        ("SHAPES", "mine.py has no class 'SHAPES' with a method tick"),
    ],
)
def test_a_shape_that_cannot_be_asked_is_refused(shapes: Path, name: str, said: str) -> None:
    offer = form.Offer(shape=f"{shapes}:{name}")
    (found,) = form.problems({"load": [offer.load]}, offer)
    assert found.startswith("--shape: ")
    assert said in found


def test_a_shape_is_a_file_that_is_there_and_is_python(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module")
    for shape, said in (
        ("mine.py", "'mine.py' is not FILE.py:CLASS of a file that is there"),
        (f"{tmp_path}/none.py:A", "is not FILE.py:CLASS of a file that is there"),
        (f"{broken}:A", "ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            steps(shape, 10)


def test_every_choice_that_is_not_offered_is_refused_at_once() -> None:
    """Issue 8: refused by the server. A style may be a file, which would be run."""
    given: Given = {"scenario": ["../x.toml"], "styles": ["rest", "x.py:A"], "load": ["no"]}
    given["turns"] = ["at once"]
    found = form.problems(given, PLAIN)
    assert [problem.partition(":")[0] for problem in found] == [
        "scenario", "styles", "turns", "load",
    ]  # fmt: skip
    assert form.problems({"styles": ["x.py:A"]}, form.Offer(own=["x.py:A"])) == []


@pytest.mark.parametrize("value", ["--out=/x", "x", "-1"])
def test_a_text_is_never_another_option(value: str) -> None:
    assert words({"rate": [value], "scenario": ["smoke"]})[1] == f"--rate={value}"


def test_every_style_and_variant_is_offered() -> None:
    from clients import catalog
    from harness.variant import parse_variant

    offered = [parse_variant(word).entry for word in form.styles()]
    assert len(offered) == len(catalog.ENTRIES)
    assert all(entry in offered for entry in catalog.ENTRIES)


def test_load_by_option_keeps_what_it_can() -> None:
    poisson = load_scenario(SMOKE, {"--load": "poisson"})
    assert poisson.load[0].model_dump() == {"model": "poisson", "rate": [200.0]}
    closed = load_scenario(SMOKE, {"--load": "closed", "--users": [4]})
    assert closed.load[0].model_dump() == {"model": "closed", "users": [4], "think_s": 0.0}
    for text, said in (
        ("closed", "--load.users: is missing"),
        ('model = "ramp", rates = [1]', "--load.rates: "),
        ("often", "--load: 'often' is no model"),
    ):
        with pytest.raises(BadInput) as refused:
            load_scenario(SMOKE, {"--load": text})
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


def test_batches_of_several_generators_are_one_point() -> None:
    """Issue 8.3: they come at nearly the same time."""
    board = Board()
    for at in (10.0, 10.001, 10.5, 10.502, 11.0, 11.1):
        times = [[1000, 24], [9000, 1]] if at < 10.501 else [[1000, 25]]
        row = {"milestone": "done", "count": 25, "times": times}
        board.hear({"event": "figures", "subject": ["rest", "place"], "rows": [row]}, at)
    assert list(board.lines["rest place [done]"]) == [
        (10.5, 100.0, 1.0, 9.0),
        (11.0, 100.0, 1.0, 1.0),
    ]


def test_runs_that_go_together_are_told_apart() -> None:
    """A trial that begins in one of them breaks no line of another."""
    board = Board()
    row = {"milestone": "done", "count": 50, "times": [[1000, 50]]}
    trial = {"event": "trial", "number": 1, "load": "100/s"}
    for at, style in enumerate(("rest", "sse")):
        board.hear({**trial, "subject": [style, "place"]}, at, style)
        board.hear({"event": "figures", "subject": ["rest", "place"], "rows": [row]}, at + 0.5)
    assert board.now == "1 rest place at 100/s; 1 sse place at 100/s"
    assert list(board.lines["rest place [done]"]) == [(1.5, 50.0, 1.0, 1.0)]
    board.hear({**trial, "subject": ["rest", "place"], "number": 2}, 2.0, "rest")
    for at_s in (2.5, 3.0):
        board.hear({"event": "figures", "subject": ["rest", "place"], "rows": [row]}, at_s, "rest")
    assert list(board.lines["rest place [done]"])[1:] == [
        (2.0, None, None, None),
        (3.0, 100.0, 1.0, 1.0),
    ]
    for style in ("rest", "sse"):
        board.hear({"event": "end"}, 4.0, style)
    assert board.now == "the report is written"


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


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_merged_percentiles_are_those_of_the_raw_samples(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 8: percentiles merged from histograms equal those of the same raw samples to 1 %: two
    generators, each told in batches, as Locust has them in the end."""
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    stats = importlib.import_module("locust.stats").RequestStats()
    merge = importlib.import_module("harness.swarm.figures").merge
    rng = np.random.default_rng(8)
    raw = []
    for median_us, count in ((300, 9_000), (2_500, 6_000)):
        recorder = Recorder(np.arange(1, count + 1, dtype=np.int64))
        live = Live(recorder)
        took = (1e3 * median_us * rng.lognormal(0.0, 0.8, count)).astype(np.int64)
        for rows in np.array_split(rng.permutation(count), 7):
            for row in rows.tolist():
                recorder.finish(row, 0, recorder.planned[row] + int(took[row]))
            for figures in json.loads(json.dumps(live.figures())):
                merge(stats, ["rest", "place"], figures)
        samples = recorder.samples((0, count + 1), {})
        raw.append((samples.done - samples.planned) / 1e6)
    wanted = np.percentile(np.concatenate(raw), 100 * share, method="inverted_cdf")
    (entry,) = stats.entries.values()
    for merged in (entry, stats.total):
        assert merged.num_requests == 15_000
        assert merged.get_response_time_percentile(share) == pytest.approx(wanted, rel=0.01)


class Gone:
    """A process that has said something, and was killed."""

    def __init__(self, said: bytes, words: bytes = b"") -> None:
        self.stdin, self.stdout, self.stderr = io.BytesIO(), io.BytesIO(said), io.BytesIO(words)

    def wait(self) -> int:
        return -9

    def kill(self) -> None:
        """It has ended."""


@pytest.fixture
def session_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gone], Session]:
    """A session whose run is that process."""

    def begin(process: Gone) -> Session:
        monkeypatch.setattr("harness.swarm.session.subprocess.Popen", lambda *_, **__: process)
        return Session(["smoke"])

    return begin


PLANNED = b'{"event": "planned", "trials": 1}\n'
END = b'{"event": "end", "report": "there/report.html"}\n'


def ended(session: Session) -> bool:
    """Whether it has, with its code; nobody waits for it any more."""
    if not session.ended.wait(LIMIT_S):
        return False
    session.kill()
    session.stop()
    return session.code == -9 and not session.running


def test_a_run_that_is_killed_in_the_middle_of_a_line_has_ended(
    session_of: Callable[[Gone], Session],
) -> None:
    session = session_of(Gone(PLANNED + b'{"event": "figures", "rows": [{"milest'))
    assert ended(session)
    assert session.problems() == []
    assert session.report is None
    session = session_of(Gone(PLANNED[:9]))
    assert ended(session)
    assert session.problems() == ["the run ended with code -9"]


def test_what_is_no_message_of_the_run_is_passed_over(
    session_of: Callable[[Gone], Session],
) -> None:
    others = b'words\n\n[1]\n{"rows": []}\n\xff\n'
    heard: list[Any] = []
    session = session_of(Gone(others + PLANNED + others + END))
    session.begin(heard.append)
    assert ended(session)
    assert [message["event"] for message in heard] == ["planned", "end"]
    assert session.report == "there/report.html"


def test_a_run_whose_listener_fails_ends_too(session_of: Callable[[Gone], Session]) -> None:
    process = Gone(PLANNED + END)
    session = session_of(process)

    def fail(_: Mapping[str, Any]) -> None:
        raise RuntimeError("a listener of the test's own")

    session.begin(fail)
    assert ended(session)
    assert process.stdout.closed
