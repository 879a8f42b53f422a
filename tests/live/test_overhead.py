"""A run as a user starts it tells what its operations cost, and where it took place (issue 6.6,
6.10)."""

import json
from pathlib import Path

import pytest

from harness.results import open_run
from harness.sampling import MARGIN_NS
from tests.live.support import bench_done

SCENARIO = """
question = "What does a new connection cost?"
styles = ["rest"]
repeats = 2
warm_up_s = 0.3
duration_s = 1.0
load = { model = "constant", rate = 100 }
connection = { kept = [true, false] }
gateway = { cuts_idle_s = 5.0 }
price = { core_hour = 0.04, gb = 0.09 }
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run, through a relay."""
    folder = tmp_path_factory.mktemp("overhead")
    scenario = folder / "connections.toml"
    scenario.write_text(SCENARIO)
    code, said, err = bench_done(
        "run", str(scenario), "--price", "0.05", "--out", str(folder / "run")
    )
    assert code == 0, said + err
    return folder / "run"


def test_costs_of_every_role(out: Path) -> None:
    kept, new = json.loads((out / "summary.json").read_text())["cells"]
    for cell in (kept, new):
        costs = cell["overhead"]
        assert list(costs["roles"]) == ["client", "relay", "server"]
        for role in costs["roles"].values():
            assert role["cpu_us"] > 0
            assert role["cpu_us"] == pytest.approx(role["user_us"] + role["system_us"], abs=1e-3)
            assert role["peak_bytes"] > 2**20
            assert role["voluntary"] > 0
            assert role["involuntary"] >= 0
            assert role["idle_ms_per_s"] >= 0
        ends = [passage["between"] for passage in costs["wire"]]
        assert ends == [["client", "relay"], ["relay", "server"]]
        assert costs["other_busy"] is not None
        assert costs["idle_other_busy"] is not None
        paid = costs["cost_per_million"]
        assert list(paid) == ["client", "relay", "server", "traffic", "total"]
        used_s = costs["roles"]["server"]["cpu_us"]
        assert paid["server"] == pytest.approx(used_s / 3600 * 0.05, rel=1e-3)
    # A handshake and a farewell an operation, on top of what it takes anyway.
    segments = [cell["overhead"]["wire"][0]["segments"] for cell in (kept, new)]
    assert segments[1][0] >= segments[0][0] + 2
    assert kept["connections"] == 4
    sent = kept["overhead"]["wire"][0]["bytes"][0]
    assert kept["bytes_to_server_per_op"] == pytest.approx(sent, abs=1e-3)


def test_what_was_read_is_on_disk_with_its_marks(out: Path) -> None:
    run = open_run(out)
    first, second = (
        {
            (row["role"], row["mark"])
            for row in run.telemetry
            if row["cell"] == cell and row["trial"] == n
        }
        for cell in [run.info["cells"][0]["id"]]
        for n in (1, 2)
    )
    roles = ("generator", "relay", "server", "harness")
    for mark in ("count_start", "window_start", "window_end", "count_end"):
        assert {(role, mark) for role in roles} <= first & second
    # Once is enough.
    assert ("server", "idle_end") in first - second
    (wire,) = [
        json.loads(event["detail"])
        for event in run.events
        if event["kind"] == "wire" and event["trial"] == 1 and "new" in event["cell"]
    ]
    assert wire["uncounted"] == 0
    assert min(wire["opened"], wire["closed"]) >= 90
    (start, end) = (
        next(
            r["at"]
            for r in run.telemetry
            if r["trial"] == 1 and r["mark"] == mark and "new" in r["cell"]
        )
        for mark in ("window_start", "window_end")
    )
    assert wire["from"] < start
    assert wire["to"] >= end + MARGIN_NS // 2


def test_where_it_took_place_is_told_without_secrets(out: Path) -> None:
    told = open_run(out).info["environment"]
    assert {"machine", "kernel", "network", "limits", "before", "libraries"} <= told.keys()
    assert told["before"]["busy_processors"] >= 0
    assert "What an operation costs" in (out / "report.html").read_text()
