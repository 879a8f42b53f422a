"""Real brokers: as users run them, with every message accounted for, and with what can go wrong."""

import asyncio
import json
import signal
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from clients import catalog
from harness.analysis.ledger import Ledger
from harness.analysis.ledger import ledger as made_up
from harness.results import arrivals_path, open_run, read_arrivals, read_samples
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_server
from protos.broker import read_broker
from tests.live.support import balanced, bench, bench_done, constant, marked, trial
from tests.live.test_runs import codes, summary
from tests.live.wrong_worker import FAULTS
from tests.support import LIMIT_S, Run, UsePart, until

HEAD = """
question = "Is every order accounted for?"
repeats = 1
warm_up_s = 0.2
duration_s = 1.5
timeout_s = 60.0
"""
PLACES = f"""{HEAD}
styles = ["rest", "kafka", "kafka:confluent", "rabbitmq", "rabbitmq:asyncio"]
load = {{ model = "constant", rate = 50 }}
broker = {{ boot = "fast", warm_up_s = 0.5, workers = [1, 2] }}
"""
INGESTS = f"""{HEAD}
operation = "ingest"
styles = ["kafka", "kafka:confluent", "rabbitmq", "rabbitmq:asyncio", "rest"]
load = {{ model = "constant", rate = 300 }}
broker = {{ boot = "fast", warm_up_s = 0.5, durability = ["A", "B"] }}
ingest = {{ keys = 10, read_again = true }}
"""
FAILOVER = """
question = "What is lost when a leader dies?"
operation = "ingest"
styles = ["kafka:confluent", "rabbitmq"]
repeats = 1
warm_up_s = 0.2
duration_s = 12.0
timeout_s = 60.0
load = { model = "constant", rate = 100 }
broker = { boot = "fast", warm_up_s = 0.0, durability = "D", partitions = 3 }
ingest = { keys = 30 }
fault = { kill = "leader", at_s = 3.0 }
"""
WIPED = """
question = "Is what is lost said to be lost?"
operation = "ingest"
styles = ["kafka:confluent"]
repeats = 1
warm_up_s = 0.2
duration_s = 8.0
timeout_s = 20.0
load = { model = "constant", rate = 200 }
broker.boot = "fast"
broker.warm_up_s = 0.0
broker.durability = ["A", "B"]
broker.partitions = 1
broker.kafka_nodes = 3
ingest = { keys = 10, consume = "after" }
fault = { kill = "leader", at_s = 3.0, wipe = true }
"""


def scenario(folder: Path, text: str) -> str:
    """A scenario as a file."""
    path = folder / "scenario.toml"
    path.write_text(text)
    return str(path)


def ran(folder: Path, text: str, *words: str, env: dict[str, str] | None = None) -> Path:
    """A run that ends well."""
    out = folder / "run"
    code, said, err = bench_done("run", scenario(folder, text), "--out", str(out), *words, env=env)
    assert code == 0, said + err
    assert balanced(summary(out))
    return out


def test_orders_over_brokers_are_answered_beside_the_others(tmp_path: Path) -> None:
    out = ran(tmp_path, PLACES)
    cells = summary(out)["cells"]
    assert len(cells) == 9
    for cell in cells:
        assert cell["counts"]["done"] == cell["counts"]["planned"] > 0
        assert cell["condition"]["durability"] == ("A" if cell["style"] == "rest" else "B")
        samples = read_samples(out / "trials" / cell["id"] / "1.parquet")
        done = samples.done != 0
        assert (samples.processed[done] > samples.sent[done]).all()
        assert (samples.processed[done] < samples.done[done]).all()
        if cell["style"] == "rest":
            assert cell["broker_cpu_us_per_op"] is None
            assert not samples.acked.any()
        else:
            assert (samples.acked[done] > samples.sent[done]).all()
            assert cell["broker_cpu_us_per_op"] > 0
            assert cell["broker_memory_bytes"] > 2**20
            assert cell["bytes_to_server_per_op"] > 0
    info = json.loads((out / "run.json").read_text())
    assert set(info["parts"]) == {"kafka", "rabbitmq"}
    assert all(part["version"] and part["settings"] for part in info["parts"].values())
    assert "guest:guest" not in json.dumps(info)
    kinds = [event["kind"] for event in open_run(out).events]
    assert kinds.count("warmed_up") == 2
    roles = {row["role"] for row in open_run(out).telemetry}
    assert {"broker", "rival", "server", "server.2"} <= roles


