"""For what a protocol alone costs: bytes as many as a codec's, of which only id and key are written
and read. It is no codec of the service (protos.codecs): null servers alone take it.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

from orders.errors import MalformedOrder
from orders.model import Confirmation, Order, Status, Update
from protos.codec import Codec, MalformedReply
from protos.codecs import JSON, PROTOBUF
from protos.frames import Reply, Request

_HEAD = struct.Struct(">QH")
"""A frame's id, 0 where there is none, and how long the key is that follows."""


def nothing_done(key: str) -> Confirmation:
    """What answers an order on which nothing was done."""
    return Confirmation("null", key, Status.RECEIVED, 0, 0)


class NullCodec:
    """See Codec."""

    name = "null"
    media_type = "application/x-orderbench-null"
    text = False

    def __init__(self, own: Codec) -> None:
        """`own` says how many bytes it would take."""
        self._own = own
        self._fillings: dict[tuple[str, int, int, int], bytes] = {}

    def encode_order(self, order: Order) -> bytes:
        """See Codec.encode_order."""
        return self._order(0, order, "order", lambda: self._own.encode_order(order))

    def decode_order(self, body: bytes) -> Order:
        """See Codec.decode_order."""
        try:
            return Order(_read(body)[1], "", [])
        except ValueError as error:
            raise MalformedOrder(str(error)) from None

    def encode_confirmation(self, confirmation: Confirmation) -> bytes:
        """See Codec.encode_confirmation."""
        return self._answer(
            0, confirmation, "confirmation", lambda: self._own.encode_confirmation(confirmation)
        )

    def decode_confirmation(self, body: bytes) -> Confirmation:
        """See Codec.decode_confirmation."""
        try:
            return nothing_done(_read(body)[1])
        except ValueError as error:
            raise MalformedReply(str(error)) from None

    def encode_request(self, request: Request) -> bytes:
        """See Codec.encode_request."""
        order = cast(Order, request.ask)
        return self._order(request.id, order, "request", lambda: self._own.encode_request(request))

    def decode_request(self, frame: bytes | str) -> Request:
        """See Codec.decode_request."""
        try:
            frame_id, key = _read(cast(bytes, frame))
        except ValueError as error:
            raise MalformedOrder(str(error)) from None
        return Request(frame_id, Order(key, "", []))

    def encode_reply(self, reply: Reply) -> bytes:
        """See Codec.encode_reply."""
        confirmation = cast(Confirmation, reply.result)
        return self._answer(reply.id, confirmation, "reply", lambda: self._own.encode_reply(reply))

    def decode_reply(self, frame: bytes | str) -> Reply:
        """See Codec.decode_reply."""
        try:
            frame_id, key = _read(cast(bytes, frame))
        except ValueError as error:
            raise MalformedReply(str(error)) from None
        return Reply(frame_id, nothing_done(key))

    def encode_update(self, update: Update) -> NoReturn:
        """Nothing is told of an order on which nothing is done."""
        raise NotImplementedError

    def decode_update(self, body: bytes) -> NoReturn:
        """See encode_update."""
        raise NotImplementedError

    def encode_changes(self, last: int, updates: Sequence[Update]) -> NoReturn:
        """See encode_update."""
        raise NotImplementedError

    def decode_changes(self, body: bytes) -> NoReturn:
        """See encode_update."""
        raise NotImplementedError

    def _order(self, frame_id: int, order: Order, kind: str, own: Callable[[], bytes]) -> bytes:
        size = len(order.idempotency_key), len(order.items), len(order.attachment)
        return self._written(frame_id, order.idempotency_key, (kind, *size), own)

    def _answer(
        self, frame_id: int, answer: Confirmation, kind: str, own: Callable[[], bytes]
    ) -> bytes:
        key = answer.idempotency_key
        return self._written(frame_id, key, (kind, len(key), 0, 0), own)

    def _written(
        self, frame_id: int, key: str, like: tuple[str, int, int, int], own: Callable[[], bytes]
    ) -> bytes:
        """`like`: what decides how many bytes it takes; the first of each is asked for."""
        text = key.encode()
        filling = self._fillings.get(like)
        if filling is None:
            filling = self._fillings[like] = bytes(max(0, len(own()) - _HEAD.size - len(text)))
        return _HEAD.pack(frame_id, len(text)) + text + filling


def _read(body: bytes) -> tuple[int, str]:
    if len(body) < _HEAD.size:
        raise ValueError("shorter than its head")
    frame_id, size = _HEAD.unpack_from(body)
    key = body[_HEAD.size : _HEAD.size + size]
    if len(key) != size:
        raise ValueError("shorter than its key")
    return frame_id, key.decode()


NULL_JSON = NullCodec(JSON)
NULL_PROTOBUF = NullCodec(PROTOBUF)
