"""S9's pure parts: where keys go, AMQP's frames, what becomes of messages, what is acknowledged."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body as content_body
from pamqp import commands, frame, header

from clients.amqp import CHANNEL, AmqpConnection, Ended, Publication
from clients.base import PLAIN, Failure, Milestone
from clients.rabbitmq import End, Fates, Message, hosts_for
from clients.rabbitmq_asyncio import AsyncioLane
from orders.model import Confirmation, Status
from protos.broker import Commit, Durability, read_broker
from protos.codecs import JSON
from protos.context import NOTHING, Context
from protos.rabbitmq import (
    bytes_of,
    confirms,
    context_headers,
    context_of,
    delivery_mode,
    host_and_port,
    partition_of,
    queue_options,
    read_rabbitmq,
    text_of,
)
from protos.stamp import stamp
from servers.rabbitmq_session import Prefix
from tests.support import ListSink, Run

ADDRESS = read_broker("amqp://127.0.0.1:5672,127.0.0.1:5673,[::1]:5674/trial")
FRAME_BYTES = 4096
CONFIRMED = Confirmation("o-1", "k", Status.CONFIRMED, 500, 1)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = False

    def write(self, data: Any) -> None:
        """See asyncio.WriteTransport."""
        self.written += data

    def abort(self) -> None:
        """See asyncio.WriteTransport."""
        self.aborted = True


class Notes:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def confirmed(self, tag: int, multiple: bool, taken: bool) -> None:
        """See Listener."""
        self.heard.append(("confirmed", tag, multiple, taken))

    def delivered(self, properties: commands.Basic.Properties, body: bytes) -> None:
        """See Listener."""
        self.heard.append(("delivered", properties.correlation_id, body))

    def returned(self, properties: commands.Basic.Properties) -> None:
        """See Listener."""
        self.heard.append(("returned", properties.correlation_id))

    def ended(self, end: Ended) -> None:
        """See Listener."""
        self.heard.append(("ended", end.why, end.code))


def connected(listener: Any) -> tuple[AmqpConnection, Wire]:
    """A connection that stands, over nothing."""
    connection, wire = AmqpConnection(listener), Wire()
    connection.connection_made(wire)
    connection._stands = True
    return connection, wire


def unmarshalled(data: bytes) -> list[Any]:
    """Frames, by pamqp."""
    found = []
    while data:
        size, channel, each = frame.unmarshal(data)
        assert channel == CHANNEL
        found.append(each)
        data = data[size:]
    return found


def message(carrier: Any, number: int, body: bytes) -> bytes:
    """The frames by which a broker hands a message over."""
    properties = commands.Basic.Properties(correlation_id=str(number))
    content = header.ContentHeader(body_size=len(body), properties=properties)
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    frames = [carrier, content, *(content_body.ContentBody(piece) for piece in pieces)]
    return b"".join(frame.marshal(each, CHANNEL) for each in frames)


def test_a_key_is_always_in_the_same_partition() -> None:
    assert [partition_of(f"k{n}", 4) for n in range(8)] == [3, 1, 3, 1, 2, 0, 2, 0]
    assert {partition_of(f"key-{n}", 4) for n in range(100)} == {0, 1, 2, 3}


def test_what_the_classes_mean() -> None:
    kinds = []
    for durability in Durability:
        address = ADDRESS.with_options(durability=durability)
        options = queue_options(address)
        kinds.append((options["arguments"]["x-queue-type"], options["durable"]))
        assert confirms(address) == (durability is not Durability.NONE)
        assert delivery_mode(address) == (1 if durability is Durability.NONE else 2)
    assert kinds == [("classic", False), ("classic", True), ("stream", True), ("quorum", True)]


def test_addresses() -> None:
    assert [host_and_port(host) for host in ADDRESS.hosts] == [
        ("127.0.0.1", 5672),
        ("127.0.0.1", 5673),
        ("::1", 5674),
    ]
    assert {hosts_for(ADDRESS, lane)[0] for lane in range(3)} == set(ADDRESS.hosts)
    assert all(sorted(hosts_for(ADDRESS, lane)) == sorted(ADDRESS.hosts) for lane in range(5))
    with pytest.raises(ValueError, match="no address of a RabbitMQ"):
        read_rabbitmq("kafka://127.0.0.1:9092")


def test_headers_that_are_something_else_are_no_error() -> None:
    full = Context("r-1", "00-1-2-03")
    assert context_of(context_headers(full)) == full
    assert context_headers(NOTHING) == {}
    assert context_of({}) is NOTHING
    odds: list[Any] = [None, 7, [], {}, b"\xff"]
    for odd in odds:
        assert text_of({"a": odd}, "a") == ""
    assert text_of({"a": b"text"}, "a") == "text"
    assert bytes_of({"a": bytearray(b"x")}, "a") == b"x"
    assert bytes_of({"a": "x"}, "a") == b"x"
    assert bytes_of({"a": 5}, "a") == b""


@given(st.permutations(range(1, 12)))
def test_a_prefix_has_no_gap(order: list[int]) -> None:
    prefix = Prefix()
    done: set[int] = set()
    passed: list[int] = []
    for tag in order:
        done.add(tag)
        passed += prefix.finish(tag)
        assert all(tag in done for tag in range(1, prefix.end + 1))
        assert prefix.end + 1 not in done
    assert passed == list(range(1, 12))


@pytest.mark.parametrize("size", [1, 300, 4087, 4088, 4089, 20_000])
def test_publications_are_what_pamqp_reads(size: int) -> None:
    example, own = stamp(2**64 - 1, 2**64 - 1, b""), stamp(5, 6, b"x")
    properties = commands.Basic.Properties(
        content_type="application/json", delivery_mode=2, headers={"stamp": bytearray(example)}
    )
    body = bytes(n % 251 for n in range(size))
    publication = Publication("trial.orders.0", True, properties, FRAME_BYTES, example)
    data = publication.frames(body, own)
    method, content, *pieces = unmarshalled(data)
    assert isinstance(method, commands.Basic.Publish)
    assert (method.routing_key, method.mandatory) == ("trial.orders.0", True)
    assert content.body_size == size
    assert bytes(content.properties.headers["stamp"]) == own
    assert content.properties.content_type == "application/json"
    assert b"".join(piece.value for piece in pieces) == body
    assert all(len(piece.value) + 8 <= FRAME_BYTES for piece in pieces)


@pytest.mark.parametrize("step", [1, 7, 100, 100_000])
def test_frames_are_read_however_they_are_cut(run: Run, step: int) -> None:
    async def case() -> None:
        notes = Notes()
        connection, _ = connected(notes)
        returned = commands.Basic.Return(312, "NO_ROUTE", "", "q")
        deliver = commands.Basic.Deliver("c", 1, False, "", "q")
        data = b"".join(
            (
                frame.marshal(commands.Basic.Ack(3, True), CHANNEL),
                message(deliver, 1, b"a" * 350),
                frame.marshal(commands.Basic.Nack(4, False), CHANNEL),
                message(returned, 2, b"b" * 10),
                message(deliver, 3, b""),
                frame.marshal(commands.Basic.Ack(5, False), CHANNEL),
            )
        )
        for at in range(0, len(data), step):
            connection.data_received(data[at : at + step])
        assert notes.heard == [
            ("confirmed", 3, True, True),
            ("delivered", "1", b"a" * 350),
            ("confirmed", 4, False, False),
            ("returned", "2"),
            ("delivered", "3", b""),
            ("confirmed", 5, False, True),
        ]

    run(case())


def test_a_channel_that_the_broker_closes_is_the_end(run: Run) -> None:
    async def case() -> None:
        notes = Notes()
        connection, wire = connected(notes)
        asking = asyncio.create_task(connection.call(commands.Basic.Qos(), commands.Basic.QosOk))
        await asyncio.sleep(0)
        close = commands.Channel.Close(406, "PRECONDITION_FAILED", 60, 40)
        connection.data_received(frame.marshal(close, CHANNEL))
        connection.data_received(frame.marshal(commands.Basic.Ack(1), CHANNEL))
        with pytest.raises(Ended, match="PRECONDITION_FAILED"):
            await asking
        assert notes.heard == [("ended", "PRECONDITION_FAILED", 406)]
        assert wire.aborted
        assert not connection.stands
        with pytest.raises(Ended):
            connection.write(b"")

    run(case())


def test_a_blocked_connection_has_no_room(run: Run) -> None:
    async def case() -> None:
        connection, _ = connected(Notes())
        blocked = frame.marshal(commands.Connection.Blocked("memory"), 0)
        unblocked = frame.marshal(commands.Connection.Unblocked(), 0)
        pairs: list[tuple[Callable[[], None], Callable[[], None]]] = [
            (
                partial(connection.data_received, blocked),
                partial(connection.data_received, unblocked),
            ),
            (connection.pause_writing, connection.resume_writing),
            (connection.pause_writing, partial(connection.connection_lost, None)),
        ]
        for stop, go in pairs:
            stop()
            waiting = asyncio.create_task(connection.room())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
            go()
            await waiting

    run(case())


def event(number: int, body: bytes = b"{}") -> Message:
    """A message that wants no reply."""
    return Message(number, "q", body, stamp(1, number, body))


def lane_with(sink: ListSink, messages: list[Message]) -> AsyncioLane:
    """A lane that has sent messages that are not confirmed."""
    lane = AsyncioLane(0, ADDRESS, PLAIN, Fates(sink, JSON))
    for number, each in enumerate(messages, 1):
        lane._unconfirmed[number] = each
    return lane


def test_confirms_settle_each_message_once() -> None:
    sink = ListSink()
    lane = lane_with(sink, [event(n) for n in range(10, 20)])
    lane.confirmed(5, False, True)
    lane.confirmed(3, True, True)
    lane.confirmed(4, False, False)
    lane.returned(commands.Basic.Properties(headers={"stamp": stamp(1, 15, b"{}")}))
    lane.confirmed(8, True, True)
    assert [n for n, _, _, _ in sink.arrivals] == [14, 10, 11, 12, 16, 17]
    assert {m for _, m, _, _ in sink.arrivals} == {Milestone.ACKED}
    assert [(n, e.failure) for n, e in sink.failures] == [
        (13, Failure.OVERLOADED),
        (15, Failure.REJECTED),
    ]
    lane.ended(Ended("cut"))
    assert [(n, e.failure) for n, e in sink.failures[2:]] == [
        (18, Failure.DISCONNECTED),
        (19, Failure.DISCONNECTED),
    ]


def test_only_the_message_that_was_too_large_is_to_blame() -> None:
    sink = ListSink()
    lane = lane_with(sink, [event(1), event(2, b"x" * 5000), event(3)])
    why = "PRECONDITION_FAILED - message size 5000 is larger than configured max size 4000"
    lane.ended(Ended(why, 406))
    assert [(n, e.failure, e.code) for n, e in sink.failures] == [
        (1, Failure.DISCONNECTED, None),
        (2, Failure.REJECTED, "too_large"),
        (3, Failure.DISCONNECTED, None),
    ]


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (0, Failure.DISCONNECTED),
        (320, Failure.DISCONNECTED),
        (403, Failure.REJECTED),
        (404, Failure.PROTOCOL),
        (406, Failure.PROTOCOL),
    ],
)
def test_the_brokers_codes(code: int, failure: Failure) -> None:
    error = End("127.0.0.1:5672", "words", code).error
    assert error.failure is failure
    assert error.detail == "127.0.0.1:5672: words"


def test_replies_go_to_who_waits_and_else_to_the_sink(run: Run) -> None:
    async def case() -> None:
        sink = ListSink()
        fates = Fates(sink, JSON)
        body = JSON.encode_confirmation(CONFIRMED)
        asked = [fates.expect(Message(number, "q", b"{}")) for number in range(4)]
        fates.replied("0", {}, body)
        fates.replied("1", {"problem": "invalid_order"}, b"no items")
        fates.replied("2", {}, b"?")
        fates.replied("x", {}, body)
        fates.replied(None, {}, body)
        fates.lost(End("h", "cut"))
        confirmed, refused, unreadable, lost = [await future for future in asked]
        assert confirmed == CONFIRMED
        assert not isinstance(refused, Confirmation)
        assert (refused.failure, refused.code) == (Failure.REJECTED, "invalid_order")
        assert not isinstance(unreadable, Confirmation)
        assert unreadable.failure is Failure.PROTOCOL
        assert not isinstance(lost, Confirmation)
        assert lost.failure is Failure.DISCONNECTED
        fates.forget(0)
        fates.replied("0", {}, body)
        assert [a[:2] for a in sink.arrivals] == [(0, Milestone.DONE)]

    run(case())


def test_an_address_survives_being_told() -> None:
    told = ADDRESS.with_options(commit=Commit.EACH, durability=Durability.FLUSHED, replies="direct")
    assert read_rabbitmq(str(told)) == told