def test_every_message_is_in_the_ledger(tmp_path: Path) -> None:
    out = ran(tmp_path, INGESTS)
    for cell in summary(out)["cells"]:
        if cell["style"] == "rest":
            assert cell["verdict"]["status"] == "skipped"
            continue
        kept = cell["ledger"]
        asked = cell["condition"]["durability"]
        assert kept["sent"] == kept["arrived"] > cell["counts"]["planned"] > 0
        assert kept["acknowledged"] == (0 if asked == "A" else kept["sent"])
        assert [kept[name] for name in ("lost_acknowledged", "duplicated", "corrupted")] == [0] * 3
        assert [kept["unexpected"], kept["reordered"], kept["recovered"]] == [0] * 3
        assert (cell["ack_ms"] is None) == (asked == "A")
        # A log keeps what was consumed, and a queue does not.
        assert cell["read_again"] == (1.0 if cell["style"] == "kafka" else 0.0)
        assert cell["lag"]


def test_a_killed_leader_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    out = ran(tmp_path, FAILOVER)
    events = open_run(out).events
    assert [e["kind"] for e in events].count("killed") == 2
    assert [e["kind"] for e in events].count("restarted") == 2
    for cell in summary(out)["cells"]:
        kept = cell["ledger"]
        assert kept["acknowledged"] > 0
        assert kept["lost_acknowledged"] == 0, cell["id"]
        assert [kept["corrupted"], kept["unexpected"]] == [0, 0]
        assert kept["longest_gap_ms"] > 0
        assert "fault" in codes(cell)
        assert cell["verdict"]["status"] == "qualified"
    said = (out / "report.html").read_text()
    assert "not fsync" in said


def test_what_a_wiped_node_had_is_lost_and_said_so(tmp_path: Path) -> None:
    out = ran(tmp_path, WIPED)
    nothing, leader = summary(out)["cells"]
    assert (nothing["condition"]["durability"], leader["condition"]["durability"]) == ("A", "B")
    assert nothing["ledger"]["acknowledged"] == 0
    assert nothing["ledger"]["lost_unacknowledged"] > 0
    assert "lost_unacknowledged" in codes(nothing)
    assert leader["ledger"]["lost_acknowledged"] > 0
    assert "lost_by_fault" in codes(leader)
    assert leader["verdict"]["status"] == "qualified"


async def _wrong_worker(rig: Rig, fault: str, every: int, serving: Serving) -> Server:
    words = ["-m", "tests.live.wrong_worker", fault, str(every), *serving.words]
    process = await rig.spawn("wrong", [sys.executable, *words], env=serving.environment)
    async with asyncio.timeout(LIMIT_S):
        said = await process.hear()
    assert said is not None
    assert said["event"] == "ready"
    return Server(process, said["address"])


def kept_in(folder: Path) -> Ledger:
    """The ledger of the only trial in a folder."""
    (path,) = [p for p in folder.glob("*.parquet") if p.stem.isalnum()]
    samples, arrivals = read_samples(path), read_arrivals(arrivals_path(path))
    assert arrivals is not None
    meta = samples.meta
    return made_up(samples, arrivals, [meta["producer"]], meta["keys"], meta["acknowledges"])


NAMES = {
    "drops": {"lost_acknowledged"},
    "repeats": {"duplicated"},
    "swaps": {"reordered"},
    "corrupts": {"corrupted", "spoiled"},
}
WRONG = [
    *("lost_acknowledged", "lost_unacknowledged", "duplicated", "reordered"),
    *("unexpected", "corrupted", "spoiled"),
]


