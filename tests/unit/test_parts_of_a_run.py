"""What a run needs beside its services: who stands still meanwhile, and what is missing."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from harness.rig.broker import Source, Unavailable
from harness.rig.obtain import find
from harness.rig.parts import Given, Parts, address_problems, numbered, variable
from harness.rig.process import RigError
from tests.support import Run

SOURCE = Source("kafka", "cache", "1", "here")


class FakeBroker:
    """Remembers what it was told."""

    source = SOURCE
    settings: Mapping[str, Any] = {}

    def __init__(self, part: str, pids: Mapping[str, int]) -> None:
        self.part = part
        self.address = f"{part}://here"
        self.pids = pids
        self.told: list[str] = []

    async def freeze(self) -> None:
        self.told.append("freeze")

    async def thaw(self) -> None:
        self.told.append("thaw")

    async def stop(self) -> None:
        self.told.append("stop")


@pytest.fixture
def both() -> tuple[Parts, FakeBroker, FakeBroker]:
    kafka = FakeBroker("kafka", {"n1": 11, "n2": 12})
    rabbit = FakeBroker("rabbitmq", {"r": 21})
    return Parts({"kafka": kafka, "rabbitmq": rabbit}), kafka, rabbit


Both = tuple[Parts, FakeBroker, FakeBroker]


def test_who_is_not_measured_stands_still(both: Both, run: Run) -> None:
    parts, kafka, rabbit = both

    async def case() -> None:
        assert parts.frozen_pids == {}
        await parts.let_run("kafka")
        await parts.let_run("kafka")
        assert (kafka.told, rabbit.told) == ([], ["freeze"])
        assert parts.frozen_pids == {"rival": 21}
        await parts.let_run("rabbitmq")
        assert (kafka.told, rabbit.told) == (["freeze"], ["freeze", "thaw"])
        assert parts.frozen_pids == {"rival": 11, "rival.2": 12}
        await parts.let_run("")
        assert parts.frozen_pids == {"rival": 11, "rival.2": 12, "rival.3": 21}

    run(case())


def test_what_stands_still_goes_on_before_it_ends(both: Both, run: Run) -> None:
    parts, kafka, rabbit = both

    async def case() -> None:
        await parts.let_run("kafka")
        await parts.stop()

    run(case())
    assert (kafka.told, rabbit.told) == (["stop"], ["freeze", "thaw", "stop"])
    assert parts.running == {}


def test_what_is_missing_says_why(run: Run) -> None:
    why = Unavailable("kafka", "there is no Java", "install one")
    parts = Parts(missing={"kafka": why})
    with pytest.raises(RigError, match="kafka: there is no Java; install one"):
        parts.broker("kafka")
    with pytest.raises(RigError, match="redis was not started"):
        parts.address("redis")


def test_nothing_is_killed_that_was_not_started(run: Run) -> None:
    given = Given(SOURCE, "kafka://user:secret@h:1")

    async def case() -> None:
        for doing in (given.leader("t"), given.kill("n"), given.restart("n")):
            with pytest.raises(RigError, match="kafka was not started by this run"):
                await doing
        await asyncio.gather(given.freeze(), given.thaw(), given.stop())

    run(case())
    assert given.pids == {}


def test_every_wrong_address_is_said_without_its_secret() -> None:
    problems = address_problems(
        {"kafka": "amqp://u:hunter2@h:1", "rabbitmq": "http://u:hunter2@h", "redis": "nonsense"}
    )
    assert [problem.partition(":")[0] for problem in problems] == ["kafka", "rabbitmq", "redis"]
    assert "rabbitmq" in problems[0]
    assert "amqp" in problems[1]
    assert not any("hunter2" in problem for problem in problems)
    assert address_problems({"kafka": "kafka://h:1", "postgres": "postgresql://h:1/d"}) == []


def test_a_part_that_is_given_needs_nothing() -> None:
    source = find("kafka", "kafkas://user:hunter2@h:1,g:2")
    assert source.origin == "address"
    assert "hunter2" not in source.detail


def test_names() -> None:
    assert variable("rabbitmq") == "ORDERBENCH_RABBITMQ"
    assert numbered("broker", [5, 6, 7]) == {"broker": 5, "broker.2": 6, "broker.3": 7}
    assert numbered("broker", []) == {}
