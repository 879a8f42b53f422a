"""The connections of `rest:asyncio` without a network: answers in any pieces, and what is none
(issue 6.7)."""

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.base import DriverError, Failure
from clients.rest_asyncio import HEAD_BYTES, Answer, Exchanges, PackedExchanges
from protos.frames import MAX_FRAME_BYTES
from tests.unit.test_http2 import pieces

HEAD = b"POST /orders HTTP/1.1\r\n\r\n"
Case = Callable[[], Coroutine[Any, Any, None]]


class Pipe(asyncio.Transport):
    """A transport that keeps what is sent; `unsent` of it is still under way."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.unsent = 0
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        self.sent += data

    def writelines(self, list_of_data: Any) -> None:
        """See asyncio.Transport."""
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return self.unsent

    def close(self) -> None:
        """See asyncio.Transport."""
        self.closed = True

    abort = close


def opened(kind: type[Exchanges] = Exchanges) -> tuple[Exchanges, Pipe]:
    """A connection that stands."""
    connection, pipe = kind(), Pipe()
    connection.connection_made(pipe)
    return connection, pipe


async def asked(connection: Exchanges, body: bytes = b"{}") -> "asyncio.Task[Answer]":
    """An exchange whose request is on its way."""
    task = asyncio.create_task(connection.ask(HEAD, body))
    await asyncio.sleep(0)
    return task


async def failure(task: "asyncio.Task[Answer]") -> Failure:
    """What an exchange fails with."""
    with pytest.raises(DriverError) as caught:
        await task
    return caught.value.failure


def run(case: Case) -> None:
    """Run a test's coroutine."""
    asyncio.run(case())


def answer(body: bytes, *lines: bytes, status: int = 201) -> bytes:
    """An answer of a known length."""
    size = b"Content-Length: %d" % len(body)
    head = (b"HTTP/1.1 %d Fine" % status, b"Content-Type: text/plain", size, *lines)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


CHUNKED = (
    b"HTTP/1.1 201 Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9;x=y\r\n123456789\r\n"
    b"0\r\nTrailing: field\r\n\r\n"
)
ANSWERS = [
    (answer(b"hello"), (201, b"hello")),
    (answer(b""), (201, b"")),
    (CHUNKED, (201, b"abc123456789")),
    (answer(b"no", status=422), (422, b"no")),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"late"), (201, b"late")),
    (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CHUNKED, (201, b"abc123456789")),
    (b"HTTP/1.1 204 None\r\n\r\n", (204, b"")),
]


@given(
    st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=5),
    st.lists(st.integers(1, 30), max_size=40),
)
def test_any_split_of_the_bytes_gives_the_same_answers(
    answers: list[tuple[bytes, Answer]], sizes: list[int]
) -> None:
    async def case() -> None:
        connection, pipe = opened()
        for data, meant in answers:
            task = await asked(connection)
            for piece in pieces(data, sizes):
                connection.data_received(piece)
            assert await task == meant
        assert connection.usable
        assert pipe.sent == (HEAD + b"{}") * len(answers)

    run(case)


@pytest.mark.parametrize("size", [10, 2**16, 4 * 2**20])
def test_a_body_goes_whole_behind_its_head(size: int) -> None:
    async def case() -> None:
        connection, pipe = opened()
        task = await asked(connection, bytes(size))
        assert pipe.sent == HEAD + bytes(size)
        large = bytes(range(256)) * (size // 256)
        connection.data_received(answer(large))
        assert await task == (201, large)

    run(case)


@pytest.mark.parametrize(
    "said",
    [
        b"this is no protocol at all\r\n\r\n",
        b"HTTP/1.1 201 Fine\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 201 Fine\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 201 Fine\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"HTTP/1.1 201 Fine\r\nno colon\r\n\r\n",
        b"HTTP/1.1 201 Fine\r\nx: " + bytes(MAX_FRAME_BYTES + HEAD_BYTES),
        answer(b"") + answer(b""),
    ],
    ids=["garbage", "length", "lengths", "chunk", "header", "without end", "two for one"],
)
def test_what_is_no_answer_ends_the_connection(said: bytes) -> None:
    async def case() -> None:
        connection, pipe = opened()
        task = await asked(connection)
        connection.data_received(said)
        if said.startswith(answer(b"")):
            assert await task == (201, b"")
        else:
            assert await failure(task) is Failure.PROTOCOL
        assert pipe.closed
        assert not connection.usable

    run(case)


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async def case() -> None:
        connection, pipe = opened()
        connection.data_received(answer(b"surprise"))
        assert pipe.closed
        assert not connection.usable

    run(case)


@pytest.mark.parametrize("lines", [[b"Connection: close"], []])
def test_a_connection_is_used_for_as_long_as_its_server_says(lines: list[bytes]) -> None:
    async def case() -> None:
        connection, pipe = opened()
        task = await asked(connection)
        connection.data_received(answer(b"", *lines))
        await task
        assert connection.usable is not pipe.closed is bool(lines)

    run(case)


def test_an_answer_before_the_end_of_the_body_is_enough_and_the_last_one() -> None:
    async def case() -> None:
        connection, pipe = opened()
        task = await asked(connection, bytes(2**20))
        pipe.unsent = 2**19
        connection.data_received(answer(b"too large", status=413))
        assert await task == (413, b"too large")
        assert pipe.closed
        assert not connection.usable

    run(case)


def test_one_that_is_cancelled_ends_its_connection() -> None:
    async def case() -> None:
        connection, pipe = opened()
        task = await asked(connection)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pipe.closed
        assert not connection.usable
        connection.data_received(answer(b"late"))

    run(case)


def test_a_connection_that_is_lost_fails_what_waits() -> None:
    async def case() -> None:
        for half in (b"", answer(b"hello")[:-2]):
            connection, _ = opened()
            task = await asked(connection)
            if half:
                connection.data_received(half)
            connection.connection_lost(None)
            assert await failure(task) is Failure.DISCONNECTED
            assert not connection.usable

    run(case)


def test_a_packed_answer_is_unpacked() -> None:
    async def case() -> None:
        connection, _ = opened(PackedExchanges)
        packed = b"content-ENCODING: gzip"
        task = await asked(connection)
        connection.data_received(answer(gzip.compress(b"small"), packed))
        assert await task == (201, b"small")
        task = await asked(connection)
        connection.data_received(answer(b"plain"))
        assert await task == (201, b"plain")
        task = await asked(connection)
        connection.data_received(answer(b"no gzip", packed))
        assert await failure(task) is Failure.PROTOCOL

    run(case)
