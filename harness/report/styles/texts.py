"""What each style is, and what about it is fixed in code, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protos.frames import MAX_FRAME_BYTES

Sources = Sequence[tuple[str, str]]
"""A file of this project, and what stands in it."""


@dataclass(frozen=True, slots=True)
class About:
    """A style in two or three sentences."""

    text: str
    codec: str
    """What its orders are written in unless a scenario says otherwise."""


ABOUT: Mapping[str, About] = {
    "rest": About(
        "One HTTP/1.1 request an order: POST /orders with the order as JSON, answered by 201 and"
        " the confirmed order. A connection carries one order at a time; when all are busy another"
        " is opened.",
        "JSON",
    ),
    "rest-h2": About(
        "The same request and answer over HTTP/2. One connection carries many orders at a time, a"
        " stream each, and headers that it has carried before shrink to a byte or two. Without TLS"
        " both sides speak HTTP/2 by prior knowledge.",
        "JSON",
    ),
    "grpc-unary": About(
        "A remote call for each order, in protobuf, on an HTTP/2 stream of its own: headers, a"
        " message with five bytes before it, and a status as trailers. Calls share a channel, which"
        " is one connection.",
        "protobuf",
    ),
    "grpc-stream": About(
        "One call that stays open on each connection: orders go up and confirmations come down as"
        " protobuf messages, matched by an id, in any order. A call's headers and status are paid"
        " for once. Long jobs and subscribers have a stream from the server each.",
        "protobuf",
    ),
    "websocket": About(
        "An HTTP/1.1 request turns a connection into a channel of messages both ways. Orders and"
        " answers are JSON text frames, matched by an id, in any order; what the client sends is"
        " masked, as the standard demands.",
        "JSON",
    ),
    "rest-poll": About(
        "POST /orders is answered at once by 202, a receipt and a place to ask. The client asks"
        " there until the order is final: at fixed intervals, at growing ones, or by long polls,"
        " which the server holds back until there is something to tell. Between polls others use"
        " the connection.",
        "JSON",
    ),
    "sse": About(
        "POST /orders is answered by a receipt; the result is pushed as an event on a second"
        " connection, whose HTTP answer never ends (Server-Sent Events). Events are numbered, so"
        " that a stream that was cut goes on after the last one seen.",
        "JSON",
    ),
    "webhook": About(
        "POST /orders is answered by a receipt; when the work is done the service calls the client"
        " back by a POST of its own, signed, and again until it is heard. The client holds no"
        " connection while it waits, and must be reachable.",
        "JSON",
    ),
    "zeromq": About(
        "Messages from socket to socket, with no broker in between: a DEALER at the client, a"
        " ROUTER at the server, JSON matched by an id. Threads of the library's own read and write;"
        " subscribers have a SUB each.",
        "JSON",
    ),
    "kafka": About(
        "The order is a record in a topic; workers of one consumer group pull it and write the"
        " answer to a topic of replies, matched by a correlation id. Records of one key keep their"
        " order, and stay in the log after they are read. The client's wait is two ways through the"
        " broker.",
        "JSON",
    ),
    "rabbitmq": About(
        "The order is a message in one of several queues, by its key; the broker pushes it to"
        " workers that compete, and they answer to the client's own reply queue, matched by a"
        " correlation id. A queue forgets what was acknowledged, a stream keeps it. The client's"
        " wait is two ways through the broker.",
        "JSON",
    ),
    "noop": About(
        "No server and no protocol: an operation ends as soon as it begins. What it measures is the"
        " load generator itself.",
        "none",
    ),
}

OWN = About(
    "A driver of your own. Of what it does this report knows only what the run has recorded.",
    "its own",
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A setting that no scenario changes. Its sources are in code that a report must not import:
    a test finds them there."""

    name: str
    text: str
    sources: Sources
    styles: Sequence[str]
    side: str = ""
    """`client` or `server`, where it is of one of them; with `libraries`, of these."""
    libraries: Sequence[str] = ()

    @property
    def files(self) -> list[str]:
        """Those of its sources, each once."""
        return list(dict.fromkeys(file for file, _ in self.sources))


