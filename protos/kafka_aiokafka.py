"""Ends of aiokafka's clients, for both sides: bounded, also where the broker is gone; and why it
cannot be used."""

import asyncio
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from protos.broker import BrokerAddress
from protos.kafka import aiokafka_options

CLOSE_LIMIT_S = 2.0
WHY_LIMIT_S = 1.0
_REFUSALS = (
    AuthenticationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)


async def stop_consumer(consumer: Any) -> None:
    """Stop a consumer. Its own `stop` fails half-way when a fetch waits for another try."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        fetches = list(consumer._fetcher._pending_tasks)
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        await consumer._client.close()


async def stop_producer(producer: Any) -> None:
    """Deliver what can be delivered within CLOSE_LIMIT_S, and stop a producer."""
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await producer.stop()
    except TimeoutError:
        await abandon(producer)


async def abandon(producer: Any) -> None:
    """Stop a producer, and fail all that it holds: one that is idempotent never gives up itself."""
    producer._closed = True
    producer._message_accumulator.fail_all(KafkaTimeoutError("not delivered in time"))
    sending = producer._sender.sender_task
    if sending is not None:
        sending.cancel()
        await asyncio.wait({sending}, timeout=CLOSE_LIMIT_S)
    await producer.client.close()
    if sending is not None:
        sending.cancel()
        # Whatever it ends with: it may miss messages that it had under way.
        await asyncio.gather(sending, return_exceptions=True)


async def why(address: BrokerAddress) -> str:
    """Why none of the hosts can be used; empty if one can. The library's own error does not say."""
    reasons = []
    for host in address.hosts:
        name, _, port = host.rpartition(":")
        try:
            options = aiokafka_options(address)
            del options["bootstrap_servers"]
            async with asyncio.timeout(WHY_LIMIT_S):
                connection = await create_conn(name, int(port), **options)
            connection.close()
        except TimeoutError:
            reasons.append("it does not answer")
        except (KafkaError, OSError) as error:
            reasons.append(words_of(error))
    return "; ".join(dict.fromkeys(reasons))


def words_of(error: BaseException) -> str:
    """What an error says, or is."""
    said = str(error) or type(error).__name__
    if isinstance(error, UnsupportedSaslMechanismError):  # it says a connection
        said = "the broker does not offer this mechanism"
    return f"the login was refused ({said})" if isinstance(error, _REFUSALS) else said
