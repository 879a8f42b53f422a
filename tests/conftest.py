"""Fixtures that every layer shares."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import uvloop
from hypothesis import settings

from clients import catalog
from harness.rig.parts import Part, start
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_server
from harness.variant import Variant
from protos.broker import read_broker
from tests.support import AtBroker, Run, Serve, UsePart

# How long an example takes says nothing on a shared machine.
settings.register_profile("orderbench", deadline=None)
settings.load_profile("orderbench")


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop, of the kind that the generator uses, for the whole session."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.fixture
def run(runner: asyncio.Runner) -> Run:
    """Runs a coroutine on the session's loop."""

    def call(coroutine: Any) -> Any:
        return runner.run(coroutine)

    return call


@pytest.fixture(scope="session")
def rig(runner: asyncio.Runner) -> Iterator[Rig]:
    """What starts the servers."""
    rig = Rig()
    runner.run(rig.__aenter__())
    yield rig
    runner.run(rig.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def part(runner: asyncio.Runner, rig: Rig) -> Iterator[UsePart]:
    """The session's broker or store of a name, of one node, started when asked."""
    running: dict[str, Part] = {}

    def use(name: str) -> Any:
        if name not in running:
            running[name] = runner.run(start(name, rig, fast=True))
        return running[name]

    yield use
    for each in running.values():
        runner.run(each.stop())


@pytest.fixture(scope="session")
def at_broker(part: UsePart) -> AtBroker:
    """Gives a worker's Serving the session's broker, with topics and queues of its own; any other
    is as it was."""
    brokers = {entry.talks_to: entry.broker for entry in catalog.ENTRIES}

    def own(serving: Serving) -> Serving:
        if not (broker := brokers[serving.style]):
            return serving
        address = read_broker(part(broker).address)
        address = replace(address, namespace=f"test-{secrets.token_hex(6)}")
        return replace(serving, broker=str(address), changes=True)

    return own


@pytest.fixture(scope="session")
def serve(runner: asyncio.Runner, rig: Rig, at_broker: AtBroker) -> Serve:
    """The session's server of a style, as it is asked for (Serving), started when asked."""
    running: dict[Serving, Server] = {}

    def server(style: str, service_time_ms: float = 0.0, **options: Any) -> Server:
        serving = Serving(style, service_time_ms, **options)
        if serving not in running:
            running[serving] = runner.run(start_server(rig, at_broker(serving)))
        return running[serving]

    return server


def _covering() -> Iterator[catalog.Entry]:
    """So many entries that every driver and every server is among them."""
    seen: set[str] = set()
    for each in catalog.ENTRIES:
        both = {each.driver, each.talks_to}
        if each.server and not each.null and both - seen:
            seen |= both
            yield each


def _name(entry: catalog.Entry) -> str:
    return Variant(entry).name


@pytest.fixture(params=_covering(), ids=_name)
def entry(request: pytest.FixtureRequest) -> catalog.Entry:
    """Every driver of the catalog that has a server, and every server: a new line is tested by
    itself."""
    found: catalog.Entry = request.param
    return found


@pytest.fixture(params=[e for e in _covering() if not e.broker], ids=_name)
def direct(request: pytest.FixtureRequest) -> catalog.Entry:
    """Those that are connected to their server itself."""
    found: catalog.Entry = request.param
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in live/ or conformance/ starts real processes."""
    for item in items:
        if {"live", "conformance"} & set(item.path.parts):
            item.add_marker(pytest.mark.live)
