"""What a broker's client library is given for a cell, asked of the code that gives it."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from harness.report import words
from protos import kafka, rabbitmq
from protos.broker import BrokerAddress, Commit, Durability

Pairs = list[tuple[str, str]]

SCHEMES = {"kafka": "kafka", "rabbitmq": "amqp"}
HOST = "broker:0"
READ: Mapping[str, Callable[[str], Any]] = {"durability": Durability, "commit": Commit}


def given_options(style: str, client: str, condition: Mapping[str, Any]) -> Pairs:
    """The producer's options under a condition as run.json has it; none for other styles and for
    libraries that are not known."""
    way = condition.get("broker")
    if not way or style not in SCHEMES:
        return []
    known = {field.name for field in fields(BrokerAddress)}
    options: dict[str, Any] = {k: v for k, v in way.items() if k in known}
    options |= {key: read(options[key]) for key, read in READ.items() if key in options}
    address = BrokerAddress(SCHEMES[style], (HOST,), **options)
    packed = bool(condition.get("compression"))
    match style, client:
        case "kafka", "aiokafka":
            given = kafka.aiokafka_producer(address, packed)
            return _pairs(given, without=kafka.aiokafka_options(address))
        case "kafka", "confluent":
            given = kafka.confluent_producer(address, packed, waiting=0)
            # How many fit its queue is the driver's own matter.
            queue = ("queue.buffering.max.messages",)
            return _pairs(given, without=(*kafka.confluent_options(address), *queue))
        case "rabbitmq", _:
            queues = rabbitmq.queue_options(address)
            confirmed = rabbitmq.confirms(address)
            return _pairs(
                {
                    "publisher confirms": confirmed,
                    "mandatory": address.safe and confirmed,
                    "delivery_mode": rabbitmq.delivery_mode(address),
                    "queues: durable": queues["durable"],
                    **{f"queues: {k}": v for k, v in queues["arguments"].items()},
                }
            )
    return []


def _pairs(given: Mapping[str, Any], without: Any = ()) -> Pairs:
    # A library's own names stay as they are.
    return [(k, words.plain(v, "none")) for k, v in given.items() if k not in without]
