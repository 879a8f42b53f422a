"""P2: spans of clients and servers join, for every style, in a file and over OTLP."""

import json
import secrets
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.trial import SPEC as TRIAL
from clients import catalog
from clients.base import Call, Works
from clients.catalog import Entry
from harness.load_process import LoadProcess
from harness.results import DONE
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from protos.context import Context
from protos.traceparent import Traceparent
from tests.conformance.test_places import opened
from tests.live.support import ROOT, constant, trial
from tests.support import LIMIT_S, AtBroker, Run, Serve, order

ACCEPTING = {"place", "accept"}


def spans_in(path: Path) -> list[dict[str, Any]]:
    """The spans in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def parents(count: int) -> list[Traceparent]:
    """Client spans, each of a trace of its own."""
    return [Traceparent(secrets.randbits(127) + 1, number + 1, True) for number in range(count)]


def joined(spans: list[dict[str, Any]], clients: list[Traceparent]) -> bool:
    """Whether every client's span has exactly one of the server's below it, and the work on an
    order that was only accepted is below that."""
    firsts = [span for span in spans if span["name"] in ACCEPTING]
    works = [span for span in spans if span["name"] == "work"]
    accepted = [span for span in firsts if span["name"] == "accept"]
    return (
        len(spans) == len(firsts) + len(works)
        and sorted((s["trace_id"], s["parent_id"]) for s in firsts)
        == sorted((f"{c.trace_id:032x}", f"{c.span_id:016x}") for c in clients)
        and sorted((s["trace_id"], s["parent_id"]) for s in works)
        == sorted((s["trace_id"], s["span_id"]) for s in accepted)
    )


def test_a_server_joins_its_clients_trace(
    entry: Entry, rig: Rig, at_broker: AtBroker, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "spans.jsonl"
    serving = at_broker(Serving(entry.talks_to, trace=str(path)))
    clients = parents(5)

    async def case() -> None:
        server = await start_server(rig, serving)
        async with opened(entry, server.address) as driver:
            for number, parent in enumerate(clients):
                call = Call(number, Context(traceparent=str(parent)))
                await driver.place(number % 2, order(secrets.token_hex(8)), call)
        assert await rig.stop(server.process) == 0

    run(case())
    spans = spans_in(path)
    assert joined(spans, clients)
    assert {span["service"] for span in spans} == {f"orderbench-{entry.talks_to}"}
    assert {span["status"] for span in spans} == {"UNSET"}


def test_long_work_is_a_span_of_its_own(
    entry: Entry, rig: Rig, at_broker: AtBroker, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "spans.jsonl"
    serving = at_broker(Serving(entry.talks_to, trace=str(path)))
    clients = parents(3)

    async def case() -> None:
        server = await start_server(rig, serving)
        async with opened(entry, server.address) as driver:
            for number, parent in enumerate(clients):
                wanted = replace(order(secrets.token_hex(8)), work_us=50_000)
                ask = driver.work if isinstance(driver, Works) else driver.place
                await ask(0, wanted, Call(number, Context(traceparent=str(parent))))
        assert await rig.stop(server.process) == 0

    run(case())
    spans = spans_in(path)
    assert joined(spans, clients)
    works = [span for span in spans if span["name"] in {"place", "work"}]
    assert len(works) == 3
    # The loop's timer may be a clock step early, and Unix time may be slewed.
    assert all(span["end_ns"] - span["start_ns"] > 40_000_000 for span in works)


def test_spans_of_the_generator_and_of_its_server_join(
    entry: Entry, rig: Rig, at_broker: AtBroker, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "spans.jsonl"
    serving = at_broker(Serving(entry.talks_to, trace=str(path)))

    async def case() -> Any:
        server = await start_server(rig, serving)
        samples = await trial(
            rig,
            entry,
            server.address,
            tmp_path,
            trace=str(path),
            load=constant(50.0),
            timeout_s=60.0,
        )
        assert await rig.stop(server.process) == 0
        return samples

    samples = run(case())
    assert (samples.outcome == DONE).all()
    spans = spans_in(path)
    mine = [span for span in spans if span["kind"] == "CLIENT"]
    assert len(mine) == len(samples)
    clients = [Traceparent(int(s["trace_id"], 16), int(s["span_id"], 16), True) for s in mine]
    assert len({client.span_id for client in clients}) == len(samples)
    assert joined([span for span in spans if span["kind"] != "CLIENT"], clients)
    assert [span["end_ns"] - span["start_ns"] for span in mine] == (
        samples.done - samples.planned
    ).tolist()
    for span, sent in zip(mine, (samples.sent - samples.planned).tolist(), strict=True):
        assert span["events"][0] == {"name": "sent", "at_ns": span["start_ns"] + sent}
        assert span["attributes"]["style"] == entry.style
        assert span["attributes"]["outcome"] == "done"


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A receiver of OTLP over HTTP: its address, and what it was given."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def test_a_collector_gets_both_sides_by_otlp(rig: Rig, run: Run, tmp_path: Path) -> None:
    entry = catalog.find("rest")

    async def case(dest: str) -> int:
        server = await start_server(rig, Serving("rest", trace=dest))
        samples = await trial(
            rig, entry, server.address, tmp_path, trace=dest, load=constant(50.0), timeout_s=60.0
        )
        assert await rig.stop(server.process) == 0
        return len(samples)

    with collector() as (dest, received):
        count = run(case(dest))
    spans = {
        (resource.resource.attributes[0].value.string_value, span.span_id): span
        for request in received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    by_service = Counter(
        next(a.value.string_value for a in r.resource.attributes if a.key == "service.name")
        for request in received
        for r in request.resource_spans
        for scope in r.scope_spans
        for _ in scope.spans
    )
    assert by_service == {"orderbench-generator": count, "orderbench-rest": count}
    ids = {(span.trace_id, span.span_id) for span in spans.values() if not span.parent_span_id}
    below = {(span.trace_id, span.parent_span_id) for span in spans.values() if span.parent_span_id}
    assert len(ids) == count
    assert below == ids


def test_a_collector_that_is_away_costs_spans_and_nothing_else(
    rig: Rig, run: Run, tmp_path: Path
) -> None:
    entry = catalog.find("rest")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dest = f"http://127.0.0.1:{taken.getsockname()[1]}"

    async def case() -> Any:
        server = await start_server(rig, Serving("rest", trace=dest))
        samples = await trial(rig, entry, server.address, tmp_path, trace=dest, timeout_s=60.0)
        assert await rig.stop(server.process) == 0
        return samples

    assert (run(case()).outcome == DONE).all()


@pytest.mark.parametrize("style", [s for s in catalog.served() if not catalog.find(s).broker])
def test_a_server_that_does_not_trace_imports_nothing_for_it(style: str, tmp_path: Path) -> None:
    # FastAPI itself imports the interface, which does nothing without the SDK.
    def imported(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "servers", style, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "opentelemetry.sdk" not in imported()
    if style == catalog.served()[0]:
        assert "opentelemetry.sdk" in imported("--trace", str(tmp_path / "spans.jsonl"))


def test_a_generator_that_does_not_trace_imports_nothing_for_it(
    serve: Serve, run: Run, tmp_path: Path
) -> None:
    entry = catalog.find("rest")
    server = serve("rest")

    async def imported(folder: Path, trace: str | None) -> str:
        spec = replace(
            TRIAL,
            driver=entry.driver,
            target=server.address,
            load=constant(20.0),
            warm_up_s=0.0,
            duration_s=0.2,
            key_prefix=f"{secrets.token_hex(6)}-",
            samples_path=str(folder / "samples.parquet"),
            trace=trace,
        )
        async with Rig(folder) as rig:
            argv = [sys.executable, "-X", "importtime", "-m", "harness.load"]
            generator = LoadProcess(rig, await rig.spawn("generator", argv))
            await generator.open(spec)
            generator.send()
            await generator.drained()
            await generator.finish()
            await rig.stop(generator.process)
        return (folder / "generator.log").read_text()

    assert "opentelemetry" not in run(imported(tmp_path / "without", None))
    assert "opentelemetry" in run(imported(tmp_path / "with", str(tmp_path / "spans.jsonl")))
