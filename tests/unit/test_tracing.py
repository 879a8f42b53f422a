"""P2: the traceparent header, spans as lines of a file, and a trial's samples as client spans."""

import asyncio
import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from benchmarks.trial import SPEC
from harness.load.contexts import Contexts
from harness.load.tracing import client_spans, write_spans
from harness.results import DONE, DROPPED, OUTCOMES, TIMEOUT, Samples
from orders.errors import InvalidOrder
from orders.model import Update
from orders.service import OrderService
from orders.store import MemoryStore
from protos.context import NOTHING, Context
from protos.spans import SpanFile, exporter_for
from protos.traceparent import Traceparent
from servers.base import Desk
from servers.tracing import Tracer
from tests.support import order

IDS = st.builds(
    Traceparent,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
)
GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@given(IDS)
def test_a_header_holds_its_ids(parent: Traceparent) -> None:
    assert len(str(parent)) == 55
    assert Traceparent.parse(str(parent)) == parent


@given(IDS, st.integers(1, 254), st.integers(0, 255), st.text())
def test_a_later_version_is_read_as_far_as_it_is_known(
    parent: Traceparent, version: int, flags: int, further: str
) -> None:
    text = f"{version:02x}{str(parent)[2:53]}{flags:02x}"
    expected = replace(parent, sampled=flags % 2 == 1)
    assert Traceparent.parse(text) == expected
    assert Traceparent.parse(f"{text}-{further}") == expected
    assert Traceparent.parse(f"{text}.{further}") is None


@given(st.integers(0, 255))
def test_of_the_flags_only_sampled_is_known(flags: int) -> None:
    parent = Traceparent.parse(f"{GOOD[:-2]}{flags:02x}")
    assert parent is not None
    assert parent.sampled == (flags % 2 == 1)


@given(st.text(alphabet="0123456789abcdef-", max_size=60) | st.text())
def test_anything_else_is_no_parent(text: str) -> None:
    parent = Traceparent.parse(text)
    assert parent is None or str(parent)[2:53] == text[2:53]


@given(st.integers(0, 54), st.characters())
def test_one_wrong_character_is_refused(place: int, other: str) -> None:
    fits = other == "-" if GOOD[place] == "-" else other in "0123456789abcdef"
    text = GOOD[:place] + other + GOOD[place + 1 :]
    if not fits:
        assert Traceparent.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.upper(),
        GOOD + "-",
        GOOD + "-00",
        GOOD + "\n",
        " " + GOOD,
        GOOD[:-1],
        "ff" + GOOD[2:],
        "ff" + GOOD[2:] + "-00",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        f"cc-{'0' * 32}-00f067aa0ba902b7-01-what-is-this",
        "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_refused(text: str) -> None:
    assert Traceparent.parse(text) is None


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The spans in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def spans(first: int, count: int) -> list[ReadableSpan]:
    """Spans that are told apart by their ids."""
    return [
        ReadableSpan(
            f"span {n}",
            SpanContext(n, n, is_remote=False),
            resource=Resource.get_empty(),
            start_time=n,
            end_time=n + 1,
        )
        for n in range(first, first + count)
    ]


