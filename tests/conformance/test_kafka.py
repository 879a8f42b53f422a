"""Style `kafka` at a real broker: what its drivers and workers do that others do not."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clients.base import Call, DriverError, Failure, Milestone
from clients.kafka_aiokafka import KafkaAiokafka
from clients.kafka_confluent import KafkaConfluent
from harness.rig.kafka import Kafka, find_kafka, obtain_kafka, start_kafka
from harness.rig.process import Process, Rig
from protos.arrivals import ROW
from protos.broker import Commit, Durability
from protos.kafka import read_kafka
from tests.support import LIMIT_S, ListSink, Run, UsePart, order, until

NAMESPACES = (f"s8-{os.getpid()}-{number}" for number in itertools.count())
DRIVERS: dict[str, Any] = {"kafka": KafkaAiokafka, "kafka-confluent": KafkaConfluent}


@pytest.fixture
def kafka(part: UsePart) -> Kafka:
    """The session's, of one node."""
    broker: Kafka = part("kafka")
    return broker


@pytest.fixture(params=list(DRIVERS))
def style(request: pytest.FixtureRequest) -> str:
    """The worker that goes with each driver."""
    found: str = request.param
    return found


async def hear(process: Process) -> dict[str, Any] | None:
    """The next message of a worker."""
    async with asyncio.timeout(LIMIT_S):
        return await process.hear()


@contextlib.asynccontextmanager
async def workers(
    rig: Rig, style: str, target: str, *words: str, count: int = 1, changes: bool = False
) -> AsyncIterator[list[Process]]:
    """Workers that are ready, ended afterwards."""
    started: list[Process] = []
    env = {"ORDERBENCH_BROKER": target, "ORDERBENCH_CHANGES": str(int(changes))}
    try:
        for number in range(count):
            argv = [sys.executable, "-m", "servers", style, "--worker", str(number), *words]
            started.append(await rig.spawn(f"worker-{style}", argv, env=env))
        for process in started:
            ready = await hear(process)
            assert ready is not None
            assert ready["address"] == target
        yield started
    finally:
        for process in started:
            await rig.stop(process)


@contextlib.asynccontextmanager
async def driver(style: str, target: str, sink: ListSink) -> AsyncIterator[Any]:
    """A driver that is open."""
    opened = DRIVERS[style]()
    await opened.open(target, 1, sink)
    try:
        yield opened
    finally:
        await opened.close()


async def drained(process: Process, path: Path, again: bool = False) -> dict[str, Any]:
    """What a worker says when nothing is left, and the rows that it left behind."""
    how = {"event": "drain", "limit_s": LIMIT_S, "arrivals": str(path), "read_again": again}
    process.say(json.dumps(how) + "\n")
    said = await hear(process)
    assert said is not None
    return {**said, "rows": list(ROW.iter_unpack(path.read_bytes()))}


def fresh(kafka: Kafka, **options: Any) -> str:
    """An address with a namespace of its own."""
    given = {"namespace": next(NAMESPACES), **options}
    return str(read_kafka(kafka.address).with_options(**given))


@pytest.mark.parametrize("durability", ["A", "B"])
def test_orders_are_answered(run: Run, rig: Rig, kafka: Kafka, style: str, durability: str) -> None:
    """One at its price, a refusal, and sixteen at once; acknowledged unless the class has none."""
    sink = ListSink()
    target = fresh(kafka, durability=Durability(durability))

    async def ask() -> None:
        async with workers(rig, style, target), driver(style, target, sink) as opened:
            first = await opened.place(0, order("k-1", items=3), Call(1))
            assert first.total_cents == 1500
            assert first.processed_ns
            with pytest.raises(DriverError) as refused:
                await opened.place(0, order("k-2", quantity=-1), Call(2))
            assert (refused.value.failure, refused.value.code) == (
                Failure.REJECTED,
                "invalid_order",
            )
            answers = await asyncio.gather(
                *(opened.place(0, order(f"k-{n}"), Call(n)) for n in range(3, 19))
            )
            assert [a.idempotency_key for a in answers] == [f"k-{n}" for n in range(3, 19)]
            if durability == "B":
                await until("18 acknowledgements", lambda: len(sink.arrivals) == 18)

    run(ask())
    assert {m for _, m, *_ in sink.arrivals} == ({Milestone.ACKED} if durability == "B" else set())


def test_a_late_reply_goes_to_the_sink(run: Run, rig: Rig, kafka: Kafka, style: str) -> None:
    """An operation that was cancelled is answered all the same, and the driver goes on."""
    sink, target = ListSink(), fresh(kafka)

    async def ask() -> None:
        async with (
            workers(rig, style, target, "--service-time-ms", "300"),
            driver(style, target, sink) as opened,
        ):
            given_up = asyncio.create_task(opened.place(0, order("late"), Call(1)))
            await until("an acknowledgement", lambda: bool(sink.arrivals))
            given_up.cancel()
            await until(
                "the late reply",
                lambda: (1, Milestone.DONE) in [(op, m) for op, m, *_ in sink.arrivals],
            )
            assert (await opened.place(0, order("next"), Call(2))).total_cents == 500

    run(ask())


