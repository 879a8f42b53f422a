"""A librdkafka producer and the thread that hears what became of its messages, for both sides."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, Producer

POLL_S = 0.1


class Producing:
    """A producer whose callbacks are called by a thread of its own."""

    def __init__(self, options: Mapping[str, Any], rest_s: float = 0.0) -> None:
        """`options` are librdkafka's; see protos.kafka.confluent_producer.

        A thread that hears of every message at once takes the interpreter from who works: where
        nobody waits for it, it may rest for `rest_s` seconds between.
        """
        self._rest_s = rest_s
        self.producer = Producer(dict(options))
        self._closing = False
        self._thread = threading.Thread(target=self._poll, name="kafka-deliveries", daemon=True)
        self._thread.start()

    def close(self, limit_s: float) -> None:
        """Deliver what can be delivered within `limit_s` seconds, give up the rest, and end the
        thread; blocks."""
        self.producer.flush(limit_s)
        self.producer.purge()
        self.producer.flush(limit_s)
        self._closing = True
        self._thread.join()

    def _poll(self) -> None:
        while not self._closing:
            self.producer.poll(POLL_S)
            if self._rest_s:
                time.sleep(self._rest_s)


GONE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._SSL,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)
"""Codes that mean that there is no broker, or not enough of them."""
REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)
"""Codes that mean that a broker does not let this client in."""