def test_a_file_has_whole_lines_of_all_who_write_to_it(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"

    def write(writer: int) -> None:
        exporter = exporter_for(str(path))
        for batch in range(20):
            first = 1 + writer * 10_000 + batch * 100
            assert exporter.export(spans(first, 100)) is SpanExportResult.SUCCESS
        exporter.shutdown()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = lines_of(path)
    assert {int(line["span_id"], 16) for line in found} == {
        1 + writer * 10_000 + n for writer in range(4) for n in range(2000)
    }
    assert len(found) == 8000
    # A batch stays together: it is one write.
    ids = [int(line["span_id"], 16) for line in found]
    for at in range(0, len(ids), 100):
        assert ids[at : at + 100] == list(range(ids[at], ids[at] + 100))


def test_a_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no"):
        SpanFile(tmp_path / "no" / "folder")


def test_a_full_disk_loses_spans_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    exporter = SpanFile(full)
    assert exporter.export(spans(1, 3)) is SpanExportResult.FAILURE
    exporter.shutdown()
    assert "No space left" in caplog.text


def samples_of(**columns: list[int]) -> Samples:
    """Samples with what a test cares for."""
    count = len(columns["outcome"])
    empty = [0] * count

    def column(name: str) -> Any:
        return np.array(columns.get(name, empty), np.int64)

    return Samples(
        planned=column("planned"),
        sent=column("sent"),
        acked=column("acked"),
        processed=column("processed"),
        done=column("done"),
        outcome=np.array(columns["outcome"], np.int8),
        measured=np.ones(count, np.bool_),
        lane=np.array(columns.get("lane", empty), np.int32),
        meta={},
    )


def test_a_server_makes_spans_of_orders_and_of_the_work_on_them(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    tracer = Tracer("rest", str(path))
    desk = Desk(OrderService(MemoryStore(), service_time_s=0.01), tracer=tracer)
    context = Context(traceparent=GOOD)

    async def case() -> str:
        await desk.place(order("placed"), context)
        with pytest.raises(InvalidOrder):
            await desk.place(order("refused", quantity=0), Context(traceparent=GOOD.upper()))
        heard: asyncio.Queue[Update] = asyncio.Queue()
        receipt = await desk.accept(order("accepted"), context, heard.put_nowait)
        carried = desk.traceparent_for(receipt.order_id, context)
        repeated = await desk.accept(order("accepted"), context)
        assert desk.traceparent_for(repeated.order_id, context) == carried
        while not (await heard.get()).final:
            pass
        assert (await desk.accept(order("accepted"), context)).final
        await desk.accept(order("cut short"), context)
        return carried

    carried = asyncio.run(case())
    tracer.close()
    found = lines_of(path)
    assert Counter(line["name"] for line in found) == {"place": 2, "accept": 4, "work": 2}
    client = Traceparent.parse(GOOD)
    assert client is not None
    below = [line for line in found if line["parent_id"] == f"{client.span_id:016x}"]
    assert {line["trace_id"] for line in below} == {f"{client.trace_id:032x}"}
    assert Counter(line["name"] for line in below) == {"place": 1, "accept": 4}
    # An invalid header is as good as none: a trace of its own.
    (alone,) = (line for line in found if line["parent_id"] is None)
    assert alone["trace_id"] != f"{client.trace_id:032x}"
    assert (alone["status"], alone["attributes"]) == ("ERROR", {"error.type": "invalid_order"})
    accepted = {line["span_id"] for line in found if line["name"] == "accept"}
    works = [line for line in found if line["name"] == "work"]
    assert {work["parent_id"] for work in works} < accepted
    assert {work["status"] for work in works} == {"UNSET", "ERROR"}
    (ended,) = (work for work in works if work["status"] == "UNSET")
    assert ended["end_ns"] - ended["start_ns"] > 0
    assert carried == f"00-{ended['trace_id']}-{ended['span_id']}-01"


def test_a_caller_that_does_not_record_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    tracer = Tracer("rest", str(path))
    with tracer.span("place", GOOD[:-2] + "00") as traceparent:
        assert traceparent.startswith(GOOD[:36])
        assert traceparent.endswith("-00")
    tracer.close()
    assert lines_of(path) == []


def test_a_server_that_does_not_trace_hands_its_clients_span_on() -> None:
    desk = Desk(OrderService(MemoryStore()))
    assert desk.traceparent_for("o-1", Context(traceparent=GOOD)) == GOOD
    assert desk.traceparent_for("o-1", Context(traceparent=GOOD.upper())) == ""
    assert desk.traceparent_for("o-1", NOTHING) == ""


REFUSED = OUTCOMES.index("rejected")
FOUR = samples_of(
    planned=[100, 200, 300, 400],
    sent=[110, 210, 310, 0],
    acked=[120, 0, 315, 0],
    processed=[130, 0, 0, 0],
    done=[140, 0, 0, 0],
    lane=[0, 1, 2, -1],
    outcome=[DONE, TIMEOUT, REFUSED, DROPPED],
)
TRACED = replace(
    SPEC, cell="place.x", driver="clients.rest_aiohttp:RestAiohttp", operation="job", timeout_s=2e-6
)


def test_samples_become_spans_under_the_ids_that_were_on_the_wire() -> None:
    contexts = Contexts.fresh(request_ids=False, traces=True)
    made = list(client_spans(TRACED, contexts, FOUR, to_wall_ns=1_000_000))
    on_the_wire = [Traceparent.parse(contexts.of(n).traceparent) for n in range(4)]
    assert [(s.context.trace_id, s.context.span_id) for s in made] == [
        (p.trace_id, p.span_id) for p in on_the_wire if p is not None
    ]
    assert {s.name for s in made} == {"job"}
    assert [(s.start_time, s.end_time) for s in made] == [
        (1_000_100, 1_000_140),
        (1_000_200, 1_000_210 + 2000),
        (1_000_300, 1_000_315),
        (1_000_400, 1_000_400),
    ]
    assert [[(e.name, e.timestamp) for e in s.events] for s in made] == [
        [("sent", 1_000_110), ("acked", 1_000_120), ("processed", 1_000_130)],
        [("sent", 1_000_210)],
        [("sent", 1_000_310), ("acked", 1_000_315)],
        [],
    ]
    assert [s.status.status_code.name for s in made] == ["UNSET", "ERROR", "ERROR", "ERROR"]
    assert [dict(s.attributes or {}) for s in made] == [
        {"cell": "place.x", "style": "rest", "lane": lane, "outcome": outcome}
        for lane, outcome in [(0, "done"), (1, "timeout"), (2, "rejected"), (-1, "dropped")]
    ]


def test_a_trials_spans_are_written(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    contexts = Contexts.fresh(request_ids=True, traces=True)
    write_spans(str(path), TRACED, contexts, FOUR)
    found = lines_of(path)
    assert [line["span_id"] for line in found] == [contexts.span_id(n) for n in range(4)]
    assert [line["trace_id"] for line in found] == [contexts.trace_id(n) for n in range(4)]
    first = found[0]
    assert first["end_ns"] - first["start_ns"] == 40
    assert (first["parent_id"], first["kind"], first["status"]) == (None, "CLIENT", "UNSET")
    assert first["service"] == "orderbench-generator"
    assert [event["name"] for event in first["events"]] == ["sent", "acked", "processed"]


def test_a_trial_whose_spans_cannot_be_written_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contexts = Contexts.fresh(request_ids=False, traces=True)
    write_spans(str(tmp_path / "no" / "folder"), TRACED, contexts, FOUR)
    assert "no spans" in caplog.text
