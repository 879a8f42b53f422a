"""What is no order, sent raw: each protocol says what is wrong in its own way, with the same code,
and the server goes on."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import websockets
import zmq
import zmq.asyncio
from websockets.asyncio.client import ClientConnection, connect

from clients import catalog
from clients.base import PLAIN, Call, DriverError, Failure
from clients.catalog import Entry
from harness.rig.server import Server
from orders.pricing import total_cents
from protos.codec import Codec
from protos.codecs import CODECS, JSON, PROTOBUF
from protos.frames import MAX_FRAME_BYTES, Request, Watch
from protos.http import ORDERS_PATH, PROBLEM_JSON
from protos.problems import TABLE, Problem
from protos.rpc import PROBLEM, method_in
from tests.conformance.test_axes import talking
from tests.conformance.test_places import key, refusal
from tests.support import LIMIT_S, Run, Serve, order

GOOD = order("never confirmed")
MALFORMED = {
    "nothing": (JSON, b""),
    "not JSON": (JSON, b'{"items": '),
    "not UTF-8": (JSON, b'{"customer_id": "\xff"}'),
    "no object": (JSON, b"[1]"),
    "nested without end": (JSON, b'{"items":' + b"[" * 100_000),
    "numbers as texts": (JSON, b'{"items": [{"quantity": "2"}]}'),
    "a number without end": (JSON, b'{"work_us": 1e999}'),
    "not base64": (JSON, b'{"attachment": "%%%"}'),
    "not protobuf": (PROTOBUF, b"\xff\xff\xff"),
    "half of a protobuf": (PROTOBUF, PROTOBUF.encode_order(GOOD)[:-3]),
    "a field of another type": (PROTOBUF, b"\x1a\x02\xff\xff"),
}
"""Bodies that are no order."""


def styles(*servers: str) -> list[str]:
    """The styles whose servers are by one of these libraries, and servers of no style's name."""
    found = [e.talks_to for e in catalog.ENTRIES if e.server in servers]
    return list(dict.fromkeys(found))


async def serves(style: str, server: Server) -> None:
    """Place an order as if nothing had happened."""
    entry = next(entry for entry in catalog.ENTRIES if entry.talks_to == style)
    async with talking(entry, server, PLAIN) as driver:
        wanted = order(key())
        assert (await driver.place(0, wanted, Call(0))).total_cents == total_cents(wanted)


# HTTP: problem documents (RFC 9457)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, of which only the body is meant to be wrong unless it says otherwise."""

    code: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON.media_type})
    method: str = "POST"
    path: str = ORDERS_PATH


def packed(body: bytes, encoding: str = "gzip") -> Ask:
    """A body under a content encoding, which is not right."""
    headers = {"Content-Type": JSON.media_type, "Content-Encoding": encoding}
    return Ask("malformed", body, headers)


BODY = JSON.encode_order(GOOD)
GZIP = gzip.compress(BODY)
HTTP_ASKS = {
    **{
        name: Ask("malformed", body, {"Content-Type": codec.media_type})
        for name, (codec, body) in MALFORMED.items()
    },
    "another type": Ask("unsupported_type", BODY, {"Content-Type": "text/plain"}),
    "no type": Ask("unsupported_type", BODY, {}),
    "another encoding": replace(packed(BODY, "br"), code="unsupported_type"),
    "no gzip": packed(BODY),
    "half of a gzip": packed(GZIP[:-12]),
    "a gzip without its end": packed(GZIP[:-8]),
    "a gzip of nothing that was packed": packed(GZIP[:10] + b"\xff" * 20),
    "a gzip with a wrong sum": packed(GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:]),
    "a gzip with a tail": packed(GZIP + b"tail"),
    "too large": Ask("too_large", bytes(MAX_FRAME_BYTES + 1)),
    "too large once unpacked": replace(
        packed(gzip.compress(bytes(MAX_FRAME_BYTES + 1))), code="too_large"
    ),
    "an unknown path": Ask("not_found", BODY, path="/nowhere"),
    "an unknown order": Ask("unknown_order", method="GET", path=ORDERS_PATH + "/o-0"),
    "an unknown method": Ask("not_allowed", method="DELETE"),
}
HTTP_1 = [*styles("fastapi"), "rest-asyncio"]
HTTP = [*HTTP_1, *styles("hypercorn")]
TELLS_STATES = {"rest-poll", "sse"}


