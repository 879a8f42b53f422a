"""Which drivers exist, as data. A style's first line is the library that stands for it.

A style's place decides its colour and mark in charts: new styles go above `noop`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to drive a style.

    `client` and `server` name libraries as they are installed, or say `asyncio` where there is
    none but Python's own; `server` is empty for a style without a server. `driver` is
    `module:Class`. A style's server is the module of its name in servers/. `lacks` names what the
    style or the library cannot do, of ABILITIES, with the reason.
    """

    style: str
    client: str
    driver: str
    server: str
    operations: tuple[str, ...] = ("place", "job")
    polls: bool = False
    per_lane: int = 1
    """Connections that a lane holds."""
    speaks: str = ""
    """The style whose server it talks to, where that is not its own."""
    broker: str = ""
    """What stands between it and its server: `kafka` or `rabbitmq`; empty for nothing."""
    lacks: Mapping[str, str] = field(default_factory=dict)


ABILITIES = ("tls", "compression", "protobuf", "json", "gateway", "notices_death")
"""What a driver and its server can do unless `lacks` says otherwise. `gateway`: run behind an HTTP
gateway that remembers. `notices_death`: an operation that waits fails when its server is gone."""

NO_GATEWAY = {"gateway": "the gateway of P1 speaks HTTP/1.1 request and reply"}

AT_A_BROKER = {
    "tls": "the brokers that a run starts do not encrypt; give the address of one that does",
    "notices_death": "it is the broker that it is connected to, not the service",
    **NO_GATEWAY,
}

ENTRIES = (
    Entry("rest", "aiohttp", "clients.rest_aiohttp:RestAiohttp", "fastapi"),
    Entry("rest", "httpx", "clients.rest_httpx:RestHttpx", "fastapi"),
    Entry("rest-h2", "h2", "clients.rest_h2:RestH2", "hypercorn", lacks=NO_GATEWAY),
    Entry("rest-h2", "httpx", "clients.rest_httpx:RestHttpxH2", "hypercorn", lacks=NO_GATEWAY),
    Entry("grpc-unary", "grpcio", "clients.grpc_unary:GrpcUnary", "grpcio", lacks=NO_GATEWAY),
    Entry(
        "grpc-stream",
        "grpcio",
        "clients.grpc_stream:GrpcStream",
        "grpcio",
        operations=("place", "job", "watch"),
        lacks=NO_GATEWAY,
    ),
    Entry(
        "websocket",
        "websockets",
        "clients.websocket:WebSocket",
        "websockets",
        operations=("place", "job", "watch"),
        lacks=NO_GATEWAY,
    ),
    Entry(
        "rest-poll",
        "aiohttp",
        "clients.rest_poll:RestPoll",
        "fastapi",
        operations=("place", "job", "watch"),
        polls=True,
    ),
    Entry(
        "sse",
        "aiohttp",
        "clients.sse:Sse",
        "fastapi",
        operations=("place", "job", "watch"),
        per_lane=2,
        lacks={"gateway": "the gateway of P1 does not pass on an answer before it is whole"},
    ),
    Entry(
        "zeromq",
        "pyzmq",
        "clients.zeromq:ZeroMq",
        "pyzmq",
        operations=("place", "job", "watch"),
        lacks={"compression": "ZeroMQ has none", **NO_GATEWAY},
    ),
    Entry(
        "webhook",
        "aiohttp",
        "clients.webhook:Webhook",
        "fastapi",
        lacks={"notices_death": "it holds no connection while it waits"},
    ),
    Entry(
        "kafka",
        "aiokafka",
        "clients.kafka_aiokafka:KafkaAiokafka",
        "aiokafka",
        operations=("place", "job", "ingest", "watch"),
        broker="kafka",
        lacks=AT_A_BROKER,
    ),
    Entry(
        "kafka",
        "confluent",
        "clients.kafka_confluent:KafkaConfluent",
        "confluent",
        operations=("place", "job", "ingest"),
        speaks="kafka-confluent",
        broker="kafka",
        lacks=AT_A_BROKER,
    ),
    Entry(
        "rabbitmq",
        "aio-pika",
        "clients.rabbitmq_aio_pika:RabbitmqAioPika",
        "aio-pika",
        operations=("place", "job", "ingest", "watch"),
        broker="rabbitmq",
        lacks={"compression": "AMQP has none", **AT_A_BROKER},
    ),
    Entry(
        "rabbitmq",
        "asyncio",
        "clients.rabbitmq_asyncio:RabbitmqAsyncio",
        "aio-pika",
        operations=("place", "job", "ingest"),
        broker="rabbitmq",
        lacks={"compression": "AMQP has none", **AT_A_BROKER},
    ),
    Entry("noop", "none", "clients.noop:Noop", "", operations=("place",)),
)


def styles() -> list[str]:
    """All styles, in the catalog's order."""
    return list(dict.fromkeys(entry.style for entry in ENTRIES))


def served() -> list[str]:
    """The styles that have a server."""
    return list(dict.fromkeys(entry.style for entry in ENTRIES if entry.server))


def find(style: str, client: str | None = None, server: str | None = None) -> Entry:
    """The entry for a style and libraries; None takes the one that stands for the style.

    Raises LookupError saying what exists instead.
    """
    of_style = [entry for entry in ENTRIES if entry.style == style]
    if not of_style:
        raise LookupError(f"unknown style {style!r}; styles: {', '.join(styles())}")
    of_client = [e for e in of_style if client in (None, e.client)]
    if not of_client:
        names = ", ".join(dict.fromkeys(e.client for e in of_style))
        raise LookupError(f"{style} has no client {client!r}; clients: {names}")
    matching = [e for e in of_client if server in (None, e.server)]
    if not matching:
        names = ", ".join(dict.fromkeys(e.server or "none" for e in of_client))
        raise LookupError(
            f"{style}:{of_client[0].client} has no server {server!r}; it has: {names}"
        )
    return matching[0]
