"""The axes of the wire, for every driver: codec, compression, TLS; and giving a lane back."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from clients import catalog
from clients.base import Call, DriverError, Failure, Places, Poll, Wire
from clients.catalog import Entry
from harness.observe.sock_diag import ESTABLISHED, Socket, dump
from harness.rig.authority import Certificates, make_authority
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_server
from orders.model import Order
from orders.pricing import total_cents
from protos.codecs import CODECS, JSON
from protos.rpc import service_in
from protos.zeromq import read_address
from tests.conformance.test_places import key, make, opened, refusal
from tests.support import LIMIT_S, ListSink, Run, Serve, order, until

MIB = 2**20


@asynccontextmanager
async def talking(
    entry: Entry, server: Server, wire: Wire, lanes: int = 1
) -> AsyncIterator[Places]:
    """A driver that is open and talks as `wire` says."""
    driver = make(entry)
    try:
        async with asyncio.timeout(LIMIT_S):
            await driver.open(server.address, lanes, ListSink(), wire)
        yield driver
    finally:
        await driver.close()


def needs(entry: Entry, ability: str) -> None:
    """Skip what an entry cannot do."""
    if ability in entry.lacks:
        pytest.skip(f"{entry.style}:{entry.client}: {entry.lacks[ability]}")


def with_attachment(attachment: bytes) -> Order:
    """An order with a document."""
    return replace(order(key()), attachment=attachment)


async def bytes_to(server: Server, driver: Places, wanted: Order, number: int) -> int:
    """Place an order; what its exchange brought to the server's port, in bytes."""
    port = int(server.address.rsplit(":", 1)[1])
    before = {each.cookie: each.traffic.bytes_received for each in accepted(port)}
    assert (await driver.place(0, wanted, Call(number))).total_cents == total_cents(wanted)
    return sum(each.traffic.bytes_received - before.get(each.cookie, 0) for each in accepted(port))


def accepted(port: int) -> list[Socket]:
    """The connections that stand at a port of this machine."""
    return [each for each in dump() if each.local[1] == port and each.state == ESTABLISHED]


@pytest.mark.parametrize("codec", CODECS)
def test_each_codec_carries_orders(entry: Entry, serve: Serve, run: Run, codec: str) -> None:
    needs(entry, codec)
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with talking(entry, server, Wire(codec)) as driver:
            for number, items in enumerate((1, 10, 1000)):
                wanted = order(key(), items, quantity=number + 1)
                got = await driver.place(0, wanted, Call(number))
                assert got.total_cents == total_cents(wanted)
                assert got.idempotency_key == wanted.idempotency_key
            bad = await refusal(driver, order(key(), quantity=0), 3)
            assert (bad.failure, bad.code) == (Failure.REJECTED, "invalid_order")

    run(case())


@pytest.mark.parametrize("codec", CODECS)
def test_each_codec_carries_a_document(direct: Entry, serve: Serve, run: Run, codec: str) -> None:
    needs(direct, codec)
    server = serve(direct.talks_to, 0.0)

    async def case() -> None:
        async with talking(direct, server, Wire(codec)) as driver:
            wanted = with_attachment(os.urandom(MIB))
            carried = await bytes_to(server, driver, wanted, 0)
            # Text carries three bytes in four characters.
            assert (carried >= MIB * 4 / 3) == CODECS[codec].text
            assert carried > MIB
            # The same key with the same document is the same order; any other is a conflict.
            again = await driver.place(0, wanted, Call(1))
            assert again.idempotency_key == wanted.idempotency_key
            other = replace(wanted, attachment=wanted.attachment[:-1] + b"\x00\x01")
            assert (await refusal(driver, other, 2)).code == "key_conflict"

    run(case())