@asynccontextmanager
async def http_client(style: str, server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """What speaks HTTP as the style does."""
    old = style != "rest-h2"
    async with httpx.AsyncClient(
        base_url=server.address, http1=old, http2=not old, trust_env=False, timeout=LIMIT_S
    ) as client:
        yield client


def problem_in(answer: httpx.Response) -> dict[str, Any]:
    """The problem document that an answer is."""
    assert answer.headers["content-type"] == PROBLEM_JSON
    document: dict[str, Any] = answer.json()
    rendering = TABLE[document["code"]]
    assert set(document) == {"type", "title", "status", "detail", "code"}
    assert document["type"] == f"urn:orderbench:{document['code']}"
    assert document["title"] == rendering.title
    assert document["status"] == answer.status_code == rendering.http
    assert document["detail"]
    return document


@pytest.mark.parametrize("name", HTTP_ASKS)
@pytest.mark.parametrize("style", HTTP)
def test_http_answers_with_a_problem(serve: Serve, run: Run, style: str, name: str) -> None:
    server, ask = serve(style), HTTP_ASKS[name]
    if ask.code == "unknown_order" and style not in TELLS_STATES:
        ask = replace(ask, code="not_found")

    async def case() -> None:
        async with http_client(style, server) as client:
            answer = await client.request(
                ask.method, ask.path, content=ask.body, headers=ask.headers
            )
            assert problem_in(answer)["code"] == ask.code
            if ask.code == "not_allowed":
                assert answer.headers["allow"] == "POST"
        await serves(style, server)

    run(case())


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
def test_items_that_are_too_many_are_only_counted(serve: Serve, run: Run, codec: Codec) -> None:
    server = serve("rest")
    many = b'{"items":[' + b"{}," * 299_999 + b"{}]}" if codec is JSON else b"\x1a\x00" * 300_000

    async def case() -> None:
        async with http_client("rest", server) as client:
            answer = await client.post(
                ORDERS_PATH, content=many, headers={"Content-Type": codec.media_type}
            )
            document = problem_in(answer)
            assert document["code"] == "invalid_order"
            assert document["detail"].endswith("items must be 1 to 10000, not 300000")
        await serves("rest", server)

    run(case())


@pytest.mark.parametrize("style", HTTP)
def test_one_connection_outlives_its_bad_requests(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        async with http_client(style, server) as client:
            for name in ("not JSON", "no type", "half of a gzip", "an unknown path"):
                ask = HTTP_ASKS[name]
                answer = await client.request(
                    ask.method, ask.path, content=ask.body, headers=ask.headers
                )
                assert problem_in(answer)["code"] == ask.code
        await serves(style, server)

    run(case())


def exchange(server: Server, *sent: bytes, ends: bool = True) -> bytes:
    """What a server answers to bytes on a connection of their own until it closes that; with `ends`
    we say that nothing more comes."""
    host, _, port = server.address.rpartition("/")[2].rpartition(":")
    answered = b""
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as connection:
        try:
            for piece in sent:
                connection.sendall(piece)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answered += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # it closed while we still spoke
    return answered


HEAD = b"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
NO_HTTP = {
    "no HTTP": b"this is no HTTP\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length below zero": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "no chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n",
}


@pytest.mark.parametrize("name", NO_HTTP)
@pytest.mark.parametrize("style", HTTP_1)
def test_what_is_no_http_is_refused_by_its_status(
    serve: Serve, run: Run, style: str, name: str
) -> None:
    server = serve(style)
    assert exchange(server, NO_HTTP[name]).startswith(b"HTTP/1.1 400 ")
    run(serves(style, server))


@pytest.mark.parametrize("style", HTTP_1)
def test_a_request_without_end_is_not_taken(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)
    mib = bytes(2**20).replace(b"\0", b"a")
    for start in (b"GET /", HEAD + b"x-long: ", HEAD):
        pieces = [mib if start is not HEAD else b"x-many: " + mib + b"\r\n" for _ in range(16)]
        # Closed by the server: we do not say that we are done, and it did not read all.
        answer = exchange(server, start, *pieces, ends=False)
        assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    run(serves(style, server))


@pytest.mark.parametrize("style", HTTP_1)
def test_a_body_that_is_cut_short_costs_a_connection(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)
    for framing in (b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"):
        assert exchange(server, HEAD + framing) == b""
    run(serves(style, server))


# gRPC: a status, and the code in trailing metadata


GRPC = [*styles("grpcio"), "grpc-unary-asyncio"]
METHODS = [(style, "Place") for style in GRPC if style.startswith("grpc-unary")] + [
    (style, method)
    for style in GRPC
    if style == "grpc-stream"
    for method in ("PlaceStream", "Work")
]


async def call(server: Server, path: str, *messages: bytes) -> grpc.aio.AioRpcError:
    """The error that a call of a method ends with. Whether one answer or many may come is all one
    on the wire."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            if path.endswith("Stream"):
                streams: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
                streams = channel.stream_stream(path)
                async for _ in streams(iter(messages), timeout=LIMIT_S):
                    pass
            else:
                ask: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
                async for _ in ask(*messages, timeout=LIMIT_S):
                    pass
    return caught.value


def code_in(error: grpc.aio.AioRpcError) -> str:
    """The problem's code in a call's trailing metadata, whose status is the table's."""
    code = dict(error.trailing_metadata() or ())[PROBLEM]
    assert isinstance(code, str)
    assert error.code().name == TABLE[code].grpc
    assert error.details()
    return code


@pytest.mark.parametrize("name", [n for n, (_, body) in MALFORMED.items() if body])
@pytest.mark.parametrize(("style", "method"), METHODS)
def test_grpc_ends_a_call_with_a_status(
    serve: Serve, run: Run, style: str, method: str, name: str
) -> None:
    server = serve(style)
    codec, body = MALFORMED[name]

    async def case() -> None:
        error = await call(server, method_in(codec, method), body)
        assert code_in(error) == "malformed"
        await serves(style, server)

    run(case())


@pytest.mark.parametrize("style", GRPC)
def test_grpc_knows_no_other_methods(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        for path in ("/orderbench.v1.Orders/Cancel", "/orderbench.v2.Orders/Place", "/x/y"):
            assert code_in(await call(server, path, b"")) == "not_found"
        await serves(style, server)

    run(case())


@pytest.mark.parametrize(("style", "method"), METHODS)
def test_grpc_takes_no_more_than_fits(serve: Serve, run: Run, style: str, method: str) -> None:
    server = serve(style)

    async def case() -> None:
        # The library refuses it, so there is no metadata of ours.
        for codec in CODECS.values():
            error = await call(server, method_in(codec, method), bytes(MAX_FRAME_BYTES + 1))
            assert error.code().name == TABLE["too_large"].grpc
        await serves(style, server)

    run(case())


def raw_grpc(
    server: Server, path: str, message: bytes, headers: Mapping[str, str], ends: bool = True
) -> dict[str, str]:
    """Headers and trailers of the answer to a call whose bytes we write ourselves, over HTTP/2."""
    host, _, port = server.address.rpartition(":")
    config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    protocol = h2.connection.H2Connection(config)
    heard: dict[str, str] = {}
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as connection:
        protocol.initiate_connection()
        protocol.send_headers(
            1,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", server.address),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                *headers.items(),
            ],
        )
        protocol.send_data(1, message, end_stream=ends)
        connection.sendall(protocol.data_to_send())
        while received := connection.recv(65536):
            for event in protocol.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    heard |= {str(name): str(value) for name, value in event.headers}
                if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    return heard
            connection.sendall(protocol.data_to_send())
    return heard


def framed(message: bytes, packed: bool = False, length: int | None = None) -> bytes:
    """A message as gRPC frames it; `length` is what it claims to have."""
    return struct.pack(">BI", packed, len(message) if length is None else length) + message


@pytest.mark.parametrize(("style", "method"), METHODS)
def test_grpc_refuses_frames_that_are_wrong(
    serve: Serve, run: Run, style: str, method: str
) -> None:
    server = serve(style)
    path = method_in(PROTOBUF, method)
    internal = str(grpc.StatusCode.INTERNAL.value[0])
    full = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    gzipped = {"grpc-encoding": "gzip"}
    body = PROTOBUF.encode_order(GOOD)
    wrong = gzip.compress(body)[:10] + b"\xff" * 20
    bomb = gzip.compress(bytes(MAX_FRAME_BYTES + 1))
    for message, headers, ends, status in (
        (framed(body, packed=True), gzipped, True, internal),
        (framed(wrong, packed=True), gzipped, True, internal),
        (framed(gzip.compress(body)[:-12], packed=True), gzipped, True, internal),
        (framed(body, packed=True), {}, True, internal),
        # A raw server does not look into what is packed.
        (framed(bomb, packed=True), gzipped, True, internal if "asyncio" in style else full),
        (framed(body, length=MAX_FRAME_BYTES + 1), {}, False, full),
        (framed(body, length=2**32 - 1), {}, False, full),
    ):
        assert raw_grpc(server, path, message, headers, ends)["grpc-status"] == status
    run(serves(style, server))


@pytest.mark.parametrize(("style", "method"), METHODS)
def test_grpc_outlives_a_message_that_is_cut_short(
    serve: Serve, run: Run, style: str, method: str
) -> None:
    server = serve(style)

    async def case() -> None:
        # What the library makes of half a message it keeps to itself: we say it and leave.
        host, _, port = server.address.rpartition(":")
        for _ in range(3):
            _, writer = await asyncio.open_connection(host, int(port))
            protocol = h2.connection.H2Connection()
            protocol.initiate_connection()
            protocol.send_headers(
                1,
                [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", method_in(PROTOBUF, method)),
                    (":authority", server.address),
                    ("content-type", "application/grpc"),
                ],
            )
            protocol.send_data(1, framed(b"half", length=100), end_stream=True)
            writer.write(protocol.data_to_send())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        exchange(server, b"this is no HTTP/2 either\r\n\r\n")
        await serves(style, server)

    run(case())


FRAMES: dict[str, tuple[Codec, bytes]] = {
    "no order": (JSON, b'{"id": 7}'),
    "an order that is none": (JSON, b'{"id": 7, "order": {"items": 3}}'),
    "a context that is none": (JSON, b'{"id": 7, "order": {}, "traceparent": 3}'),
}
"""Frames that can be answered: their id can be read."""
NO_FRAMES: dict[str, tuple[Codec, bytes]] = {
    "nothing": (JSON, b""),
    "not JSON": (JSON, b"{"),
    "no object": (JSON, b"[7]"),
    "no id": (JSON, b'{"order": {}}'),
    "an id that is no number": (JSON, b'{"id": "7"}'),
    "an id below zero": (JSON, b'{"id": -7}'),
    "an id without end": (JSON, b'{"id": 7' + b"0" * 40 + b"}"),
    "nested without end": (JSON, b'{"id": 7, "order":' + b"[" * 100_000),
    "not protobuf": (PROTOBUF, b"\xff\xff\xff"),
    "half of a protobuf": (PROTOBUF, PROTOBUF.encode_request(Request(7, GOOD))[:-3]),
}
"""Frames that cannot be answered each for itself."""


@pytest.mark.parametrize("name", FRAMES)
def test_a_stream_answers_a_frame_that_has_an_id(serve: Serve, run: Run, name: str) -> None:
    server = serve("grpc-stream")
    codec, frame = FRAMES[name]

    async def case() -> None:
        async with grpc.aio.insecure_channel(server.address) as channel:
            streams: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
                method_in(codec, "PlaceStream")
            )
            good = codec.encode_request(Request(8, order(key())))
            watch = codec.encode_request(Request(9, Watch()))
            answers = streams(iter([frame, good, watch]), timeout=LIMIT_S)
            replies = [codec.decode_reply(answer) async for answer in answers]
            results = {reply.id: reply.result for reply in replies}
            for number in (7, 9):
                problem = results[number]
                assert isinstance(problem, Problem)
                assert problem.code == "malformed"
            assert len(results) == len(replies) == 3
            assert not isinstance(results[8], Problem)

    run(case())


@pytest.mark.parametrize("name", [n for n, (_, frame) in NO_FRAMES.items() if frame])
def test_a_frame_without_an_id_ends_its_stream(serve: Serve, run: Run, name: str) -> None:
    server = serve("grpc-stream", 600_000.0)
    codec, frame = NO_FRAMES[name]

    async def case() -> None:
        # An order that will not be answered is under way on the stream.
        waits = codec.encode_request(Request(8, order(key())))
        error = await call(server, method_in(codec, "PlaceStream"), waits, frame)
        assert code_in(error) == "malformed"

    run(case())
    run(serves("grpc-stream", serve("grpc-stream")))


# WebSocket: a problem for a frame that has an id, else a close code


SOCKETS = [*styles("websockets"), "websocket-asyncio"]


@asynccontextmanager
async def socket_to(server: Server, compression: str | None = None) -> AsyncIterator[Any]:
    """A WebSocket."""
    async with connect(
        server.address, compression=compression, max_size=None, proxy=None, close_timeout=LIMIT_S
    ) as opened:
        yield opened


async def close_code(opened: ClientConnection) -> int:
    """The code that the server closes a connection with."""
    with pytest.raises(websockets.ConnectionClosed) as caught:
        async with asyncio.timeout(LIMIT_S):
            await opened.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


@pytest.mark.parametrize("style", SOCKETS)
@pytest.mark.parametrize("name", FRAMES)
def test_a_socket_answers_a_frame_that_has_an_id(
    serve: Serve, run: Run, style: str, name: str
) -> None:
    server = serve(style)
    codec, frame = FRAMES[name]

    async def case() -> None:
        async with socket_to(server) as opened:
            await opened.send(frame, text=codec.text)
            reply = codec.decode_reply(await opened.recv())
            assert reply.id == 7
            assert isinstance(reply.result, Problem)
            assert reply.result.code == "malformed"
            # The same connection serves the next order.
            await opened.send(codec.encode_request(Request(8, order(key()))), text=codec.text)
            reply = codec.decode_reply(await opened.recv())
            assert reply.id == 8
            assert not isinstance(reply.result, Problem)

    run(case())


@pytest.mark.parametrize("style", SOCKETS)
@pytest.mark.parametrize("name", NO_FRAMES)
def test_a_frame_without_an_id_closes_its_socket(
    serve: Serve, run: Run, style: str, name: str
) -> None:
    server = serve(style)
    codec, frame = NO_FRAMES[name]

    async def case() -> None:
        async with socket_to(server) as opened:
            await opened.send(frame, text=codec.text)
            assert await close_code(opened) == TABLE["malformed"].close
        await serves(style, server)

    run(case())


@pytest.mark.parametrize("style", SOCKETS)
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_socket_takes_no_more_than_fits(
    serve: Serve, run: Run, style: str, codec: str, compression: str | None
) -> None:
    server = serve(style, compression=compression is not None)

    async def case() -> None:
        async with socket_to(server, compression) as opened:
            # Where it is packed, a few kilobytes become too much.
            with contextlib.suppress(websockets.ConnectionClosed):  # while it is being sent
                await opened.send(b"0" * (MAX_FRAME_BYTES + 1), text=CODECS[codec].text)
            assert await close_code(opened) == TABLE["too_large"].close
        await serves(style, server)

    run(case())


def masked(first: int, payload: bytes, length: int | None = None) -> bytes:
    """A WebSocket frame of a client (RFC 6455, section 5.2), under a mask of zeros; `first` is its
    first byte, `length` what it claims to have."""
    claimed = len(payload) if length is None else length
    return struct.pack(">BBQI", first, 0x80 | 127, claimed, 0) + payload


FIN, RSV1, TEXT, CONTINUATION, RESERVED = 0x80, 0x40, 0x1, 0x0, 0x7
PROTOCOL_ERROR = 1002
DEFLATED = zlib.compress(b"{}")


@pytest.mark.parametrize("style", SOCKETS)
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (masked(FIN | TEXT, b"\xff\xff"), TABLE["malformed"].close),
        (masked(FIN | TEXT, b"{}", 2**62), TABLE["too_large"].close),
        (masked(FIN | TEXT, b"{}", MAX_FRAME_BYTES + 1), TABLE["too_large"].close),
        (masked(FIN | RESERVED, b"{}"), PROTOCOL_ERROR),
        (masked(FIN | CONTINUATION, b"{}"), PROTOCOL_ERROR),
        (masked(FIN | RSV1 | TEXT, b"\xff" * 20), PROTOCOL_ERROR),
        (b"\x81\x02{}", PROTOCOL_ERROR),
    ],
    ids=["not UTF-8", "huge", "too large", "opcode", "continuation", "deflate", "no mask"],
)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_socket_is_closed_for_frames_that_are_wrong(
    serve: Serve, run: Run, style: str, compression: str | None, frame: bytes, code: int
) -> None:
    server = serve(style, compression=compression is not None)

    async def case() -> None:
        async with socket_to(server, compression) as opened:
            opened.transport.write(frame)
            assert await close_code(opened) == code
        await serves(style, server)

    run(case())


