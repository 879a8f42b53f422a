"""What a codec does: orders, answers and frames as bytes, the same in each.

A field that is absent has its type's empty value in all codecs, so all are judged by the same
rules. Every `decode_` for a server raises MalformedOrder, every one for a client MalformedReply.
"""

from collections.abc import Sequence
from typing import Protocol

from orders.model import Confirmation, Item, Order, Update
from protos.frames import Reply, Request

UNREAD = Item("", 0, 0)
"""Stands for every item of an order that has more than the shop takes: millions of them are only
counted, since to read them would keep all other clients waiting."""


class MalformedReply(ValueError):
    """Bytes from a server that hold no answer."""


class Codec(Protocol):
    """One way to write everything that travels."""

    name: str
    media_type: str
    """In HTTP."""
    text: bool
    """Whether what it writes is UTF-8 text."""

    def encode_order(self, order: Order) -> bytes:
        """An order."""

    def decode_order(self, body: bytes) -> Order:
        """The order in a body. Raises MalformedOrder, naming the first wrong field."""

    def encode_confirmation(self, confirmation: Confirmation) -> bytes:
        """A confirmation."""

    def decode_confirmation(self, body: bytes) -> Confirmation:
        """The confirmation in a body. Raises MalformedReply."""

    def encode_update(self, update: Update) -> bytes:
        """An update."""

    def decode_update(self, body: bytes) -> Update:
        """The update in a body. Raises MalformedReply."""

    def encode_changes(self, last: int, updates: Sequence[Update]) -> bytes:
        """A stretch of the list of changes, and the place at its end."""

    def decode_changes(self, body: bytes) -> tuple[int, list[Update]]:
        """Reads encode_changes()'s form. Raises MalformedReply."""

    def encode_request(self, request: Request) -> bytes:
        """A frame to a server."""

    def decode_request(self, frame: bytes | str) -> Request:
        """A frame from a client; a bad order keeps its frame's id.

        Raises MalformedOrder when there is no id to answer to.
        """

    def encode_reply(self, reply: Reply) -> bytes:
        """A frame to a client."""

    def decode_reply(self, frame: bytes | str) -> Reply:
        """A frame from a server. Raises MalformedReply."""
