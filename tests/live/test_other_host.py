"""Generators on another machine, which a network namespace stands for; what is measured is on this
one (issue 8.3)."""

import ipaddress
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from clients import catalog
from clients.base import PLAIN
from clients.http import HttpLanes
from harness.load.messages import WireSpec
from harness.plan import make_plan
from harness.report.console import ConsoleWatcher, console
from harness.results import DONE, Samples, open_run, read_samples
from harness.rig.authority import make_authority
from harness.rig.parts import start
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_gateway, start_relay, start_server
from harness.rig.tree import OWN, Tree
from harness.run import Side, execute
from harness.scenario import Scenario
from harness.trial import authority_of
from protos.broker import read_broker
from protos.http import CALLBACKS_PATH
from protos.problems import from_http
from tests.live.support import constant, trial
from tests.live.test_brokers import kept_in
from tests.support import Run

ORDERS = 60
LOAD: dict[str, Any] = {"load": constant(100.0), "warm_up_s": 0.1, "duration_s": ORDERS / 100 - 0.1}
LOOPBACK = "127.0.0.1"
DIRECT = [
    *("rest", "rest-h2", "rest-poll", "grpc-unary", "grpc-stream"),
    *("websocket", "sse", "webhook", "zeromq"),
]


@dataclass(frozen=True, slots=True)
class Elsewhere(Tree):
    """Programs of this tree, on another machine whose proxy leads nowhere."""

    namespace: str = ""
    proxy: str = ""

    def command(self, words: Sequence[str]) -> list[str]:
        """See Tree."""
        return ["ip", "netns", "exec", self.namespace, self.python, "-m", *words]

    @property
    def environment(self) -> dict[str, str]:
        """See Tree."""
        names = ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        return {"PYTHONPATH": str(self.root), **dict.fromkeys(names, self.proxy)}


@dataclass(frozen=True, slots=True)
class Network:
    """This machine's address and another's, on a network of these two."""

    host: str
    other: str
    namespace: str
    there: Rig
    """What starts programs at the other."""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def network(runner: Any) -> Iterator[Network]:
    """Loopback is down at the other: what leads there leads nowhere."""
    pid = os.getpid()
    name, near, far = f"orderbench-{pid}", f"ob{pid}n", f"ob{pid}f"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no command `ip`")
    if made.returncode:
        pytest.skip(f"no network namespace: {made.stderr.strip()}")
    host, other = (f"10.{200 + pid % 50}.{pid // 50 % 250}.{n}" for n in (1, 2))
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _ip("address", "add", f"{host}/24", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "address", "add", f"{other}/24", "dev", far)
        _ip("-n", name, "link", "set", far, "up")
        tree = Elsewhere(OWN.root, sys.executable, namespace=name, proxy=f"http://{host}:9")
        there = Rig(tree=tree)
        runner.run(there.__aenter__())
        try:
            yield Network(host, other, name, there)
        finally:
            runner.run(there.__aexit__(None, None, None))
    finally:
        # A namespace goes when its last process has; its link shall go now.
        for words in (["link", "delete", near], ["netns", "delete", name]):
            subprocess.run(["ip", *words], capture_output=True)


def listening(pids: Sequence[int]) -> set[str]:
    """The addresses at which processes listen."""
    return {
        str(getattr(ip, "ipv4_mapped", None) or ip)
        for pid in pids
        for c in psutil.Process(pid).net_connections("inet")
        if c.status == psutil.CONN_LISTEN
        for ip in [ipaddress.ip_address(c.laddr.ip)]
    }


def all_done(samples: Samples) -> bool:
    """Whether the plan was sent as it is, and all of it was answered."""
    return len(samples) == ORDERS and bool((samples.outcome == DONE).all())


@pytest.mark.parametrize("style", DIRECT)
def test_orders_come_from_another_machine(
    style: str, network: Network, rig: Rig, run: Run, tmp_path: Path
) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(style, host=network.host))
        try:
            assert listening([server.process.pid]) == {network.host}
            samples = await trial(
                network.there, catalog.find(style), server.address, tmp_path, **LOAD
            )
            assert all_done(samples)
        finally:
            await rig.stop(server.process)

    run(case())


@pytest.mark.parametrize("style", ["rest", "grpc-unary", "webhook", "zeromq"])
def test_encrypted_too(style: str, network: Network, rig: Rig, run: Run, tmp_path: Path) -> None:
    made = make_authority(tmp_path / "tls", network.host)

    async def case() -> None:
        serving = Serving(style, host=network.host, certificate=made.certificate, key=made.key)
        server = await start_server(rig, serving)
        try:
            wire = WireSpec(ca=str(made.ca))
            entry = catalog.find(style)
            samples = await trial(network.there, entry, server.address, tmp_path, wire=wire, **LOAD)
            assert all_done(samples)
        finally:
            await rig.stop(server.process)

    run(case())