@pytest.mark.parametrize("codec", CODECS)
def test_compression_carries_the_same_in_fewer_bytes(
    direct: Entry, serve: Serve, run: Run, codec: str
) -> None:
    needs(direct, codec)
    needs(direct, "compression")
    plain, packing = serve(direct.talks_to, 0.0), serve(direct.talks_to, 0.0, compression=True)

    async def case() -> None:
        async with (
            talking(direct, plain, Wire(codec)) as plainly,
            talking(direct, packing, Wire(codec, compression=True)) as packed,
        ):
            for number, items in enumerate((1, 10, 1000)):
                wanted = order(key(), items)
                assert await bytes_to(packing, packed, wanted, number) > 0
            zeros = with_attachment(bytes(MIB))
            small = await bytes_to(packing, packed, zeros, 3)
            large = await bytes_to(plain, plainly, zeros, 3)
            assert small < MIB < large
            noise = with_attachment(os.urandom(MIB))
            assert await bytes_to(packing, packed, noise, 4) > MIB
            bad = await refusal(packed, order(key(), quantity=0), 5)
            assert (bad.failure, bad.code) == (Failure.REJECTED, "invalid_order")

    run(case())


def test_a_server_that_compresses_serves_who_does_not(entry: Entry, serve: Serve, run: Run) -> None:
    needs(entry, "compression")
    server = serve(entry.talks_to, 0.0, compression=True)

    async def case() -> None:
        async with talking(entry, server, Wire()) as driver:
            wanted = order(key(), 100)
            assert (await driver.place(0, wanted, Call(0))).total_cents == total_cents(wanted)

    run(case())


@pytest.mark.parametrize("style", ["rest", "rest-h2"])
def test_an_http_answer_is_compressed_for_who_takes_it(serve: Serve, run: Run, style: str) -> None:
    server = serve(style, 0.0, compression=True)

    async def case() -> None:
        h2 = style == "rest-h2"
        async with httpx.AsyncClient(http1=not h2, http2=h2, trust_env=False) as client:
            wanted = JSON.encode_order(order(key()))
            answers = [
                await client.post(
                    f"{server.address}/orders",
                    content=wanted,
                    headers={"Content-Type": JSON.media_type, "Accept-Encoding": takes},
                    timeout=LIMIT_S,
                )
                for takes in ("gzip", "identity", "", "br, gzip;q=0.5")
            ]
        packed = [a.headers.get("content-encoding") for a in answers]
        assert packed == ["gzip", None, None, "gzip"]
        assert len({answer.content for answer in answers}) == 1

    run(case())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The session's own."""
    return make_authority(tmp_path_factory.mktemp("authority"))


def encrypting(serve: Serve, style: str, authority: Certificates) -> Server:
    """The session's server of a style that encrypts."""
    return serve(style, 0.0, certificate=authority.certificate, key=authority.key)


def test_orders_travel_encrypted(
    direct: Entry, serve: Serve, run: Run, authority: Certificates
) -> None:
    needs(direct, "tls")
    server = encrypting(serve, direct.talks_to, authority)

    async def case() -> None:
        async with talking(direct, server, Wire(ca=str(authority.ca)), lanes=2) as driver:
            for number, items in enumerate((1, 1000)):
                wanted = order(key(), items)
                got = await driver.place(number, wanted, Call(number))
                assert got.total_cents == total_cents(wanted)
            wanted = with_attachment(os.urandom(MIB))
            assert await bytes_to(server, driver, wanted, 2) > MIB

    run(case())


def test_who_does_not_trust_the_server_does_not_talk_to_it(
    direct: Entry, serve: Serve, run: Run, authority: Certificates
) -> None:
    needs(direct, "tls")
    server = encrypting(serve, direct.talks_to, authority)

    async def case(wire: Wire, target: str) -> None:
        driver = make(direct)
        try:
            with pytest.raises(DriverError) as caught:
                async with asyncio.timeout(LIMIT_S):
                    await driver.open(target, 1, ListSink(), wire)
                    await driver.place(0, order(key()), Call(0))
            assert caught.value.failure in {Failure.DISCONNECTED, Failure.PROTOCOL}
        finally:
            await driver.close()

    target = server.address
    if target.startswith("tcp+curve:"):  # whom to trust is in the address, and not in `ca`
        target = str(replace(read_address(target), key=bytes(32)))
    run(case(Wire(), target))


