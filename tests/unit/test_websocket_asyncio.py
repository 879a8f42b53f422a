"""protos.websocket, and the raw client over it, against the websockets library without a network
(issue 6.7)."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from clients.base import DriverError, Failure, Milestone
from clients.framed import Replies
from clients.websocket_asyncio import Socket
from orders.model import Confirmation, Status
from protos import websocket
from protos.codecs import JSON
from protos.frames import MAX_FRAME_BYTES, Reply
from protos.websocket import Messages, WebSocketError, accept_for, close_frame, code_in, frame
from tests.support import ListSink
from tests.unit.test_http2 import pieces

SIZES = st.lists(st.integers(1, 40), max_size=60)
PAYLOADS = st.one_of(
    st.binary(max_size=300), st.sampled_from([bytes(125), bytes(126), bytes(65_535), bytes(65_536)])
)


@given(st.lists(PAYLOADS, max_size=4), st.booleans(), SIZES)
def test_any_split_of_the_bytes_gives_the_same_messages(
    payloads: list[bytes], client: bool, sizes: list[int]
) -> None:
    data = b"".join(frame(websocket.BINARY, payload, client) for payload in payloads)
    messages = Messages(from_client=client)
    found = [each for piece in pieces(data, sizes) for each in messages.feed(piece)]
    assert found == [(websocket.BINARY, payload) for payload in payloads]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=6), st.booleans(), SIZES)
def test_pieces_are_put_together_around_control_frames(
    parts: list[bytes], client: bool, sizes: list[int]
) -> None:
    data = b""
    for number, part in enumerate(parts):
        opcode = Opcode.CONT if number else Opcode.TEXT
        piece = Frame(opcode, part, fin=number == len(parts) - 1)
        data += piece.serialize(mask=client) + Frame(Opcode.PING, b"!").serialize(mask=client)
    messages = Messages(from_client=client)
    found = [each for piece in pieces(data, sizes) for each in messages.feed(piece)]
    assert [payload for opcode, payload in found if opcode == websocket.PING] == [b"!"] * len(parts)
    assert [each for each in found if each[0] != websocket.PING] == [
        (websocket.TEXT, b"".join(parts))
    ]


def test_a_frame_is_read_by_the_library_as_it_is_meant() -> None:
    for size in (0, 5, 125, 126, 65_535, 65_536, 4 * 2**20):
        payload = os.urandom(size)
        for client in (True, False):
            data = frame(websocket.BINARY, payload, client)
            parser = Frame.parse(_exactly(data), mask=client)
            with pytest.raises(StopIteration) as read:
                next(parser)
            assert read.value.value == Frame(Opcode.BINARY, payload)


def _exactly(data: bytes) -> Callable[[int], Any]:
    """What the library's parser reads from."""
    at = 0

    def read(size: int) -> Any:
        nonlocal at
        piece, at = data[at : at + size], at + size
        return piece
        yield

    return read


