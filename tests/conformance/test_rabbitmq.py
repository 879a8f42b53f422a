"""S9: what travels over RabbitMQ, and what becomes of messages, connections and workers."""

import asyncio
import json
import socket
import ssl
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from clients import catalog
from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Wire
from clients.rabbitmq import RabbitmqDriver
from clients.rabbitmq_aio_pika import RabbitmqAioPika
from harness.load.__main__ import driver_named
from harness.rig.authority import make_authority
from harness.rig.process import Rig, RigError
from harness.rig.rabbitmq import RabbitMQ
from harness.rig.server import Server, Serving, start_server
from orders.model import Status
from orders.pricing import total_cents
from protos.arrivals import ROW
from protos.broker import BrokerAddress, Commit, Durability, read_broker
from protos.codecs import CODECS
from protos.rabbitmq import partition_of
from tests.support import LIMIT_S, ListSink, Run, UsePart, order, until

STYLE = "rabbitmq"
NEVER_US = 60_000_000
MESSAGES = 3000
KEYS = 50

both = pytest.mark.parametrize("client", ["aio-pika", "asyncio"])


@pytest.fixture
def rabbitmq(part: UsePart) -> RabbitMQ:
    """The session's, of one node."""
    broker: RabbitMQ = part("rabbitmq")
    return broker


def key() -> str:
    """A key that no other order of the session has."""
    return uuid.uuid4().hex


def trial(broker: RabbitMQ, **options: Any) -> BrokerAddress:
    """The broker's address with a namespace of its own."""
    return read_broker(broker.address).with_options(namespace=f"t{key()[:8]}", **options)


@asynccontextmanager
async def working(rig: Rig, address: BrokerAddress, **options: Any) -> AsyncIterator[Server]:
    """A worker."""
    server = await start_server(rig, Serving(STYLE, broker=str(address), **options))
    try:
        yield server
    finally:
        await rig.stop(server.process)


@asynccontextmanager
async def opened(
    client: str,
    target: object,
    sink: ListSink | None = None,
    lanes: int = 2,
    wire: Wire = PLAIN,
) -> AsyncIterator[RabbitmqDriver]:
    """A driver that is open, and leaves no task behind."""
    before = asyncio.all_tasks()
    driver = driver_named(catalog.find(STYLE, client).driver)
    assert isinstance(driver, RabbitmqDriver)
    try:
        async with asyncio.timeout(LIMIT_S):
            await driver.open(str(target), lanes, sink or ListSink(), wire)
            yield driver
    finally:
        await driver.close()
        await until(
            "no task of the driver's is left",
            lambda: not {t for t in asyncio.all_tasks() - before if not t.done()},
        )


async def failure(client: str, target: object) -> DriverError:
    """What opening a driver fails with."""
    with pytest.raises(DriverError) as caught:
        async with opened(client, target):
            pass
    return caught.value


async def drained(server: Server, file: Path, limit_s: float = 30.0, **how: Any) -> dict[str, Any]:
    """How a worker left its broker, with its rows as `rows`."""
    drain = {"event": "drain", "limit_s": limit_s, "arrivals": str(file), **how}
    server.process.say(json.dumps(drain) + "\n")
    async with asyncio.timeout(LIMIT_S):
        said = await server.process.hear()
    assert said is not None
    assert said["event"] == "drained"
    return {**said, "rows": list(ROW.iter_unpack(file.read_bytes()))}


async def sent(driver: RabbitmqDriver, sink: ListSink, count: int = MESSAGES) -> None:
    """Submit messages, a hundred at a time, and wait for what becomes of them."""
    for first in range(0, count, 100):
        await driver.submit(
            [
                (order(f"{driver.producer}-{n}"), Call(n, key=f"k{n % KEYS}"))
                for n in range(first, first + 100)
            ]
        )
    await until(
        f"{count} messages have their fate",
        lambda: len(sink.arrivals) + len(sink.failures) >= count,
    )