def test_a_lane_that_was_dropped_can_be_used_again(direct: Entry, serve: Serve, run: Run) -> None:
    server = serve(direct.talks_to, 0.0)
    port = int(server.address.rsplit(":", 1)[1])

    async def case() -> None:
        await until("nobody is connected", lambda: not accepted(port))
        async with talking(direct, server, Wire(), lanes=2) as driver:
            for lane in range(2):
                await driver.place(lane, order(key()), Call(lane))
            both = len(accepted(port))
            await driver.drop(0)
            await until("its connection is given back", lambda: len(accepted(port)) == both // 2)
            await driver.drop(0)
            await driver.drop(7)
            await driver.place(1, order(key()), Call(2))
            assert len(accepted(port)) == both // 2
            await driver.place(0, order(key()), Call(3))
            assert len(accepted(port)) == both
        await until("nobody is connected", lambda: not accepted(port))

    run(case())


def test_a_lane_lasts(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with talking(entry, server, Wire(poll=Poll("long"))) as driver:
            at_once = 32 if driver.multiplexes else 1
            for first in range(0, 1600, at_once):
                await asyncio.gather(
                    *(
                        driver.place(0, order(key()), Call(number))
                        for number in range(first, first + at_once)
                    )
                )

    run(case())


def test_a_server_stops_with_orders_under_way(direct: Entry, rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(direct.talks_to, 600_000.0))
        sink = ListSink()
        async with opened(direct, server.address, sink=sink) as driver:
            asking = [asyncio.create_task(driver.place(n, order(key()), Call(n))) for n in range(2)]
            await asyncio.sleep(0.2)
            assert await rig.stop(server.process) == 0
            if "notices_death" in direct.lacks:
                for task in asking:
                    task.cancel()
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                if "notices_death" in direct.lacks:
                    assert isinstance(outcome, asyncio.CancelledError)
                else:
                    assert isinstance(outcome, DriverError)
                    # uvicorn answers 500 to what it cuts off.
                    assert outcome.failure is Failure.DISCONNECTED or outcome.code == "internal"

    run(case())


GRPC = [style for style in catalog.served() if catalog.find(style).server == "grpcio"]


@pytest.mark.parametrize("style", GRPC)
def test_grpc_says_that_it_is_healthy(serve: Serve, run: Run, style: str) -> None:
    server = serve(style, 0.0)

    async def case() -> None:
        async with grpc.aio.insecure_channel(server.address) as channel:
            check: grpc.aio.UnaryUnaryMultiCallable[
                health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
            ] = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            for name in ("", *(service_in(codec) for codec in CODECS.values())):
                answer = await check(health_pb2.HealthCheckRequest(service=name), timeout=LIMIT_S)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING

    run(case())


@pytest.mark.parametrize("style", GRPC)
def test_grpc_tells_what_it_offers(serve: Serve, run: Run, style: str) -> None:
    server = serve(style, 0.0)
    request = reflection_pb2.ServerReflectionRequest

    async def case() -> None:
        async with grpc.aio.insecure_channel(server.address) as channel:
            ask: grpc.aio.StreamStreamMultiCallable[
                reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
            ] = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                request_serializer=request.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            wanted = [
                request(list_services=""),
                request(file_containing_symbol="orderbench.v1.Orders"),
            ]
            listed, described = [answer async for answer in ask(iter(wanted), timeout=LIMIT_S)]
            names = {service.name for service in listed.list_services_response.service}
            assert {"orderbench.v1.Orders", "grpc.health.v1.Health"} <= names
            (file, *_) = described.file_descriptor_response.file_descriptor_proto
            assert b"PlaceStream" in file

    run(case())
