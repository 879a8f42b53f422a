"""Brokers that are unfit: what a run says of them, what it still measures, and that it ends."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from harness.rig import kafka as kafka_rig
from harness.rig.kafka import Kafka, find_kafka, obtain_kafka, start_kafka
from harness.rig.process import Rig
from harness.rig.rabbitmq import RabbitMQ, find_rabbitmq, obtain_rabbitmq, start_rabbitmq
from orders.samples import sample_orders
from tests.live.support import ROOT, balanced, bench, bench_done, marked
from tests.live.test_brokers import scenario
from tests.live.test_runs import codes, summary
from tests.support import LIMIT_S, Run, until

USER, SECRET, WRONG = "worker", "open-sesame", "open-barley"
LARGEST = 20_000
"""Bytes of a message that the brokers of this module take."""
HEAD = """
question = "What if the broker is unfit?"
repeats = 1
warm_up_s = 0.2
load = { model = "constant", rate = 50 }
"""
PLACES = f"""{HEAD}
styles = ["rest", "kafka", "kafka:confluent", "rabbitmq", "rabbitmq:asyncio"]
duration_s = 1.0
timeout_s = 10.0
broker = {{ warm_up_s = 0.0 }}
"""
PROPERTIES = {
    "listener.security.protocol.map": (
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT"
    ),
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
    "listener.name.login.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required"
        f' user_{USER}="{SECRET}";'
    ),
    "listener.name.login.scram-sha-256.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "message.max.bytes": str(LARGEST),
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "250",
}


class KafkaWithLogin(Kafka):
    """Its node has a second listener, that asks who comes."""

    login_port = 0

    def _properties(self, node: Any) -> dict[str, str]:
        properties = super()._properties(node)
        if not self.login_port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.login_port = free.getsockname()[1]
        for name in ("listeners", "advertised.listeners"):
            properties[name] += f",LOGIN://127.0.0.1:{self.login_port}"
        return properties


@pytest.fixture(scope="module")
def kafka(runner: asyncio.Runner, rig: Rig) -> Iterator[KafkaWithLogin]:
    """Takes small messages only; knows USER."""
    source = obtain_kafka(find_kafka(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_rig, "Kafka", KafkaWithLogin)
        broker = runner.run(start_kafka(rig, source, fast=True, properties=PROPERTIES))
    assert isinstance(broker, KafkaWithLogin)
    admin = AdminClient({"bootstrap.servers": broker.address.partition("://")[2]})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    user = UserScramCredentialUpsertion(USER, info, SECRET.encode())
    for told in admin.alter_user_scram_credentials([user]).values():
        told.result(LIMIT_S)
    yield broker
    runner.run(broker.stop())


@pytest.fixture(scope="module")
def rabbitmq(runner: asyncio.Runner, rig: Rig) -> Iterator[RabbitMQ]:
    """Takes small messages only."""
    broker = runner.run(start_rabbitmq(rig, obtain_rabbitmq(find_rabbitmq(None))))
    setting = f"application:set_env(rabbit, max_message_size, {LARGEST})"
    runner.run(broker._ask(broker._any(), setting))
    yield broker
    runner.run(broker.stop())


def login(broker: KafkaWithLogin, password: str, mechanism: str = "PLAIN") -> str:
    """The address that asks who comes."""
    return f"kafka://{USER}:{password}@127.0.0.1:{broker.login_port}?mechanism={mechanism}"


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    code: int
    said: str
    folder: Path

    @property
    def cells(self) -> dict[str, Any]:
        """By the variant's name without the server's, as in `kafka:confluent`."""
        found = summary(self.folder)["cells"]
        assert balanced(summary(self.folder)), found
        for cell in found:
            assert "accounts" not in codes(cell), cell
        return {cell["variant"].partition("+")[0]: cell for cell in found}


def ended(folder: Path, text: str, *words: str, env: dict[str, str] | None = None) -> Ended:
    """Run a scenario to its end."""
    out = folder / "run"
    code, said, err = bench_done("run", scenario(folder, text), "--out", str(out), *words, env=env)
    assert "Traceback" not in said + err
    return Ended(code, said + err, out)


def measured(cell: dict[str, Any]) -> bool:
    """Whether a cell has figures that can be used."""
    return cell["verdict"]["status"] in {"valid", "qualified"} and cell["counts"]["done"] > 0


def detail(cell: dict[str, Any]) -> str:
    """Why its only trial failed."""
    (reason,) = cell["verdict"]["reasons"]
    assert reason["code"] == "trial_failed"
    return str(reason["detail"])


def files_with(folder: Path, secret: str) -> list[str]:
    """Files below a folder in which a text stands."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_a_wrong_password_is_said_and_kept_secret(
    kafka: KafkaWithLogin, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    host = rabbitmq.address.rpartition("@")[2]
    env = {
        "ORDERBENCH_KAFKA": login(kafka, WRONG),
        "ORDERBENCH_RABBITMQ": f"amqp://guest:{WRONG}@{host}",
    }
    run = ended(tmp_path, PLACES, env=env)
    print(run.said)
    assert run.code == 1
    where = {"kafka": f"127.0.0.1:{kafka.login_port}", "rabbitmq": host}
    for name, cell in run.cells.items():
        if name.startswith("rest"):
            assert measured(cell)
            continue
        assert where[cell["style"]] in detail(cell)
        assert "login was refused" in detail(cell)
    assert WRONG not in run.said
    assert not files_with(run.folder, WRONG)
