"""Workers on other machines, as users start them (issues 8.3 and 8.4)."""

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.trial import SPEC
from harness.hosts import agent
from harness.hosts import crew as crews
from harness.hosts.crew import Crew, Wanted
from harness.hosts.identity import code_digest, software
from harness.hosts.link import LARGEST, TOKEN, Door, Line, Message
from harness.hosts.sampling import RemoteSampler
from harness.journal import Notes
from harness.load.messages import LoadSpec
from harness.load.schedule import planned_instants
from harness.results import DONE, Samples, open_run, read_samples
from harness.rig.ports import Ports
from harness.rig.process import Rig, RigError
from tests.live.support import MARK, ROOT, balanced, connected, marked, words
from tests.live.test_dealing import scenario, summary
from tests.live.test_locust import last_total
from tests.support import LIMIT_S, Run, UsePart, until

pytestmark = pytest.mark.live

RATE = 101.0
CONSTANT = f'[[load]]\nmodel = "constant"\nrate = {RATE}\n'
SECRET = "a secret of the tests' own"


def free_address(host: str = "127.0.0.1") -> str:
    """Where nobody listens."""
    ports = Ports()
    try:
        return f"{host}:{ports.take()}"
    finally:
        ports.close()


class Distributed:
    """A run and its workers."""

    def __init__(self, address: str, mark: str = "") -> None:
        self.address = address
        self.mark = mark or uuid.uuid4().hex
        self.workers: list[subprocess.Popen[str]] = []
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """`bench.py WORDS`, `before` which comes another command."""
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "harness.cli", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: self.mark, TOKEN: SECRET},
            cwd=ROOT,
        )
        self._started.append(process)
        return process

    def worker(self, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """One more."""
        host, _, port = self.address.rpartition(":")
        told = ["locust", "--worker", "--master-host", host, "--master-port", port]
        self.workers.append(self.start(*told, before=before))
        return self.workers[-1]

    def run(self, *words: str, size: int = 2) -> "subprocess.Popen[str]":
        """`bench.py run`, told as lines."""
        told = ["--expect-workers", str(size), "--listen", self.address, "--lines"]
        process = self.start("run", *words, *told)
        say(process, "begin")
        return process

    def generators(self) -> list[int]:
        """Generators that have connections."""
        found = [pid for pid in marked(self.mark) if "harness.load" in words(pid)]
        return [pid for pid in found if connected(pid)]

    def end(self) -> None:
        """No process is left. Raises subprocess.TimeoutExpired for a worker that does not end."""
        try:
            for worker in self.workers:
                if worker.poll() is None:
                    worker.send_signal(signal.SIGCONT)
                    worker.terminate()
                worker.wait(LIMIT_S)
        finally:
            for process in self._started:
                process.kill()
                process.communicate()


@contextmanager
def distributed(*befores: Sequence[str], host: str = "127.0.0.1") -> Iterator[Distributed]:
    """A run's place, with a worker for each of `befores`, who are gone afterwards."""
    case = Distributed(free_address(host))
    try:
        for before in befores:
            case.worker(before)
        yield case
    finally:
        case.end()


def say(process: "subprocess.Popen[str]", event: str) -> None:
    """A word to a run."""
    assert process.stdin is not None
    process.stdin.write(json.dumps({"event": event}) + "\n")
    process.stdin.flush()


def done(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, lines and standard error of a run."""
    # The end of its input would end the run.
    held, process.stdin = process.stdin, None
    out, err = process.communicate(timeout=5 * LIMIT_S)
    if held is not None:
        held.close()
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def only_samples(out: Path) -> Samples:
    """Those of a run of one trial."""
    (path,) = [p for paths in open_run(out).trials.values() for p in paths]
    return read_samples(path)


def plan_of(out: Path, samples: Samples, length_s: float) -> list[int]:
    """The plan's instants in the seconds of a trial, warm-up included."""
    meta = samples.meta
    load = LoadSpec("constant", RATE, None, 0.0, 0, 0.0)
    offsets = planned_instants(load, length_s, meta["seed"], meta["block"])
    (began,) = [
        int(event["detail"])
        for event in open_run(out).events
        if event["kind"] == "trial_started"
        and (event["cell"], event["trial"]) == (meta["cell"], meta["trial"])
    ]
    return [began + int(offset) for offset in offsets]


def figures(lines: Sequence[Mapping[str, Any]], milestone: str) -> list[Mapping[str, Any]]:
    """All that was told live of a milestone."""
    told = [row for line in lines if line["event"] == "figures" for row in line["rows"]]
    return [row for row in told if row["milestone"] == milestone]


def until_figures(process: "subprocess.Popen[str]", count: int) -> list[dict[str, Any]]:
    """What a run says until figures were told so often."""
    assert process.stdout is not None
    said: list[dict[str, Any]] = []
    while len(figures(said, "done")) < count:
        said.append(json.loads(process.stdout.readline()))
    return said


def assert_the_plan_was_sent(out: Path, seconds: float) -> Samples:
    """Every operation of the plan once, at its instant, whoever had it."""
    assert_planned(out, samples := only_samples(out), seconds)
    return samples


def assert_planned(out: Path, samples: Samples, seconds: float) -> None:
    """See assert_the_plan_was_sent."""
    assert samples.planned.tolist() == plan_of(out, samples, 0.4 + seconds)
    assert samples.numbers.tolist() == list(range(len(samples)))
    assert (samples.outcome == DONE).all()
    assert balanced(summary(out))


def test_two_workers_send_the_plan_and_all_of_it_is_gathered(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with distributed((), ()) as case:
        code, lines, err = done(case.run(scenario(tmp_path, CONSTANT), "--out", str(out)))
        assert code == 0, err
        samples = assert_the_plan_was_sent(out, 1.0)

        # Live: each operation once, and percentiles of merged histograms within 1 % of the raw.
        told = figures(lines, "done")
        assert sum(row["count"] for row in told) == len(samples)
        times = np.repeat(*np.array([pair for row in told for pair in row["times"]]).T)
        raw = (samples.done - samples.planned) / 1e3
        for share in (50, 90, 99):
            of_raw = np.percentile(raw, share, method="inverted_cdf")
            merged = np.percentile(times, share, method="inverted_cdf")
            assert merged == pytest.approx(of_raw, rel=0.01, abs=1.0)

        # Both machines: their clocks, their costs, what went over the wire.
        info = open_run(out).info
        assert [host["clock"]["error_ns"] > 0 for host in info["hosts"]] == [True, True]
        assert len(samples.meta["clocks"]) == 2
        (cell,) = summary(out)["cells"]
        assert cell["clock_error_ms"] > 0
        (shown, *_) = [line["rows"] for line in reversed(lines) if line["event"] == "hosts"]
        assert [row["state"] for row in shown] == ["there", "there"]
        roles = {row["role"] for row in open_run(out).telemetry}
        assert {"generator", "generator.2", "harness", "harness.2", "harness.3"} <= roles
        (passage,) = cell["overhead"]["wire"]
        assert passage["between"] == ["client", "server"]
        assert min(passage["bytes"]) > 100
        assert cell["connections"] >= 4
        page = (out / "report.html").read_text()
        assert "between clocks" in page
        assert SECRET not in page + (out / "run.json").read_text()
        # They wait for the next run, and serve it.
        again = tmp_path / "again"
        code, _, err = done(case.run(scenario(tmp_path, CONSTANT), "--out", str(again)))
        assert code == 0, err
        assert_the_plan_was_sent(again, 1.0)
    assert [worker.returncode for worker in case.workers] == [0, 0]
    assert not marked(case.mark)


@pytest.mark.parametrize("apart", [False, True], ids=["loopback", "two-hosts"])
def test_a_stop_in_mid_run_leaves_the_plan_up_to_it(
    request: pytest.FixtureRequest, tmp_path: Path, apart: bool
) -> None:
    out = tmp_path / "run"
    host, befores = request.getfixturevalue("two_hosts") if apart else ("127.0.0.1", [(), ()])
    with distributed(*befores, host=host) as case:
        process = case.run(scenario(tmp_path, CONSTANT, seconds=600.0), "--out", str(out))
        before = until_figures(process, 4)
        say(process, "stop")
        code, after, err = done(process)
        lines = before + after
        assert code == 130, err
        samples = only_samples(out)
        (at,) = [int(e["detail"]) for e in open_run(out).events if e["kind"] == "trial_stopped"]
        plan = [each for each in plan_of(out, samples, 600.4) if each < at]
        assert samples.planned.tolist() == plan
        assert sum(row["count"] for row in figures(lines, "done")) == len(plan)
        assert balanced(summary(out))


def test_locust_as_master_counts_what_its_workers_sent(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with distributed((), ()) as case:
        told = ["--master", "--expect-workers", "2", "--listen", case.address, "--headless"]
        chosen = ["--styles", "rest", "--rate", "100", "--duration", "2", "--out", str(out)]
        said, err = case.start("locust", *told, *chosen).communicate(timeout=5 * LIMIT_S)
    samples = only_samples(out)
    assert last_total(said + err) == len(samples)
    assert samples.meta["parts"] == 2
    assert (samples.outcome == DONE).all()


@pytest.mark.parametrize("mode", ["master", "worker"])
def test_locusts_own_master_and_workers_are_refused(mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", "locustfile.py", f"--{mode}", "--headless"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=LIMIT_S,
    )
    assert done.returncode == 2
    assert f"bench.py locust --{mode}" in done.stderr


def test_locusts_exit_code_tells_of_a_lost_worker(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with distributed((), ()) as case:
        told = ["--master", "--expect-workers", "2", "--listen", case.address, "--headless"]
        chosen = ["--styles", "rest", "--rate", "100", "--duration", "60", "--out", str(out)]
        locust = case.start("locust", *told, *chosen)

        async def lose() -> None:
            await until("both send", lambda: len(case.generators()) == 2)
            case.workers[0].kill()

        run(lose())
        said, err = locust.communicate(timeout=5 * LIMIT_S)
    assert locust.returncode == 1
    assert f"pid {case.workers[0].pid}) was lost" in said + err
    assert not marked(case.mark)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGKILL, "nothing was heard of it"),
        (signal.SIGTERM, "it was told to end"),
        (signal.SIGSTOP, "nothing was heard of it"),
    ],
)
def test_a_worker_that_goes_is_named_and_another_takes_its_place(
    run: Run, tmp_path: Path, number: signal.Signals, why: str
) -> None:
    """Issue 8.4: what it had was lost with it, and is not passed over in silence."""
    out = tmp_path / "run"
    path = scenario(tmp_path, CONSTANT, seconds=12.0)
    with distributed((), ()) as case:
        process = case.run(path, "--repeats", "2", "--out", str(out))
        before = until_figures(process, 4)
        case.workers[1].send_signal(number)

        async def gone() -> None:
            await until("its generator is gone", lambda: len(case.generators()) < 2)

        if number is signal.SIGKILL:
            run(gone())
        case.worker()
        code, after, err = done(process)
    assert code == 1, err
    (cell,) = summary(out)["cells"]
    (lost,) = [r for r in cell["verdict"]["reasons"] if r["code"] == "worker_lost"]
    pid = case.workers[1].pid
    assert re.search(rf"worker [12] \(.*, pid {pid}\) was lost: {why}", lost["detail"])
    assert any(f"pid {pid}" in line.get("words", "") for line in before + after)
    partial, whole = (read_samples(p) for paths in open_run(out).trials.values() for p in paths)
    # Of the first trial there is what the other one sent, up to a stop.
    (at,) = [int(e["detail"]) for e in open_run(out).events if e["kind"] == "trial_stopped"]
    (part,) = set(partial.numbers % 2)
    own = plan_of(out, partial, 12.4)[part::2]
    assert partial.planned.tolist() == [each for each in own if each < at]
    # All three are in the report, with the clock of the one that came later.
    hosts = open_run(out).info["hosts"]
    assert len(hosts) == 3
    assert all(host["clock"]["error_ns"] > 0 for host in hosts)
    shown = [line["rows"] for line in after if line["event"] == "hosts"][-1]
    assert all(row["error_us"] > 0 for row in shown if row["state"] == "there")
    # The second one is whole.
    assert whole.planned.tolist() == plan_of(out, whole, 12.4)
    assert cell["counts"]["planned"] == int(partial.measured.sum() + whole.measured.sum())
    assert balanced(summary(out))
    assert not marked(case.mark)


def test_workers_end_what_they_started_when_the_run_is_killed(run: Run, tmp_path: Path) -> None:
    with distributed((), ()) as case:
        path = scenario(tmp_path, CONSTANT, seconds=60.0)
        process = case.run(path, "--out", str(tmp_path / "run"))

        async def kill() -> None:
            await until("both send", lambda: len(case.generators()) == 2)
            process.kill()
            await until("no generator is left", lambda: not case.generators())

        run(kill())
        process.communicate(timeout=LIMIT_S)


def unshared_clock() -> str:
    """Why a process cannot have a clock of its own here; empty if it can."""
    tried = subprocess.run(
        ["unshare", "--time", "--monotonic", "5000", "true"], capture_output=True, text=True
    )
    return tried.stderr.strip() if tried.returncode else ""


def test_another_machines_clock(tmp_path: Path) -> None:
    """A worker whose CLOCK_MONOTONIC is 5,000 s ahead: measured, told, and translated."""
    if shutil.which("unshare") is None or (why := unshared_clock()):
        pytest.skip(f"no clock of its own: {why if shutil.which('unshare') else 'no unshare'}")
    out = tmp_path / "run"
    ahead = ["unshare", "--time", "--monotonic", "5000"]
    with distributed((), ahead) as case:
        code, lines, err = done(case.run(scenario(tmp_path, CONSTANT), "--out", str(out)))
        assert code == 0, err
    samples = assert_the_plan_was_sent(out, 1.0)
    offsets = {round(clock["offset_ns"] / 1e12): clock for clock in samples.meta["clocks"]}
    assert set(offsets) == {0, 5}
    for thousands, clock in offsets.items():
        assert abs(clock["offset_ns"] - thousands * 10**12) <= clock["error_ns"]
    off = max(clock["error_ns"] for clock in samples.meta["clocks"])
    assert (samples.sent >= samples.planned).all()
    assert (samples.processed >= samples.sent - off).all()
    assert (samples.done >= samples.processed - off).all()
    said = " ".join(line["words"] for line in lines if line["event"] == "said")
    assert re.search(r"clock \+(4,999,999|5,000,000),\d{3}\.\d µs from here", said)


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, list[list[str]]]]:
    """This machine's address, and what comes before a command of each of two others: network
    namespaces, each joined to this one by a pair of virtual interfaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    name = f"ob{secrets.token_hex(3)}"
    net = secrets.randbelow(200) + 20

    def ip(*told: str) -> None:
        subprocess.run(["ip", *told], check=True, capture_output=True)

    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()}")
    ip("netns", "del", name)
    with ExitStack() as stack:
        befores = []
        for n in (1, 2):
            space, ours, theirs = f"{name}-{n}", f"{name}{n}a", f"{name}{n}b"
            ip("netns", "add", space)
            stack.callback(ip, "netns", "del", space)
            ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", space)
            ip("addr", "add", f"10.{net}.{n}.1/24", "dev", ours)
            ip("link", "set", ours, "up")
            inside = ("-n", space)
            ip(*inside, "addr", "add", f"10.{net}.{n}.2/24", "dev", theirs)
            ip(*inside, "link", "set", theirs, "up")
            ip(*inside, "link", "set", "lo", "up")
            ip(*inside, "route", "add", "default", "via", f"10.{net}.{n}.1")
            befores.append(["ip", "netns", "exec", space])
        yield f"10.{net}.1.1", befores


@pytest.mark.parametrize(
    "styles",
    ["rest,grpc-unary,websocket,sse,webhook,zeromq", "kafka,rabbitmq"],
    ids=["servers", "brokers"],
)
def test_two_hosts(two_hosts: tuple[str, list[list[str]]], tmp_path: Path, styles: str) -> None:
    """Services and brokers are reached over a network, and a webhook calls back over it."""
    host, befores = two_hosts
    out = tmp_path / "run"
    path = scenario(tmp_path, CONSTANT + '[broker]\nboot = "fast"\n')
    with distributed(*befores, host=host) as case:
        code, _, err = done(case.run(path, "--styles", styles, "--out", str(out)))
        assert code == 0, err
    trials = [read_samples(p) for paths in open_run(out).trials.values() for p in paths]
    assert len(trials) == len(styles.split(","))
    for samples in trials:
        assert_planned(out, samples, 1.0)
    for cell in summary(out)["cells"]:
        moved = passages(cell)
        assert sum(map(sum, moved.values())) > 0
        # Whom a webhook calls back is the client.
        assert ("server", "outside") not in moved


def passages(cell: Mapping[str, Any]) -> dict[tuple[str, ...], list[float]]:
    """Bytes an operation, there and back, by the roles between which they went."""
    return {tuple(each["between"]): each["bytes"] for each in cell["overhead"]["wire"]}


def test_a_store_by_address_is_not_the_client(tmp_path: Path, part: UsePart) -> None:
    out = tmp_path / "run"
    path = scenario(tmp_path, CONSTANT + '[service]\nstore = ["memory", "postgres"]\n')
    with distributed((), ()) as case:
        told = ["--postgres", part("postgres").address, "--out", str(out)]
        code, _, err = done(case.run(path, *told))
        assert code == 0, err
    memory, postgres = sorted(summary(out)["cells"], key=lambda cell: cell["condition"]["store"])
    client, store = ("client", "server"), ("server", "outside")
    assert set(passages(memory)) == {client}
    assert set(passages(postgres)) == {client, store}
    # The same orders and answers, whatever is done with them.
    assert passages(postgres)[client] == pytest.approx(passages(memory)[client], rel=0.05)
    assert min(passages(postgres)[store]) > 10
    assert postgres["connections"] == memory["connections"]


@pytest.mark.parametrize("style", ["kafka", "rabbitmq"])
def test_at_a_broker_by_address_the_clients_bytes_are_the_workers(
    tmp_path: Path, part: UsePart, style: str
) -> None:
    out = tmp_path / "run"
    told = [f"--{style}", part(style).address, "--styles", style, "--out", str(out)]
    with distributed((), ()) as case:
        code, _, err = done(case.run(scenario(tmp_path, CONSTANT), *told))
        assert code == 0, err
    (cell,) = summary(out)["cells"]
    found = passages(cell)
    assert set(found) == {("client", "outside"), ("server", "outside")}
    # An order there and its reply back, on both sides of the broker.
    assert min(min(each) for each in found.values()) > 100
    assert cell["bytes_to_server_per_op"] == pytest.approx(found["client", "outside"][0], abs=1)
    assert cell["connections"] >= 2


def test_at_the_runs_own_broker_the_client_is_who_connects_to_it(tmp_path: Path) -> None:
    """A node of RabbitMQ is connected to its port mapper, which is none of the run's processes."""
    out = tmp_path / "run"
    path = scenario(tmp_path, CONSTANT + '[broker]\nboot = "fast"\n')
    with distributed((), ()) as case:
        code, _, err = done(case.run(path, "--styles", "rabbitmq", "--out", str(out)))
        assert code == 0, err
    (cell,) = summary(out)["cells"]
    (wire,) = [json.loads(e["detail"]) for e in open_run(out).events if e["kind"] == "wire"]
    assert {("client", "broker"), ("server", "broker")} <= set(passages(cell))
    assert ("outside", "broker") in {(f["sender"], f["receiver"]) for f in wire["flows"]}
    assert cell["connections"] == wire["connections"]


