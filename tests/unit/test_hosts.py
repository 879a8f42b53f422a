"""Clocks of other machines, what goes to them, and what is refused (issue 8.3)."""

import argparse
import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.trial import SPEC
from harness.analysis.usage import other_busy
from harness.cli.__main__ import main, parse
from harness.cli.away import asked_workers, unreachable
from harness.cli.reach import hosts_of, on_loopback
from harness.hosts.clock import Clock, Exchange, clock_of
from harness.hosts.link import (
    LEAST_TOKEN,
    TOKEN,
    Door,
    Message,
    listening_problems,
    master_problems,
)
from harness.hosts.parcel import joined, pack, parted, unpack
from harness.hosts.remote import MOST_UNHEARD, Member
from harness.hosts.sampling import RemoteSampler, wires
from harness.load.consumption import read_rows, shifted
from harness.load_process import PartLost
from harness.plan import Plan, make_plan
from harness.report import words
from harness.rig.parts import PARTS, variable
from harness.scenario import Scenario
from protos.arrivals import Arrivals
from tests.support import Run

NS = st.integers(0, 10**15)


@given(
    offset=st.integers(-(10**15), 10**15),
    ways=st.lists(st.tuples(NS, st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1),
)
def test_a_clock_is_never_further_off_than_is_said(
    offset: int, ways: list[tuple[int, int, int]]
) -> None:
    clock = clock_of(
        Exchange(asked, asked + there + offset, asked + there + back) for asked, there, back in ways
    )
    assert abs(clock.offset_ns - offset) <= clock.error_ns
    assert clock.error_ns <= min((there + back + 1) // 2 for _, there, back in ways)


@given(st.integers(-(10**15), 10**15), NS)
def test_an_instant_comes_back_as_it_went(offset: int, at: int) -> None:
    clock = Clock(offset)
    assert clock.here(clock.there(at)) == at


def test_a_trial_takes_its_files_along(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine: ...")
    (tmp_path / "when.csv").write_text("at\n1\n")
    (tmp_path / "orders.jsonl").write_text("{}")
    spec = replace(
        SPEC,
        driver=f"{tmp_path / 'mine.py'}:Mine",
        load=replace(SPEC.load, file=str(tmp_path / "when.csv")),
        order=replace(SPEC.order, file=str(tmp_path / "orders.jsonl")),
        samples_path="here.parquet",
    )
    line, files = pack(spec)
    sizes, data = joined(files)
    there = tmp_path / "there"
    there.mkdir()
    got = unpack(line, parted(json.loads(json.dumps(sizes)), data), there)
    path, _, name = got.driver.rpartition(":")
    assert name == "Mine"
    for theirs, ours in (
        (path, "mine.py"),
        (got.load.file, "when.csv"),
        (got.order.file, "orders.jsonl"),
    ):
        assert theirs is not None
        assert Path(theirs).parent == there
        # What reads them goes by their names' endings.
        assert Path(theirs).suffix == Path(ours).suffix
        assert Path(theirs).read_text() == (tmp_path / ours).read_text()
    assert Path(got.samples_path).parent == there
    alike = replace(got, driver=spec.driver, load=spec.load, order=spec.order)
    assert replace(alike, samples_path=spec.samples_path) == spec


def test_files_of_another_size_are_none() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        parted({"ca": 4}, b"abc")


def test_a_message_is_read_as_it_was_said_or_not_at_all() -> None:
    said = Message("file", {"load": 3, "last": True}, b"\0data")
    assert Message.read(said.frames) == said
    for frames in ([], [b"{}", b""], [b"[]", b""], [b'{"kind": 3}', b""], [b"x", b""], [b"{}"] * 3):
        with pytest.raises(ValueError, match=r"parts|no kind|Expecting value"):
            Message.read(frames)


def test_arrivals_go_into_another_clock(tmp_path: Path) -> None:
    rows = Arrivals(2)
    for n in range(3):
        rows.add(7, n, 1_000 + n, 0, True)
    rows.write(tmp_path / "a")
    (tmp_path / "b").write_bytes(shifted((tmp_path / "a").read_bytes(), 500))
    before, after = read_rows([tmp_path / "a"]), read_rows([tmp_path / "b"])
    assert (after.at - before.at).tolist() == [500] * 3
    assert after.sequence.tolist() == before.sequence.tolist()
    assert after.worker.tolist() == [2] * 3


def options(**given: object) -> argparse.Namespace:
    """As `bench.py run` has them."""
    none = dict.fromkeys(("expect_workers", "listen", "workers", "interleave", "resume", *PARTS))
    return argparse.Namespace(**{**none, **given})


def test_every_mistake_about_workers_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "short")
    problems: list[str] = []
    found = asked_workers(options(expect_workers="two", listen="0.0.0.0:5557", workers=3), problems)
    assert found is None
    about = [problem.partition(":")[0].partition(" ")[0] for problem in problems]
    assert about == ["--workers", "--listen", TOKEN, "--expect-workers"]
    monkeypatch.setenv(TOKEN, "x" * LEAST_TOKEN)
    problems = []
    assert asked_workers(options(expect_workers=2, listen="10.0.0.1:1"), problems) == 2
    assert asked_workers(options(workers=3), problems) == 3
    assert problems == []
    assert asked_workers(options(listen="10.0.0.1:1"), problems) is None
    assert "--expect-workers" in problems[0]


@pytest.mark.parametrize("option", ["--workers", "--expect-workers"])
@pytest.mark.parametrize("word", ["0", "-1", "1.5", "two", "²", "inf", ""])
def test_a_number_of_generators_that_is_none_is_refused(
    option: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "x" * LEAST_TOKEN)
    problems: list[str] = []
    assert asked_workers(parse(["run", f"{option}={word}"]), problems) is None
    (problem,) = problems
    assert problem.startswith(f"{option}: ")
    assert problem.endswith(" is no whole number of 1 or more")


def planned(*styles: str, **changes: object) -> Plan:
    """A plan with those styles."""
    load = [{"model": "constant", "rate": 9}]
    fields = {"question": "?", "noise": False, "styles": list(styles), "load": load}
    return make_plan(Scenario.model_validate({**fields, **changes}))


def test_what_cannot_be_had_from_other_machines() -> None:
    plan = planned("rest")
    assert unreachable(options(interleave=["a", "b"]), "spans.jsonl", {}, plan) == []
    away = options(expect_workers=2, interleave=["a", "b"], resume=Path("r"))
    found = unreachable(away, "spans.jsonl", {}, plan)
    assert [each.partition(":")[0] for each in found] == [
        "--interleave",
        "--expect-workers",
        "--trace",
    ]
    assert unreachable(options(expect_workers=2), "http://collector:4318", {}, plan) == []


LOCAL = {
    "kafka": "kafka://me:secret@10.0.0.9:9092,localhost:9092",
    "rabbitmq": "amqp://127.0.0.1:5672/mine",
    "redis": "redis://localhost:6379",
    "postgres": "postgresql://127.0.0.1/orders",
}
"""Parts that run already, on a machine's loopback."""


@pytest.fixture
def no_given_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in PARTS:
        monkeypatch.delenv(variable(part), raising=False)


@pytest.mark.usefixtures("no_given_parts")
def test_workers_elsewhere_are_not_sent_to_their_own_machine() -> None:
    """Stores may stay on loopback: only services, which are here, talk to them."""
    plan = planned(
        "rest", "kafka", "rabbitmq", service={"store": "postgres"}, memory={"remember": "redis"}
    )
    assert set(plan.parts) == set(PARTS)
    away = options(expect_workers=2, listen="10.0.0.1:5557", **LOCAL)
    targets = {"rest": "http://127.0.0.1:8080", "sse": "http://10.0.0.1:8081"}
    found = unreachable(away, "http://[::1]:4318", targets, plan)
    assert [each.partition(":")[0] for each in found] == [
        "--target rest", "--kafka", "--rabbitmq", "--trace",
    ]  # fmt: skip
    assert all("give an address that they reach" in each for each in found)
    assert "127.0.0.1" in found[0]
    assert "localhost" in found[1]
    assert "secret" not in found[1]
    for here in (options(**LOCAL), options(expect_workers=2, **LOCAL)):
        assert unreachable(here, "http://[::1]:4318", targets, plan) == []
    here = options(expect_workers=2, listen="127.0.0.2:5557", **LOCAL)
    assert unreachable(here, "http://[::1]:4318", targets, plan) == []


@pytest.mark.usefixtures("no_given_parts")
def test_a_broker_to_which_no_worker_connects_may_be_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable("kafka"), LOCAL["kafka"])
    away = options(expect_workers=2, listen="10.0.0.1:5557")
    assert unreachable(away, None, {}, planned("rest")) == []
    assert unreachable(away, None, {}, None) == []
    ingest = planned("kafka", operation="ingest")
    (found,) = unreachable(away, None, {}, ingest)
    assert found.startswith("--kafka: ")
    assert unreachable(away, None, {"kafka": "kafka://10.0.0.9:9092"}, ingest) == []


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("http://me:secret@Host:80/a?b=http://127.0.0.1", ["host"]),
        ("host:50051", ["host"]),
        ("https://[::1]", ["::1"]),
        ("kafkas://u:p@a:1,b:2/space?commit=each", ["a", "b"]),
        ("tcp+curve://00ff@10.0.0.1:7", ["10.0.0.1"]),
        ("http://[::1", []),
        ("unix:///run/it", []),
        ("", []),
    ],
)
def test_the_hosts_of_an_address(address: str, hosts: list[str]) -> None:
    assert hosts_of(address) == hosts


