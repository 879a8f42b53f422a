"""Orders and confirmations as bytes: JSON for text protocols, protobuf for gRPC.

A field that is absent has its type's empty value in both, so both are judged by the same rules.
"""

from typing import Any

import orjson

from orders.errors import MalformedOrder
from orders.model import Confirmation, Item, Order, Status
from protos import orders_pb2 as pb

_STATUS_TO_PB = {
    Status.RECEIVED: pb.STATUS_RECEIVED,
    Status.CONFIRMED: pb.STATUS_CONFIRMED,
}
_STATUS_FROM_PB = {value: status for status, value in _STATUS_TO_PB.items()}


class MalformedReply(ValueError):
    """Bytes from a server that hold no answer."""


def order_to_json(order: Order) -> bytes:
    """An order as one JSON object."""
    return orjson.dumps(order)


def order_from_json(body: bytes | str) -> Order:
    """The order in a JSON body. Raises MalformedOrder."""
    try:
        return order_from_value(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedOrder(f"not JSON: {error}") from None


def order_from_value(value: Any) -> Order:
    """The order in a parsed JSON value. Raises MalformedOrder, naming the first wrong field."""
    fields = _object(value, "the order")
    rows = fields.get("items", [])
    if type(rows) is not list:
        raise MalformedOrder("items is not a list")
    items = []
    for number, row in enumerate(rows):
        line = _object(row, f"items[{number}]")
        items.append(
            Item(
                _text(line, "sku", number),
                _whole(line, "quantity", number),
                _whole(line, "unit_price_cents", number),
            )
        )
    return Order(_text(fields, "idempotency_key"), _text(fields, "customer_id"), items)


def _object(value: Any, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise MalformedOrder(f"{name} is not an object")
    return value


def _text(fields: dict[str, Any], key: str, row: int | None = None) -> str:
    value = fields.get(key, "")
    if type(value) is not str:
        raise MalformedOrder(f"{_place(key, row)} is not a text")
    return value


def _whole(fields: dict[str, Any], key: str, row: int) -> int:
    value = fields.get(key, 0)
    if type(value) is not int:
        raise MalformedOrder(f"{_place(key, row)} is not a whole number")
    return value


def _place(key: str, row: int | None) -> str:
    return key if row is None else f"items[{row}].{key}"


def confirmation_to_json(confirmation: Confirmation) -> bytes:
    """A confirmation as one JSON object."""
    return orjson.dumps(confirmation)


def confirmation_from_json(body: bytes | str) -> Confirmation:
    """The confirmation in a JSON body. Raises MalformedReply."""
    try:
        return confirmation_from_value(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedReply(f"not JSON: {error}") from None


def confirmation_from_value(value: Any) -> Confirmation:
    """The confirmation in a parsed JSON value. Raises MalformedReply."""
    try:
        confirmation = Confirmation(
            order_id=value["order_id"],
            idempotency_key=value["idempotency_key"],
            status=Status(value["status"]),
            total_cents=value["total_cents"],
            processed_ns=value.get("processed_ns", 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedReply(f"not a confirmation: {type(error).__name__} {error}") from None
    if type(confirmation.total_cents) is not int or type(confirmation.processed_ns) is not int:
        raise MalformedReply("not a confirmation: total_cents and processed_ns are whole numbers")
    return confirmation


def order_to_pb(order: Order) -> pb.Order:
    """An order as its protobuf message."""
    return pb.Order(
        idempotency_key=order.idempotency_key,
        customer_id=order.customer_id,
        items=[
            pb.Item(sku=i.sku, quantity=i.quantity, unit_price_cents=i.unit_price_cents)
            for i in order.items
        ],
    )


def order_from_pb(message: pb.Order) -> Order:
    """The order in a protobuf message, which the protocol has already checked for types."""
    return Order(
        message.idempotency_key,
        message.customer_id,
        [Item(i.sku, i.quantity, i.unit_price_cents) for i in message.items],
    )


def confirmation_to_pb(confirmation: Confirmation) -> pb.Confirmation:
    """A confirmation as its protobuf message."""
    return pb.Confirmation(
        order_id=confirmation.order_id,
        idempotency_key=confirmation.idempotency_key,
        status=_STATUS_TO_PB[confirmation.status],
        total_cents=confirmation.total_cents,
        processed_ns=confirmation.processed_ns,
    )


def confirmation_from_pb(message: pb.Confirmation) -> Confirmation:
    """The confirmation in a protobuf message. Raises MalformedReply."""
    try:
        status = _STATUS_FROM_PB[message.status]
    except KeyError:
        raise MalformedReply(f"not a confirmation: status {message.status}") from None
    return Confirmation(
        order_id=message.order_id,
        idempotency_key=message.idempotency_key,
        status=status,
        total_cents=message.total_cents,
        processed_ns=message.processed_ns,
    )
