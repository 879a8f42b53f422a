"""protos.http2, and the raw gRPC client over it, against h2 without a network (issue 6.7)."""

import asyncio
import os
import struct
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from clients.base import DriverError, Failure
from clients.grpc_unary_asyncio import CallConnection
from protos import http2
from protos.frames import MAX_FRAME_BYTES
from protos.http2 import Blocks, Fields, Http2, Http2Error, Prepared, frame, literal
from protos.rpc import PROBLEM, framed

OK = [(":status", "200"), ("content-type", "application/grpc")]
GOOD = [("grpc-status", "0")]


class Pipe(asyncio.Transport):
    """A transport whose other end is a peer in the same process."""

    def __init__(self, peer: "Peer") -> None:
        super().__init__()
        self._peer = peer
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        self._peer.hear(bytes(data))

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closing

    def close(self) -> None:
        """See asyncio.Transport."""
        self._closing = True


class Peer:
    """A server that does what a test tells it."""

    def __init__(self, greets: bool = True, **settings: int) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.events: list[Event] = []
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes[name]: each for name, each in settings.items()})
        self.connection = CallConnection(urlsplit("grpc://shop:1"), "/Orders/Place")
        self.transport = Pipe(self)
        self.connection.connection_made(self.transport)
        if greets:
            self.say()

    def hear(self, data: bytes) -> None:
        """Take what the client sends."""
        self.events += self.h2.receive_data(data)

    def say(self) -> None:
        """Send what there is to be sent."""
        self.connection.data_received(self.h2.data_to_send())

    def answer(self, stream: int, message: bytes) -> None:
        """Answer a call."""
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, framed(message))
        self.h2.send_headers(stream, GOOD, end_stream=True)
        self.say()

    def refuse(self, stream: int, **fields: str) -> None:
        """End a call by header fields alone."""
        said = [(name.replace("_", "-"), text) for name, text in fields.items()]
        self.h2.send_headers(stream, [*OK, *said], end_stream=True)
        self.say()

    def heard(self, kind: type[Event]) -> list[Any]:
        """Events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def message(self, stream: int) -> bytes:
        """The body of a call so far."""
        return b"".join(e.data for e in self.heard(DataReceived) if e.stream_id == stream)


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine."""
    asyncio.run(case())


async def asked(peer: Peer, message: bytes = b"order", more: bytes = b"") -> "asyncio.Task[bytes]":
    """A call whose request is on its way."""
    task = asyncio.create_task(peer.connection.ask(message, more))
    await asyncio.sleep(0)
    return task


async def failure(task: "asyncio.Task[bytes]") -> DriverError:
    """What a call fails with."""
    with pytest.raises(DriverError) as caught:
        await task
    return caught.value


def test_a_call_is_one_message_under_fields_that_are_named_once() -> None:
    async def case() -> None:
        peer = Peer()
        for number in range(3):
            task = await asked(peer, b"order %d" % number)
            stream = 2 * number + 1
            peer.answer(stream, b"yes %d" % number)
            assert await task == b"yes %d" % number
            assert peer.message(stream) == framed(b"order %d" % number)
        first, second, third = (event.headers for event in peer.heard(RequestReceived))
        assert first == second == third
        assert dict(first)[":path"] == "/Orders/Place"
        assert dict(first)["te"] == "trailers"

    run(case)


def test_what_accompanies_a_call_is_its_own() -> None:
    async def case() -> None:
        peer = Peer()
        for text in ("a", "b" * 130, ""):
            task = await asked(peer, more=literal("x-request-id", text) if text else b"")
            stream = peer.heard(RequestReceived)[-1].stream_id
            assert dict(peer.heard(RequestReceived)[-1].headers).get("x-request-id", "") == text
            peer.answer(stream, b"")
            await task

    run(case)