def listening(case: Callable[[Door, str], Any]) -> Any:
    """What comes of a case at an open door."""

    async def opened() -> Any:
        address = free_address()
        async with Door(address, SECRET) as door:
            return await case(door, address)

    return opened()


def test_who_does_not_know_the_token_is_not_heard(run: Run) -> None:
    async def case(door: Door, address: str) -> None:
        async with Line(address, "another secret, as long") as wrong:
            heard = asyncio.create_task(door.hear())
            saying = asyncio.create_task(wrong.say(Message("hello")))
            await asyncio.wait_for(door.stranger(), LIMIT_S)
            async with Line(address, SECRET) as right:
                await right.say(Message("hello", {"who": "right"}))
                _, message = await asyncio.wait_for(heard, LIMIT_S)
                assert message["who"] == "right"
            assert not saying.done()
            saying.cancel()

    run(listening(case))


def test_what_is_too_large_is_not_taken_in(run: Run) -> None:
    async def case(door: Door, address: str) -> None:
        async with Line(address, SECRET) as line, Line(address, SECRET) as other:
            await line.say(Message("file", {}, bytes(LARGEST + 1)))
            await other.say(Message("file", {}, bytes(LARGEST - 100)))
            _, message = await asyncio.wait_for(door.hear(), LIMIT_S)
            assert len(message.data) == LARGEST - 100

    run(listening(case))


