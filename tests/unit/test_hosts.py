"""Clocks of other machines, what goes to them, and what is refused (issue 8.3)."""

import argparse
import asyncio
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.trial import SPEC
from harness.analysis.usage import other_busy
from harness.cli.__main__ import main, parse
from harness.cli.away import asked_workers, unreachable
from harness.cli.reach import hosts_of, on_loopback
from harness.hosts import identity, remote, sampling
from harness.hosts.agent import Refused, Worker
from harness.hosts.clock import Clock, Exchange, clock_of
from harness.hosts.link import (
    CHUNK,
    LEAST_TOKEN,
    TOKEN,
    Door,
    Line,
    Message,
    listening_problems,
    master_problems,
    pieces,
)
from harness.hosts.parcel import packed, unpacked
from harness.hosts.remote import MOST_UNHEARD, Member
from harness.hosts.sampling import RemoteSampler, wires
from harness.journal import Notes
from harness.load.consumption import read_rows, shifted
from harness.load.messages import TrialSpec
from harness.load_process import PartLost, TrialFailed
from harness.plan import Plan, make_plan
from harness.report import words
from harness.rig.parts import PARTS, variable
from harness.rig.process import Rig
from harness.sampling import Sampler
from harness.scenario import Scenario
from harness.trial import Served, counted
from protos.arrivals import Arrivals
from protos.broker import BrokerAddress
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
    there = tmp_path / "there"
    there.mkdir()
    for name, file in packed(spec).items():
        (there / name).write_bytes(file.read_bytes())
    got = unpacked(TrialSpec.from_line(spec.to_line()), there)
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


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_pieces_are_the_file(size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    found = list(pieces(BytesIO(data)))
    assert b"".join(piece for piece, _ in found) == data
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    assert max(len(piece) for piece, _ in found) <= CHUNK


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
    def seen(machine: str, mark: str, at: int, idle: float, roles: list[str]) -> dict[str, str]:
        said: dict[str, object] = {"mark": mark, "at": at, "roles": roles}
        said |= {"processors": [{"idle": idle}]} | ({"machine": machine} if machine else {})
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
    # What shares a machine is no stranger there, whoever reads it: 0.6 busy, all but 0.05 ours.
    shared = [
        seen("", "window_start", 0, 0.0, ["server"]),
        seen("", "window_start", 0, 0.0, ["generator"]),
        seen("", "window_end", second, 0.2, ["generator"]),
        seen("", "window_end", second, 0.2, ["server"]),
    ]
    assert other_busy(marks, shared) == pytest.approx(0.05)


def test_a_worker_that_would_send_otherwise_is_told_in_what(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, ours = identity.code_digest(), dict(identity.software())
    assert identity.unlike(code, ours) == ""
    assert identity.unlike("0", ours) == "another version of orderbench"
    theirs = {**ours, "aiohttp": "3.0", "more": "1"}
    del theirs["grpcio"]
    assert identity.unlike(code, theirs) == (
        f"aiohttp 3.0 in place of {ours['aiohttp']}, grpcio missing in place of {ours['grpcio']},"
        " more 1 in place of none"
    )
    assert ours["Python"] == platform.python_version()


def test_what_a_worker_records_with_is_of_its_version() -> None:
    """Not of its load alone: samples, clocks and telemetry are made there too."""
    told = {str(path.relative_to(identity.ROOT)) for path in identity.sources()}
    assert {
        "harness/results.py",
        "harness/sampling.py",
        "harness/recording.py",
        "harness/observe/wire.py",
        "clients/http.py",
        "requirements.lock",
    } <= told


def counts(start: int, moved: int, sender: str = "generator") -> dict[str, Any]:
    """What one has counted."""
    flow = {"sender": sender, "receiver": "outside", "bytes": moved}
    clients = dict.fromkeys(("connections", "opened", "closed"), int(sender == "generator"))
    return {"from": start, "to": start + 10, "flows": [flow], **clients, "uncounted": 1}


def sees(counted: dict[str, Any] | None) -> RemoteSampler:
    """A worker that has counted that."""
    sampler = RemoteSampler.__new__(RemoteSampler)
    sampler.wire = counted
    return sampler


def sees_here(counted: dict[str, Any] | None) -> Sampler:
    """Likewise the run's machine."""
    sampler = Sampler(Notes("c", 1, [], []), {}, {})
    sampler.wire = counted
    return sampler


def test_what_several_have_counted_is_one() -> None:
    found = wires([sees(counts(5, 100)), sees(counts(7, 30))])
    assert found is not None
    assert (found["from"], found["to"], found["connections"]) == (5, 17, 2)
    assert sum(flow["bytes"] for flow in found["flows"]) == 130
    assert wires([sees(counts(5, 100)), sees(None)]) is None


def test_a_client_elsewhere_is_counted_where_it_connects_or_where_it_is() -> None:
    here, far = sees_here(counts(6, 1000, "server")), [sees(counts(5, 100)), sees(counts(7, 30))]
    broker = BrokerAddress("kafka", ("b:9092",), "n")
    served = Served("http://10.0.0.1:1", {"server": 1})
    ours = Served("", {"server": 1, "broker": 2}, (), broker)
    theirs = Served("", {"server": 1, "server.2": 2}, (), broker)
    target = Served("http://10.0.0.9:1", {})
    assert [each.meets_clients for each in (served, ours, theirs, target)] == [True] * 2 + [
        False
    ] * 2
    for each in (served, ours):
        assert counted([here, *far], each) == here.wire
    # At a broker by address the workers see the client, and the run's machine its consumers.
    found = counted([here, *far], theirs)
    assert found is not None
    assert [flow["bytes"] for flow in found["flows"]] == [1000, 100, 30]
    assert (found["from"], found["to"], found["connections"]) == (5, 17, 2)
    # Where nothing is served here it does not matter whether it could be counted here.
    found = counted([sees_here(None), *far], target)
    assert found is not None
    assert [flow["bytes"] for flow in found["flows"]] == [100, 30]
    for each in (served, ours, theirs, target):
        assert counted([here], each) == here.wire


def test_what_a_worker_has_counted_comes_in_this_clock(run: Run) -> None:
    async def case() -> None:
        ahead = 10**13
        worker = member(FakeDoor(ahead))
        load = await worker.start("generator", None)
        load.clock = Clock(ahead)
        looking = RemoteSampler(load, Notes("c", 1, [], []))

        def saw(wire: Mapping[str, Any] | None) -> Message:
            seen: dict[str, Any] = {"telemetry": [], "events": [], "wire": wire}
            return Message("seen", {"load": load.number, "last": True}, json.dumps(seen).encode())

        load.take(saw(None))
        await looking.watch(0, 0, 0)
        assert looking.wire is None
        load.take(saw(counts(ahead + 5, 100)))
        await looking.watch(0, 0, 0)
        assert looking.wire == counts(5, 100)

    run(case())


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
        self.full = ""

    async def say(self, _: bytes, message: Message) -> None:
        """See Door.say."""
        self.said.append(message.kind)
        if message.kind == "ping":
            at = time.monotonic_ns() + self._ahead_ns
            pong = Message("pong", {"number": message["number"], "at": at})
            self.member.hear(pong, time.monotonic_ns())
        if message.kind == "start":
            self.member.hear(Message("started", {"load": message["load"], "pid": 7}), 0)
        if message.kind == "piece":
            self.member.hear(Message("taken", {"load": message["load"], "why": self.full}), 0)
        if message.kind == "rest":
            seen = {"load": message["load"], "last": False}
            self.member.hear(Message("seen", seen, bytes(100)), 0)


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


def test_who_knocks_again_before_it_is_let_in_has_not_left(run: Run) -> None:
    async def case() -> None:
        door = FakeDoor()
        worker = member(door)
        again = Message("hello", {})
        came = worker.heard_at
        worker.hear(again, time.monotonic_ns() + 10**12)
        assert not worker.lost
        # Somebody who only knocks has not heard, and is given up.
        assert worker.heard_at == came
        await worker.measure()
        worker.hear(again, time.monotonic_ns())
        assert "it has left this run" in worker.lost

    run(case())


class FakeLine:
    """A run that says what it is told to."""

    def __init__(self, *says: Message) -> None:
        self._says = list(says)
        self.heard: list[str] = []

    async def call(self, message: Message) -> bool:
        """See Line.call."""
        self.heard.append(message.kind)
        return True

    async def hear(self) -> Message:
        """See Line.hear."""
        return self._says.pop(0)


def test_a_worker_that_its_run_has_given_up_waits_for_the_next(run: Run, tmp_path: Path) -> None:
    line = FakeLine(
        Message("welcome"),
        Message("ping", {"number": 1}),
        Message("left"),
        Message("refused", {"why": "the next run"}),
    )

    async def case() -> None:
        worker = Worker(cast(Line, line), Rig(), tmp_path, "10.0.0.1:1")
        with pytest.raises(Refused, match="the next run"):
            await worker.serve()

    run(case())
    assert line.heard == ["hello", "awake", "pong", "hello"]


def test_a_trial_whose_files_are_too_many_or_unread_fails_and_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LARGEST_PARCEL", 10)
    path = tmp_path / "orders.jsonl"
    spec = replace(SPEC, order=replace(SPEC.order, file=str(path)))
    door = FakeDoor()

    async def case() -> None:
        load = await member(door).start("generator", None)
        with pytest.raises(TrialFailed, match=r"worker 2 .* cannot be read: .*orders\.jsonl"):
            await load.open(spec)
        path.write_bytes(bytes(11))
        with pytest.raises(TrialFailed, match=r"orders\.jsonl\) have 11 B.* take smaller ones"):
            await load.open(spec)
        assert "piece" not in door.said
        path.write_bytes(bytes(10))
        door.full = "No space left on device"
        with pytest.raises(TrialFailed, match=r"cannot keep order\.jsonl: No space left"):
            await load.open(spec)
        assert "open" not in door.said

    run(case())


def test_what_a_worker_has_seen_has_a_largest_size(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "LARGEST_SEEN", 99)

    async def case() -> None:
        load = await member(FakeDoor()).start("generator", None)
        with pytest.raises(TrialFailed, match=r"worker 2 .* sends more than 99 B as 'seen'"):
            await RemoteSampler(load, Notes("c", 1, [], [])).rest(0.0)

    run(case())