WRONG = {
    "bits of an extension": (b"\xc1\x01x", websocket.PROTOCOL_ERROR),
    "a mask of the wrong side": (frame(websocket.TEXT, b"x", True), websocket.PROTOCOL_ERROR),
    "an unknown opcode": (b"\x83\x01x", websocket.PROTOCOL_ERROR),
    "an unknown control": (b"\x8b\x01x", websocket.PROTOCOL_ERROR),
    "a ping in pieces": (b"\x09\x01x", websocket.PROTOCOL_ERROR),
    "a ping that is too long": (b"\x89\x7e\x00\x7e", websocket.PROTOCOL_ERROR),
    "a piece of nothing": (b"\x80\x01x", websocket.PROTOCOL_ERROR),
    "a message within another": (b"\x01\x01x\x81\x01x", websocket.PROTOCOL_ERROR),
    "a message that is too large": (
        b"\x82\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8, "big"),
        websocket.TOO_LARGE,
    ),
    "pieces that are too many": (
        (b"\x02\x7f" + (2**22).to_bytes(8, "big") + bytes(2**22))
        + (b"\x00\x7f" + (2**22).to_bytes(8, "big") + bytes(2**22))
        + b"\x80\x01x",
        websocket.TOO_LARGE,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_frames_that_are_wrong_end_the_connection(name: str) -> None:
    data, code = WRONG[name]
    with pytest.raises(WebSocketError) as caught:
        list(Messages(from_client=False).feed(data))
    assert caught.value.code == code


@given(st.binary(max_size=200), st.booleans())
def test_garbage_ends_in_an_error_or_in_nothing(data: bytes, client: bool) -> None:
    try:
        list(Messages(from_client=client).feed(data))
    except WebSocketError as error:
        assert error.code


def test_a_close_has_a_code_or_none() -> None:
    (closed,) = Messages(from_client=False).feed(close_frame(1009, "much" * 100))
    assert code_in(closed[1]) == (1009, ("much" * 100)[:120])
    assert code_in(b"") == (websocket.NO_CODE, "")
    with pytest.raises(WebSocketError):
        code_in(b"\x03")


def test_the_handshake_is_answered_as_the_library_does() -> None:
    assert accept_for("dGhlIHNhbXBsZSBub25jZQ==") == accept_key("dGhlIHNhbXBsZSBub25jZQ==")


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
    """A server of the library that does what a test tells it."""

    def __init__(self, accepts: bool = True) -> None:
        self.library = ServerProtocol(max_size=None)
        self.sink = ListSink()
        self.replies = Replies(self.sink, 0)
        self.socket = Socket(urlsplit("ws://shop:1/x?y=1"), JSON, self.replies)
        self.transport = Pipe(self)
        self.events: list[Any] = []
        self.socket.connection_made(self.transport)
        if accepts:
            (asked,) = self.events
            assert isinstance(asked, HandshakeRequest)
            assert asked.path == "/x?y=1"
            self.library.send_response(self.library.accept(asked))
            self.say()

    def hear(self, data: bytes) -> None:
        """Take what the client sends."""
        self.library.receive_data(data)
        self.events += self.library.events_received()

    def say(self) -> None:
        """Send what there is to be sent."""
        for data in self.library.data_to_send():
            self.socket.data_received(data)

    @property
    def closed(self) -> int | None:
        """The code that the client closed with."""
        return self.library.close_rcvd.code if self.library.close_rcvd else None

    def reply(self, number: int) -> bytes:
        """The answer to an order."""
        return JSON.encode_reply(Reply(number, confirmed(number)))


def confirmed(number: int) -> Confirmation:
    """What an order is answered with."""
    return Confirmation(f"o-{number}", f"k{number}", Status.CONFIRMED, number, 1)


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine."""
    asyncio.run(case())


def test_messages_go_both_ways() -> None:
    async def case() -> None:
        peer = Peer()
        assert await peer.socket.greeted is None
        answers = [peer.replies.expect(number) for number in range(3)]
        peer.socket.send(b"hello")
        assert peer.events[1:] == [Frame(Opcode.TEXT, b"hello")]
        for number in (2, 0, 1):
            peer.library.send_text(peer.reply(number))
        peer.say()
        assert [await answer for answer in answers] == [confirmed(n) for n in range(3)]

    run(case)


@given(SIZES)
def test_any_split_of_the_bytes_gives_the_same_replies(sizes: list[int]) -> None:
    async def case() -> None:
        peer = Peer(accepts=False)
        answers = [peer.replies.expect(number) for number in range(2)]
        peer.library.send_response(peer.library.accept(peer.events[0]))
        reply = peer.reply(0)
        peer.library.send_text(reply[:10], fin=False)
        peer.library.send_ping(b"there?")
        peer.library.send_continuation(reply[10:], fin=True)
        peer.library.send_text(peer.reply(1))
        data = b"".join(peer.library.data_to_send())
        for piece in pieces(data, sizes):
            peer.socket.data_received(piece)
        assert [await answer for answer in answers] == [confirmed(0), confirmed(1)]
        assert peer.events[1:] == [Frame(Opcode.PONG, b"there?")]

    run(case)


@pytest.mark.parametrize(
    ("code", "failure"), [(1000, Failure.DISCONNECTED), (1009, Failure.REJECTED)]
)
def test_a_server_that_closes_is_answered_and_fails_what_waits(code: int, failure: Failure) -> None:
    async def case() -> None:
        peer = Peer()
        waiting = peer.replies.expect(0)
        peer.library.send_close(code, "enough")
        peer.say()
        error = await waiting
        assert isinstance(error, DriverError)
        assert error.failure is failure
        assert "enough" in error.detail
        assert peer.closed == code
        assert peer.transport.is_closing()
        assert not peer.socket.usable

    run(case)


def test_late_replies_go_to_the_sink() -> None:
    async def case() -> None:
        peer = Peer()
        peer.replies.expect(0)
        peer.replies.forget(0)
        peer.library.send_text(peer.reply(0))
        peer.say()
        ((number, milestone, *_),) = peer.sink.arrivals
        assert (number, milestone) == (0, Milestone.DONE)

    run(case)


@pytest.mark.parametrize(
    "said", [frame(websocket.TEXT, b"{}"), frame(websocket.TEXT, b"\xff"), b"\xff\xff"]
)
def test_what_is_no_reply_ends_the_connection(said: bytes) -> None:
    async def case() -> None:
        peer = Peer()
        waiting = peer.replies.expect(0)
        peer.socket.data_received(said)
        error = await waiting
        assert isinstance(error, DriverError)
        assert error.failure is Failure.PROTOCOL
        assert peer.closed == websocket.PROTOCOL_ERROR
        assert peer.transport.is_closing()

    run(case)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: another\r\n\r\n",
        b"this is no protocol at all",
        b"HTTP/1.1 101 " + bytes(2**16),
    ],
    ids=["not found", "another handshake", "garbage", "without end"],
)
def test_who_does_not_upgrade_is_not_talked_to(said: bytes) -> None:
    async def case() -> None:
        peer = Peer(accepts=False)
        peer.socket.data_received(said)
        error = await peer.socket.greeted
        assert error is not None
        assert error.failure is Failure.PROTOCOL
        assert peer.transport.is_closing()

    run(case)


def test_giving_it_back_says_goodbye() -> None:
    async def case() -> None:
        peer = Peer()
        waiting = peer.replies.expect(0)
        peer.socket.close()
        error = await waiting
        assert isinstance(error, DriverError)
        assert error.failure is Failure.DISCONNECTED
        assert peer.closed == websocket.NORMAL

    run(case)