class ManySeen:
    """A sampler that has seen more than one message can hold."""

    wire = None

    def __init__(self, notes: Notes, *_: object) -> None:
        self._notes = notes

    async def rest(self, seconds: float) -> None:
        """See Sampler."""
        row = {"mark": "x" * 2**20}
        self._notes.telemetry.extend({**row, "at": at} for at in range(LARGEST // 2**20 + 1))


def test_what_is_larger_than_a_message_goes_in_pieces(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial's files to a worker, and what that has seen to the run."""
    monkeypatch.setattr(agent, "Sampler", ManySeen)
    address, there = free_address(), tmp_path / "there"
    there.mkdir()
    recording, instants = tmp_path / "when.txt", [n / 100 for n in range(LARGEST // 2**20 + 1)]
    recording.write_text("".join(f"{at}{' ' * 2**20}\n" for at in instants))
    assert recording.stat().st_size > LARGEST
    notes = Notes("c", 1, [], [])
    spec = replace(
        SPEC,
        driver="clients.noop:Noop",
        load=replace(SPEC.load, model="replay", file=str(recording)),
        warm_up_s=0.0,
        duration_s=1.0,
        samples_path=str(tmp_path / "1.parquet"),
    )

    async def case() -> None:
        async with (
            Rig(tmp_path / "logs") as rig,
            Crew(Wanted(address, 1, SECRET), lambda _: None, lambda _: None) as crew,
            Line(address, SECRET) as line,
        ):
            serving = asyncio.create_task(agent.Worker(line, rig, there, address).serve())
            await crew.gather()
            load = await crew.start(0, "generator")
            await load.open(spec)
            (came,) = there.glob("*/load.txt")
            assert came.read_bytes() == recording.read_bytes()
            await RemoteSampler(load, notes).rest(0.0)
            load.send()
            await load.drained()
            await load.finish()
            await load.end()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    run(case())
    assert len(notes.telemetry) == LARGEST // 2**20 + 1
    assert len(read_samples(Path(spec.samples_path))) == len(instants)


def test_another_version_is_refused_and_too_few_are_not_enough(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "JOIN_LIMIT_S", 1.0)
    address, said = free_address(), list[str]()

    async def case() -> None:
        wanted = Wanted(address, 1, SECRET)
        async with (
            Crew(wanted, said.append, lambda _: None) as crew,
            Line(address, SECRET) as line,
        ):
            await line.say(Message("hello", {"host": "b", "code": "of another commit"}))
            answer = await asyncio.wait_for(line.hear(), LIMIT_S)
            assert answer.kind == "refused"
            assert "take the run's commit" in answer["why"]
            with pytest.raises(RigError, match="0 of 1 workers came"):
                await crew.gather()

    run(case())
    assert any("b was refused" in words for words in said)


def test_a_worker_that_leaves_before_its_clock_is_known_ends_the_run_in_words(run: Run) -> None:
    address = free_address()
    who = {"host": "b", "pid": 1, "boot": "x", "cpus": [0], "environment": {}}
    who |= {"code": code_digest(), "software": software()}

    async def case() -> None:
        async with (
            Crew(Wanted(address, 1, SECRET), lambda _: None, lambda _: None) as crew,
            Line(address, SECRET) as line,
        ):
            await line.say(Message("hello", who))
            assert (await asyncio.wait_for(line.hear(), LIMIT_S)).kind == "welcome"
            gathering = asyncio.create_task(crew.gather())
            while (await asyncio.wait_for(line.hear(), LIMIT_S)).kind != "ping":
                pass
            await line.say(Message("bye", {"why": "it was told to end"}))
            with pytest.raises(RigError, match="was lost: it was told to end"):
                await asyncio.wait_for(gathering, LIMIT_S)

    run(case())


def test_an_address_that_is_taken_is_told(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"

    async def case(door: Door, address: str) -> None:
        taken = Distributed(address)
        code, _, err = await asyncio.to_thread(
            lambda: done(taken.run(scenario(tmp_path, CONSTANT), "--out", str(out)))
        )
        assert code == 1
        assert f"--listen {address}" in err
        assert not out.exists()

    run(listening(case))
