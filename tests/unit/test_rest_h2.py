"""The HTTP/2 connection of `rest-h2`, against a peer without a network: limits, resets, windows."""

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from clients.base import DriverError, Failure
from clients.rest_h2 import Connection

HEADERS = [
    (b":method", b"POST"),
    (b":authority", b"shop"),
    (b":scheme", b"http"),
    (b":path", b"/orders"),
]


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

    def __init__(self, streams: int = 100, greets: bool = True) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.events: list[Event] = []
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.connection = Connection()
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

    def answer(self, stream_id: int, body: bytes, *headers: tuple[str, str]) -> None:
        """Answer a request."""
        self.h2.send_headers(stream_id, [(":status", "201"), *headers])
        self.h2.send_data(stream_id, body, end_stream=True)
        self.say()

    def heard(self, kind: type[Event]) -> list[Any]:
        """Events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine."""
    asyncio.run(case())


async def asked(peer: Peer, body: bytes = b"{}") -> asyncio.Task[tuple[int, bytes]]:
    """An exchange whose request is on its way."""
    task = asyncio.create_task(peer.connection.exchange(HEADERS, body))
    await asyncio.sleep(0)
    return task


async def failure(task: asyncio.Task[tuple[int, bytes]]) -> Failure:
    """What an exchange fails with."""
    with pytest.raises(DriverError) as caught:
        await task
    return caught.value.failure


def test_answers_may_come_in_any_order() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer) for _ in range(3)]
        assert len(peer.heard(RequestReceived)) == len(peer.heard(StreamEnded)) == 3
        for stream_id, number in ((5, 2), (1, 0), (3, 1)):
            peer.answer(stream_id, b"%d" % stream_id)
            assert await tasks[number] == (201, b"%d" % stream_id)

    run(case)


def test_no_exchange_waits_for_another() -> None:
    async def case() -> None:
        peer = Peer(streams=1)
        first = await asked(peer)
        # The server takes one at a time: the second is told so, not kept back.
        assert await failure(await asked(peer)) is Failure.OVERLOADED
        peer.answer(1, b"")
        assert await first == (201, b"")
        third = await asked(peer)
        peer.answer(3, b"")
        await third

    run(case)


def test_a_body_goes_as_the_windows_open() -> None:
    async def case() -> None:
        peer = Peer()
        body = bytes(range(256)) * 1024
        task = await asked(peer, body)
        for _ in range(100):
            taken = peer.heard(DataReceived)
            if len(peer.heard(StreamEnded)) == 1:
                break
            assert sum(len(event.data) for event in taken) < len(body)
            peer.events.clear()
            pieces.extend(event.data for event in taken)
            for event in taken:
                peer.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            peer.say()
        pieces.extend(event.data for event in peer.heard(DataReceived))
        assert b"".join(pieces) == body
        peer.answer(1, b"")
        await task

    pieces: list[bytes] = []
    run(case)


def test_one_that_is_cancelled_is_reset_and_the_others_go_on() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer), await asked(peer)]
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        (reset,) = peer.heard(StreamReset)
        assert (reset.stream_id, reset.error_code) == (1, ErrorCodes.CANCEL)
        peer.answer(3, b"yes")
        assert await tasks[1] == (201, b"yes")

    run(case)


def test_an_answer_before_the_end_of_the_body_is_enough() -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer, bytes(2**20))
        peer.answer(1, b"no")
        assert await task == (201, b"no")
        assert [event.stream_id for event in peer.heard(StreamReset)] == [1]

    run(case)


def test_a_packed_answer_is_unpacked() -> None:
    async def case() -> None:
        peer = Peer()
        good, bad = await asked(peer), await asked(peer)
        peer.answer(1, gzip.compress(b"small"), ("content-encoding", "gzip"))
        assert await good == (201, b"small")
        peer.answer(3, b"no gzip", ("content-encoding", "gzip"))
        assert await failure(bad) is Failure.PROTOCOL

    run(case)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(ErrorCodes.NO_ERROR, Failure.DISCONNECTED), (ErrorCodes.ENHANCE_YOUR_CALM, Failure.PROTOCOL)],
)
def test_a_server_that_goes_away_ends_the_connection(code: ErrorCodes, expected: Failure) -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer)
        peer.h2.close_connection(code)
        peer.say()
        assert await failure(task) is expected
        assert not peer.connection.usable
        assert peer.transport.is_closing()

    run(case)


def test_a_stream_that_is_reset_fails_alone() -> None:
    async def case() -> None:
        peer = Peer()
        tasks = [await asked(peer), await asked(peer)]
        peer.h2.reset_stream(1, ErrorCodes.INTERNAL_ERROR)
        peer.say()
        assert await failure(tasks[0]) is Failure.PROTOCOL
        peer.answer(3, b"")
        await tasks[1]

    run(case)


@pytest.mark.parametrize(
    ("said", "greets"),
    [(b"\0\0\1\0\0\0\0\0\0x", True), (b"HTTP/1.1 400 Bad Request\r\n\r\n", False)],
    ids=["data of no stream", "HTTP/1"],
)
def test_what_is_no_http_2_fails_all(said: bytes, greets: bool) -> None:
    async def case() -> None:
        peer = Peer(greets=greets)
        task = await asked(peer)
        assert peer.connection.greeted.done() == greets
        peer.connection.data_received(said)
        assert await failure(task) is Failure.PROTOCOL
        assert peer.transport.is_closing()

    run(case)


def test_a_connection_that_is_lost_fails_what_waits() -> None:
    async def case() -> None:
        peer = Peer()
        task = await asked(peer)
        peer.connection.connection_lost(ConnectionResetError("gone"))
        assert await failure(task) is Failure.DISCONNECTED
        assert not peer.connection.usable

    run(case)