class Middle:
    """A TCP relay that can be cut, or stop passing anything on."""

    def __init__(self) -> None:
        self.address = ""
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @classmethod
    @asynccontextmanager
    async def before(
        cls, address: BrokerAddress, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple["Middle", BrokerAddress]]:
        """A relay, which ends TLS where it is told how, and the broker's address by way of it."""
        middle = cls()
        host, _, port = address.hosts[0].rpartition(":")

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            middle._writers += writer, there_writer
            for pair in ((reader, there_writer), (there_reader, writer)):
                task = asyncio.create_task(middle._pass_on(*pair))
                middle._tasks.add(task)
                task.add_done_callback(middle._tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
        taken = server.sockets[0].getsockname()[1]
        try:
            yield middle, address.with_options(hosts=(f"127.0.0.1:{taken}",))
        finally:
            server.close()
            middle.cut()
            await asyncio.gather(*middle._tasks, return_exceptions=True)

    def hold(self) -> None:
        """Pass nothing on, until the next cut."""
        self._flowing.clear()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self._flowing.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.transport.abort()


@both
@pytest.mark.parametrize("replies", ["queue", "direct"])
@pytest.mark.parametrize("codec", list(CODECS))
def test_orders_are_confirmed_refused_and_matched(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str, replies: str, codec: str
) -> None:
    async def case() -> None:
        address = trial(rabbitmq, replies=replies)
        sink = ListSink()
        async with (
            working(rig, address) as server,
            opened(client, server.address, sink, wire=Wire(codec)) as driver,
        ):

            async def one(number: int) -> None:
                wanted = order(key(), 1 + number % 7, price=100 + number)
                got = await driver.place(number % 2, wanted, Call(number))
                assert got.idempotency_key == wanted.idempotency_key
                assert got.total_cents == total_cents(wanted)
                assert got.status is Status.CONFIRMED

            await asyncio.gather(*(one(number) for number in range(16)))
            with pytest.raises(DriverError) as caught:
                await driver.place(0, order(key(), quantity=0), Call(16))
            assert caught.value.failure is Failure.REJECTED
            assert caught.value.code == "invalid_order"
            acked = Counter(
                n for n, milestone, _, _ in sink.arrivals if milestone is Milestone.ACKED
            )
            await until("all were acknowledged", lambda: len(sink.arrivals) == 17)
            assert set(acked.values()) <= {1}

    run(case())


@both
@pytest.mark.parametrize("durability", list(Durability))
def test_orders_are_confirmed_in_every_class(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str, durability: Durability
) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq, durability=durability)) as server,
            opened(client, server.address, sink) as driver,
        ):
            wanted = order(key())
            got = await driver.place(0, wanted, Call(0))
            assert got.total_cents == total_cents(wanted)
            if durability is not Durability.NONE:
                await until("it is acknowledged", lambda: bool(sink.arrivals))
            assert {milestone for _, milestone, _, _ in sink.arrivals} <= {Milestone.ACKED}
            assert bool(sink.arrivals) == (durability is not Durability.NONE)

    run(case())


@both
def test_a_late_reply_goes_to_the_sink(rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq)) as server,
            opened(client, server.address, sink) as driver,
        ):
            slow = replace(order(key()), work_us=500_000)
            asking = asyncio.create_task(driver.place(0, slow, Call(7)))
            await until("it is acknowledged", lambda: bool(sink.arrivals))
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until(
                "the reply came late",
                lambda: any(a[:2] == (7, Milestone.DONE) for a in sink.arrivals),
            )

    run(case())


@both
def test_a_cut_connection_fails_what_waits_and_is_made_again(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str
) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq)) as server,
            Middle.before(read_broker(server.address)) as (middle, target),
            opened(client, target, sink, lanes=1) as driver,
        ):
            never = replace(order(key()), work_us=NEVER_US)
            asking = asyncio.create_task(driver.place(0, never, Call(0)))
            await until("it is acknowledged", lambda: bool(sink.arrivals))
            middle.hold()
            await driver.submit([(order(key()), Call(n)) for n in range(1, 11)])
            middle.cut()
            with pytest.raises(DriverError) as caught:
                await asking
            assert caught.value.failure is Failure.DISCONNECTED
            await until("all failed", lambda: len(sink.failures) == 10)
            assert {n for n, _ in sink.failures} == set(range(1, 11))
            assert {e.failure for _, e in sink.failures} == {Failure.DISCONNECTED}
            again = order(key())
            assert (await driver.place(0, again, Call(11))).total_cents == total_cents(again)

    run(case())


