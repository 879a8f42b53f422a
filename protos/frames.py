"""Frames that carry one request or reply among many on a shared connection, matched by id.

As JSON: `{"id": 1, "order": {...}}` or `{"id": 1, "watch": {}}`, with `request_id` and
`traceparent` beside it where there are any; answered by `{"id": 1, "confirmation": {...}}`,
`{"id": 1, "problem": {...}}` or any number of `{"id": 1, "update": {...}}`. As protobuf:
RequestFrame and ReplyFrame of orders.proto.
"""

from dataclasses import dataclass

from orders.errors import MalformedOrder
from orders.model import Confirmation, Order, Status, Update
from protos.context import NOTHING, Context
from protos.problems import Problem

MAX_FRAME_BYTES = 8 * 2**20
"""What both sides take, HTTP bodies included; an order of 10,000 items is about one MiB of JSON."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Asks to be told of every order that is confirmed from now on.

    The first update in answer, STANDS, has an empty order_id: it says that the watch stands.
    """


Result = Confirmation | Problem | Update


@dataclass(slots=True)
class Request:
    """One frame to a server; `ask` may be what is wrong with the order in it."""

    id: int
    ask: Order | Watch | MalformedOrder
    context: Context = NOTHING


@dataclass(slots=True)
class Reply:
    """One frame to a client."""

    id: int
    result: Result


STANDS = Update("", "", Status.RECEIVED, 0, 0)
"""What is sent first to who watches."""