def test_through_what_stands_in_front(network: Network, rig: Rig, run: Run, tmp_path: Path) -> None:
    async def case() -> None:
        behind = await start_server(rig, Serving("webhook", remember="nothing"))
        gateway = await start_gateway(rig, behind.address, host=network.host)
        server = await start_server(rig, Serving("rest", host=network.host))
        relay = await start_relay(rig, authority_of(server.address), 60.0, host=network.host)
        try:
            assert listening([behind.process.pid]) == {LOOPBACK}
            assert listening([gateway.process.pid, relay.process.pid]) == {network.host}
            # Callbacks go past the gateway, to whom it named.
            for style, target in (
                ("webhook", gateway.address),
                ("rest", f"http://{relay.address}"),
            ):
                entry = catalog.find(style)
                samples = await trial(
                    network.there, entry, target, tmp_path, request_ids=True, **LOAD
                )
                assert all_done(samples)
        finally:
            for each in (gateway, behind, relay, server):
                await rig.stop(each.process)

    run(case())


def test_nobody_lets_the_service_call_somebody_else(network: Network, rig: Rig, run: Run) -> None:
    async def asked(server: Server, url: str, **headers: str) -> str:
        http = HttpLanes(server.address, PLAIN)
        try:
            path = f"{CALLBACKS_PATH}/{uuid.uuid4().hex}"
            body = orjson.dumps({"url": url, "secret": "s" * 24})
            answer = await http.ask(0, "PUT", path, body, headers)
        finally:
            await http.close()
        return "taken" if answer.status == 204 else from_http(answer.status, answer.body).code

    async def case() -> None:
        server = await start_server(rig, Serving("webhook", host=network.host))
        try:
            assert await asked(server, f"http://{network.host}:1/") == "taken"
            for other in (network.other, LOOPBACK, "localhost", "169.254.169.254"):
                url = f"http://{other}:1/"
                assert await asked(server, url) == "bad_callback"
                forged = {"X-Forwarded-For": other}
                assert await asked(server, url, **forged) == "bad_callback"
        finally:
            await rig.stop(server.process)

    run(case())


@pytest.mark.parametrize("name", ["kafka", "rabbitmq"])
def test_a_broker_is_reached_from_another_machine(
    name: str, network: Network, rig: Rig, run: Run, tmp_path: Path
) -> None:
    async def case() -> None:
        part = await start(name, rig, fast=True, data=tmp_path, host=network.host)
        workers = []
        try:
            assert listening(list(part.pids.values())) == {network.host, LOOPBACK}
            address = read_broker(part.address)
            assert all(host.startswith(f"{network.host}:") for host in address.hosts)
            assert address.password != "guest"
            for driver in (e for e in catalog.ENTRIES if e.broker == name):
                for operation in ("place", "ingest"):
                    folder = tmp_path / driver.client / operation
                    folder.mkdir(parents=True)
                    own = replace(address, namespace=f"other-{uuid.uuid4().hex[:8]}")
                    serving = Serving(name, host=network.host, broker=str(own))
                    workers.append(await start_server(rig, serving))
                    samples = await trial(
                        network.there, driver, workers[-1].address, folder,
                        workers=workers[-1:] if operation == "ingest" else [],
                        operation=operation, timeout_s=60.0, **LOAD,
                    )  # fmt: skip
                    assert all_done(samples)
                    if operation == "ingest":
                        kept = kept_in(folder)
                        assert kept.clean
                        assert kept.rows == kept.arrived == ORDERS
        finally:
            for worker in workers:
                await rig.stop(worker.process)
            await part.stop()

    run(case())


def test_a_run_listens_where_it_is_told(tmp_path: Path) -> None:
    host, heard = "127.0.0.2", set()
    scenario = Scenario.model_validate(
        {
            "question": "?", "noise": False, "repeats": 1, "seed": 1,
            "styles": ["rest", "webhook", "rabbitmq"],
            "load": [{"model": "constant", "rate": [100]}],
            "warm_up_s": 0.1, "duration_s": 0.5, "timeout_s": 60.0,
            "broker": {"warm_up_s": 0},
        }
    )  # fmt: skip
    plan = make_plan(scenario)

    class Watcher(ConsoleWatcher):
        def trial_ended(self, *words: Any) -> None:
            family = psutil.Process().children(recursive=True)
            heard.update(listening([p.pid for p in family]))
            super().trial_ended(*words)

    watch = Watcher(plan, console(stderr=True))
    out = tmp_path / "run"
    out.mkdir()
    try:
        assert execute(plan, [Side(out)], {}, [], watch, host=host)
    finally:
        watch.close()
    assert open_run(out).info["parts"]["rabbitmq"]["address"].rpartition("@")[2].startswith(host)
    for cell in plan.cells:
        assert all_done(read_samples(out / "trials" / cell.id / "1.parquet"))
    assert heard - {LOOPBACK, "::1"} == {host}