def test_a_worker_that_is_cut_off_comes_back(rabbitmq: RabbitMQ, rig: Rig, run: Run) -> None:
    async def case() -> None:
        address = trial(rabbitmq)
        async with (
            Middle.before(address) as (middle, by_way),
            working(rig, by_way),
            opened("aio-pika", address) as driver,
        ):
            for number in range(3):
                wanted = order(key())
                got = await driver.place(0, wanted, Call(number))
                assert got.idempotency_key == wanted.idempotency_key
                middle.cut()

    run(case())


@both
def test_who_cannot_be_reached_and_what_is_not_there(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str
) -> None:
    async def case() -> None:
        address = trial(rabbitmq, create=False)
        for target in ("http://127.0.0.1:1", "kafka://127.0.0.1:9092"):
            assert (await failure(client, target)).failure is Failure.PROTOCOL
        nobody = address.with_options(hosts=("127.0.0.1:1",))
        assert (await failure(client, nobody)).failure is Failure.DISCONNECTED
        stranger = await failure(client, address.with_options(password="wrong"))
        assert stranger.failure is Failure.REJECTED
        assert "ACCESS_REFUSED" in stranger.detail
        missing = await failure(client, address)
        assert missing.failure is Failure.PROTOCOL
        assert address.queue(0) in missing.detail

    run(case())


@both
def test_a_broker_that_does_not_answer_is_given_up(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str
) -> None:
    async def case(silent: str) -> None:
        error = await failure(client, trial(rabbitmq).with_options(hosts=(silent,)))
        assert error.failure is Failure.DISCONNECTED
        assert "does not answer" in error.detail
        async with working(rig, trial(rabbitmq)) as server, asyncio.timeout(LIMIT_S):
            before = asyncio.all_tasks()
            async with Middle.before(read_broker(server.address)) as (middle, target):
                driver = driver_named(catalog.find(STYLE, client).driver)
                await driver.open(str(target), 2, ListSink())
                middle.hold()
                await driver.close()
            await until(
                "no task is left",
                lambda: not {t for t in asyncio.all_tasks() - before if not t.done()},
            )

    with socket.create_server(("127.0.0.1", 0)) as listening:
        run(case(f"127.0.0.1:{listening.getsockname()[1]}"))


@both
def test_it_speaks_tls(rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str, tmp_path: Path) -> None:
    async def case() -> None:
        authority = make_authority(tmp_path)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(authority.certificate, authority.key)
        async with Middle.before(trial(rabbitmq), tls) as (_, target):
            encrypted = target.with_options(scheme="amqps", ca=str(authority.ca))
            async with (
                working(rig, encrypted) as server,
                opened(client, server.address) as driver,
            ):
                await driver.place(0, order(key()), Call(0))
            stranger = await failure(client, target.with_options(scheme="amqps"))
            assert stranger.failure is Failure.DISCONNECTED

    run(case())


@both
def test_a_dead_host_is_passed_over(rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str) -> None:
    async def case() -> None:
        address = trial(rabbitmq)
        hosts = ("127.0.0.1:1", *address.hosts)
        async with (
            working(rig, address.with_options(hosts=hosts)) as server,
            opened(client, server.address, lanes=3) as driver,
        ):
            for lane in range(3):
                await driver.place(lane, order(key()), Call(lane))

    run(case())


def test_a_worker_says_which_queue_is_missing(rabbitmq: RabbitMQ, run: Run, tmp_path: Path) -> None:
    async def case() -> None:
        address = trial(rabbitmq, create=False)
        async with Rig(tmp_path) as rig:
            with pytest.raises(RigError, match=address.queue(0)):
                async with working(rig, address):
                    pass

    run(case())


@both
def test_too_large_a_message_is_refused_and_costs_the_others_the_channel(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str
) -> None:
    async def limit(octets: int) -> None:
        setting = f"application:set_env(rabbit, max_message_size, {octets})"
        await rabbitmq._ask(rabbitmq._any(), setting)

    async def case() -> None:
        sink = ListSink()
        large = replace(order(key()), attachment=bytes(300_000))
        async with working(rig, trial(rabbitmq)) as server:
            await limit(200_000)
            try:
                async with opened(client, server.address, sink, lanes=1) as driver:
                    with pytest.raises(DriverError) as caught:
                        await driver.place(0, large, Call(0))
                    assert caught.value.failure is Failure.REJECTED
                    assert caught.value.code == "too_large"
                    await driver.place(0, order(key()), Call(1))
                    await driver.submit([(large, Call(2))])
                    await until("it failed", lambda: bool(sink.failures))
                    [(number, error)] = sink.failures
                    assert (number, error.code) == (2, "too_large")
                    await driver.place(0, order(key()), Call(3))
            finally:
                await limit(134_217_728)

    run(case())