def test_what_leads_each_machine_to_itself() -> None:
    own = ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"]
    assert all(map(on_loopback, own))
    assert not any(map(on_loopback, ["10.0.0.1", "localhost.example", "127", "master", "fe80::1"]))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What a command says that refuses its options."""
    assert main(list(words)) == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("no_given_parts")
def test_a_run_and_locust_refuse_all_that_is_wrong_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "x" * LEAST_TOKEN)
    common = ["--expect-workers", "²", "--listen", "10.0.0.1:5557"]
    common += ["--target", "rest=http://localhost:1"]
    both = ["--expect-workers", "--target rest"]
    run = [*common, "--kafka", LOCAL["kafka"], "--trace", "http://localhost:4318"]
    said = refused(capsys, "run", "smoke", "--styles", "rest,kafka", *run)
    assert [each.partition(":")[0] for each in said] == [*both, "--kafka", "--trace"]
    said = refused(capsys, "locust", "--master", *common)
    assert [each.partition(":")[0] for each in said] == both


@pytest.mark.parametrize(
    "host",
    ["a b", "http://10.0.0.1", "10.0.0.1:5557", "10.0.0.256", "10.0.1", "::1", "*", "-a", "a..b"],
)
def test_what_is_no_host_is_no_master(host: str) -> None:
    (said,) = master_problems(host)
    assert said.startswith(f"--master-host: {host!r} is no name and no IPv4 address; ")


def test_a_worker_refuses_all_that_is_wrong_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "short")
    told = ["--worker", "--master-host", "a b", "--master-port", "0"]
    said = refused(capsys, "locust", *told)
    assert [each.partition(" ")[0] for each in said] == [TOKEN, "--master-host:", "--master-port:"]


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "master", "orderbench_master_1", "a-b.example.com", "x1.internal."]
)
def test_a_master_has_a_name_or_an_address(host: str) -> None:
    assert master_problems(host) == []


@pytest.mark.parametrize(
    "address", ["", "5557", "host:5557", "::1:5557", "10.0.0.1:0", "10.0.0.1", "10.0.0.1:²"]
)
def test_a_run_listens_at_an_address_of_its_machine(address: str) -> None:
    (problem,) = listening_problems(address)
    assert "10.0.0.1:5557" in problem


def test_others_are_at_work_on_the_machine_where_most_are() -> None:
    def seen(host: str, mark: str, at: int, idle: float, roles: list[str]) -> dict[str, str]:
        said: dict[str, object] = {"mark": mark, "at": at, "roles": roles}
        said |= {"processors": [{"idle": idle}]} | ({"host": host} if host else {})
        return {"kind": "processors", "detail": json.dumps(said)}

    second = 10**9
    marks = {
        (role, mark): {"cpu_ns": used * (mark == "window_end")}
        for role, used in (("server", second // 2), ("generator", second // 4))
        for mark in ("window_start", "window_end")
    }
    events = [
        seen("", "window_start", 0, 0.0, ["server"]),
        seen("", "window_end", second, 0.4, ["server"]),
        seen("b", "window_start", 0, 0.0, ["generator"]),
        seen("b", "window_end", second, 0.5, ["generator"]),
    ]
    assert other_busy(marks, events) == pytest.approx(0.25)
    assert other_busy(marks, events[:2]) == pytest.approx(0.1)
    # A machine that was not seen to the end says nothing.
    assert other_busy(marks, events[:3]) == pytest.approx(0.1)


def test_what_several_have_counted_is_one() -> None:
    def counted(start: int, moved: int) -> RemoteSampler:
        sampler = RemoteSampler.__new__(RemoteSampler)
        flow = {"sender": "generator", "receiver": "outside", "bytes": moved}
        sampler.wire = {
            "from": start,
            "to": start + 10,
            "flows": [flow],
            **dict.fromkeys(("connections", "opened", "closed", "uncounted"), 1),
        }
        return sampler

    found = wires([counted(5, 100), counted(7, 30)])
    assert found is not None
    assert (found["from"], found["to"], found["connections"]) == (5, 17, 2)
    assert sum(flow["bytes"] for flow in found["flows"]) == 130
    blind = RemoteSampler.__new__(RemoteSampler)
    blind.wire = None
    assert wires([counted(5, 100), blind]) is None


def test_a_reader_is_told_who_sent_and_how_well_clocks_were_known() -> None:
    host = {"host": "b<1>", "clock": {"offset_ns": 5, "error_ns": 120_000}, "processors": 4}
    said = words.workers({"hosts": [{**host, "clock": {"error_ns": 1}}, host]})
    assert "2 workers sent the load (b<1>, b<1>)" in said
    assert "± 0.12 ms" in said
    assert words.workers({}) == ""


class FakeDoor:
    """Answers pings as a worker whose clock is ahead."""

    def __init__(self, ahead_ns: int = 0) -> None:
        self._ahead_ns = ahead_ns
        self.member: Member
        self.said: list[str] = []

    async def say(self, _: bytes, message: Message) -> None:
        """See Door.say."""
        self.said.append(message.kind)
        if message.kind == "ping":
            at = time.monotonic_ns() + self._ahead_ns
            pong = Message("pong", {"number": message["number"], "at": at})
            self.member.hear(pong, time.monotonic_ns())
        if message.kind == "start":
            self.member.hear(Message("started", {"load": message["load"], "pid": 7}), 0)


def member(door: FakeDoor) -> Member:
    """A worker that has come."""
    who = {"host": "b", "pid": 3, "boot": "x", "cpus": [0], "environment": {}}
    door.member = Member(2, b"", Message("hello", who), cast(Door, door))
    return door.member


def test_a_workers_clock_is_measured(run: Run) -> None:
    ahead = 10**13
    clock = run(member(FakeDoor(ahead)).measure())
    assert abs(clock.offset_ns - ahead) <= clock.error_ns


def test_what_a_worker_says_is_bounded_and_must_make_sense(run: Run) -> None:
    async def case() -> None:
        worker = member(FakeDoor())
        load = await worker.start("generator", [0])
        assert load.pid == 7
        with pytest.raises(KeyError):
            worker.hear(Message("secrets", {"load": load.number}), 0)
        with pytest.raises(ValueError, match="unheard"):
            for _ in range(MOST_UNHEARD + 2):
                worker.hear(Message("line", {"load": load.number, "message": {}}), 0)
        # Of a generator that has ended, or never was, nothing is kept.
        worker.hear(Message("line", {"load": 99}), 0)

    run(case())


def test_whoever_waits_for_a_lost_worker_is_told_so(run: Run) -> None:
    async def case() -> None:
        worker = member(FakeDoor())
        load = await worker.start("generator", None)
        waiting = asyncio.create_task(load.told_of("seen"))
        await asyncio.sleep(0)
        worker.lose("the power went")
        worker.lose("and went again")
        for doing in (waiting, load.told_of("line"), worker.measure()):
            with pytest.raises(PartLost, match=r"^worker 2 \(b, pid 3\) was lost: the power went$"):
                await doing
        assert await load.end() == -9

    run(case())


@pytest.mark.parametrize("lacks", ["host", "pid", "boot", "cpus", "environment"])
def test_who_does_not_say_who_it_is_does_not_come(lacks: str) -> None:
    who = {"host": "b", "pid": 3, "boot": "x", "cpus": [0], "environment": {}}
    who.pop(lacks)
    with pytest.raises(KeyError):
        Member(1, b"", Message("hello", who), cast(Door, FakeDoor()))
