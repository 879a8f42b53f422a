"""One order of each style, as it goes over the wire once a connection stands and is warm."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from clients import catalog
from clients.base import PLAIN, Call, Places, Poll, Wire
from clients.webhook import Inbox, Receiver, Webhook
from harness.load.__main__ import driver_named
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from protos.broker import BrokerAddress, read_broker
from tests.support import ListSink, order, until
from tests.wire.amqp import Amqp
from tests.wire.dialogue import Dialogue, Said, heard
from tests.wire.http1 import Http1
from tests.wire.http2 import Http2, as_grpc, as_text
from tests.wire.kafka import Kafka
from tests.wire.masking import masked
from tests.wire.tape import Tape, relayed
from tests.wire.websocket import WebSocket
from tests.wire.zmtp import Zmtp

LONG_POLLS = Poll("long")


@dataclass(frozen=True, slots=True)
class Way:
    """How a style's bytes are read."""

    dialogue: Callable[[], Dialogue]
    ends: tuple[tuple[str, str], ...]
    """Speaker and kind of the messages that must have been seen when an order is over for all:
    some come after its client has its answer."""
    wire: Wire = PLAIN
    settings: str = ""
    """What is to be said of them beside the usual."""


WAYS = {
    "rest": Way(Http1, (("server", "201 Created"),)),
    "rest-h2": Way(partial(Http2, as_text), (("server", "DATA"),)),
    "grpc-unary": Way(partial(Http2, as_grpc), (("server", "DATA"),)),
    "grpc-stream": Way(partial(Http2, as_grpc), (("server", "DATA"),)),
    "websocket": Way(WebSocket, (("server", "text frame"),)),
    "rest-poll": Way(Http1, (("server", "200 OK"),), Wire(poll=LONG_POLLS), "long polls"),
    "sse": Way(Http1, (("server", "event: result"), ("server", "202 Accepted"))),
    "zeromq": Way(Zmtp, (("server", "message frame"),)),
    "webhook": Way(Http1, (("server", "202 Accepted"), ("client", "200 OK"))),
    "kafka": Way(
        Kafka,
        (
            ("broker", "Produce response"),
            ("worker", "Produce request"),
            ("broker", "OffsetCommit response"),
        ),
        settings="class B, an idempotent producer, commits in batches",
    ),
    "rabbitmq": Way(
        Amqp,
        (("broker", "Basic.Ack"), ("worker", "Basic.Ack")),
        settings="class B, confirms, a reply queue, acknowledgements in batches",
    ),
}
"""Of every style that places orders at a server."""


class RelayedReceiver(Receiver):
    """Is called back through a relay."""

    port = 0

    @property
    def own_port(self) -> int:
        """Where it listens itself."""
        return self._port

    def url(self, inbox: Inbox) -> str:
        """See Receiver."""
        return f"http://127.0.0.1:{self.port}/{inbox.id}"


async def recorded(style: str, rig: Rig, broker: str) -> dict[str, Any]:
    """The second of two orders over one connection, in words; the first is part of the opening.

    `broker`: the address of the one that the style has; empty for none.
    """
    way, entry, tape = WAYS[style], catalog.find(style), Tape()
    async with contextlib.AsyncExitStack() as stack:
        target, server = await _service(entry, rig, broker, tape, stack)
        driver = driver_named(entry.driver)
        assert isinstance(driver, Places)
        if isinstance(driver, Webhook):
            driver.receiver = receiver = RelayedReceiver()
            receiver.port = await stack.enter_async_context(
                relayed(tape, "server", "client", lambda: receiver.own_port)
            )
        stack.push_async_callback(driver.close)
        await driver.open(target, 1, ListSink(), way.wire)
        await driver.place(0, order("example-order-1"), Call(1))

        def since(begin: int) -> list[Said]:
            return [said for said in heard(tape, way.dialogue) if said.chunk >= begin]

        await until(f"{style}: the first order is over", lambda: _over(way, since(0)))
        begin = len(tape.chunks)
        await driver.place(0, order("example-order-2"), Call(2))
        await until(f"{style}: the second order is over", lambda: _over(way, since(begin)))
        said = since(0)
        stack.push_async_callback(rig.stop, server.process)
    shown = [s for s in said if s.chunk >= begin and not s.message.housekeeping]
    numbers = sorted({each.link.number for each in shown})
    usual = "the usual settings: one order of one item, no TLS, no compression"
    return {
        "style": style,
        "client": entry.client,
        "server": entry.server,
        "settings": "; ".join(filter(None, (usual, way.settings))),
        "opening": _opening([each for each in said if each.chunk < begin]),
        "exchange": [
            {
                "from": each.speaker,
                "to": each.hearer,
                "connection": numbers.index(each.link.number) + 1,
                "what": masked(each.message.what),
                "bytes": each.message.size,
                "text": masked(each.message.text),
            }
            for each in shown
        ],
    }


async def _service(
    entry: catalog.Entry,
    rig: Rig,
    at_broker: str,
    tape: Tape,
    stack: contextlib.AsyncExitStack,
) -> tuple[str, Any]:
    """A style's server and the address that leads to it past the tape."""
    if not entry.broker:
        server = await start_server(rig, Serving(entry.talks_to))
        where, _, port = server.address.rpartition(":")
        relay = relayed(tape, "client", "server", lambda: int(port))
        return f"{where}:{await stack.enter_async_context(relay)}", server
    broker = replace(read_broker(at_broker), namespace=f"example-{secrets.token_hex(6)}")
    at_worker = await _at_broker(broker, "worker", tape, stack)
    at_client = await _at_broker(broker, "client", tape, stack)
    return at_client, await start_server(rig, Serving(entry.talks_to, broker=at_worker))


async def _at_broker(
    broker: BrokerAddress, who: str, tape: Tape, stack: contextlib.AsyncExitStack
) -> str:
    """The broker's address for a client or a worker, past the tape."""
    host, _, port = broker.hosts[0].rpartition(":")
    relay = 0

    def corrected(data: bytes) -> bytes:
        # Kafka's nodes say in four bytes behind their host's name which port they are at.
        own, ours = (host.encode() + number.to_bytes(4, "big") for number in (int(port), relay))
        return data.replace(own, ours)

    relay = await stack.enter_async_context(
        relayed(tape, who, "broker", lambda: int(port), corrected)
    )
    return str(replace(broker, hosts=(f"127.0.0.1:{relay}",)))


def _over(way: Way, said: list[Said]) -> bool:
    seen = {(each.speaker, each.message.what) for each in said}
    return set(way.ends) <= seen


def _opening(said: list[Said]) -> list[dict[str, Any]]:
    """What it took to get there, by who connected to whom."""
    ends = dict.fromkeys((each.link.opener, each.link.accepter) for each in said)
    found = []
    for opener, accepter in ends:
        own = [s for s in said if (s.link.opener, s.link.accepter) == (opener, accepter)]
        found.append(
            {
                "from": opener,
                "to": accepter,
                "connections": len({each.link for each in own}),
                "messages": len(own),
                "bytes": sum(each.message.size for each in own),
            }
        )
    return found
