"""Ends of aiokafka's clients, for both sides: bounded, also where the broker is gone."""

import asyncio
import contextlib
from typing import Any

from aiokafka.errors import KafkaError, KafkaTimeoutError

CLOSE_LIMIT_S = 2.0


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
        with contextlib.suppress(asyncio.CancelledError, KafkaError):
            await sending
