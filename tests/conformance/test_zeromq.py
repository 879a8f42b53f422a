"""S10: what travels over ZeroMQ, and what becomes of connections, subscribers and keys."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import zmq

from clients import catalog
from clients.base import PLAIN, Call, DriverError, Failure, Wire
from clients.zeromq import ZeroMq
from harness.rig.authority import make_authority
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from orders.model import Confirmation, Status, Update
from orders.pricing import total_cents
from protos.codec import Codec
from protos.codecs import CODECS, JSON, PROTOBUF
from protos.context import Context
from protos.frames import MAX_FRAME_BYTES, STANDS, Request, Watch
from protos.problems import Problem
from protos.zeromq import TOPICS, Address, codec_of, read_address
from tests.conformance.test_places import connections, key
from tests.support import LIMIT_S, ListSink, Run, Serve, order, until

STYLE = "zeromq"
both_codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))


@contextmanager
def dealer(address: str) -> Iterator["zmq.Socket[bytes]"]:
    """A bare socket, as another program would have it."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.setsockopt(zmq.RCVTIMEO, round(LIMIT_S * 1e3))
        asking.connect(address)
        yield asking


@asynccontextmanager
async def opened(
    address: str, sink: ListSink | None = None, wire: Wire = PLAIN, lanes: int = 1
) -> AsyncIterator[ZeroMq]:
    """A driver."""
    driver = ZeroMq()
    try:
        async with asyncio.timeout(LIMIT_S):
            await driver.open(address, lanes, sink or ListSink(), wire)
            yield driver
    finally:
        await driver.close()


async def failure(driver: ZeroMq, number: int = 0) -> Failure:
    """What placing an order fails with."""
    with pytest.raises(DriverError) as caught:
        await driver.place(0, order(key()), Call(number))
    return caught.value.failure


def test_the_first_byte_tells_the_codec() -> None:
    full = Context("r-1", "00-1-2-03")
    asks = [Request(n, a, c) for n in (0, 1, 123) for a in (order("k"), Watch()) for c in (full,)]
    asks += [Request(request.id, request.ask) for request in asks]
    for request in asks:
        for codec in CODECS.values():
            assert codec_of(codec.encode_request(request)) is codec
    update = Update("o-1", "k", Status.CONFIRMED, 100, 1, 2, b"x")
    for codec in CODECS.values():
        assert codec.encode_update(update).startswith(TOPICS[codec.name])


