"""What the ways to talk are known for without a measurement, each statement with its source."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where it is written."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Property:
    """A statement about a style."""

    text: str
    source: Source


AMQP = Source(
    "AMQP 0-9-1 specification", "https://www.amqp.org/specification/0-9-1/amqp-org-download"
)
GRPC_CONCEPTS = Source("gRPC: core concepts", "https://grpc.io/docs/what-is-grpc/core-concepts/")
GRPC_ENCODING = Source(
    "gRPC over HTTP/2", "https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md"
)
GRPC_LANGUAGES = Source("gRPC: supported languages", "https://grpc.io/docs/languages/")
GRPC_LIMITS = Source(
    "gRPC core: default limits",
    "https://github.com/grpc/grpc/blob/master/include/grpc/impl/grpc_types.h",
)
GRPC_WEB = Source("gRPC-Web basics", "https://grpc.io/docs/platforms/web/basics/")
HTML_EVENTS = Source(
    "HTML standard: server-sent events",
    "https://html.spec.whatwg.org/multipage/server-sent-events.html",
)
FETCH = Source("Fetch standard", "https://fetch.spec.whatwg.org/")
HTTP = Source("RFC 9110: HTTP semantics", "https://www.rfc-editor.org/rfc/rfc9110")
HTTP_1 = Source("RFC 9112: HTTP/1.1", "https://www.rfc-editor.org/rfc/rfc9112")
HTTP_2 = Source("RFC 9113: HTTP/2", "https://www.rfc-editor.org/rfc/rfc9113")
KAFKA = Source("Kafka documentation", "https://kafka.apache.org/documentation/")
KAFKA_LIMITS = Source(
    "Kafka: message.max.bytes",
    "https://kafka.apache.org/documentation/#brokerconfigs_message.max.bytes",
)
KAFKA_CLIENTS = Source(
    "Kafka: clients", "https://cwiki.apache.org/confluence/display/KAFKA/Clients"
)
KAFKA_PROTOCOL = Source("Kafka protocol guide", "https://kafka.apache.org/protocol")
PROMISES = Source("durability, below", "#words")
RABBIT_CLIENTS = Source("RabbitMQ: client libraries", "https://www.rabbitmq.com/client-libraries")
RABBIT_CONFIGURE = Source("RabbitMQ: configuration", "https://www.rabbitmq.com/docs/configure")
RABBIT_QUEUES = Source("RabbitMQ: queues", "https://www.rabbitmq.com/docs/queues")
RABBIT_WEB = Source("RabbitMQ: Web STOMP", "https://www.rabbitmq.com/docs/web-stomp")
WEBHOOKS = Source("Standard Webhooks", "https://www.standardwebhooks.com/")
WEBSOCKET = Source("RFC 6455: WebSocket", "https://www.rfc-editor.org/rfc/rfc6455")
ZMTP = Source("ZMTP 3.1", "https://rfc.zeromq.org/spec/37/")
ZEROMQ_LANGUAGES = Source("ZeroMQ: languages", "https://zeromq.org/get-started/")

_ANY_HTTP = Property("any with an HTTP client", HTTP)
_ONE_BY_ONE = "one exchange at a time on a connection, no order between connections"
_NO_BROKER = Property(
    "class A with orders in memory; on one node's disk before the answer with PostgreSQL", PROMISES
)
_BROKER = Property("what its class promises, A to D", PROMISES)

_HTTP_1: Mapping[str, Property] = {
    "order": Property(_ONE_BY_ONE, HTTP_1),
    "payload": Property("no limit in the protocol", HTTP),
    "browser": Property("yes: fetch", FETCH),
    "languages": _ANY_HTTP,
    "survive": _NO_BROKER,
    "standard": Property("RFC 9110 and 9112, and JSON", HTTP_1),
}
_GRPC: Mapping[str, Property] = {
    "survive": _NO_BROKER,
    "payload": Property("4 MiB a message received, unless raised", GRPC_LIMITS),
    "browser": Property("only through a proxy that speaks gRPC-Web", GRPC_WEB),
    "languages": Property("generated for about a dozen", GRPC_LANGUAGES),
    "standard": Property(
        "documented, over HTTP/2 (RFC 9113); no standard of its own", GRPC_ENCODING
    ),
}

PROPERTIES: Mapping[str, Mapping[str, Property]] = {
    "rest": _HTTP_1,
    "rest-h2": {
        **_HTTP_1,
        "order": Property("none between the streams of a connection", HTTP_2),
        "browser": Property("yes, with TLS", FETCH),
        "standard": Property("RFC 9110 and 9113, and JSON", HTTP_2),
    },
    "grpc-unary": {**_GRPC, "order": Property("none between calls", GRPC_CONCEPTS)},
    "grpc-stream": {**_GRPC, "order": Property("kept within a stream", GRPC_CONCEPTS)},
    "websocket": {
        "survive": _NO_BROKER,
        "order": Property("kept on a connection", WEBSOCKET),
        "payload": Property("no limit that matters: a frame may have 2⁶³ bytes", WEBSOCKET),
        "browser": Property("yes: WebSocket", WEBSOCKET),
        "languages": Property("any with a WebSocket library", WEBSOCKET),
        "standard": Property("RFC 6455; what is in the frames is your own", WEBSOCKET),
    },
    "rest-poll": _HTTP_1,
    "sse": {
        **_HTTP_1,
        "order": Property("kept on a stream, and resumed by Last-Event-ID", HTML_EVENTS),
        "payload": Property("no limit; events are UTF-8 text", HTML_EVENTS),
        "browser": Property("yes: EventSource", HTML_EVENTS),
        "standard": Property("RFC 9110 and the HTML standard", HTML_EVENTS),
    },
    "webhook": {
        **_HTTP_1,
        "order": Property("none between callbacks", WEBHOOKS),
        "browser": Property("no: a browser cannot be called back", FETCH),
        "languages": Property("any with an HTTP client and a server", HTTP),
        "standard": Property("RFC 9110; the callback's form by agreement", WEBHOOKS),
    },
    "zeromq": {
        "survive": _NO_BROKER,
        "order": Property("kept between two sockets", ZMTP),
        "payload": Property("what fits in memory", ZMTP),
        "browser": Property("no", ZMTP),
        "languages": Property("many, as bindings or natively", ZEROMQ_LANGUAGES),
        "standard": Property("ZMTP 3.1; what is in the messages is your own", ZMTP),
    },
    "kafka": {
        "survive": _BROKER,
        "order": Property("kept within a partition", KAFKA),
        "payload": Property("1 MiB a batch of messages, unless raised", KAFKA_LIMITS),
        "browser": Property("no: only through a bridge", KAFKA_PROTOCOL),
        "languages": Property("Java by the project, others by their communities", KAFKA_CLIENTS),
        "standard": Property("published, and the project's own", KAFKA_PROTOCOL),
    },
    "rabbitmq": {
        "survive": _BROKER,
        "order": Property("kept within a queue, for one consumer", RABBIT_QUEUES),
        "payload": Property("16 MiB a message since 4.0, 128 MiB before", RABBIT_CONFIGURE),
        "browser": Property("by a plugin: STOMP or MQTT over WebSocket", RABBIT_WEB),
        "languages": Property("many, by the project and others", RABBIT_CLIENTS),
        "standard": Property("AMQP 0-9-1, as used here; also AMQP 1.0, an ISO standard", AMQP),
    },
}
"""By style, then by need; see harness.report.guide."""
