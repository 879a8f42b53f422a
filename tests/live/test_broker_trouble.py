"""Brokers that are unfit: what a run says of them, what it still measures, and that it ends."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from harness.rig import kafka as kafka_rig
from harness.rig.kafka import Kafka, find_kafka, obtain_kafka, start_kafka
from harness.rig.process import Rig
from harness.rig.rabbitmq import RabbitMQ, find_rabbitmq, obtain_rabbitmq, start_rabbitmq
from tests.live.support import MARK, ROOT, balanced, bench, bench_done, marked
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
        f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{SECRET}";'
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
    let_in(broker)
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


def let_in(broker: Kafka) -> None:
    """Make USER known by SCRAM too."""
    admin = AdminClient({"bootstrap.servers": broker.address.partition("://")[2]})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    user = UserScramCredentialUpsertion(USER, info, SECRET.encode())
    for told in admin.alter_user_scram_credentials([user]).values():
        told.result(LIMIT_S)


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
    assert run.code == 1
    where = {"kafka": f"127.0.0.1:{kafka.login_port}", "rabbitmq": host}
    for name, cell in run.cells.items():
        if name.startswith("rest"):
            assert measured(cell)
            continue
        assert where[cell["style"]] in detail(cell)
        assert "login was refused" in detail(cell).lower()
    assert WRONG not in run.said
    assert not files_with(run.folder, WRONG)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_the_right_password_opens(kafka: KafkaWithLogin, tmp_path: Path, mechanism: str) -> None:
    words = ["--styles", "kafka,kafka:confluent"]
    env = {"ORDERBENCH_KAFKA": login(kafka, SECRET, mechanism)}
    run = ended(tmp_path, PLACES, *words, env=env)
    assert run.code == 0, run.said
    for cell in run.cells.values():
        assert cell["counts"]["done"] == cell["counts"]["planned"] > 0
    assert SECRET not in run.said
    assert not files_with(run.folder, SECRET)


def test_missing_topics_and_queues_are_named(
    kafka: KafkaWithLogin, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    words = ["--kafka", f"{kafka.address}/absent?create=0"]
    words += ["--rabbitmq", f"{rabbitmq.address}/absent?create=0"]
    run = ended(tmp_path, PLACES, *words)
    assert run.code == 1
    for name, cell in run.cells.items():
        if name.startswith("rest"):
            assert measured(cell)
        else:
            missing = "no such topic: absent" if cell["style"] == "kafka" else "no queue 'absent"
            assert missing in detail(cell)
            assert ".orders" in detail(cell)


LARGE = """
operation = "{operation}"
styles = {styles}
duration_s = 1.0
timeout_s = 10.0
broker = {{ warm_up_s = 0.0 }}
order = {{ file = "{file}" }}
"""


@pytest.mark.parametrize(
    ("operation", "styles"),
    [("place", ["kafka", "rabbitmq:asyncio"]), ("ingest", ["kafka:confluent", "rabbitmq"])],
)
def test_an_oversized_message_is_refused_and_others_go_on(
    kafka: KafkaWithLogin, rabbitmq: RabbitMQ, tmp_path: Path, operation: str, styles: list[str]
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("".join(f"{json.dumps(order_of(items))}\n" for items in [1] * 9 + [1000]))
    text = HEAD + LARGE.format(operation=operation, styles=json.dumps(styles), file=file)
    run = ended(tmp_path, text, "--kafka", kafka.address, "--rabbitmq", rabbitmq.address)
    assert run.code == 1
    for name, cell in run.cells.items():
        counts = cell["counts"]
        large = counts["planned"] // 10
        reasons = {r["code"]: r["detail"] for r in cell["verdict"]["reasons"]}
        assert reasons["rejected"].startswith(f"{large} of {counts['sent']} operations: ")
        assert "large" in reasons["rejected"]
        # RabbitMQ closes the channel, with which others may be lost that were on their way.
        lost = counts["failed"] - large
        assert (lost > 0) == ("disconnected" in reasons)
        assert counts["done"] == counts["planned"] - counts["failed"] > large
        if name.startswith("kafka"):
            assert not lost
        if operation == "ingest":
            assert cell["ledger"]["refused"] >= large
            assert cell["ledger"]["lost_acknowledged"] == 0


def order_of(items: int) -> dict[str, Any]:
    """An order of so many lines, as files of orders have them."""
    line = {"sku": "SKU-12345", "quantity": 1, "unit_price_cents": 100}
    return {"customer_id": "customer-1", "items": [line] * items}


TROUBLED = """
question = "What if the broker is unfit?"
operation = "{operation}"
styles = ["rest", "kafka:{kafka}", "rabbitmq:{rabbitmq}"]
repeats = 1
warm_up_s = 0.2
duration_s = 3.0
timeout_s = 2.0
load = {{ model = "constant", rate = 100 }}
broker = {{ warm_up_s = 0.0 }}
{more}
"""
PARTITIONS = 4
"""As scenarios have them when they say nothing."""
ENOUGH = 90
"""Messages that a broker has got when a trial is past its warm-up; replies count in RabbitMQ."""


async def kafka_got(broker: Kafka) -> int:
    """Messages in all topics of orders."""
    hosts = broker.address.partition("://")[2]
    async with AIOKafkaConsumer(bootstrap_servers=hosts) as consumer:
        places = [
            TopicPartition(topic, partition)
            for topic in await consumer.topics()
            if topic.endswith(".orders")
            for partition in range(PARTITIONS)
        ]
        return sum((await consumer.end_offsets(places)).values()) if places else 0


async def rabbitmq_got(broker: RabbitMQ) -> int:
    """Messages that came since it was started."""
    counters = "maps:get([{protocol, amqp091}], rabbit_global_counters:overview(), #{})"
    expression = f"maps:get(messages_received_total, {counters}, 0)"
    return int(await broker._ask(broker._any(), expression))


async def when_busy(
    broker: Any,
    got: Callable[[Any], Coroutine[Any, Any, int]],
    hit: Callable[[], Any],
    run: "subprocess.Popen[str]",
) -> None:
    """Do something to a broker once a trial is well under way there."""
    before = await got(broker)
    try:
        async with asyncio.timeout(2 * LIMIT_S):
            while await got(broker) < before + ENOUGH:
                assert run.poll() is None, f"the run ended before {broker.part} was busy"
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{broker.part} never got {ENOUGH} messages") from None
    await hit()


async def hit_when_busy(
    kafka: Kafka, rabbitmq: RabbitMQ, how: str, out: Path, text: str
) -> tuple[int, str]:
    """Run a scenario in the middle of whose trials the brokers freeze or die; exit code and
    words."""

    def hit(broker: Any) -> Callable[[], Any]:
        return broker.freeze if how == "frozen" else lambda: broker.kill(next(iter(broker.pids)))

    mark = uuid.uuid4().hex
    words = ["--kafka", kafka.address, "--rabbitmq", rabbitmq.address, "--out", str(out)]
    process = bench("run", scenario(out.parent, text), *words, mark=mark)
    try:
        await asyncio.gather(
            when_busy(kafka, kafka_got, hit(kafka), process),
            when_busy(rabbitmq, rabbitmq_got, hit(rabbitmq), process),
        )
        said, err = await asyncio.to_thread(process.communicate, timeout=2 * LIMIT_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the run did not end after its brokers were {how}") from None
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    await until("no process of the run is left", lambda: not marked(mark))
    assert "Traceback" not in said + err
    return process.returncode, said + err


@pytest.mark.parametrize(
    ("how", "operation", "one", "other", "more"),
    [
        ("frozen", "ingest", "confluent", "asyncio", "ingest = { drain_limit_s = 2.0 }"),
        ("killed", "place", "aiokafka", "aio-pika", ""),
    ],
    ids=["frozen", "killed"],
)
def test_a_broker_that_stops_in_the_middle(
    kafka: KafkaWithLogin,
    rabbitmq: RabbitMQ,
    run: Run,
    tmp_path: Path,
    how: str,
    operation: str,
    one: str,
    other: str,
    more: str,
) -> None:
    text = TROUBLED.format(operation=operation, kafka=one, rabbitmq=other, more=more)

    async def case() -> Ended:
        names = [(broker, list(broker.pids)) for broker in (kafka, rabbitmq)]
        try:
            ended = await hit_when_busy(kafka, rabbitmq, how, tmp_path / "run", text)
        finally:
            for broker, nodes in names:
                for node in nodes:
                    if node not in broker.pids:
                        await broker.restart(node)
                await broker.thaw()
        return Ended(*ended, tmp_path / "run")

    ended = run(case())
    assert ended.code == 1, ended.said
    for name, cell in ended.cells.items():
        if name.startswith("rest"):
            assert measured(cell) or operation == "ingest"
            continue
        counts, found = cell["counts"], codes(cell)
        assert counts["done"] > 0, (name, cell["verdict"])
        assert counts["failed"] + counts["timed_out"] > 0
        assert found & {"disconnected", "stopped_answering"}, found
        if how == "killed" and operation == "place":
            assert "disconnected" in found
        if operation == "ingest":
            # At a broker that does not answer more than nothing is left, so none is called lost.
            assert "undrained" in found
            assert "lost" not in found, cell["verdict"]


FULL = """
question = "What if the disk is full?"
operation = "ingest"
styles = ["{variant}"]
repeats = 1
warm_up_s = 0.2
duration_s = 3.0
timeout_s = 4.0
load = {{ model = "constant", rate = 100 }}
order = {{ attachment_bytes = 200000 }}
broker = {{ warm_up_s = 0.0 }}
ingest = {{ drain_limit_s = 5.0, consume = "{consume}" }}
"""


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "orderbench", str(folder)]
    subprocess.run(words, check=True, timeout=LIMIT_S)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=LIMIT_S)


def as_root(test: str) -> bool:
    """Whether this process may mount; else the test is run again by one that may."""
    if os.geteuid() == 0:
        return True
    words = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", f"{__file__}::{test}"]
    ended = subprocess.run(
        words, check=False, cwd=ROOT, capture_output=True, text=True, timeout=5 * LIMIT_S
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return False


# A Kafka halts when its disk is full; a RabbitMQ blocks publishers when less than 50 MB are free.
@pytest.mark.parametrize(
    ("variant", "size", "consume"),
    [("kafka:confluent", "32m", "during"), ("rabbitmq:asyncio", "64m", "after")],
)
def test_a_full_disk_under_the_broker(
    runner: asyncio.Runner, rig: Rig, tmp_path: Path, variant: str, size: str, consume: str
) -> None:
    if not as_root(f"test_a_full_disk_under_the_broker[{variant}-{size}-{consume}]"):
        return
    name = variant.partition(":")[0]

    async def started(place: Path) -> Any:
        if name == "kafka":
            return await start_kafka(rig, obtain_kafka(find_kafka(None)), fast=True, data=place)
        return await start_rabbitmq(rig, obtain_rabbitmq(find_rabbitmq(None)), data=place)

    mark = uuid.uuid4().hex
    with small_disk(tmp_path / "disk", size) as place:
        broker = runner.run(started(place))
        try:
            text = FULL.format(variant=variant, consume=consume)
            run = ended(tmp_path, text, f"--{name}", broker.address, env={MARK: mark})
        finally:
            runner.run(broker.stop())
    runner.run(until("no process of the run is left", lambda: not marked(mark)))
    (cell,) = run.cells.values()
    assert run.code == int(cell["verdict"]["status"] == "failed"), run.said
    kept, counts = cell["ledger"], cell["counts"]
    assert kept["sent"] > kept["acknowledged"] > 0
    assert counts["failed"] + counts["timed_out"] > 0
    assert [kept["corrupted"], kept["unexpected"]] == [0, 0]
    if name == "kafka":
        assert {"undrained"} <= codes(cell)
        assert run.code == 1
    else:
        assert kept["lost_acknowledged"] == 0
        assert kept["arrived"] >= kept["acknowledged"]
        assert "low on disk" in str(cell["verdict"]["reasons"])
