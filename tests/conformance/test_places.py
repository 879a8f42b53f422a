"""O1: what every driver that places orders owes, over its style's real server."""

import asyncio
import signal
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from clients.base import Call, DriverError, Failure, Milestone, Places
from clients.catalog import Entry
from clients.framed import FramedDriver
from harness.load.__main__ import driver_named
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from orders.model import Status
from orders.pricing import total_cents
from protos import problems
from protos.frames import MAX_FRAME_BYTES
from tests.support import LIMIT_S, ListSink, Run, Serve, order, until

SLOW_MS = 1500.0
NEVER_MS = 600_000.0


def key() -> str:
    """A key that no other order of the session has."""
    return uuid.uuid4().hex


def make(entry: Entry) -> Places:
    """A fresh driver."""
    driver = driver_named(entry.driver)
    assert isinstance(driver, Places)
    return driver


@asynccontextmanager
async def opened(
    entry: Entry, target: str, lanes: int = 2, sink: ListSink | None = None
) -> AsyncIterator[Places]:
    """A driver that is open, and leaves no task behind."""
    before = asyncio.all_tasks()
    driver = make(entry)
    try:
        async with asyncio.timeout(LIMIT_S):
            await driver.open(target, lanes, sink if sink is not None else ListSink())
        yield driver
    finally:
        await driver.close()
        await until(
            "no task of the driver's is left",
            lambda: not {t for t in asyncio.all_tasks() - before if not t.done()},
        )


def connections(pid: int) -> int:
    """Established TCP connections to a process: those that it made itself are no lanes."""
    found = psutil.Process(pid).net_connections()
    listening = {c.laddr.port for c in found if c.status == psutil.CONN_LISTEN}
    return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port in listening for c in found)


@pytest.mark.parametrize("items", [1, 10, 100, 1000])
def test_an_order_is_confirmed_at_its_price(
    entry: Entry, serve: Serve, run: Run, items: int
) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with opened(entry, server.address) as driver:
            wanted = order(key(), items, quantity=12)
            got = await driver.place(0, wanted, Call(0))
            assert got.total_cents == total_cents(wanted)
            assert got.idempotency_key == wanted.idempotency_key
            assert got.status is Status.CONFIRMED
            assert got.order_id
            assert got.processed_ns > 0

    run(case())


def test_processed_lies_between_sent_and_done(entry: Entry, serve: Serve, run: Run) -> None:
    import time

    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with opened(entry, server.address) as driver:
            sent = time.monotonic_ns()
            got = await driver.place(0, order(key()), Call(0))
            assert sent < got.processed_ns < time.monotonic_ns()

    run(case())


