"""Everything that travels, as JSON. An order's attachment is base64 text."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from orders.errors import MalformedOrder
from orders.model import Confirmation, Item, Order, Status, Update
from orders.validation import MAX_ITEMS
from protos.codec import UNREAD, MalformedReply
from protos.context import NOTHING, Context
from protos.frames import Reply, Request, Result, Watch
from protos.problems import Problem, known


class JsonCodec:
    """See Codec."""

    name = "json"
    media_type = "application/json"
    text = True

    def encode_order(self, order: Order) -> bytes:
        """See Codec.encode_order."""
        return orjson.dumps(_order_fields(order))

    def decode_order(self, body: bytes) -> Order:
        """See Codec.decode_order."""
        try:
            return _order(orjson.loads(body))
        except orjson.JSONDecodeError as error:
            raise MalformedOrder(f"not JSON: {error}") from None

    def encode_confirmation(self, confirmation: Confirmation) -> bytes:
        """See Codec.encode_confirmation."""
        return orjson.dumps(confirmation)

    def decode_confirmation(self, body: bytes) -> Confirmation:
        """See Codec.decode_confirmation."""
        return _confirmation(_parsed(body))

    def encode_update(self, update: Update) -> bytes:
        """See Codec.encode_update."""
        return orjson.dumps(_update_fields(update))

    def decode_update(self, body: bytes) -> Update:
        """See Codec.decode_update."""
        return _update(_parsed(body))

    def encode_changes(self, last: int, updates: Sequence[Update]) -> bytes:
        """See Codec.encode_changes."""
        return orjson.dumps({"last": last, "updates": [_update_fields(u) for u in updates]})

    def decode_changes(self, body: bytes) -> tuple[int, list[Update]]:
        """See Codec.decode_changes."""
        fields = _parsed(body)
        try:
            return int(fields["last"]), [_update(value) for value in fields["updates"]]
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedReply(f"not a list of changes: {error}") from None

    def encode_request(self, request: Request) -> bytes:
        """See Codec.encode_request."""
        ask = request.ask
        if isinstance(ask, Order):
            fields: dict[str, Any] = {"id": request.id, "order": _order_fields(ask)}
        else:
            fields = {"id": request.id, "watch": {}}
        if request.context is not NOTHING:
            if request.context.request_id:
                fields["request_id"] = request.context.request_id
            if request.context.traceparent:
                fields["traceparent"] = request.context.traceparent
        return orjson.dumps(fields)

    def decode_request(self, frame: bytes | str) -> Request:
        """See Codec.decode_request."""
        try:
            fields: Any = orjson.loads(frame)
            frame_id = fields["id"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            frame_id = None
        if type(frame_id) is not int or frame_id < 0:
            raise MalformedOrder("not a frame: expected an object with a whole number as id")
        try:
            ask = Watch() if "watch" in fields else _order(fields.get("order"))
            if "request_id" not in fields and "traceparent" not in fields:
                return Request(frame_id, ask)
            context = Context(_text(fields, "request_id"), _text(fields, "traceparent"))
            return Request(frame_id, ask, context)
        except MalformedOrder as error:
            return Request(frame_id, error)

    def encode_reply(self, reply: Reply) -> bytes:
        """See Codec.encode_reply."""
        match reply.result:
            case Confirmation():
                return orjson.dumps({"id": reply.id, "confirmation": reply.result})
            case Problem():
                return orjson.dumps({"id": reply.id, "problem": reply.result})
            case Update():
                return orjson.dumps({"id": reply.id, "update": _update_fields(reply.result)})

    def decode_reply(self, frame: bytes | str) -> Reply:
        """See Codec.decode_reply."""
        fields = _parsed(frame)
        try:
            return Reply(int(fields["id"]), _result(fields))
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedReply(f"not a reply: {error}") from None


def _order_fields(order: Order) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "idempotency_key": order.idempotency_key,
        "customer_id": order.customer_id,
        "items": order.items,
    }
    if order.attachment:
        fields["attachment"] = base64.b64encode(order.attachment).decode()
    if order.work_us:
        fields["work_us"] = order.work_us
    return fields


def _order(value: Any) -> Order:
    fields = _object(value, "the order")
    rows = fields.get("items", [])
    if type(rows) is not list:
        raise MalformedOrder("items is not a list")
    if len(rows) > MAX_ITEMS:
        items = [UNREAD] * len(rows)
    else:
        items = [_item(row, number) for number, row in enumerate(rows)]
    order = Order(_text(fields, "idempotency_key"), _text(fields, "customer_id"), items)
    if "attachment" in fields:
        try:
            order.attachment = base64.b64decode(_text(fields, "attachment"), validate=True)
        except (binascii.Error, ValueError):
            raise MalformedOrder("attachment is not base64") from None
    if "work_us" in fields:
        order.work_us = _whole(fields, "work_us")
    return order


def _item(value: Any, row: int) -> Item:
    fields = _object(value, f"items[{row}]")
    return Item(
        _text(fields, "sku", row),
        _whole(fields, "quantity", row),
        _whole(fields, "unit_price_cents", row),
    )


def _object(value: Any, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise MalformedOrder(f"{name} is not an object")
    return value


def _text(fields: dict[str, Any], key: str, row: int | None = None) -> str:
    value = fields.get(key, "")
    if type(value) is not str:
        raise MalformedOrder(f"{_place(key, row)} is not a text")
    return value


def _whole(fields: dict[str, Any], key: str, row: int | None = None) -> int:
    value = fields.get(key, 0)
    if type(value) is not int:
        raise MalformedOrder(f"{_place(key, row)} is not a whole number")
    return value


def _place(key: str, row: int | None) -> str:
    return key if row is None else f"items[{row}].{key}"


def _parsed(body: bytes | str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedReply(f"not JSON: {error}") from None


def _result(fields: dict[str, Any]) -> Result:
    if "confirmation" in fields:
        return _confirmation(fields["confirmation"])
    if "update" in fields:
        return _update(fields["update"])
    problem = fields["problem"]
    return known(str(problem["code"]), str(problem["detail"]))


def _confirmation(value: Any) -> Confirmation:
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


def _update_fields(update: Update) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "order_id": update.order_id,
        "idempotency_key": update.idempotency_key,
        "status": update.status,
        "progress": update.progress,
        "at_ns": update.at_ns,
    }
    if update.total_cents:
        fields["total_cents"] = update.total_cents
    if update.attachment:
        fields["attachment"] = base64.b64encode(update.attachment).decode()
    return fields


def _update(value: Any) -> Update:
    try:
        update = Update(
            order_id=value["order_id"],
            idempotency_key=value["idempotency_key"],
            status=Status(value["status"]),
            progress=value.get("progress", 0),
            at_ns=value.get("at_ns", 0),
            total_cents=value.get("total_cents", 0),
        )
        if "attachment" in value:
            update.attachment = base64.b64decode(value["attachment"], validate=True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedReply(f"not an update: {type(error).__name__} {error}") from None
    if not type(update.progress) is type(update.at_ns) is type(update.total_cents) is int:
        raise MalformedReply("not an update: progress, at_ns and total_cents are whole numbers")
    return update
