"""The rig's real Kafka: it boots, obeys, survives what tests do to it, and leaves nothing."""

import asyncio
import ipaddress
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from harness.rig.broker import Source
from harness.rig.kafka import Kafka, find_kafka, kafka_command, obtain_kafka, start_kafka
from harness.rig.kafka_wire import metadata
from harness.rig.process import Rig, RigError
from tests.support import LIMIT_S, Run, until

SOON_GIVEN_UP = {"broker.session.timeout.ms": "1000", "broker.heartbeat.interval.ms": "250"}


@pytest.fixture(scope="module")
def source() -> Source:
    """Kafka, installed into the cache if it is not there."""
    return obtain_kafka(find_kafka(None))


def _hosts(kafka: Kafka) -> str:
    return kafka.address.partition("://")[2]


async def _create(kafka: Kafka, topic: str, replicas: int) -> None:
    words = ["--bootstrap-server", _hosts(kafka), "--create", "--topic", topic]
    words += ["--partitions", "1", "--replication-factor", str(replicas)]
    argv = kafka_command(kafka.source, "org.apache.kafka.tools.TopicCommand", *words)
    ended = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert f"Created topic {topic}." in ended.stdout, ended.stdout + ended.stderr


async def _send(kafka: Kafka, topic: str, *bodies: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=_hosts(kafka), acks="all", max_request_size=9 << 20
    ) as producer:
        for body in bodies:
            await producer.send_and_wait(topic, body)


async def _held(kafka: Kafka, topic: str) -> int:
    """Messages in partition 0."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=_hosts(kafka)) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets([partition])
    return ends[partition]


@asynccontextmanager
async def _started(
    source: Source, folder: Path, nodes: int = 1, **options: Any
) -> AsyncIterator[Kafka]:
    data = folder / "data"
    data.mkdir()
    async with Rig(folder / "logs") as rig:
        kafka = await start_kafka(rig, source, nodes, fast=True, data=data, **options)
        try:
            pids = list(kafka.pids.values())
            yield kafka
            pids += kafka.pids.values()
        finally:
            await kafka.stop()
        assert list(data.iterdir()) == []
        assert kafka.pids == {}
        assert not any(map(psutil.pid_exists, pids))


def test_one_node(
    run: Run, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with _started(source, tmp_path, properties=SOON_GIVEN_UP) as kafka:
            (pid,) = kafka.pids.values()
            listening = [
                ipaddress.ip_address(c.laddr.ip)
                for c in psutil.Process(pid).net_connections("tcp")
                if c.status == psutil.CONN_LISTEN
            ]
            assert len(listening) == 2
            assert all((getattr(ip, "ipv4_mapped", None) or ip).is_loopback for ip in listening)
            assert kafka.settings["properties"]["broker.session.timeout.ms"] == "1000"

            await _create(kafka, "kept", 1)
            await _send(kafka, "kept", b"small", b"x" * (8 << 20))
            assert await kafka.leader("kept") == "kafka-1"
            with monkeypatch.context() as changed:
                changed.setattr("harness.rig.kafka.LEADER_LIMIT_S", 0.2)
                with pytest.raises(RigError, match="nobody leads partition 0 of 'missing'"):
                    await kafka.leader("missing")

            await kafka.freeze()
            await until(
                "a frozen JVM", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED
            )
            asked = asyncio.create_task(metadata(_hosts(kafka), "kept"))
            await kafka.thaw()
            assert (await asked).leaders == {"kept": {0: 1}}

            with pytest.raises(RigError, match="kafka-1 still runs"):
                await kafka.restart("kafka-1")
            await kafka.kill("kafka-1")
            assert kafka.pids == {}
            await kafka.restart("kafka-1")
            assert kafka.pids["kafka-1"] != pid
            assert await kafka.leader("kept") == "kafka-1"
            assert await _held(kafka, "kept") == 2

    run(scenario())


def test_three_nodes_and_one_that_is_lost(run: Run, source: Source, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _started(source, tmp_path, nodes=3) as kafka:
            assert set(kafka.pids) == {"kafka-1", "kafka-2", "kafka-3"}
            await _create(kafka, "copied", 3)
            await _create(kafka, "single", 1)
            await _send(kafka, "copied", b"1", b"2")
            await _send(kafka, "single", b"1", b"2")
            lost = await kafka.leader("single")
            await kafka.kill(lost, wipe=True)
            assert await kafka.leader("copied") != lost
            await kafka.restart(lost)
            assert await kafka.leader("single") == lost
            assert await _held(kafka, "copied") == 2
            assert await _held(kafka, "single") == 0

    run(scenario())


def test_one_that_does_not_start_says_why_and_leaves_nothing(
    run: Run, source: Source, tmp_path: Path
) -> None:
    async def scenario() -> None:
        wrong = {"log.segment.bytes": "-3"}
        with pytest.raises(RigError, match=r"kafka-1 ended with code 1 .* log\.segment\.bytes"):
            async with _started(source, tmp_path, properties=wrong):
                pass
        assert list((tmp_path / "data").iterdir()) == []

    run(scenario())
