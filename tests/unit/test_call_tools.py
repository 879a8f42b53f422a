"""What the load tools of HTTP and gRPC print, and what they are told (issue 6)."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.call_tools import (
    BODY,
    LOCUST_FILE,
    ORDER,
    Figures,
    Tools,
    ghz_figures,
    h2load_figures,
    k6_figures,
    k6_script,
    locust_figures,
    oha_figures,
)
from benchmarks.calls import best, line, usable
from benchmarks.rounds import Line, Need
from protos.codecs import JSON

OHA: dict[str, Any] = {
    "summary": {"requestsPerSec": 998.2},
    "latencyPercentiles": {"p50": 0.00045, "p99": 0.00173},
    "statusCodeDistribution": {"201": 4990},
    "errorDistribution": {"aborted due to deadline": 3},
}
K6 = {"p50_ms": 0.52, "p99_ms": 1.86, "count": 990, "seconds": 4, "good": 1, "dropped": 10}
GHZ: dict[str, Any] = {
    "rps": 3677.5,
    "statusCodeDistribution": {"OK": 14710},
    "errorDistribution": {},
    "latencyDistribution": [
        {"percentage": 50, "latency": 660_000},
        {"percentage": 99, "latency": 3_060_000},
    ],
}
H2LOAD = """
finished in 5.00s, 4019.25 req/s, 1.05MB/s
requests: 16077 total, 16093 started, 16077 done, 16077 succeeded, 0 failed, 0 errored, 0 timeout
"""
LOCUST = 'Type Name\n{"cpu_us": 215.5, "per_s": 3000.0, "failed": 0}\nAggregated\n'


def test_figures_are_read() -> None:
    assert oha_figures(json.dumps(OHA)) == Figures(998.2, 0.45, 1.73)
    assert ghz_figures(json.dumps(GHZ)) == Figures(3677.5, 0.66, 3.06)
    assert h2load_figures(H2LOAD) == Figures(4019.25)
    assert locust_figures(LOCUST) == Figures(3000.0, cpu_us_per_op=215.5)
    said = f"a warning\n{json.dumps(K6)}\na threshold\n"
    assert k6_figures(said) == Figures(247.5, 0.52, 1.86)


@pytest.mark.parametrize(("dropped", "p99"), [(0, 1.86), (10, 1.86), (11, math.inf)])
def test_what_k6_dropped_ranks_last(dropped: int, p99: float) -> None:
    assert k6_figures(json.dumps({**K6, "dropped": dropped})).p99_ms == p99


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (oha_figures, json.dumps({**OHA, "statusCodeDistribution": {"201": 9, "500": 1}})),
        (oha_figures, json.dumps({**OHA, "errorDistribution": {"connection refused": 1}})),
        (k6_figures, json.dumps({**K6, "good": 0.99})),
        (k6_figures, "nothing"),
        (ghz_figures, json.dumps({**GHZ, "statusCodeDistribution": {"OK": 1, "Internal": 1}})),
        (h2load_figures, H2LOAD.replace("0 failed", "1 failed")),
        (h2load_figures, "nothing"),
        (locust_figures, LOCUST.replace('"failed": 0', '"failed": 2')),
        (locust_figures, "nothing"),
    ],
)
def test_a_tool_that_was_refused_measures_nothing(read: Any, said: str) -> None:
    with pytest.raises(RuntimeError):
        read(said)


def test_all_place_the_order_that_a_service_takes() -> None:
    assert JSON.decode_order(BODY) == ORDER
    compile(LOCUST_FILE, "locustfile", "exec")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:1"])
def test_k6_is_told_what_to_do(address: str) -> None:
    script = k6_script(address, 1000, 1, 4, 64)
    given = json.loads(script.partition("const given = ")[2].partition(";\n")[0])
    scenarios = given["options"]["scenarios"]
    assert scenarios["before"]["duration"] == scenarios["main"]["startTime"] == "1s"
    assert scenarios["main"]["duration"] == "4s"
    assert given["method"] == "orderbench.v1.Orders/Place"
    grpc = "://" not in address
    assert ("k6/net/grpc" in script) == grpc
    assert given["metric"] == ("grpc_req_duration" if grpc else "http_req_duration")
    assert Path(given["folder"], given["file"]).is_file()


def test_tools_are_looked_for_in_the_folder_first(tmp_path: Path) -> None:
    own = tmp_path / "sh"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert Tools(tmp_path, tmp_path).find("sh") == str(own)
    assert Tools(tmp_path).find("sh") not in (None, str(own))
    assert Tools(tmp_path).find("no-such-tool") is None

    async def take() -> Figures:
        return Figures(1.0)

    kept = usable(Tools(tmp_path), {"sh --fast": take, "no-such-tool": take})
    assert list(kept) == ["sh --fast"]


def test_the_better_tool_is_found_round_by_round() -> None:
    oha, k6 = Line((0.5, 0.9, 0.7)), Line((0.6, 0.5, 0.8))
    assert best([oha, k6]) == Line((0.5, 0.5, 0.7))
    ours = line([Figures(1.0, 0.55), Figures(1.0, 0.5), Figures(1.0, 0.77)], "p50_ms")
    lines = {"ours": ours, "the better tool": best([oha, k6])}
    assert "1.10 (at most 1.15: met)" in Need("ours", "the better tool", most=1.15).words(lines)
    assert "(" not in Need("ours", "the better tool").words(lines).partition("  (spread")[0]