@pytest.mark.parametrize("style", SOCKETS)
def test_a_socket_that_is_cut_within_a_frame_costs_itself(
    serve: Serve, run: Run, style: str
) -> None:
    server = serve(style)

    async def case() -> None:
        async with socket_to(server) as opened:
            opened.transport.write(masked(FIN | TEXT, b'{"id": 7, ', 100))
            opened.transport.write_eof()
            with pytest.raises(websockets.ConnectionClosed):
                async with asyncio.timeout(LIMIT_S):
                    await opened.recv()
        await serves(style, server)

    run(case())


@pytest.mark.parametrize("style", SOCKETS)
def test_there_is_one_path_for_sockets(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        async with connect(f"{server.address}/?x=1", proxy=None):
            pass
        with pytest.raises(websockets.InvalidStatus) as caught:
            await connect(f"{server.address}/nowhere", proxy=None)
        answer = caught.value.response
        assert answer.status_code == TABLE["not_found"].http
        assert answer.headers["Content-Type"] == PROBLEM_JSON
        assert json.loads(answer.body or b"")["code"] == "not_found"
        await serves(style, server)

    run(case())
    plain = exchange(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ends=False)
    assert plain.startswith(b"HTTP/1.1 426 ")
    run(serves(style, server))


# ZeroMQ: a problem, under id 0 for a frame that has none


@pytest.mark.parametrize("name", [*FRAMES, *NO_FRAMES])
@pytest.mark.parametrize("style", styles("pyzmq"))
def test_a_dealer_is_answered(serve: Serve, run: Run, style: str, name: str) -> None:
    server = serve(style)
    _, frame = {**FRAMES, **NO_FRAMES}[name]

    async def case() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.connect(server.address)
            async with asyncio.timeout(LIMIT_S):
                await dealer.send(frame)
                answer = await dealer.recv()
            # What is not JSON is taken for protobuf.
            codec = JSON if answer[:1] == b"{" else PROTOBUF
            reply = codec.decode_reply(answer)
            assert reply.id == (7 if name in FRAMES else 0)
            assert isinstance(reply.result, Problem)
            assert reply.result.code in {"malformed", "invalid_order"}
        await serves(style, server)

    run(case())


# Every style, through its driver


def test_an_order_that_is_too_large_is_refused_and_the_next_is_served(
    entry: Entry, serve: Serve, run: Run
) -> None:
    server = serve(entry.talks_to)

    async def case() -> None:
        async with talking(entry, server, PLAIN) as driver:
            await driver.place(0, order(key()), Call(0))
            large = replace(order(key()), attachment=bytes(MAX_FRAME_BYTES))
            error = await refusal(driver, large, 1)
            if entry.server == "pyzmq":
                assert error.failure is Failure.DISCONNECTED
            else:
                assert (error.failure, error.code) == (Failure.REJECTED, "too_large")
            # A connection that was closed for it is not always seen to be at once.
            for number in range(2, 1000):
                try:
                    await driver.place(0, order(key()), Call(number))
                    return
                except DriverError as again:
                    assert again.failure is Failure.DISCONNECTED
                    await asyncio.sleep(0.05)
            raise AssertionError("the driver does not come back to its server")

    run(case())
