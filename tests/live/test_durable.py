"""Orders in a real PostgreSQL: what is confirmed is there, whoever asks, whatever ends."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from clients.base import Call, DriverError, Failure
from clients.rest_aiohttp import RestAiohttp
from harness.rig.parts import Part, start, variable
from harness.rig.process import Rig, RigError
from harness.rig.server import Serving, start_server
from orders.errors import KeyConflict, UnknownOrder
from orders.model import Order, Update
from orders.pricing import total_cents
from patterns import postgres
from patterns.durable import DurableOrderService, Ledger
from patterns.postgres import PostgresLedger
from protos.codecs import PROTOBUF
from protos.problems import Refusal
from tests.live.door import Stands, door_before
from tests.support import LIMIT_S, ListSink, Run, order, until

WORK_S = 0.1


@pytest.fixture(scope="module")
def address(runner: asyncio.Runner, rig: Rig) -> Iterator[str]:
    """Where PostgreSQL is."""
    part: Part = runner.run(start("postgres", rig, address=os.environ.get(variable("postgres"))))
    yield part.address
    runner.run(part.stop())


@pytest.fixture
def namespace() -> str:
    """One that no other test has."""
    return f"t-{secrets.token_hex(6)}"


@asynccontextmanager
async def serving(
    address: str, namespace: str, service_time_s: float = 0.0
) -> AsyncIterator[DurableOrderService]:
    """A service over the database."""
    ledger = await PostgresLedger(address, namespace).open()
    try:
        yield DurableOrderService(ledger, service_time_s)
    finally:
        ledger.close()


async def asked(address: str, question: str) -> list[asyncpg.Record]:
    """What another session is answered."""
    connection = await asyncpg.connect(address)
    try:
        return list(await connection.fetch(question))
    finally:
        await connection.close()


async def rows(address: str, namespace: str) -> list[asyncpg.Record]:
    """What another session sees of the orders."""
    return await asked(address, f'SELECT * FROM "{namespace}.orders"')


async def claims(ledger: Ledger, address: str) -> int:
    """How many claims a ledger holds."""
    assert isinstance(ledger, PostgresLedger)
    async with ledger._claims.one() as connection:
        pid = connection.get_server_pid()
    held = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid}"
    return len(await asked(address, held))


def test_what_is_confirmed_is_in_the_database(address: str, namespace: str, run: Run) -> None:
    async def case() -> None:
        async with serving(address, namespace) as service:
            wanted = replace(order("k\0ey", items=3), attachment=b"a document", work_us=1000)
            answer = await service.place(wanted)
            (row,) = await rows(address, namespace)
            assert row["key"] == b"k\0ey"
            assert PROTOBUF.decode_order(row["body"]) == replace(wanted, work_us=0)
            assert (row["order_id"], row["total_cents"]) == (answer.order_id, total_cents(wanted))
            assert (row["status"], row["processed_ns"]) == ("confirmed", answer.processed_ns)

    run(case())


def test_sessions_flush_what_they_commit(address: str, namespace: str, run: Run) -> None:
    async def case() -> None:
        ledger = await PostgresLedger(address, namespace).open()
        async with ledger._connections.one() as connection:
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
        ledger.close()

    run(case())


@pytest.mark.parametrize("service_time_s", [0.0, 0.01])
def test_a_repeat_after_a_restart_gets_the_answer_that_it_had(
    address: str, namespace: str, run: Run, service_time_s: float
) -> None:
    wanted = replace(order("k"), attachment=b"x")

    async def case() -> None:
        async with serving(address, namespace, service_time_s) as service:
            first = await service.place(wanted)
            assert service.placed == 1
            assert await claims(service._ledger, address) == 0
        async with serving(address, namespace, service_time_s) as service:
            for other in (replace(wanted, attachment=b"y"), order("k"), order("k", price=1)):
                with pytest.raises(KeyConflict, match="'k'"):
                    await service.place(other)
                with pytest.raises(KeyConflict, match="'k'"):
                    await service.receive(other)
            # How long the work takes is no part of what is asked for.
            assert await service.place(replace(wanted, work_us=5)) == first
            assert (await service.receive(wanted)).confirmation() == first
            assert service.placed == 0
            assert await claims(service._ledger, address) == 0
            assert (await service.place(order("other"))).order_id != first.order_id
        assert len(await rows(address, namespace)) == 2

    run(case())


@pytest.mark.parametrize("service_time_s", [0.0, WORK_S])
def test_services_of_one_database_do_the_work_once(
    address: str, namespace: str, run: Run, service_time_s: float
) -> None:
    async def case() -> None:
        async with (
            serving(address, namespace, service_time_s) as one,
            serving(address, namespace, service_time_s) as two,
        ):
            told: list[Update] = []
            for service in (one, two):
                service.watchers.append(told.append)
            answers = await asyncio.gather(
                *(service.place(order(f"k{n}")) for n in range(5) for service in (one, two) * 3)
            )
            assert len({each.order_id for each in answers}) == 5
            assert one.placed + two.placed == 5
            assert sorted(each.idempotency_key for each in told) == [f"k{n}" for n in range(5)]
            assert await one.place(order("k1")) == await two.place(order("k1"))

    run(case())


def test_who_would_work_on_another_order_of_the_key_is_refused(
    address: str, namespace: str, run: Run
) -> None:
    async def case() -> None:
        async with (
            serving(address, namespace, WORK_S) as one,
            serving(address, namespace, WORK_S) as two,
        ):
            receipt = await one.receive(order("k"))
            assert not receipt.final
            with pytest.raises(KeyConflict):
                await two.place(order("k", price=1))
            assert two.placed == 0
            await until("it ended", lambda: one.state(receipt.order_id).final)

    run(case())


def test_the_claim_of_who_died_is_free(address: str, namespace: str, run: Run) -> None:
    async def case() -> None:
        async with door_before(address) as (door, through):
            dead = await PostgresLedger(through, namespace).open()
            assert await dead.claim(order("k")) is None
            assert await claims(dead, address) == 1
            async with serving(address, namespace, WORK_S) as service:
                placing = asyncio.create_task(service.place(order("k")))
                await asyncio.sleep(3 * postgres.POLL_S)
                assert service._begun  # it waits
                assert not any(begun.done() for begun in service._begun.values())
                door.set(Stands.SHUT)
                async with asyncio.timeout(LIMIT_S):
                    await placing
                assert service.placed == 1
            dead.close()

    run(case())


def test_an_order_is_accepted_before_it_is_worked_on(
    address: str, namespace: str, run: Run
) -> None:
    async def case() -> None:
        async with (
            serving(address, namespace, WORK_S) as one,
            serving(address, namespace, WORK_S) as two,
        ):
            receipt, again = await asyncio.gather(*(one.receive(order("k")) for _ in range(2)))
            assert receipt == again
            assert not receipt.final
            told: list[Update] = []
            one.follow(receipt.order_id, told.append)
            assert await rows(address, namespace) == []
            # Another service waits for this one's answer.
            ended = await two.receive(order("k"))
            assert (ended.final, ended.order_id) == (True, receipt.order_id)
            assert two.state(ended.order_id) == ended
            await until("who follows is told", lambda: told == [ended])
            assert one.state(ended.order_id) == ended
            assert (one.placed, two.placed) == (1, 0)

    run(case())


def test_the_receipt_of_an_order_without_work_is_its_end(
    address: str, namespace: str, run: Run
) -> None:
    async def case() -> None:
        async with serving(address, namespace) as service:
            receipt = await service.receive(order("k"))
            assert receipt.final
            assert service.state(receipt.order_id) == receipt
            assert await service.place(order("k")) == receipt.confirmation()

    run(case())


def test_work_goes_on_when_who_asked_has_left(address: str, namespace: str, run: Run) -> None:
    async def case() -> None:
        async with serving(address, namespace, WORK_S) as service:
            asking = asyncio.create_task(service.place(order("k")))
            await asyncio.sleep(0)
            asking.cancel()
            answer = await service.place(order("k"))
            assert service.placed == 1
            assert [row["order_id"] for row in await rows(address, namespace)] == [answer.order_id]

    run(case())


@pytest.mark.parametrize(
    ("stands", "code"), [(Stands.SHUT, "internal"), (Stands.STUCK, "overloaded")]
)
@pytest.mark.parametrize("service_time_s", [0.0, 0.01])
def test_what_the_database_does_not_keep_is_not_confirmed(
    address: str,
    namespace: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    stands: Stands,
    code: str,
    service_time_s: float,
) -> None:
    async def case() -> None:
        async with (
            door_before(address) as (door, through),
            serving(through, namespace, service_time_s) as service,
        ):
            first = await service.place(order("first"))
            door.set(stands)
            if stands is Stands.STUCK:
                monkeypatch.setattr(postgres, "LIMIT_S", 0.3)
            refused = await asyncio.gather(
                *(service.place(order(f"k{n}")) for n in range(20)),
                service.receive(order("received")),
                return_exceptions=True,
            )
            assert [error.problem.code for error in refused if isinstance(error, Refusal)] == [
                code
            ] * 21
            assert await service.place(order("first")) == first  # which is on disk
            assert (service.placed, len(service._working), len(service._begun)) == (1, 0, 0)
            monkeypatch.undo()
            door.set(Stands.OPEN)
            answers = await asyncio.gather(*(service.place(order(f"k{n}")) for n in range(20)))
            assert len({answer.order_id for answer in answers}) == 20
            assert len(await rows(address, namespace)) == 21

    run(case())


def test_an_accepted_order_that_cannot_be_kept_is_unknown_again(
    address: str, namespace: str, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def case() -> None:
        async with (
            door_before(address) as (door, through),
            serving(through, namespace, WORK_S) as service,
        ):
            receipt = await service.receive(order("k"))
            door.set(Stands.SHUT)
            await until("its work has ended", lambda: not service._working)
            with pytest.raises(UnknownOrder):
                service.state(receipt.order_id)
            door.set(Stands.OPEN)
            assert (await service.place(order("k"))).order_id != receipt.order_id

    run(case())
    assert "was begun and came to nothing" in caplog.text


def test_namespaces_do_not_meet(address: str, namespace: str, run: Run) -> None:
    async def case() -> None:
        async with (
            serving(address, namespace, 0.01) as one,
            serving(address, f"{namespace}.2", 0.01) as two,
        ):
            await asyncio.gather(one.place(order("k")), two.place(order("k", price=1)))
            assert (one.placed, two.placed) == (1, 1)

    run(case())
    for wrong in ("", 'a"b', "a b", "n" * 41):
        with pytest.raises(ValueError, match="namespace"):
            PostgresLedger(address, wrong)


def test_many_servers_may_make_the_table(address: str, namespace: str, run: Run) -> None:
    async def case() -> None:
        ledgers = [PostgresLedger(address, namespace) for _ in range(8)]
        await asyncio.gather(*(ledger.open() for ledger in ledgers))
        for ledger in ledgers:
            ledger.close()

    run(case())


async def placed(address: str, wanted: Order) -> Any:
    """The answer of a server, by REST."""
    driver = RestAiohttp()
    await driver.open(address, 1, ListSink())
    try:
        async with asyncio.timeout(LIMIT_S):
            return await driver.place(0, wanted, Call(0))
    finally:
        await driver.close()


def test_a_killed_server_forgets_nothing(address: str, namespace: str, run: Run, rig: Rig) -> None:
    how = Serving(
        "rest", store="postgres", namespace=namespace, stores={variable("postgres"): address}
    )

    async def case() -> None:
        server, other = await start_server(rig, how), await start_server(rig, how)
        first = await placed(server.address, order("k"))
        await rig.kill(server.process)
        assert await placed(other.address, order("k")) == first
        again = await start_server(rig, how)
        assert await placed(again.address, order("k")) == first
        with pytest.raises(DriverError) as caught:
            await placed(again.address, order("k", price=1))
        assert (caught.value.failure, caught.value.code) == (Failure.REJECTED, "key_conflict")
        await rig.stop(again.process)
        await rig.stop(other.process)

    run(case())


def test_a_server_without_its_database_does_not_start(
    run: Run, rig: Rig, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable("postgres"), raising=False)
    nowhere = {variable("postgres"): "postgresql://bench:not-shown@127.0.0.1:1/none"}

    async def case() -> None:
        for how in (
            Serving("rest", store="postgres", namespace=namespace),
            Serving("rest", store="postgres", namespace=namespace, stores=nowhere),
            Serving("rest", store="postgres", remember="nothing", stores=nowhere),
        ):
            with pytest.raises(RigError, match="before it was ready"):
                await start_server(rig, how)

    run(case())