HTTP1 = ("rest", "rest-poll", "sse", "webhook")
GRPC = ("grpc-unary", "grpc-stream")
FRAMED = ("grpc-stream", "websocket", "zeromq")
LARGEST = f"{MAX_FRAME_BYTES // 2**20} MiB"

FIXED: Sequence[Fixed] = (
    Fixed(
        "Nagle's algorithm",
        "off (TCP_NODELAY), on both sides",
        (("tests/conformance/test_fixed_settings.py", "TCP_NODELAY"),),
        (*HTTP1, "rest-h2", *GRPC, "websocket", "zeromq"),
    ),
    Fixed(
        "a connection at rest",
        "kept for 3,600 s by the client",
        (("clients/http.py", "IDLE_LIMIT_S = 3600.0"),),
        HTTP1,
        "client",
        ("aiohttp",),
    ),
    Fixed(
        "a connection at rest, at the server",
        "kept for 75 s",
        (("servers/http.py", "KEEP_ALIVE_S = 75"),),
        (*HTTP1, "rest-h2"),
        "server",
        ("fastapi", "hypercorn"),
    ),
    Fixed(
        "the library's pool",
        "of one connection for each lane, so that nothing waits in it",
        (("clients/http.py", "limit=1,"),),
        HTTP1,
        "client",
        ("aiohttp",),
    ),
    Fixed(
        "what the library does unasked",
        "nothing: no redirects, no cookies, no second try",
        (
            ("clients/http.py", "allow_redirects=False"),
            ("clients/http.py", "cookie_jar=aiohttp.DummyCookieJar()"),
            ("clients/http.py", "session._retry_connection = False"),
        ),
        HTTP1,
        "client",
        ("aiohttp",),
    ),
    Fixed(
        "access log",
        "off",
        (
            ("servers/http.py", "access_log=False"),
            ("servers/rest_h2.py", "config.accesslog = None"),
        ),
        (*HTTP1, "rest-h2"),
        "server",
        ("fastapi", "hypercorn"),
    ),
    Fixed(
        "streams at a time",
        "at most 16,384 on a connection",
        (("servers/rest_h2.py", "STREAMS = 2**14"),),
        ("rest-h2",),
        "server",
        ("hypercorn",),
    ),
    Fixed(
        "flow control",
        "16 MiB of answers may be on their way on a connection",
        (("clients/rest_h2.py", "CONNECTION_WINDOW = 2**24"),),
        ("rest-h2",),
        "client",
        ("h2",),
    ),
    Fixed(
        "channels",
        "one connection each, which no other channel shares",
        (("clients/grpc_channel.py", '("grpc.use_local_subchannel_pool", 1)'),),
        GRPC,
        "client",
        ("grpcio",),
    ),
    Fixed(
        "retries",
        "none by the library; a lost connection is tried again every 100 ms",
        (
            ("clients/grpc_channel.py", '("grpc.enable_retries", 0)'),
            ("clients/grpc_channel.py", '("grpc.max_reconnect_backoff_ms", 100)'),
        ),
        GRPC,
        "client",
        ("grpcio",),
    ),
    Fixed(
        "pings",
        "none",
        (("clients/websocket.py", "ping_interval=None"),),
        ("websocket",),
        "client",
        ("websockets",),
    ),
    Fixed(
        "largest frame",
        LARGEST,
        (("protos/frames.py", "MAX_FRAME_BYTES = 8 * 2**20"),),
        FRAMED,
    ),
    Fixed(
        "largest body",
        LARGEST,
        (
            ("servers/http.py", "if length > MAX_FRAME_BYTES"),
            ("protos/frames.py", "MAX_FRAME_BYTES = 8 * 2**20"),
        ),
        (*HTTP1, "rest-h2"),
        "server",
        ("fastapi", "hypercorn"),
    ),
    Fixed(
        "long polls",
        "held back for at most 30 s",
        (("servers/rest_poll.py", "LONGEST_WAIT_S = 30"),),
        ("rest-poll",),
        "server",
    ),
    Fixed(
        "heartbeat of a stream",
        "after 0.5 s without an event",
        (("servers/event_stream.py", "HEARTBEAT_S = 0.5"),),
        ("sse",),
        "server",
    ),
    Fixed(
        "a stream that was cut",
        "resumed at once, and not more often than every 0.1 s",
        (("clients/sse.py", "RECONNECT_S = 0.1"),),
        ("sse",),
        "client",
    ),
    Fixed(
        "signature",
        "HMAC-SHA256 over id, attempt, time and body",
        (("protos/signature.py", "HMAC-SHA256 (RFC 2104) over `id.attempt.timestamp.body`"),),
        ("webhook",),
    ),
    Fixed(
        "a callback's attempt",
        "2 s; then again after a random wait, of up to 0.05 s and twice as much each time, up to"
        " 2 s, until one begins 8 s after the first",
        (
            ("servers/webhook.py", "ATTEMPT_LIMIT_S = 2.0"),
            ("servers/callbacks.py", "base_s: float = 0.05"),
            ("servers/callbacks.py", "cap_s: float = 2.0"),
            ("servers/callbacks.py", "lasting_s: float = 8.0"),
        ),
        ("webhook",),
        "server",
    ),
    Fixed(
        "connections for callbacks",
        "512 at most",
        (("servers/webhook.py", "CONNECTIONS = 512"),),
        ("webhook",),
        "server",
    ),
    Fixed(
        "high-water marks",
        "1,000 messages at the client, 16,384 replies for a client at the server",
        (("protos/zeromq.py", "HWM = 1000"), ("servers/zeromq.py", "REPLIES_LIMIT = 16 * 1024")),
        ("zeromq",),
    ),
    Fixed(
        "a lost connection",
        "made again by the next operation that needs it, not by the library",
        (("clients/zeromq.py", "socket.setsockopt(zmq.RECONNECT_IVL, -1)"),),
        ("zeromq",),
        "client",
    ),
    Fixed(
        "lanes",
        "all share one producer and one reader of replies",
        (("clients/kafka_aiokafka.py", "All lanes share the producer and the inbox."),),
        ("kafka",),
        "client",
        ("aiokafka",),
    ),
    Fixed(
        "fetches",
        "held back by the broker for at most 100 ms at the worker",
        (("servers/kafka.py", "FETCH_WAIT_MS = 100"),),
        ("kafka",),
        "server",
        ("aiokafka",),
    ),
    Fixed(
        "commits in batches",
        "at most 0.1 s apart",
        (("protos/broker.py", "COMMIT_EVERY_S = 0.1"),),
        ("kafka", "rabbitmq"),
    ),
    Fixed(
        "replies",
        "transient, and confirmed to nobody: a lost reply is a call that fails",
        (("servers/rabbitmq.py", "delivery_mode=1"),),
        ("rabbitmq",),
        "server",
    ),
    Fixed(
        "garbage collector",
        "passes over what a server has loaded when it is ready; what orders leave is collected as"
        " ever",
        (("servers/lines.py", "gc.freeze()"),),
        (*HTTP1, "rest-h2", *GRPC, "websocket", "zeromq", "kafka", "rabbitmq"),
        "server",
    ),
)


def fixed_for(style: str, clients: Sequence[str], servers: Sequence[str]) -> list[Fixed]:
    """What holds for a style with these libraries; without servers of ours, for the client."""
    used = {"client": clients, "server": servers, "": (*clients, *servers)}
    return [
        each
        for each in FIXED
        if style in each.styles
        and (servers or each.side == "client")
        and (not each.libraries or set(each.libraries) & set(used[each.side]))
    ]