@both
def test_a_large_message_arrives_whole(rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str) -> None:
    """In several frames."""

    async def case() -> None:
        async with (
            working(rig, trial(rabbitmq)) as server,
            opened(client, server.address) as driver,
        ):
            for octets in (131_000, 131_072, 262_144, 1_000_000):
                wanted = replace(order(key()), attachment=bytes(octets))
                got = await driver.place(0, wanted, Call(octets))
                assert got.idempotency_key == wanted.idempotency_key

    run(case())


@both
def test_what_reaches_no_queue_comes_back(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str
) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq, partitions=1)) as server,
            opened(client, server.address, sink, lanes=1) as driver,
        ):
            await driver.place(0, order(key()), Call(0))
            address = read_broker(server.address)
            async with await aio_pika.connect(f"{rabbitmq.address}/") as connection:
                channel = await connection.channel()
                await channel.queue_delete(address.queue(0))
            with pytest.raises(DriverError) as caught:
                await driver.place(0, order(key()), Call(1))
            assert caught.value.failure is Failure.REJECTED
            assert address.queue(0) in caught.value.detail
            await driver.submit([(order(key()), Call(2))])
            await until("it failed", lambda: bool(sink.failures))
            assert sink.failures[0][1].failure is Failure.REJECTED

    run(case())


CASES = [
    *(
        (client, {"durability": durability})
        for client in ("aio-pika", "asyncio")
        for durability in Durability
    ),
    *(("asyncio", {"commit": commit}) for commit in Commit),
    ("asyncio", {"durability": Durability.REPLICATED, "commit": Commit.EACH}),
    ("asyncio", {"durability": Durability.REPLICATED, "commit": Commit.AUTO}),
    ("asyncio", {"prefetch": 1, "partitions": 1}),
]


@pytest.mark.parametrize(("client", "options"), CASES)
def test_every_message_arrives_once_in_order_and_intact(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, client: str, options: dict[str, Any], tmp_path: Path
) -> None:
    async def case() -> None:
        sink = ListSink()
        address = trial(rabbitmq, **options)
        async with (
            working(rig, address) as server,
            opened(client, server.address, sink, lanes=3) as driver,
        ):
            await sent(driver, sink)
            assert not sink.failures
            unacknowledged = address.durability is Durability.NONE
            wanted = Milestone.SENT if unacknowledged else Milestone.ACKED
            assert Counter(n for n, m, _, _ in sink.arrivals if m is wanted) == Counter(
                range(MESSAGES)
            )
            said = await drained(server, tmp_path / "rows", read_again=True)
            assert said["left"] == 0
            assert said["received"] == MESSAGES
            kept = address.durability is Durability.REPLICATED
            assert said["read_again"] == (MESSAGES if kept else 0)
            assert said["lag"]
            rows = said["rows"]
            assert Counter(row[1] for row in rows) == Counter(range(MESSAGES))
            assert {row[0] for row in rows} == {driver.producer}
            assert all(row[5] == 1 for row in rows)
            for number in range(KEYS):
                of_key = [row for row in rows if row[1] % KEYS == number]
                assert [row[1] for row in of_key] == list(range(number, MESSAGES, KEYS))
                place = partition_of(f"k{number}", address.partitions)
                assert {row[3] for row in of_key} == {place}

    run(case())


@pytest.mark.parametrize("durability", [Durability.LEADER, Durability.REPLICATED])
def test_a_paused_worker_takes_nothing_before_it_is_told(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, durability: Durability, tmp_path: Path
) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq, durability=durability), paused=True) as server,
            opened("asyncio", server.address, sink) as driver,
        ):
            await sent(driver, sink)
            assert not sink.failures
            said = await drained(server, tmp_path / "rows")
            assert (said["received"], said["left"]) == (MESSAGES, 0)
            assert max(behind for _, behind in said["lag"]) > 0
            assert said["lag"][-1][1] == 0

    run(case())


