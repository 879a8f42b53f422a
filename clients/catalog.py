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

    `asyncio` marks a raw floor, on either side: the protocol without a library around it. `null` on
    both sides is no way to place an order: what passes between them is as long as an order and its
    answer, and nothing is read or done. It shows what the protocol alone costs.
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
    """The server that it talks to, by its name in servers/, where that is not the style's."""
    broker: str = ""
    """What stands between it and its server: `kafka` or `rabbitmq`; empty for nothing."""
    family: str = "sync"
    """`sync`, `async` or `broker`: what is as noisy as each other. Empty for what places no order,
    and is compared with none."""
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def talks_to(self) -> str:
        """The server that it talks to, as `python -m servers` takes it."""
        return self.speaks or self.style

    @property
    def called_back(self) -> bool:
        """Whether its server connects to it as well."""
        return self.talks_to == "webhook"

    @property
    def null(self) -> bool:
        """Whether nothing is read or done on either side."""
        return self.server == "null"


ABILITIES = ("tls", "compression", "protobuf", "json", "gateway", "notices_death")
"""What a driver and its server can do unless `lacks` says otherwise. `gateway`: run behind an HTTP
gateway that remembers. `notices_death`: an operation that waits fails when its server is gone."""

NO_GATEWAY = {"gateway": "the gateway of P1 speaks HTTP/1.1 request and reply"}

NOT_PACKED = {"compression": "a raw floor sends what it has", **NO_GATEWAY}

NOTHING_DONE = {
    "compression": "there is nothing to be packed",
    "json": "nothing is written or read",
    "protobuf": "nothing is written or read",
    "gateway": "there is nothing to be remembered",
}

AT_A_BROKER = {
    "tls": "the brokers that a run starts do not encrypt; give the address of one that does",
    "notices_death": "it is the broker that it is connected to, not the service",
    **NO_GATEWAY,
}

ENTRIES = (
    Entry("rest", "aiohttp", "clients.rest_aiohttp:RestAiohttp", "fastapi"),
    Entry("rest", "httpx", "clients.rest_httpx:RestHttpx", "fastapi"),
    Entry("rest", "asyncio", "clients.rest_asyncio:RestAsyncio", "fastapi"),
    Entry("rest", "aiohttp", "clients.rest_aiohttp:RestAiohttp", "asyncio", speaks="rest-asyncio"),
    Entry("rest", "httpx", "clients.rest_httpx:RestHttpx", "asyncio", speaks="rest-asyncio"),
    Entry("rest", "asyncio", "clients.rest_asyncio:RestAsyncio", "asyncio", speaks="rest-asyncio"),
    Entry(
        "rest",
        "null",
        "clients.null:RestNull",
        "null",
        operations=("place",),
        speaks="rest-null",
        family="",
        lacks=NOTHING_DONE,
    ),
    Entry("rest-h2", "h2", "clients.rest_h2:RestH2", "hypercorn", lacks=NO_GATEWAY),
    Entry("rest-h2", "httpx", "clients.rest_httpx:RestHttpxH2", "hypercorn", lacks=NO_GATEWAY),
    Entry("grpc-unary", "grpcio", "clients.grpc_unary:GrpcUnary", "grpcio", lacks=NO_GATEWAY),
    Entry(
        "grpc-unary",
        "asyncio",
        "clients.grpc_unary_asyncio:GrpcUnaryAsyncio",
        "grpcio",
        lacks=NOT_PACKED,
    ),
    Entry(
        "grpc-unary",
        "grpcio",
        "clients.grpc_unary:GrpcUnary",
        "asyncio",
        speaks="grpc-unary-asyncio",
        lacks=NOT_PACKED,
    ),
    Entry(
        "grpc-unary",
        "asyncio",
        "clients.grpc_unary_asyncio:GrpcUnaryAsyncio",
        "asyncio",
        speaks="grpc-unary-asyncio",
        lacks=NOT_PACKED,
    ),
    Entry(
        "grpc-unary",
        "null",
        "clients.null:GrpcUnaryNull",
        "null",
        operations=("place",),
        speaks="grpc-unary-null",
        family="",
        lacks=NOTHING_DONE,
    ),
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
        "websocket",
        "asyncio",
        "clients.websocket_asyncio:WebSocketAsyncio",
        "websockets",
        operations=("place", "job", "watch"),
        lacks=NOT_PACKED,
    ),
    Entry(
        "websocket",
        "websockets",
        "clients.websocket:WebSocket",
        "asyncio",
        operations=("place", "job", "watch"),
        speaks="websocket-asyncio",
        lacks=NOT_PACKED,
    ),
    Entry(
        "websocket",
        "asyncio",
        "clients.websocket_asyncio:WebSocketAsyncio",
        "asyncio",
        operations=("place", "job", "watch"),
        speaks="websocket-asyncio",
        lacks=NOT_PACKED,
    ),
    Entry(
        "websocket",
        "null",
        "clients.null:WebSocketNull",
        "null",
        operations=("place",),
        speaks="websocket-null",
        family="",
        lacks=NOTHING_DONE,
    ),
    Entry(
        "rest-poll",
        "aiohttp",
        "clients.rest_poll:RestPoll",
        "fastapi",
        operations=("place", "job", "watch"),
        polls=True,
        family="async",
    ),
    Entry(
        "sse",
        "aiohttp",
        "clients.sse:Sse",
        "fastapi",
        operations=("place", "job", "watch"),
        per_lane=2,
        family="async",
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
        family="async",
        lacks={"notices_death": "it holds no connection while it waits"},
    ),
    Entry(
        "kafka",
        "aiokafka",
        "clients.kafka_aiokafka:KafkaAiokafka",
        "aiokafka",
        operations=("place", "job", "ingest", "watch"),
        broker="kafka",
        family="broker",
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
        family="broker",
        lacks=AT_A_BROKER,
    ),
    Entry(
        "rabbitmq",
        "aio-pika",
        "clients.rabbitmq_aio_pika:RabbitmqAioPika",
        "aio-pika",
        operations=("place", "job", "ingest", "watch"),
        broker="rabbitmq",
        family="broker",
        lacks={"compression": "AMQP has none", **AT_A_BROKER},
    ),
    Entry(
        "rabbitmq",
        "asyncio",
        "clients.rabbitmq_asyncio:RabbitmqAsyncio",
        "aio-pika",
        operations=("place", "job", "ingest"),
        broker="rabbitmq",
        family="broker",
        lacks={"compression": "AMQP has none", **AT_A_BROKER},
    ),
    Entry("noop", "none", "clients.noop:Noop", "", operations=("place",), family=""),
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
