"""Frames that carry one request or reply among many on a shared connection, matched by id."""

from typing import Any

import orjson

from orders.errors import MalformedOrder
from orders.model import Confirmation, Order
from protos import codec
from protos import orders_pb2 as pb
from protos.problems import TABLE, Problem

Result = Confirmation | Problem

MAX_FRAME_BYTES = 8 * 2**20
"""What both sides take; an order of 10,000 items is about one MiB of JSON."""


def request_to_json(frame_id: int, order: Order) -> str:
    """`{"id": 1, "order": {...}}`"""
    return orjson.dumps({"id": frame_id, "order": order}).decode()


def request_from_json(text: str | bytes) -> tuple[int, Order | MalformedOrder]:
    """The id and the order, or what is wrong with it.

    Raises MalformedOrder when there is no id to answer to.
    """
    try:
        fields: Any = orjson.loads(text)
        frame_id = fields["id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        frame_id = None
    if type(frame_id) is not int or frame_id < 0:
        raise MalformedOrder("not a frame: expected an object with a whole number as id")
    try:
        return frame_id, codec.order_from_value(fields.get("order"))
    except MalformedOrder as error:
        return frame_id, error


def reply_to_json(frame_id: int, result: Result) -> str:
    """`{"id": 1, "confirmation": {...}}` or `{"id": 1, "problem": {...}}`"""
    kind = "problem" if isinstance(result, Problem) else "confirmation"
    return orjson.dumps({"id": frame_id, kind: result}).decode()


def reply_from_json(text: str | bytes) -> tuple[int, Result]:
    """The id and the result of a reply. Raises codec.MalformedReply."""
    try:
        fields: Any = orjson.loads(text)
        frame_id = int(fields["id"])
        if "confirmation" in fields:
            return frame_id, codec.confirmation_from_value(fields["confirmation"])
        problem = fields["problem"]
        return frame_id, _known(str(problem["code"]), str(problem["detail"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise codec.MalformedReply(f"not a reply: {error}") from None


def reply_to_pb(frame_id: int, result: Result) -> pb.ReplyFrame:
    """A reply as its protobuf message."""
    if isinstance(result, Problem):
        return pb.ReplyFrame(
            id=frame_id, problem=pb.Problem(code=result.code, detail=result.detail)
        )
    return pb.ReplyFrame(id=frame_id, confirmation=codec.confirmation_to_pb(result))


def reply_from_pb(frame: pb.ReplyFrame) -> tuple[int, Result]:
    """The id and the result of a reply. Raises codec.MalformedReply."""
    if frame.HasField("problem"):
        return frame.id, _known(frame.problem.code, frame.problem.detail)
    return frame.id, codec.confirmation_from_pb(frame.confirmation)


def _known(code: str, detail: str) -> Problem:
    return Problem(code if code in TABLE else "internal", detail)