def test_what_is_left_at_the_limit_is_counted(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, tmp_path: Path
) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq), paused=True, service_time_ms=20.0) as server,
            opened("asyncio", server.address, sink) as driver,
        ):
            await sent(driver, sink, 300)
            said = await drained(server, tmp_path / "rows", limit_s=1.0)
            assert said["left"] > 0
            assert said["received"] + said["left"] >= 300
            again = await drained(server, tmp_path / "rows")
            assert (again["received"], again["left"]) == (300, 0)

    run(case())


@pytest.mark.parametrize("durability", [Durability.LEADER, Durability.REPLICATED])
def test_two_workers_share_the_messages(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, durability: Durability, tmp_path: Path
) -> None:
    async def case() -> None:
        sink = ListSink()
        address = trial(rabbitmq, durability=durability)
        async with (
            working(rig, address, worker=0, workers=2) as one,
            working(rig, address, worker=1, workers=2) as other,
            opened("asyncio", one.address, sink) as driver,
        ):
            await sent(driver, sink)
            said = await asyncio.gather(
                drained(one, tmp_path / "one", read_again=True),
                drained(other, tmp_path / "other", read_again=True),
            )
            assert all(each["received"] > 0 for each in said)
            assert all(each["left"] == 0 for each in said)
            kept = durability is Durability.REPLICATED
            assert sum(each["read_again"] for each in said) == (MESSAGES if kept else 0)
            rows = [row for each in said for row in each["rows"]]
            assert Counter(row[1] for row in rows) == Counter(range(MESSAGES))
            if kept:
                assert all(row[3] % 2 == row[4] for row in rows)

    run(case())


@pytest.mark.parametrize("durability", list(Durability))
def test_what_cannot_be_read_stops_no_worker(
    rabbitmq: RabbitMQ, rig: Rig, run: Run, durability: Durability, tmp_path: Path
) -> None:
    async def case() -> None:
        async with (
            working(rig, trial(rabbitmq, durability=durability)) as server,
            opened("aio-pika", server.address) as driver,
        ):
            address = read_broker(server.address)
            async with await aio_pika.connect(f"{rabbitmq.address}/") as connection:
                channel = await connection.channel()
                send = channel.default_exchange.publish
                for n, body in enumerate([b"", b"{", b"\xff" * 1000]):
                    for stamp in (None, bytearray(b"?"), 7, bytearray(24)):
                        odd = aio_pika.Message(body, headers={"stamp": stamp})
                        await send(odd, address.queue(n))
                    odd = aio_pika.Message(body, reply_to="nowhere", headers={"traceparent": 5})
                    await send(odd, address.queue(n))
            await driver.place(0, order(key()), Call(0))
            said = await drained(server, tmp_path / "rows")
            assert (said["received"], said["left"]) == (12, 0)
            assert not any(row[5] for row in said["rows"])

    run(case())


def test_every_subscriber_sees_every_change_and_one_that_hangs_harms_nobody(
    rabbitmq: RabbitMQ, rig: Rig, run: Run
) -> None:
    async def case() -> None:
        sink = ListSink()
        async with (
            working(rig, trial(rabbitmq), changes=True) as server,
            opened("aio-pika", server.address, sink, lanes=1) as driver,
        ):
            assert isinstance(driver, RabbitmqAioPika)
            for lane in (1, 2):
                await driver.watch(lane)
            await driver.watch(3, reads=False)
            placed = [order(key()) for _ in range(50)]
            for number, wanted in enumerate(placed):
                await driver.place(0, wanted, Call(number))
            await until("both saw all", lambda: len(sink.sightings) == 100)
            for lane in (1, 2):
                seen = [u.idempotency_key for u, by, _ in sink.sightings if by == lane]
                assert seen == [wanted.idempotency_key for wanted in placed]
            await driver.drop(2)
            await driver.place(0, order(key()), Call(50))
            await until("the one that is left saw it", lambda: len(sink.sightings) == 101)
            assert sink.sightings[-1][1] == 1

    run(case())


def test_there_is_nothing_to_watch_unless_the_worker_was_told(
    rabbitmq: RabbitMQ, rig: Rig, run: Run
) -> None:
    async def case() -> None:
        async with (
            working(rig, trial(rabbitmq)) as server,
            opened("aio-pika", server.address) as driver,
        ):
            assert isinstance(driver, RabbitmqAioPika)
            with pytest.raises(DriverError) as caught:
                await driver.watch(1)
            assert read_broker(server.address).changes in caught.value.detail

    run(case())