@pytest.mark.parametrize("fault", [*FAULTS, "nothing"])
def test_a_consumer_that_does_wrong_by_one_in_ten_thousand_is_caught(
    fault: str, part: UsePart, rig: Rig, run: Run, tmp_path: Path
) -> None:
    every, rate = 10_000, 8_000.0
    address = read_broker(part("kafka").address)
    # One partition and one key, so that each message has a successor to be swapped with.
    own = replace(address, namespace=f"wrong-{fault}", partitions=1, linger_ms=5.0)
    serving = Serving("kafka", broker=str(own))

    async def case() -> None:
        worker = await _wrong_worker(rig, fault, every, serving)
        try:
            await trial(
                rig, catalog.find("kafka", "confluent"), worker.address, tmp_path,
                workers=[worker], operation="ingest", load=constant(rate), duration_s=2.8,
                timeout_s=LIMIT_S, in_flight=100_000,
            )  # fmt: skip
        finally:
            await rig.stop(worker.process)

    run(case())
    kept = kept_in(tmp_path)
    assert kept.sent == kept.acknowledged == rate * 3.0
    assert kept.imbalances == []
    found = {name: getattr(kept, name) for name in WRONG if getattr(kept, name)}
    assert found == dict.fromkeys(NAMES.get(fault, set()), kept.sent // every)
    assert kept.clean == (fault == "nothing")


def test_nobody_at_the_address_of_a_broker(tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = scenario(tmp_path, PLACES)
    words = ["--kafka", "kafka://127.0.0.1:1", "--styles", "rest,kafka", "--out", str(out)]
    code, said, err = bench_done("run", path, *words)
    assert code == 1, said + err
    assert "Traceback" not in said + err
    cells = {cell["variant"]: cell for cell in summary(out)["cells"]}
    assert cells["rest:aiohttp+fastapi"]["verdict"]["status"] in {"valid", "qualified"}
    for name, cell in cells.items():
        if name.startswith("kafka"):
            assert codes(cell) == {"trial_failed"}
            (reason, *_) = cell["verdict"]["reasons"]
            assert "127.0.0.1:1" in reason["detail"]


def test_a_broker_that_cannot_be_had_is_skipped_in_the_open(tmp_path: Path) -> None:
    out = tmp_path / "run"
    nothing = {"PATH": "/nowhere", "ORDERBENCH_CACHE": str(tmp_path / "cache")}
    words = ["--styles", "rest,rabbitmq", "--out", str(out)]
    code, said, err = bench_done("run", scenario(tmp_path, PLACES), *words, env=nothing)
    assert code == 0, said + err
    cells = {cell["style"]: cell for cell in summary(out)["cells"]}
    assert cells["rest"]["verdict"]["status"] in {"valid", "qualified"}
    assert cells["rabbitmq"]["verdict"]["status"] == "skipped"
    assert codes(cells["rabbitmq"]) == {"unavailable"}
    assert bench_done(
        "run", scenario(tmp_path, PLACES), "--styles", "rabbitmq", "--strict",
        "--out", str(tmp_path / "strict"), env=nothing,
    )[0] == 3  # fmt: skip
    code, said, _ = bench_done("doctor", env=nothing)
    assert code == 1
    assert "rabbitmq   missing: " in said
    assert "remedy: " in said


def test_two_runs_at_once_do_not_meet(run: Run, tmp_path: Path) -> None:
    path = scenario(tmp_path, PLACES)
    words = ["--styles", "kafka,rabbitmq", "--duration", "1"]
    mark = uuid.uuid4().hex
    both = [
        bench("run", path, *words, "--out", str(tmp_path / name), mark=mark) for name in ("a", "b")
    ]
    for process in both:
        said, err = process.communicate(timeout=5 * LIMIT_S)
        assert process.returncode == 0, said + err
    for name in ("a", "b"):
        for cell in summary(tmp_path / name)["cells"]:
            assert cell["counts"]["done"] == cell["counts"]["planned"] > 0
    run(until("no process is left, epmd included", lambda: not marked(mark)))


def test_an_interrupt_while_brokers_start_leaves_nobody(run: Run, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    process = bench("run", scenario(tmp_path, PLACES), "--out", str(tmp_path / "run"), mark=mark)
    # Harness, warden, and what the brokers need: epmd, two virtual machines.
    run(until("brokers are starting", lambda: len(marked(mark)) >= 4))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    run(until("no process is left", lambda: not marked(mark)))


@pytest.mark.parametrize("name", ["kafka", "rabbitmq"])
def test_workers_share_what_is_left(
    name: str, part: UsePart, rig: Rig, run: Run, tmp_path: Path
) -> None:
    own = replace(read_broker(part(name).address), namespace=f"shared-{uuid.uuid4().hex[:8]}")

    async def case() -> None:
        workers = []
        try:
            for number in range(2):
                serving = Serving(name, broker=str(own), worker=number, workers=2, paused=True)
                workers.append(await start_server(rig, serving))
            await trial(
                rig, catalog.find(name), workers[0].address, tmp_path, workers=workers,
                operation="ingest", load=constant(250.0), timeout_s=LIMIT_S, keys=7,
            )  # fmt: skip
        finally:
            for worker in workers:
                await rig.stop(worker.process)

    run(case())
    kept = kept_in(tmp_path)
    assert kept.clean
    assert kept.rows == kept.arrived == 300
    (path,) = tmp_path.glob("*.arrivals.parquet")
    arrivals = read_arrivals(path)
    assert arrivals is not None
    assert set(arrivals.worker.tolist()) <= {0, 1}
