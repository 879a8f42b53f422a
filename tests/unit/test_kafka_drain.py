"""When a worker at Kafka says that it has taken everything."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from orders.samples import sample_orders
from orders.service import OrderService
from orders.store import MemoryStore
from protos.broker import BrokerAddress
from protos.codecs import JSON
from protos.kafka import Headers
from protos.stamp import STAMP, stamp
from servers import kafka_work
from servers.base import Bind, Desk, Drain
from servers.kafka_work import Record, Work
from tests.support import Run

BODY = JSON.encode_order(sample_orders(1, 1)[0])


class SlowLog:
    """A partition 0 of two messages, which come only after the broker said that they are there."""

    def __init__(self, answer_s: float) -> None:
        self._answer_s = answer_s
        self.answered = asyncio.Event()

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """See Log."""

    async def ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """See Log."""
        await asyncio.sleep(self._answer_s)
        self.answered.set()
        return {0: 2}

    def ends_seen(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """See Log."""
        return {}

    async def count(self, ends: Mapping[int, int], limit_s: float) -> int:
        """See Log."""
        return 0

    async def send(
        self, topic: str, partition: int | None, key: bytes | None, value: bytes, headers: Headers
    ) -> None:
        """See Log."""

    def resume(self) -> None:
        """See Log."""


def test_time_in_which_the_broker_did_not_answer_was_not_quiet(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 5, ledger: consumers are drained before the count."""
    monkeypatch.setattr(kafka_work, "QUIET_S", 0.05)

    async def drained() -> tuple[int | None, int]:
        broker = SlowLog(answer_s=0.1)
        desk = Desk(OrderService(MemoryStore()))
        work = Work(desk, Bind(), BrokerAddress("kafka", ("h:1",)), broker)
        work.assign({0: 0})
        draining = asyncio.create_task(work.drain(Drain(30.0, str(tmp_path / "arrivals"))))
        await broker.answered.wait()
        await asyncio.sleep(0.01)
        headers = [{STAMP: stamp(1, sequence, BODY)} for sequence in range(2)]
        await work.take(Record(0, n, BODY, each) for n, each in enumerate(headers))
        said = await draining
        return said.left, said.received

    assert run(drained()) == (0, 2)