def test_answers_may_come_in_any_order() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer) for _ in range(3)]
        for stream, number in ((5, 2), (1, 0), (3, 1)):
            peer.answer(stream, b"%d" % stream)
            assert await tasks[number] == b"%d" % stream

    run(case)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_any_split_of_the_bytes_gives_the_same_answers(sizes: list[int]) -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer) for _ in range(4)]
        for stream in (3, 1):
            peer.h2.send_headers(stream, OK)
            peer.h2.send_data(stream, framed(b"%d" % stream * 50), pad_length=stream)
            peer.h2.send_headers(stream, GOOD, end_stream=True)
        peer.h2.ping(b"12345678")
        said = [(PROBLEM, "invalid_order"), ("grpc-message", "no%20items")]
        peer.h2.send_headers(7, [*OK, ("grpc-status", "3"), *said], end_stream=True)
        peer.h2.reset_stream(5, ErrorCodes.REFUSED_STREAM)
        for piece in pieces(peer.h2.data_to_send(), sizes):
            peer.connection.data_received(piece)
        assert await tasks[0] == b"1" * 50
        assert await tasks[1] == b"3" * 50
        assert (await failure(tasks[2])).failure is Failure.DISCONNECTED
        refused = await failure(tasks[3])
        assert (refused.failure, refused.code) == (Failure.REJECTED, "invalid_order")
        assert refused.detail == "no items"
        assert len(peer.heard(PingAckReceived)) == 1
        assert peer.connection.usable

    run(case)


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Data in pieces of these sizes, and the rest."""
    for size in sizes:
        piece, data = data[:size], data[size:]
        if piece:
            yield piece
    if data:
        yield data


@pytest.mark.parametrize("size", [2**16, 4 * 2**20])
def test_a_large_message_goes_as_the_windows_open(size: int) -> None:
    async def case() -> None:
        peer = Peer(INITIAL_WINDOW_SIZE=20_000, MAX_FRAME_SIZE=20_000)
        message = os.urandom(size)
        task = await asked(peer, message)
        small = await asked(peer, b"small")
        acknowledged = 0
        while not any(event.stream_id == 1 for event in peer.heard(StreamEnded)):
            taken = peer.heard(DataReceived)
            assert len(taken) > acknowledged, "nothing more comes though the windows are open"
            for event in taken[acknowledged:]:
                peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            acknowledged = len(taken)
            peer.say()
        assert peer.message(1) == framed(message)
        # One that fits need not wait for one that does not.
        assert peer.message(3) == framed(b"small")
        peer.answer(3, b"")
        peer.answer(1, b"")
        await asyncio.gather(task, small)

    run(case)


def test_a_window_may_shrink_below_nothing_while_a_message_is_under_way() -> None:
    async def case() -> None:
        peer = Peer(INITIAL_WINDOW_SIZE=10_000)
        task = await asked(peer, bytes(30_000))
        assert len(peer.message(1)) == 10_000
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1_000})
        peer.say()
        peer.h2.increment_flow_control_window(9_000, 1)
        peer.say()
        assert len(peer.message(1)) == 10_000
        peer.h2.increment_flow_control_window(30_000, 1)
        peer.say()
        assert len(peer.message(1)) == 30_005
        peer.answer(1, b"")
        await task

    run(case)


def test_a_large_answer_is_taken_and_one_that_is_too_large_is_not() -> None:
    async def case() -> None:
        peer = Peer()
        good, bad = await asked(peer), await asked(peer)
        message = os.urandom(4 * 2**20)
        peer.h2.send_headers(1, OK)
        send_all(peer, 1, framed(message))
        peer.h2.send_headers(1, GOOD, end_stream=True)
        peer.say()
        assert await good == message
        peer.h2.send_headers(3, OK)
        send_all(peer, 3, bytes(MAX_FRAME_BYTES + 6))
        error = await failure(bad)
        assert (error.failure, error.code) == (Failure.REJECTED, "too_large")
        assert [event.stream_id for event in peer.heard(StreamReset)] == [3]

    run(case)


def send_all(peer: Peer, stream: int, body: bytes) -> None:
    """Send a body in frames."""
    for at in range(0, len(body), 2**14):
        peer.h2.send_data(stream, body[at : at + 2**14])
        peer.say()


def test_a_connection_goes_on_beyond_what_a_window_can_hold() -> None:
    """A gigabyte of answers."""
    written: list[bytes] = []
    ours = Http2(_Ignored(), written.append)
    ours.receive(http2.settings({}))
    piece = frame(http2.DATA, 0, 1, bytes(2**14)) * 64
    for _ in range(2**30 // (2**14 * 64) + 1):
        ours.receive(piece)
    opened = [each for each in written if each[3] == http2.WINDOW_UPDATE]
    assert len(opened) == 1
    assert struct.unpack(">L", opened[0][9:])[0] == 2**30


class _Ignored:
    """See http2.Streams."""

    def headers(self, stream: int, fields: Fields, ended: bool) -> None:
        """See http2.Streams."""

    def data(self, stream: int, payload: bytes, ended: bool) -> None:
        """See http2.Streams."""

    def reset(self, stream: int, code: int) -> None:
        """See http2.Streams."""

    def going_away(self, last: int, code: int) -> None:
        """See http2.Streams."""

    def settled(self, values: Mapping[int, int]) -> None:
        """See http2.Streams."""


def test_no_call_waits_for_another() -> None:
    async def case() -> None:
        peer = Peer(MAX_CONCURRENT_STREAMS=1)
        first = await asked(peer)
        assert (await failure(await asked(peer))).failure is Failure.OVERLOADED
        peer.answer(1, b"")
        await first
        again = await asked(peer)
        peer.answer(3, b"")
        await again

    run(case)


def test_one_that_is_cancelled_is_reset_and_the_others_go_on() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer, bytes(2**17)), await asked(peer)]
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        (reset,) = peer.heard(StreamReset)
        assert (reset.stream_id, reset.error_code) == (1, ErrorCodes.CANCEL)
        before = len(peer.message(1))
        peer.h2.increment_flow_control_window(2**17)
        peer.say()
        assert len(peer.message(1)) == before
        peer.answer(3, b"yes")
        assert await tasks[1] == b"yes"

    run(case)


def test_an_answer_before_the_end_of_the_message_is_enough() -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer, bytes(2**20))
        peer.refuse(1, grpc_status="8", grpc_message="too long", **{PROBLEM: "too_large"})
        error = await failure(task)
        assert (error.failure, error.code) == (Failure.REJECTED, "too_large")
        assert [event.stream_id for event in peer.heard(StreamReset)] == [1]
        assert peer.connection.usable

    run(case)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (ErrorCodes.NO_ERROR, Failure.PROTOCOL),
        (ErrorCodes.INTERNAL_ERROR, Failure.PROTOCOL),
        (ErrorCodes.CANCEL, Failure.DISCONNECTED),
        (ErrorCodes.REFUSED_STREAM, Failure.DISCONNECTED),
        (ErrorCodes.ENHANCE_YOUR_CALM, Failure.OVERLOADED),
    ],
)
def test_a_call_that_is_reset_fails_alone(code: ErrorCodes, expected: Failure) -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer), await asked(peer)]
        peer.h2.reset_stream(1, code)
        peer.say()
        assert (await failure(tasks[0])).failure is expected
        peer.answer(3, b"")
        await tasks[1]

    run(case)


def test_a_server_that_goes_away_answers_what_it_has_taken() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer), await asked(peer)]
        peer.h2.close_connection(ErrorCodes.NO_ERROR, last_stream_id=1)
        goodbye = peer.h2.data_to_send()
        peer.connection.data_received(goodbye)
        assert (await failure(tasks[1])).failure is Failure.DISCONNECTED
        assert not peer.connection.usable
        assert not peer.transport.is_closing()
        encoder = Encoder()
        for fields in (OK, GOOD):
            last = fields is GOOD
            flags = http2.END_HEADERS | (http2.END_STREAM if last else 0)
            block = frame(http2.HEADERS, flags, 1, encoder.encode(fields))
            body = b"" if last else frame(http2.DATA, 0, 1, framed(b"bye"))
            peer.connection.data_received(block + body)
        assert await tasks[0] == b"bye"
        assert peer.transport.is_closing()

    run(case)


def test_one_that_goes_away_in_anger_is_an_error() -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer)
        peer.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, last_stream_id=0)
        peer.say()
        assert (await failure(task)).failure is Failure.PROTOCOL
        assert peer.transport.is_closing()

    run(case)


SETTLED = http2.settings({})
NO_HTTP2 = {
    "HTTP/1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no settings": frame(http2.PING, 0, 0, bytes(8)),
    "a frame that is too large": SETTLED + b"\x00\x40\x01" + bytes(6),
    "settings of another size": frame(http2.SETTINGS, 0, 0, b"12345"),
    "a window too large in settings": http2.settings({http2.INITIAL_WINDOW: 2**31}),
    "frames of no size": http2.settings({http2.MAX_FRAME: 1}),
    "data of no stream": SETTLED + frame(http2.DATA, 0, 0, b"x"),
    "more padding than data": SETTLED + frame(http2.DATA, http2.PADDED, 1, b"\x09x"),
    "a push": SETTLED + frame(http2.PUSH_PROMISE, 0, 1, bytes(4)),
    "a continuation of nothing": SETTLED + frame(http2.CONTINUATION, 0, 1),
    "fields that are broken off": SETTLED + frame(http2.HEADERS, 0, 1) + frame(http2.DATA, 0, 1),
    "fields without end": SETTLED
    + frame(http2.HEADERS, 0, 1)
    + frame(http2.CONTINUATION, 0, 1, bytes(2**14)) * 5,
    "fields in no end of pieces": SETTLED
    + frame(http2.HEADERS, 0, 1)
    + frame(http2.CONTINUATION, 0, 1) * 300,
    "fields that are none": SETTLED + frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff" * 9),
    "a field of no table": SETTLED + frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xbe"),
    "a ping of another size": SETTLED + frame(http2.PING, 0, 0, b"1"),
    "a window that opens by nothing": SETTLED + frame(http2.WINDOW_UPDATE, 0, 0, bytes(4)),
    "a window that is too large": SETTLED + frame(http2.WINDOW_UPDATE, 0, 0, b"\x7f" + b"\xff" * 3),
    "a window of another size": SETTLED + frame(http2.WINDOW_UPDATE, 0, 0, b"1"),
    "a goodbye of another size": SETTLED + frame(http2.GOAWAY, 0, 0, b"1"),
}


@pytest.mark.parametrize("name", NO_HTTP2)
def test_what_is_no_http_2_fails_all(name: str) -> None:
    async def case() -> None:
        peer = Peer(greets=False)
        said = NO_HTTP2[name]
        if said.startswith(SETTLED):
            peer.connection.data_received(SETTLED)
            assert await peer.connection.greeted is None
            said = said.removeprefix(SETTLED)
        task = await asked(peer)
        peer.connection.data_received(said)
        assert (await failure(task)).failure is Failure.PROTOCOL
        assert peer.connection.greeted.done()
        assert peer.transport.is_closing()

    run(case)


@given(st.binary(max_size=200), st.booleans())
def test_garbage_ends_in_an_error_or_in_nothing(data: bytes, settles: bool) -> None:
    ours = Http2(_Ignored(), lambda _: None)
    try:
        ours.receive((SETTLED if settles else b"") + data)
    except Http2Error as error:
        assert error.code
        assert str(error)


@pytest.mark.parametrize(
    ("body", "fields", "words"),
    [
        (b"", GOOD, "a body without a message"),
        (b"\1\0\0\0\0", GOOD, "packed"),
        (b"\0\0\0\0\2x", GOOD, "a message of 2 bytes in a body of 6"),
        (framed(b"x") * 2, GOOD, "a message of 1 bytes in a body of 12"),
        (framed(b"x"), [("grpc-status", "99")], "status 99"),
        (framed(b"x"), [("grpc-status", "no")], "status no"),
        (framed(b"x"), [("other", "0")], "none of gRPC"),
    ],
)
def test_an_answer_must_be_one_message_and_a_status(
    body: bytes, fields: list[tuple[str, str]], words: str
) -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer)
        peer.h2.send_headers(1, OK)
        if body:
            peer.h2.send_data(1, body)
        peer.h2.send_headers(1, fields, end_stream=True)
        peer.say()
        error = await failure(task)
        assert error.failure is Failure.PROTOCOL
        assert words in error.detail
        assert peer.connection.usable

    run(case)


def test_an_answer_without_a_status_and_one_of_http_alone_are_errors() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer), await asked(peer)]
        peer.h2.send_headers(1, OK)
        peer.h2.send_data(1, framed(b"x"), end_stream=True)
        peer.h2.send_headers(3, [(":status", "404")])
        peer.say()
        assert "without a status" in (await failure(tasks[0])).detail
        assert "HTTP status 404" in (await failure(tasks[1])).detail
        assert [event.stream_id for event in peer.heard(StreamReset)] == [3]

    run(case)


def test_a_connection_that_is_lost_fails_what_waits() -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer)
        peer.connection.connection_lost(ConnectionResetError("gone"))
        assert (await failure(task)).failure is Failure.DISCONNECTED
        assert not peer.connection.usable

    run(case)


FIELDS = st.lists(
    st.tuples(st.sampled_from(["a", "grpc-status", "x-long"]), st.sampled_from(["0", "1", "é"])),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 60, 4096])), max_size=30))
def test_blocks_read_once_mean_what_they_would_mean_read_again(
    sets: list[tuple[list[tuple[str, str]], int | None]],
) -> None:
    encoder, plain, ours = Encoder(), Decoder(), Blocks()
    for fields, table in sets:
        if table is not None:
            encoder.header_table_size = table
        block = encoder.encode(fields)
        assert ours.read(block) == dict(fields)
        assert {str(name): str(text) for name, text in plain.decode(block)} == dict(fields)


@given(st.lists(st.sampled_from([None, 0, 50, 100, 4096, 65_536]), max_size=12))
def test_prepared_fields_are_read_as_they_are_meant(sizes: list[int | None]) -> None:
    sets = [(":status", "200"), ("content-type", "application/grpc")], [("grpc-status", "0")]
    prepared, reader = Prepared(*sets), Decoder()
    for size in sizes:
        if size is not None:
            prepared.resize(size)
        blocks = prepared.next()
        read = [[(str(n), str(text)) for n, text in reader.decode(block)] for block in blocks]
        assert read == [list(each) for each in sets]
