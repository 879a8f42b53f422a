"""RabbitMQ as the harness starts it: one node and three, what listens, and what is left."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import psutil
import pytest
from aio_pika.abc import AbstractChannel

from harness.rig.broker import Source
from harness.rig.process import Rig, RigError
from harness.rig.rabbitmq import RabbitMQ, find_rabbitmq, obtain_rabbitmq, start_rabbitmq
from protos.broker import read_broker
from tests.support import Run, until


@pytest.fixture(scope="module")
def source() -> Source:
    """The machine's own RabbitMQ, or its packages."""
    return obtain_rabbitmq(find_rabbitmq(None))


def family() -> set[psutil.Process]:
    """All that this process has started."""
    return set(psutil.Process().children(recursive=True))


def listening(processes: set[psutil.Process]) -> list[tuple[str, str]]:
    """Who listens where: the process's name, the address."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            name = process.name()
            found += [
                (name, connection.laddr.ip)
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    return found


@contextlib.asynccontextmanager
async def channel(broker: RabbitMQ, node: str) -> AsyncIterator[AbstractChannel]:
    """A client's channel to a node."""
    number = int(node.removeprefix("rabbit"))
    host = read_broker(broker.address).hosts[number - 1]
    async with await aio_pika.connect(f"amqp://guest:guest@{host}/") as connection:
        yield await connection.channel()


async def publish(through: AbstractChannel, queue: str) -> None:
    """Publish a message to a queue, confirmed."""
    message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await through.default_exchange.publish(message, queue)


def test_two_brokers_do_not_meet_and_leave_nothing(
    run: Run, rig: Rig, source: Source, tmp_path: Path
) -> None:
    async def body() -> None:
        before = family()
        one, other = await asyncio.gather(
            start_rabbitmq(rig, source, data=tmp_path), start_rabbitmq(rig, source)
        )
        ours = family() - before
        try:
            assert (tmp_path / "rabbit1").is_dir()
            where = listening(ours)
            # Two virtual machines for clients and for other nodes, two epmd.
            assert [name for name, _ in where].count("beam.smp") == 4
            assert {name for name, _ in where} == {"beam.smp", "epmd"}
            assert all(ipaddress.ip_address(ip).is_loopback for _, ip in where)

            async with channel(one, "rabbit1") as through:
                await through.declare_queue("orders", durable=True)
                assert await one.leader("orders") == "rabbit1"
                with pytest.raises(RigError, match="leads the queue orders"):
                    await other.leader("orders")

                machine = psutil.Process(one.pids["rabbit1"])
                await one.freeze()
                await until("it stands", lambda: machine.status() == psutil.STATUS_STOPPED)
                await one.thaw()
                await publish(through, "orders")
            with pytest.raises(RigError, match="no node rabbit9"):
                await one.kill("rabbit9")
        finally:
            await asyncio.gather(one.stop(), other.stop())
        assert one.pids == {}
        await until("the end of all that they had started", lambda: not ours & family())
        assert list(tmp_path.iterdir()) == []

    run(body())


def test_three_nodes_survive_their_leader_and_take_nodes_back(
    run: Run, rig: Rig, source: Source
) -> None:
    async def body() -> None:
        broker = await start_rabbitmq(rig, source, nodes=3)
        try:
            assert set(broker.pids) == {"rabbit1", "rabbit2", "rabbit3"}
            async with channel(broker, "rabbit2") as through:
                for kind in ("quorum", "classic", "stream"):
                    await through.declare_queue(
                        kind, durable=True, arguments={"x-queue-type": kind}
                    )
                    # A queue is led by the node that its client is at.
                    assert await broker.leader(kind) == "rabbit2"
                await publish(through, "quorum")

            await broker.kill("rabbit2")
            assert set(broker.pids) == {"rabbit1", "rabbit3"}
            assert await broker.leader("quorum") in ("rabbit1", "rabbit3")
            async with channel(broker, "rabbit1") as through:
                queue = await through.get_queue("quorum")
                message = await queue.get(fail=False)
                assert message is not None
                assert message.body == b"kept"
            await broker.restart("rabbit2")
            assert set(broker.pids) == {"rabbit1", "rabbit2", "rabbit3"}
            assert await broker.leader("classic") == "rabbit2"

            await broker.kill("rabbit3", wipe=True)
            await broker.restart("rabbit3")
            async with channel(broker, "rabbit3") as through:
                await through.get_queue("quorum")
        finally:
            await broker.stop()

    run(body())


def test_node_that_cannot_start_is_told_with_its_words(
    run: Run, source: Source, tmp_path: Path
) -> None:
    async def body() -> None:
        blocked = tmp_path / "data"
        (blocked / "rabbit1").mkdir(parents=True)
        (blocked / "rabbit1/rabbit1@localhost").write_text("a file where its folder should be")
        async with Rig(tmp_path / "logs") as rig:
            with pytest.raises(RigError, match=r"rabbitmq-rabbit1 ended with code \d+ before"):
                await start_rabbitmq(rig, source, data=blocked)
            with pytest.raises(RigError, match=r"rabbitmq: .*File exists"):
                (tmp_path / "other").mkdir()
                (tmp_path / "other/rabbit1").touch()
                await start_rabbitmq(rig, source, data=tmp_path / "other")

    run(body())