def test_an_address_is_read_as_it_is_written() -> None:
    for host in ("127.0.0.1", "[::1]"):
        for public in (b"", bytes(range(32))):
            assert read_address(str(Address(host, 5001, public))) == Address(host, 5001, public)
    for wrong in (
        "127.0.0.1:5001",
        "http://127.0.0.1:5001",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:high",
        "tcp+curve://127.0.0.1:5001",
        "tcp+curve://abcd@127.0.0.1:5001",
        f"tcp+curve://{'x' * 64}@127.0.0.1:5001",
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            read_address(wrong)


def test_a_target_that_is_no_address_is_an_error_of_the_closed_set(run: Run) -> None:
    async def case() -> None:
        for wrong in ("http://127.0.0.1:1", "tcp://no such host:1"):
            with pytest.raises(DriverError):
                async with opened(wrong):
                    pass

    run(case())


def test_one_connection_speaks_both_codecs(serve: Serve) -> None:
    with dealer(serve(STYLE).address) as asking:
        for number, codec in enumerate([JSON, PROTOBUF, JSON]):
            wanted = order(key())
            asking.send(codec.encode_request(Request(number, wanted)))
            reply = codec.decode_reply(asking.recv())
            assert reply.id == number
            assert isinstance(reply.result, Confirmation)
            assert reply.result.total_cents == total_cents(wanted)


def test_what_cannot_be_read_is_answered_with_id_0(serve: Serve) -> None:
    with dealer(serve(STYLE).address) as asking:
        for message, codec in (
            ([b"{"], JSON),
            ([b'{"order": {}}'], JSON),
            ([b"\xff\xff"], PROTOBUF),
            ([b" {}"], PROTOBUF),
            ([b"", b"{}"], JSON),
            ([b"a"] * 100, PROTOBUF),
        ):
            asking.send_multipart(message)
            reply = codec.decode_reply(asking.recv())
            assert reply.id == 0
            assert isinstance(reply.result, Problem)
            assert reply.result.code == "malformed"
        # It costs no connection.
        asking.send(JSON.encode_request(Request(7, order(key()))))
        assert JSON.decode_reply(asking.recv()).id == 7


def test_a_bad_order_is_answered_with_its_id(serve: Serve) -> None:
    with dealer(serve(STYLE).address) as asking:
        asking.send(b'{"id": 5, "order": {"items": 1}}')
        reply = JSON.decode_reply(asking.recv())
    assert reply.id == 5
    assert reply.result == Problem("malformed", "items is not a list")


def test_who_speaks_no_zeromq_harms_nobody(serve: Serve, run: Run) -> None:
    server = serve(STYLE)
    where = read_address(server.address)

    async def case() -> None:
        for nonsense in (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"\xff" * 4096, b"\0" * 4096):
            reader, writer = await asyncio.open_connection(where.host, where.port)
            writer.write(nonsense)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
                writer.write_eof()
                async with asyncio.timeout(LIMIT_S):
                    await reader.read()
            writer.close()
        async with opened(server.address) as driver:
            await driver.place(0, order(key()), Call(0))

    run(case())


def test_too_long_a_frame_costs_the_connection_and_no_more(serve: Serve, run: Run) -> None:
    server = serve(STYLE)

    async def case() -> None:
        async with opened(server.address, wire=Wire(PROTOBUF.name)) as driver:
            long = replace(order(key()), attachment=bytes(MAX_FRAME_BYTES + 1))
            with pytest.raises(DriverError) as caught:
                await driver.place(0, long, Call(0))
            assert caught.value.failure is Failure.DISCONNECTED
            await driver.place(0, order(key()), Call(1))

    run(case())


def test_a_server_that_takes_nothing_makes_wait_and_loses_nothing(rig: Rig, run: Run) -> None:
    """More than the socket's queue and the kernel's buffers hold."""

    async def case() -> None:
        server = await start_server(rig, Serving(STYLE))
        async with opened(server.address, wire=Wire(PROTOBUF.name)) as driver:
            rig.signal(server.process, signal.SIGSTOP)
            await until(
                "the server is frozen",
                lambda: psutil.Process(server.process.pid).status() == psutil.STATUS_STOPPED,
            )

            async def one(number: int) -> int:
                wanted = replace(order(key(), price=number + 1), attachment=bytes(20_000))
                confirmed = await driver.place(0, wanted, Call(number))
                assert confirmed.idempotency_key == wanted.idempotency_key
                return confirmed.total_cents

            asking = [asyncio.create_task(one(number)) for number in range(2000)]
            given_up = [asyncio.create_task(one(number)) for number in range(2000, 2100)]
            for _ in range(100):
                await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            assert all(task.cancelled() for task in given_up)
            rig.signal(server.process, signal.SIGCONT)
            assert await asyncio.gather(*asking) == [2 * (n + 1) for n in range(2000)]
        await rig.stop(server.process)

    run(case())


def test_a_handshake_that_nobody_answers_can_be_given_up(run: Run) -> None:
    async def case(address: str) -> None:
        async with opened(address, lanes=0) as driver:
            asking = [asyncio.create_task(driver.place(0, order(key()), Call(n))) for n in range(3)]
            for task in asking:
                await asyncio.sleep(0.01)
                assert not task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        run(case(f"tcp://127.0.0.1:{silent.getsockname()[1]}"))


def test_closing_ends_what_waits(serve: Serve, run: Run) -> None:
    server = serve(STYLE, 600_000.0)

    async def case() -> None:
        async with opened(server.address) as driver:
            asking = [asyncio.create_task(driver.place(0, order(key()), Call(n))) for n in range(3)]
            await asyncio.sleep(0)
            await driver.drop(0)
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                assert isinstance(outcome, DriverError)
                assert outcome.failure is Failure.DISCONNECTED

    run(case())


@both_codecs
def test_a_watch_is_told_the_port(serve: Serve, codec: Codec) -> None:
    with dealer(serve(STYLE).address) as asking:
        asking.send(codec.encode_request(Request(3, Watch())))
        reply = codec.decode_reply(asking.recv())
    assert reply.id == 3
    assert isinstance(reply.result, Update)
    assert int(reply.result.idempotency_key) > 0
    assert replace(reply.result, idempotency_key="") == STANDS


@both_codecs
def test_all_who_watch_see_every_change_in_order(serve: Serve, run: Run, codec: Codec) -> None:
    server = serve(STYLE)
    sink = ListSink()
    wanted = [replace(order(key(), price=n + 1), attachment=b"\0\xff") for n in range(50)]

    async def case() -> None:
        before = connections(server.process.pid)
        async with opened(server.address, sink, Wire(codec.name)) as driver:
            await asyncio.gather(*(driver.watch(lane) for lane in (1, 2, 3)))
            await driver.watch(4, reads=False)
            # A subscriber holds one connection.
            await until("5 are left", lambda: connections(server.process.pid) - before == 5)
            for number, one in enumerate(wanted):
                await driver.place(0, one, Call(number))
            await until("all are seen", lambda: len(sink.sightings) >= 3 * len(wanted))
            await driver.drop(2)
            await driver.place(0, order(key()), Call(len(wanted)))
            await until("two see more", lambda: len(sink.sightings) >= 3 * len(wanted) + 2)
        await until("all is given back", lambda: connections(server.process.pid) == before)

    run(case())
    for lane, more in ((1, 1), (2, 0), (3, 1), (4, None)):
        seen = [update for update, subscriber, _ in sink.sightings if subscriber == lane]
        if more is None:
            assert not seen
            continue
        assert len(seen) == len(wanted) + more
        for update, one in zip(seen, wanted, strict=False):
            assert update.idempotency_key == one.idempotency_key
            assert update.total_cents == total_cents(one)
            assert update.attachment == one.attachment
            assert update.final
    assert all(instant > update.at_ns for update, _, instant in sink.sightings)


def test_codecs_are_published_side_by_side(serve: Serve, run: Run) -> None:
    server = serve(STYLE)
    sinks = {name: ListSink() for name in CODECS}

    async def case() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for name, sink in sinks.items():
                driver = await stack.enter_async_context(opened(server.address, sink, Wire(name)))
                await driver.watch(1)
            placed = await driver.place(0, order(key()), Call(0))
            await until("both saw it", lambda: all(sink.sightings for sink in sinks.values()))
            for sink in sinks.values():
                ((update, *_),) = sink.sightings
                assert update.confirmation() == placed

    run(case())


def test_a_subscriber_that_hangs_holds_up_nobody(rig: Rig, run: Run) -> None:
    """More than its queue and the kernel's buffers hold is dropped. It stays connected."""
    sink = ListSink()
    orders = 1_500
    document = bytes(50_000)

    async def case() -> None:
        server = await start_server(rig, Serving(STYLE, remember="nothing"))
        async with opened(server.address, sink, Wire(PROTOBUF.name)) as driver:
            await driver.watch(1)
            with zmq.Context() as context, context.socket(zmq.SUB) as hanging:
                hanging.setsockopt(zmq.RCVHWM, 1)
                hanging.setsockopt(zmq.RCVTIMEO, round(LIMIT_S * 1e3))
                port = await _published(driver)
                hanging.connect(f"tcp://127.0.0.1:{port}")
                hanging.subscribe(TOPICS[PROTOBUF.name])
                hanging.subscribe(b"?it stands")
                assert await asyncio.to_thread(hanging.recv) == b"?it stands"
                keys = [key() for _ in range(orders)]
                for number, name in enumerate(keys):
                    wanted = replace(order(name), attachment=document)
                    await driver.place(0, wanted, Call(number))
                    await until("it is seen", lambda n=number: len(sink.sightings) > n)  # type: ignore[misc]
                assert [update.idempotency_key for update, *_ in sink.sightings] == keys
                seen: list[str] = []
                later: set[str] = set()
                while not later & set(seen):
                    if await asyncio.to_thread(hanging.poll, 100):
                        seen.append(PROTOBUF.decode_update(hanging.recv()).idempotency_key)
                    else:
                        later.add(name := key())
                        await driver.place(0, order(name), Call(orders + len(later)))
        assert len(seen) - 1 < orders
        assert [name for name in keys if name in seen] == seen[:-1]
        await rig.stop(server.process)

    run(case())


async def _published(driver: ZeroMq) -> int:
    stands = await driver._ask(0, Request(2**48, Watch()))
    assert isinstance(stands, Update)
    return int(stands.idempotency_key)


def test_watching_a_server_that_is_gone(rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(STYLE))
        async with opened(server.address) as driver:
            await driver.watch(1)
            await rig.kill(server.process)
            with pytest.raises(DriverError) as caught:
                await driver.watch(2)
            assert caught.value.failure is Failure.DISCONNECTED

    run(case())


def test_a_server_stops_with_everybody_connected(rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(STYLE, 600_000.0))
        async with opened(server.address) as driver:
            await driver.watch(1)
            asking = asyncio.create_task(driver.place(0, order(key()), Call(0)))
            await asyncio.sleep(0)
            assert await rig.stop(server.process) == 0
            said = await server.process.hear()
            assert said is not None
            assert said["event"] == "stopped"
            with pytest.raises(DriverError) as caught:
                await asking
            assert caught.value.failure is Failure.DISCONNECTED

    run(case())


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What makes a server encrypt."""
    made = make_authority(tmp_path_factory.mktemp("authority"))
    return {"certificate": made.certificate, "key": made.key}


class Tap:
    """Relays, and keeps what went through."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard = bytearray()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        behind, to_behind = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._copy(reader, to_behind), self._copy(behind, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                self.heard += chunk
                writer.write(chunk)
        writer.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "curve"])
