"""Bytes and segments are what tcpdump saw (issue 6.6): every packet between two markers, role by
role. What it needs and where it is skipped: tests/live/capture.py."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clients import catalog
from clients.catalog import Entry
from harness.load.messages import TrialSpec, WireSpec
from harness.load_process import LoadProcess
from harness.observe.wire import Meter, Snapshot, Wire, snapshot
from harness.results import read_samples
from harness.rig.parts import numbered
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from tests.live.capture import Packet, capturing
from tests.live.support import SPEC, constant
from tests.support import LIMIT_S, AtBroker, Run, UsePart

Counted = dict[tuple[str, str], tuple[int, int, int]]
"""Bytes, segments and those with payload, by sender and receiver."""


def told(seen: Wire) -> Counted:
    """As the harness counted."""
    return {
        (f.sender, f.receiver): (f.bytes, f.segments, f.data_segments)
        for f in seen.flows
        if f.segments
    }


def captured(packets: Sequence[Packet], ports: Mapping[int, str], unknown: str) -> Counted:
    """As tcpdump saw it. `unknown`: whose the ports are that nobody here is known by."""
    found: Counted = {}
    for packet in packets:
        ends = (ports.get(packet.source, unknown), ports.get(packet.destination, unknown))
        size, count, carrying = found.get(ends, (0, 0, 0))
        found[ends] = (size + packet.payload, count + 1, carrying + (packet.payload > 0))
    return found


async def quiet(pids: Mapping[str, int]) -> Snapshot:
    """Wait until nothing moves, delayed acknowledgements included."""
    last = await asyncio.to_thread(snapshot, pids)
    async with asyncio.timeout(LIMIT_S):
        while True:
            await asyncio.sleep(0.3)
            now = await asyncio.to_thread(snapshot, pids)
            if _ours(now) == _ours(last):
                return now
            last = now


def _ours(seen: Snapshot) -> dict[int, Any]:
    return {cookie: seen.sockets[cookie] for cookie in seen.owners if cookie in seen.sockets}


async def counted(
    rig: Rig, pids: Mapping[str, int], spec: TrialSpec, folder: Path, still: bool
) -> tuple[Counted, Counted, int]:
    """What the harness and tcpdump counted of one load, and how many operations were done. `still`:
    whether nothing moves without load, so that both can begin and end at the same instant."""
    generator = await LoadProcess.start(rig)
    every = {**pids, "generator": generator.process.pid}
    try:
        await generator.open(spec)
        before = await (quiet(every) if still else asyncio.to_thread(snapshot, every))
        async with (
            capturing(set(before.listening), folder) as (capture, marks),
            Meter(every) as meter,
        ):
            await capture.mark(marks[0])
            await meter.begin()
            generator.send()
            await generator.drained()
            after = await (quiet(every) if still else asyncio.to_thread(snapshot, every))
            seen = await meter.end()
            await capture.mark(marks[1])
            packets = capture.between()
        await generator.finish()
    finally:
        await rig.stop(generator.process)
    ports = {
        each.sockets[cookie].local[1]: role
        for each in (before, after)
        for cookie, role in each.owners.items()
        if cookie in each.sockets
    }
    assert seen.uncounted == 0
    done = int((read_samples(Path(spec.samples_path)).outcome == 0).sum())
    # A server's only client may come and go; a session's broker has other servers too.
    unknown = "generator" if still else "another"
    return told(seen), captured(packets, {**ports, **before.listening}, unknown), done


def spec_of(entry: Entry, target: str, folder: Path, **changes: Any) -> TrialSpec:
    """600 orders in 2 s, if nothing else is said."""
    usual = replace(
        SPEC,
        driver=entry.driver,
        target=target,
        load=constant(300.0),
        warm_up_s=0.0,
        duration_s=2.0,
        samples_path=str(folder / "samples.parquet"),
        key_prefix="counted-",
    )
    return replace(usual, **changes)


DIRECT = ("rest", "rest-h2", "grpc-unary", "grpc-stream", "websocket", "zeromq")


@pytest.mark.parametrize("style", DIRECT)
def test_every_byte_and_segment_of_a_style(rig: Rig, run: Run, tmp_path: Path, style: str) -> None:
    entry = catalog.find(style)

    async def case() -> tuple[Counted, Counted, int]:
        server = await start_server(rig, Serving(style))
        try:
            spec = spec_of(entry, server.address, tmp_path)
            return await counted(rig, {"server": server.process.pid}, spec, tmp_path, still=True)
        finally:
            await rig.stop(server.process)

    ours, theirs, done = run(case())
    assert done == 600
    assert ours == theirs
    assert set(ours) == {("generator", "server"), ("server", "generator")}


@pytest.mark.parametrize("style", ["rest", "websocket", "grpc-unary"])
def test_connections_that_come_and_go_are_counted_whole(
    rig: Rig, run: Run, tmp_path: Path, style: str
) -> None:
    entry = catalog.find(style)

    async def case() -> tuple[Counted, Counted, int]:
        server = await start_server(rig, Serving(style))
        try:
            new = {"wire": WireSpec(kept=False), "load": constant(50.0)}
            spec = spec_of(entry, server.address, tmp_path, **new)
            return await counted(rig, {"server": server.process.pid}, spec, tmp_path, still=True)
        finally:
            await rig.stop(server.process)

    ours, theirs, done = run(case())
    assert done > 0
    for ends, (size, segments, carrying) in theirs.items():
        assert ours[ends][0] == size
        assert ours[ends][1] == pytest.approx(segments, rel=0.01)
        assert ours[ends][2] == carrying
    # A handshake and a farewell for each.
    assert min(segments for _, segments, _ in ours.values()) >= 3 * done


@pytest.mark.parametrize("style", ["kafka", "rabbitmq"])
def test_at_a_broker_each_two_roles_by_themselves(
    rig: Rig, run: Run, tmp_path: Path, part: UsePart, at_broker: AtBroker, style: str
) -> None:
    entry = catalog.find(style)
    serving = at_broker(Serving(style))
    nodes = numbered("broker", list(part(style).pids.values()))

    async def case() -> tuple[Counted, Counted, int]:
        server = await start_server(rig, serving)
        try:
            spec = spec_of(entry, serving.broker, tmp_path)
            pids = {**nodes, "server": server.process.pid}
            return await counted(rig, pids, spec, tmp_path, still=False)
        finally:
            await rig.stop(server.process)

    ours, theirs, done = run(case())
    assert done == 600
    # Workers ask and heartbeats go at any time, also while one of the two begins to count.
    for ends in (("generator", "broker"), ("broker", "generator")):
        assert ours[ends] == pytest.approx(theirs[ends], rel=0.01)
    for ends in (("server", "broker"), ("broker", "server")):
        assert ours[ends] == pytest.approx(theirs[ends], rel=0.01)