def test_answers_go_to_who_asked(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        lanes = 4 if make(entry).multiplexes else 48
        async with opened(entry, server.address, min(lanes, 4)) as driver:

            async def one(number: int) -> None:
                wanted = order(key(), items=1 + number % 7, price=100 + number)
                got = await driver.place(number % lanes, wanted, Call(number))
                assert got.idempotency_key == wanted.idempotency_key
                assert got.total_cents == total_cents(wanted)

            for batch in range(3):
                await asyncio.gather(*(one(batch * 48 + n) for n in range(48)))

    run(case())


def test_a_repeat_gets_the_same_answer(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with opened(entry, server.address) as driver:
            wanted = order(key())
            first = await driver.place(0, wanted, Call(0))
            assert await driver.place(1, wanted, Call(1)) == first

    run(case())


async def refusal(driver: Places, wanted: object, number: int) -> DriverError:
    """The error that placing an order must end in."""
    with pytest.raises(DriverError) as caught:
        await driver.place(0, wanted, Call(number))  # type: ignore[arg-type]
    return caught.value


def test_the_same_errors_with_the_same_words(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with opened(entry, server.address) as driver:
            bad = await refusal(driver, order(key(), quantity=0), 0)
            assert (bad.failure, bad.code) == (Failure.REJECTED, "invalid_order")
            assert bad.detail == "items[0].quantity must be 1 to 1000000"
            empty = await refusal(driver, order(key(), items=0), 1)
            assert empty.detail == "items must be 1 to 10000, not 0"
            used = key()
            await driver.place(0, order(used, price=1), Call(2))
            conflict = await refusal(driver, order(used, price=2), 3)
            assert (conflict.failure, conflict.code) == (Failure.REJECTED, "key_conflict")
            assert used in conflict.detail
            assert set(problems.TABLE) >= {"invalid_order", "key_conflict"}
            # A refusal costs no lane.
            await driver.place(0, order(key()), Call(4))

    run(case())


def test_a_large_order_fits(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with opened(entry, server.address) as driver:
            wanted = order(key(), items=10_000)
            assert (await driver.place(0, wanted, Call(0))).total_cents == total_cents(wanted)

    assert MAX_FRAME_BYTES > 10_000 * 100
    run(case())


def test_lanes_are_connections(direct: Entry, serve: Serve, run: Run) -> None:
    server = serve(direct.talks_to, 0.0)

    async def case() -> None:
        before = connections(server.process.pid)

        def lanes() -> float:
            return (connections(server.process.pid) - before) / direct.per_lane

        async with opened(direct, server.address, lanes=3) as driver:
            # A client is connected before its server has accepted.
            await until("3 lanes", lambda: lanes() == 3)
            for number in range(6):
                await driver.place(number % 3, order(key()), Call(number))
            assert lanes() == 3
            await driver.place(3, order(key()), Call(6))
            assert lanes() == 4
        await until("connections are given back", lambda: connections(server.process.pid) == before)

    run(case())


def test_cancellation_leaves_the_lane_usable(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, SLOW_MS)
    sink = ListSink()

    async def case() -> None:
        async with opened(entry, server.address, lanes=1, sink=sink) as driver:
            for number in range(3):
                asking = asyncio.create_task(driver.place(0, order(key()), Call(number)))
                await asyncio.sleep(0.05)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            wanted = order(key(), price=7)
            got = await driver.place(0, wanted, Call(3))
            assert got.idempotency_key == wanted.idempotency_key
            if isinstance(driver, FramedDriver):
                await until("late replies reach the sink", lambda: len(sink.arrivals) >= 3)
        done = {o for o, milestone, *_ in sink.arrivals if milestone is Milestone.DONE}
        assert done <= {0, 1, 2}

    run(case())


def test_cancellation_at_the_first_instant(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        async with opened(entry, server.address, lanes=1) as driver:
            for steps in range(6):
                asking = asyncio.create_task(driver.place(0, order(key()), Call(2 * steps)))
                for _ in range(steps):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                await driver.place(0, order(key()), Call(2 * steps + 1))

    run(case())


def test_a_lane_that_multiplexes_does_not_queue(entry: Entry, serve: Serve, run: Run) -> None:
    if not make(entry).multiplexes:
        return
    server = serve(entry.talks_to, NEVER_MS)

    async def case() -> None:
        async with opened(entry, server.address, lanes=1) as driver:
            asking = [
                asyncio.create_task(driver.place(0, order(key()), Call(n))) for n in range(16)
            ]
            # Behind sixteen orders that will not be answered, a refusal comes all the same.
            async with asyncio.timeout(LIMIT_S):
                bad = await refusal(driver, order(key(), quantity=0), 16)
            assert bad.code == "invalid_order"
            for task in asking:
                assert not task.done()
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    run(case())


def test_a_dead_server_is_a_disconnection_and_its_return_is_used(
    direct: Entry, rig: Rig, run: Run
) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(direct.talks_to, NEVER_MS))
        port = int(server.address.rsplit(":", 1)[1])
        async with opened(direct, server.address) as driver:
            asking = [asyncio.create_task(driver.place(n, order(key()), Call(n))) for n in range(2)]
            await asyncio.sleep(0.05)
            await rig.kill(server.process)
            if "notices_death" in direct.lacks:
                for task in asking:
                    task.cancel()
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(outcome, asyncio.CancelledError):
                    assert "notices_death" in direct.lacks
                    continue
                assert isinstance(outcome, DriverError)
                assert outcome.failure is Failure.DISCONNECTED
            gone = await refusal(driver, order(key()), 2)
            assert gone.failure is Failure.DISCONNECTED
            again = await start_server(rig, Serving(direct.talks_to, port=port))
            number = 3
            while True:
                try:
                    async with asyncio.timeout(LIMIT_S):
                        await driver.place(0, order(key()), Call(number))
                    break
                except DriverError as error:
                    assert error.failure is Failure.DISCONNECTED
                    number += 1
                    assert number < 1000, "the driver does not come back to its server"
                    await asyncio.sleep(0.05)
        await rig.stop(again.process)

    run(case())


def test_a_frozen_server_is_waited_for(direct: Entry, rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(direct.talks_to))
        async with opened(direct, server.address, lanes=1) as driver:
            rig.signal(server.process, signal.SIGSTOP)
            await until(
                "the server is frozen",
                lambda: psutil.Process(server.process.pid).status() == psutil.STATUS_STOPPED,
            )
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await driver.place(0, order(key()), Call(0))
            rig.signal(server.process, signal.SIGCONT)
            await driver.place(0, order(key()), Call(1))
        await rig.stop(server.process)

    run(case())


def test_nobody_there(direct: Entry, serve: Serve, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = serve(direct.talks_to, 0.0).address.rsplit(":", 1)[0] + f":{port}"

    async def case() -> None:
        driver = make(direct)
        with pytest.raises(DriverError) as caught:
            async with asyncio.timeout(LIMIT_S):
                await driver.open(address, 2, ListSink())
        assert caught.value.failure is Failure.DISCONNECTED
        await driver.close()

    run(case())


def test_garbage_is_an_error_of_the_closed_set(direct: Entry, serve: Serve, run: Run) -> None:
    async def case() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(16)
            writer.write(b"this is no protocol at all\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        address = serve(direct.talks_to, 0.0).address.rsplit(":", 1)[0] + f":{port}"
        driver = make(direct)
        with pytest.raises(DriverError):
            async with asyncio.timeout(LIMIT_S):
                await driver.open(address, 1, ListSink())
                await driver.place(0, order(key()), Call(0))
        await driver.close()
        server.close()
        await server.wait_closed()

    run(case())


def test_closing_twice_and_unopened_is_harmless(entry: Entry, serve: Serve, run: Run) -> None:
    server = serve(entry.talks_to, 0.0)

    async def case() -> None:
        await make(entry).close()
        async with opened(entry, server.address) as driver:
            await driver.close()

    run(case())
