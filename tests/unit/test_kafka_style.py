"""The parts of style `kafka` that need no broker."""

import pytest

from clients.base import DriverError, Failure, Milestone
from clients.kafka import Inbox, address_of
from protos.broker import CORRELATION_ID, PROBLEM, Durability
from protos.codecs import JSON
from protos.context import NOTHING, Context
from protos.kafka import (
    aiokafka_options,
    aiokafka_producer,
    by_name,
    confluent_options,
    confluent_producer,
    context_of,
    partition_of,
    read_kafka,
    read_reply_to,
    reply_to,
    request_headers,
)
from servers.kafka_topics import config_of
from servers.kafka_work import Done
from tests.support import ListSink, Run

SECURED = "kafkas://alice:s%40crt@a:9093,b:9093/x?mechanism=SCRAM-SHA-256"


def test_secrets_and_encryption_reach_aiokafka() -> None:
    """User, password, mechanism, TLS and all hosts."""
    options = aiokafka_options(read_kafka(SECURED))
    assert options.pop("ssl_context").check_hostname
    assert options == {
        "bootstrap_servers": ["a:9093", "b:9093"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "alice",
        "sasl_plain_password": "s@crt",
    }


def test_secrets_and_encryption_reach_librdkafka() -> None:
    """The same, in its words."""
    options = confluent_options(read_kafka(f"{SECURED}&ca=/ca.pem"))
    assert options["bootstrap.servers"] == "a:9093,b:9093"
    assert options["security.protocol"] == "SASL_SSL"
    assert options["sasl.mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl.username"], options["sasl.password"]) == ("alice", "s@crt")
    assert options["ssl.ca.location"] == "/ca.pem"


@pytest.mark.parametrize(
    ("durability", "safe", "acks", "idempotent"),
    [
        ("A", 1, 0, False),
        ("B", 1, "all", True),
        ("B", 0, 1, False),
        ("C", 0, "all", True),
        ("D", 1, "all", True),
    ],
)
def test_producers_are_as_safe_as_their_class_allows(
    durability: str, safe: int, acks: int | str, idempotent: bool
) -> None:
    """Both libraries', and what goes with it."""
    how = f"durability={durability}&safe={safe}&linger_ms=5&batch_bytes=131072"
    address = read_kafka(f"kafka://a:1/?{how}")
    of_aiokafka = aiokafka_producer(address, compression=True)
    assert (of_aiokafka["acks"], of_aiokafka["enable_idempotence"]) == (acks, idempotent)
    assert (of_aiokafka["linger_ms"], of_aiokafka["max_batch_size"]) == (5.0, 131_072)
    assert of_aiokafka["compression_type"] == "gzip"
    of_confluent = confluent_producer(address, compression=False, waiting=7)
    assert (of_confluent["acks"], of_confluent["enable.idempotence"]) == (acks, idempotent)
    assert (of_confluent["linger.ms"], of_confluent["batch.size"]) == (5.0, 131_072)
    assert of_confluent["queue.buffering.max.messages"] == 7
    assert of_confluent["compression.type"] == "none"


def test_topics_are_configured_by_their_class() -> None:
    """Nothing, a majority, and a flush of each message."""
    assert config_of(Durability.LEADER) == {}
    assert config_of(Durability.REPLICATED) == {"min.insync.replicas": "2"}
    assert config_of(Durability.FLUSHED) == {"min.insync.replicas": "2", "flush.messages": "1"}


def test_headers_bring_a_context() -> None:
    """What the client knows of a request arrives; nothing is sent of what it does not."""
    context = Context("r-1", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    headers = request_headers(7, b"t:3", b"application/json", context)
    assert context_of(by_name(headers)) == context
    assert by_name(headers)[CORRELATION_ID] == b"7"
    assert context_of(by_name(request_headers(7, b"t:3", b"", NOTHING))) is NOTHING


@pytest.mark.parametrize("text", ["", "topic", "topic:", ":3", "topic:-1", "topic:x"])
def test_what_is_no_place_for_a_reply(text: str) -> None:
    """And what is one."""
    assert read_reply_to(text) is None
    assert read_reply_to(reply_to("a.b", 3).decode()) == ("a.b", 3)


def test_a_key_has_one_partition() -> None:
    """CRC-32 as librdkafka has it, so that all drivers agree."""
    assert [partition_of(b"123456789", n) for n in (1, 4)] == [0, 0xCBF43926 % 4]


def test_only_a_prefix_without_gaps_is_done() -> None:
    """Work ends in any order; what is committed never passes what is not finished."""
    done = Done(5)
    for offset in (5, 6, 7):
        done.begin(offset)
    done.finish(6)
    assert done.next == 5
    done.finish(5)
    assert done.next == 7
    done.finish(7)
    assert done.next == 8
    done.begin(12)
    done.finish(12)
    assert done.next == 13


def test_another_brokers_address_is_refused() -> None:
    """Before anything is connected."""
    with pytest.raises(DriverError) as refused:
        address_of("amqp://a:1/")
    assert refused.value.failure is Failure.PROTOCOL


def test_the_inbox_matches_replies(run: Run) -> None:
    """Refusals and garbage go to who waits; what nobody waits for is late; the rest is ignored."""
    sink = ListSink()

    async def settle() -> list[object]:
        inbox = Inbox(sink, JSON)
        futures = [inbox.expect(operation) for operation in (1, 2, 3)]
        inbox.settle(b"no", {CORRELATION_ID: b"1", PROBLEM: b"invalid_order"})
        inbox.settle(b"{", {CORRELATION_ID: b"2"})
        inbox.settle(b"", {CORRELATION_ID: b"9"})
        inbox.settle(b"", {})
        inbox.fail_all(DriverError(Failure.DISCONNECTED, "gone"))
        return [await future for future in futures]

    results = run(settle())
    assert [r.failure for r in results] == [
        Failure.REJECTED,
        Failure.PROTOCOL,
        Failure.DISCONNECTED,
    ]
    assert results[0].code == "invalid_order"
    assert [(op, milestone) for op, milestone, *_ in sink.arrivals] == [(9, Milestone.DONE)]