@pytest.mark.parametrize("commit", ["batch", "each", "auto"])
def test_ingest_arrives_once_and_intact(
    run: Run, rig: Rig, kafka: Kafka, style: str, commit: str, tmp_path: Path
) -> None:
    """Two workers share what a paused one and its fellow find; all can be read again."""
    count = 5000 if commit == "batch" else 300
    sink, target = ListSink(), fresh(kafka, commit=Commit(commit))

    async def fire() -> tuple[int, list[dict[str, Any]]]:
        async with (
            workers(rig, style, target, "--paused", count=2) as started,
            driver(style, target, sink) as opened,
        ):
            orders = [(order(f"k-{n}"), Call(n)) for n in range(count)]
            for begin in range(0, count, 100):
                await opened.submit(orders[begin : begin + 100])
            await until(f"{count} acknowledgements", lambda: len(sink.arrivals) == count)
            found = await asyncio.gather(
                *(drained(p, tmp_path / str(n), True) for n, p in enumerate(started))
            )
            return opened.producer, found

    producer, found = run(fire())
    assert not sink.failures
    assert sorted(op for op, *_ in sink.arrivals) == list(range(count))
    rows = [row for one in found for row in one["rows"]]
    assert sorted(row[1] for row in rows) == list(range(count))
    assert {(row[0], row[5]) for row in rows} == {(producer, 1)}
    assert all(one["rows"] for one in found)
    assert [one["received"] for one in found] == [len(one["rows"]) for one in found]
    assert sum(one["read_again"] for one in found) == count
    assert {one["left"] for one in found} == {0}
    assert all(one["lag"] for one in found)


def test_what_nobody_acknowledges_is_sent(
    run: Run, rig: Rig, kafka: Kafka, style: str, tmp_path: Path
) -> None:
    """Class A: handed over, and no more is known."""
    sink, target = ListSink(), fresh(kafka, durability=Durability.NONE)

    async def fire() -> dict[str, Any]:
        async with workers(rig, style, target) as started, driver(style, target, sink) as opened:
            await opened.submit([(order(f"k-{n}"), Call(n)) for n in range(100)])
            await until("100 handed over", lambda: len(sink.arrivals) == 100)
            return await drained(started[0], tmp_path / "rows")

    assert run(fire())["received"] == 100
    assert {m for _, m, *_ in sink.arrivals} == {Milestone.SENT}


def test_a_message_that_is_too_large(run: Run, rig: Rig, kafka: Kafka, style: str) -> None:
    """Is refused by its name, asked or fired, and the driver goes on."""
    sink, target = ListSink(), fresh(kafka)

    async def ask() -> None:
        large = order("large")
        large.attachment = bytes(2_000_000)
        async with workers(rig, style, target), driver(style, target, sink) as opened:
            with pytest.raises(DriverError) as refused:
                await opened.place(0, large, Call(1))
            assert (refused.value.failure, refused.value.code) == (Failure.REJECTED, "too_large")
            await opened.submit([(large, Call(2))])
            assert [(op, e.code) for op, e in sink.failures] == [(2, "too_large")]
            assert (await opened.place(0, order("k"), Call(3))).total_cents == 500

    run(ask())


def test_nobody_at_the_address(run: Run, style: str) -> None:
    """Is said in bounded time, with the address."""

    async def open_it() -> None:
        async with asyncio.timeout(LIMIT_S):
            await DRIVERS[style]().open("kafka://127.0.0.1:1/x", 1, ListSink())

    with pytest.raises(DriverError, match=r"127\.0\.0\.1:1") as refused:
        run(open_it())
    assert refused.value.failure is Failure.DISCONNECTED


def test_a_missing_topic_is_named(run: Run, rig: Rig, kafka: Kafka, style: str) -> None:
    """By the driver, and by the worker, which does not start."""
    target = fresh(kafka, create=False)

    async def open_it() -> None:
        env = {"ORDERBENCH_BROKER": target}
        worker = await rig.spawn("worker", [sys.executable, "-m", "servers", style], env=env)
        assert await hear(worker) is None
        assert await rig.stop(worker) != 0
        await DRIVERS[style]().open(target, 1, ListSink())

    with pytest.raises(DriverError, match=r"no such topic: .*\.orders") as refused:
        run(open_it())
    assert refused.value.failure is Failure.PROTOCOL


def test_three_watch(run: Run, rig: Rig, kafka: Kafka) -> None:
    """Each sees every change once; one that hangs sees none."""
    sink, target = ListSink(), fresh(kafka)

    async def look() -> None:
        async with (
            workers(rig, "kafka", target, changes=True),
            driver("kafka", target, sink) as opened,
        ):
            for lane in (1, 2, 3):
                await opened.watch(lane)
            await opened.watch(4, reads=False)
            for number in range(5):
                await opened.place(0, order(f"k-{number}"), Call(number))
            await until("15 sightings", lambda: len(sink.sightings) == 15)

    run(look())
    seen = sorted((lane, update.idempotency_key) for update, lane, _ in sink.sightings)
    assert seen == [(lane, f"k-{number}") for lane in (1, 2, 3) for number in range(5)]


def test_a_broker_that_dies(run: Run, rig: Rig, style: str) -> None:
    """What waits is told that it is disconnected, and the driver can be closed."""
    sink = ListSink()

    async def ask() -> None:
        broker = await start_kafka(rig, obtain_kafka(find_kafka(None)), fast=True)
        try:
            target = fresh(broker)
            async with (
                workers(rig, style, target, "--service-time-ms", "600000"),
                driver(style, target, sink) as opened,
            ):
                waits = asyncio.create_task(opened.place(0, order("k"), Call(1)))
                await until("an acknowledgement", lambda: bool(sink.arrivals))
                await broker.kill(next(iter(broker.pids)))
                with pytest.raises(DriverError) as failed:
                    async with asyncio.timeout(LIMIT_S):
                        await waits
                assert failed.value.failure is Failure.DISCONNECTED
        finally:
            await broker.stop()

    run(ask())
