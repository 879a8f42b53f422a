"""How orders travel over a broker: its address, with all that both sides must agree on, and names.

    kafka://user:secret@host:9092,host:9093/NAMESPACE?durability=C&partitions=4
    amqp://user:secret@host:5672/NAMESPACE?prefetch=100

`kafkas` and `amqps` encrypt. Everything after the hosts may be left out; a namespace is what the
names of a trial's topics and queues begin with, so that trials do not meet.
"""

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

SCHEMES = {"kafka": "kafka", "kafkas": "kafka", "amqp": "rabbitmq", "amqps": "rabbitmq"}
"""The broker that each scheme means; a last `s` encrypts."""

CORRELATION_ID = "correlation-id"
"""The header by which a reply is matched: the operation's number as text. AMQP has a property."""
REPLY_TO = "reply-to"
"""Where the reply shall go: of Kafka, `topic:partition`. AMQP has a property."""
PROBLEM = "problem"
"""In a reply that is a refusal: its code (protos.problems); the body is the detail as UTF-8."""
PROGRESS = "progress"
"""In a reply that is no answer yet: the body is an update."""
CONTENT_TYPE = "content-type"
"""The codec's media type; AMQP has a property. Without it JSON is meant."""


class Durability(StrEnum):
    """What an acknowledgement promises."""

    NONE = "A"
    """Kafka: acks=0. RabbitMQ: no confirms, transient messages, consumers that acknowledge by
    receiving. Nothing is acknowledged."""
    LEADER = "B"
    """Kafka: replication factor 1, acks=1 (or all, which is the same one). RabbitMQ: a durable
    classic queue, persistent messages, confirms."""
    REPLICATED = "C"
    """Kafka: replication factor 3, acks=all, min.insync.replicas=2, idempotent. RabbitMQ: a stream
    on three nodes, confirms. Held in the memory of a majority, not flushed."""
    FLUSHED = "D"
    """As REPLICATED, and on disk before it is acknowledged. Kafka: flush.messages=1. RabbitMQ: a
    quorum queue on three nodes, confirms."""

    @property
    def nodes(self) -> int:
        """Nodes that it needs."""
        return 3 if self in (Durability.REPLICATED, Durability.FLUSHED) else 1


class Commit(StrEnum):
    """When a consumer tells the broker that it is done with messages."""

    BATCH = "batch"
    """After their work, many at a time (at most COMMIT_EVERY_S apart)."""
    EACH = "each"
    """After the work on each."""
    AUTO = "auto"
    """Before their work: Kafka's enable.auto.commit, AMQP's no-ack."""


COMMIT_EVERY_S = 0.1
REPLIES = ("queue", "direct")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is, and how a trial uses it. Fields after `namespace` are options of a URL."""

    scheme: str
    hosts: tuple[str, ...]
    """host:port each."""
    user: str = ""
    password: str = ""
    namespace: str = "orderbench"

    durability: Durability = Durability.LEADER
    partitions: int = 4
    """Of a Kafka topic; as many queues in RabbitMQ. A message's key decides which."""
    safe: bool = True
    """Kafka, class B: whether the producer is idempotent, waits for all (one) and sends again what
    fails; else acks=1 and once. RabbitMQ: whether what reaches no queue comes back."""
    linger_ms: float = 0.0
    """How long a producer waits for more messages to send at once; RabbitMQ has no such thing."""
    batch_bytes: int = 16_384
    """The most that a producer sends at once to a partition; RabbitMQ has no such thing."""
    prefetch: int = 100
    """Messages that a consumer takes before it is done with them."""
    commit: Commit = Commit.BATCH
    replies: str = "queue"
    """RabbitMQ: replies by an exclusive `queue`, or the broker's `direct` reply-to."""
    create: bool = True
    """Whether the worker makes topics and queues that are missing; else that is an error."""
    mechanism: str = "PLAIN"
    """Kafka's SASL mechanism, where there is a user: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    ca: str = ""
    """A PEM file to trust, where it encrypts; empty for the system's."""

    @property
    def kind(self) -> str:
        """`kafka` or `rabbitmq`."""
        return SCHEMES[self.scheme]

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme.endswith("s")

    @property
    def orders(self) -> str:
        """The topic of orders; RabbitMQ's queues are this and a partition: `orders.0`."""
        return f"{self.namespace}.orders"

    @property
    def replies_to(self) -> str:
        """The topic of replies, and what the names of reply queues begin with."""
        return f"{self.namespace}.replies"

    @property
    def changes(self) -> str:
        """The topic, or fanout exchange, of confirmed orders (O3)."""
        return f"{self.namespace}.changes"

    @property
    def group(self) -> str:
        """The consumer group of the workers."""
        return f"{self.namespace}.workers"

    def queue(self, partition: int) -> str:
        """RabbitMQ's queue for a partition of the orders."""
        return f"{self.orders}.{partition}"

    def with_options(self, **options: Any) -> Self:
        """The same with other fields."""
        return replace(self, **options)

    def __str__(self) -> str:
        who = ""
        if self.user:
            secret = f":{quote(self.password, safe='')}" if self.password else ""
            who = f"{quote(self.user, safe='')}{secret}@"
        usual = asdict(BrokerAddress(self.scheme, self.hosts))
        said = {
            name: str(int(value) if isinstance(value, bool) else value)
            for name, value in asdict(self).items()
            if name in _OPTIONS and value != usual[name]
        }
        query = f"?{urlencode(said)}" if said else ""
        return f"{self.scheme}://{who}{','.join(self.hosts)}/{self.namespace}{query}"


_OPTIONS = {f.name: f for f in fields(BrokerAddress)[5:]}
_LEAST = {"partitions": 1, "linger_ms": 0.0, "batch_bytes": 1, "prefetch": 1}


def read_broker(text: str) -> BrokerAddress:
    """Read an address. Raises ValueError with everything that is wrong with it, and no secret."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"a broker's address begins with one of {', '.join(SCHEMES)}, then ://")
    rest, _, query = rest.partition("?")
    where, _, namespace = rest.partition("/")
    who, _, hosts = where.rpartition("@")
    user, _, password = who.partition(":")
    wrong = [
        f"{host!r} is not host:port" for host in hosts.split(",") if not _is_host_and_port(host)
    ]
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        try:
            options[name] = _option(name, value)
        except ValueError as error:
            wrong.append(f"{name}={value}: {error}")
    if namespace and not namespace.replace("-", "").replace(".", "").isalnum():
        wrong.append(f"the namespace {namespace!r} has more than letters, digits, - and .")
    if wrong:
        raise ValueError("; ".join(wrong))
    if namespace:
        options["namespace"] = namespace
    return BrokerAddress(
        scheme, tuple(hosts.split(",")), unquote(user), unquote(password), **options
    )


def _is_host_and_port(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65_536


def _option(name: str, value: str) -> Any:
    if name not in _OPTIONS:
        raise ValueError(f"unknown; there are: {', '.join(_OPTIONS)}")
    match name:
        case "durability":
            return Durability(value)
        case "commit":
            return Commit(value)
        case "create" | "safe":
            if value not in ("0", "1"):
                raise ValueError("0 or 1")
            return value == "1"
        case "replies":
            if value not in REPLIES:
                raise ValueError(f"one of {', '.join(REPLIES)}")
            return value
    if name not in _LEAST:
        return value
    number = float(value) if name == "linger_ms" else int(value)
    if not number >= _LEAST[name]:
        raise ValueError(f"at least {_LEAST[name]:g}")
    return number
