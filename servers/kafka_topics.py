"""The topics of a trial: made by whichever worker comes first, or only looked for."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from protos.broker import BrokerAddress, Durability
from protos.kafka import aiokafka_options
from protos.kafka_aiokafka import why, words_of

SEEN_LIMIT_S = 10.0
"""How long a topic may take from being made to being known."""


class TopicsError(Exception):
    """Topics that are missing or cannot be made; the text names them, or the broker that cannot be
    asked."""


def names(address: BrokerAddress) -> tuple[str, str, str]:
    """The topics of an address."""
    return address.orders, address.replies_to, address.changes


def config_of(durability: Durability) -> Mapping[str, str]:
    """What a topic of a class is configured with."""
    config = {}
    if durability.nodes > 1:
        config["min.insync.replicas"] = "2"
    if durability is Durability.FLUSHED:
        config["flush.messages"] = "1"
    return config


async def prepare(address: BrokerAddress) -> None:
    """Make the topics that are missing, where the address says so, and see that all are there.

    Raises TopicsError, also if the broker cannot be reached, and KafkaError.
    """
    admin = AIOKafkaAdminClient(**aiokafka_options(address))
    try:
        try:
            await admin.start()
        except KafkaError as error:
            said = await why(address) or words_of(error)
            raise TopicsError(f"{', '.join(address.hosts)}: {said}") from None
        if address.create:
            await _make(admin, address)
        loop = asyncio.get_running_loop()
        end = loop.time() + (SEEN_LIMIT_S if address.create else 0.0)
        while missing := set(names(address)) - set(await admin.list_topics()):
            if loop.time() >= end:
                raise TopicsError(f"no such topic: {', '.join(sorted(missing))}")
            await asyncio.sleep(0.05)
        await _stand(admin, address)
    finally:
        await admin.close()


async def _make(admin: Any, address: BrokerAddress) -> None:
    nodes = address.durability.nodes
    config = config_of(address.durability)
    answer = await admin.create_topics(
        [NewTopic(name, address.partitions, nodes, topic_configs=config) for name in names(address)]
    )
    for name, code, *words in answer.topic_errors:
        error: type[KafkaError] = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            said = words[0] if words and words[0] else error.__name__
            raise TopicsError(f"topic {name} cannot be made: {said}")


async def _stand(admin: Any, address: BrokerAddress) -> None:
    """Wait until every partition has a leader that answers."""
    consumer = AIOKafkaConsumer(**aiokafka_options(address), group_id=None)
    try:
        await consumer.start()
        await consumer.end_offsets(
            [
                TopicPartition(topic["topic"], partition["partition"])
                for topic in await admin.describe_topics(list(names(address)))
                for partition in topic["partitions"]
            ]
        )
    finally:
        await consumer.stop()