def test_curve_hides_what_travels(
    serve: Serve, run: Run, certified: dict[str, Path], encrypted: bool
) -> None:
    server = serve(STYLE, **certified) if encrypted else serve(STYLE)
    where = read_address(server.address)
    assert len(where.key) == (32 if encrypted else 0)
    name = key()
    tap = Tap(where.port)

    async def case() -> None:
        listening = await asyncio.start_server(tap.relay, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        async with opened(str(replace(where, port=port))) as driver:
            got = await driver.place(0, order(name), Call(0))
            assert got.idempotency_key == name
        listening.close()
        await until("all is relayed", lambda: len(asyncio.all_tasks()) == 1)

    run(case())
    assert tap.heard
    assert (name.encode() in tap.heard) is not encrypted


def test_watching_is_encrypted_too(serve: Serve, run: Run, certified: dict[str, Path]) -> None:
    server = serve(STYLE, **certified)
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink) as driver:
            await driver.watch(1)
            with zmq.Context() as context, context.socket(zmq.SUB) as plain:
                monitor = plain.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
                plain.connect(f"tcp://127.0.0.1:{await _published(driver)}")
                assert await asyncio.to_thread(monitor.poll, round(LIMIT_S * 1e3))
                plain.disable_monitor()
                monitor.close()
            placed = await driver.place(0, order(key()), Call(0))
            await until("it is seen", lambda: bool(sink.sightings))
            assert sink.sightings[0][0].confirmation() == placed

    run(case())


def test_no_key_and_a_wrong_key_get_nowhere(
    serve: Serve, run: Run, certified: dict[str, Path]
) -> None:
    where = read_address(serve(STYLE, **certified).address)

    async def case() -> None:
        for wrong in (replace(where, key=b""), replace(where, key=bytes(32))):
            with pytest.raises(DriverError) as caught:
                async with opened(str(wrong)):
                    pass
            assert caught.value.failure is Failure.DISCONNECTED

    run(case())


def test_it_listens_on_ipv6(rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(STYLE, host="::1"))
        assert server.address.startswith("tcp://[::1]:")
        sink = ListSink()
        async with opened(server.address, sink) as driver:
            await driver.watch(1)
            await driver.place(0, order(key()), Call(0))
            await until("it is seen", lambda: bool(sink.sightings))
        await rig.stop(server.process)

    run(case())


def test_the_catalog_names_what_it_lacks() -> None:
    assert set(catalog.find(STYLE).lacks) == {"compression", "gateway"}
