"""Everything that travels, as protobuf (orders.proto)."""

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from orders.errors import MalformedOrder
from orders.model import Confirmation, Item, Order, Status, Update
from orders.validation import MAX_ITEMS
from protos import orders_pb2 as pb
from protos.codec import UNREAD, MalformedReply
from protos.context import NOTHING, Context
from protos.frames import Reply, Request, Watch
from protos.problems import Problem, known

_TO_PB = {
    Status.RECEIVED: pb.STATUS_RECEIVED,
    Status.WORKING: pb.STATUS_WORKING,
    Status.CONFIRMED: pb.STATUS_CONFIRMED,
}
_FROM_PB = {value: status for status, value in _TO_PB.items()}


class ProtobufCodec:
    """See Codec. The protocol itself checks types."""

    name = "protobuf"
    media_type = "application/x-protobuf"
    text = False

    def encode_order(self, order: Order) -> bytes:
        """See Codec.encode_order."""
        return _order_to_pb(order).SerializeToString()

    def decode_order(self, body: bytes) -> Order:
        """See Codec.decode_order."""
        try:
            return _order_from_pb(pb.Order.FromString(body))
        except DecodeError as error:
            raise MalformedOrder(f"not protobuf: {error}") from None

    def encode_confirmation(self, confirmation: Confirmation) -> bytes:
        """See Codec.encode_confirmation."""
        return _confirmation_to_pb(confirmation).SerializeToString()

    def decode_confirmation(self, body: bytes) -> Confirmation:
        """See Codec.decode_confirmation."""
        try:
            return _confirmation_from_pb(pb.Confirmation.FromString(body))
        except DecodeError as error:
            raise MalformedReply(f"not protobuf: {error}") from None

    def encode_update(self, update: Update) -> bytes:
        """See Codec.encode_update."""
        return _update_to_pb(update).SerializeToString()

    def decode_update(self, body: bytes) -> Update:
        """See Codec.decode_update."""
        try:
            return _update_from_pb(pb.Update.FromString(body))
        except DecodeError as error:
            raise MalformedReply(f"not protobuf: {error}") from None

    def encode_changes(self, last: int, updates: Sequence[Update]) -> bytes:
        """See Codec.encode_changes."""
        return pb.Changes(last=last, updates=map(_update_to_pb, updates)).SerializeToString()

    def decode_changes(self, body: bytes) -> tuple[int, list[Update]]:
        """See Codec.decode_changes."""
        try:
            message = pb.Changes.FromString(body)
        except DecodeError as error:
            raise MalformedReply(f"not protobuf: {error}") from None
        return message.last, [_update_from_pb(update) for update in message.updates]

    def encode_request(self, request: Request) -> bytes:
        """See Codec.encode_request."""
        frame = (
            pb.RequestFrame(id=request.id, order=_order_to_pb(request.ask))
            if isinstance(request.ask, Order)
            else pb.RequestFrame(id=request.id, watch=pb.Watch())
        )
        if request.context is not NOTHING:
            frame.request_id = request.context.request_id
            frame.traceparent = request.context.traceparent
        return frame.SerializeToString()

    def decode_request(self, frame: bytes | str) -> Request:
        """See Codec.decode_request."""
        try:
            message = pb.RequestFrame.FromString(_binary(frame))
        except DecodeError as error:
            raise MalformedOrder(f"not a frame: {error}") from None
        context = (
            Context(message.request_id, message.traceparent)
            if message.request_id or message.traceparent
            else NOTHING
        )
        if message.WhichOneof("ask") == "watch":
            return Request(message.id, Watch(), context)
        return Request(message.id, _order_from_pb(message.order), context)

    def encode_reply(self, reply: Reply) -> bytes:
        """See Codec.encode_reply."""
        match reply.result:
            case Confirmation():
                frame = pb.ReplyFrame(id=reply.id, confirmation=_confirmation_to_pb(reply.result))
            case Problem(code, detail):
                frame = pb.ReplyFrame(id=reply.id, problem=pb.Problem(code=code, detail=detail))
            case Update():
                frame = pb.ReplyFrame(id=reply.id, update=_update_to_pb(reply.result))
        return frame.SerializeToString()

    def decode_reply(self, frame: bytes | str) -> Reply:
        """See Codec.decode_reply."""
        try:
            message = pb.ReplyFrame.FromString(_binary(frame))
        except DecodeError as error:
            raise MalformedReply(f"not a reply: {error}") from None
        match message.WhichOneof("result"):
            case "confirmation":
                return Reply(message.id, _confirmation_from_pb(message.confirmation))
            case "update":
                return Reply(message.id, _update_from_pb(message.update))
            case "problem":
                return Reply(message.id, known(message.problem.code, message.problem.detail))
        raise MalformedReply("not a reply: it has no result")


def _binary(frame: bytes | str) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


def _order_to_pb(order: Order) -> pb.Order:
    return pb.Order(
        idempotency_key=order.idempotency_key,
        customer_id=order.customer_id,
        items=[
            pb.Item(sku=i.sku, quantity=i.quantity, unit_price_cents=i.unit_price_cents)
            for i in order.items
        ],
        attachment=order.attachment,
        work_us=order.work_us,
    )


def _order_from_pb(message: pb.Order) -> Order:
    if len(message.items) > MAX_ITEMS:
        items = [UNREAD] * len(message.items)
    else:
        items = [Item(i.sku, i.quantity, i.unit_price_cents) for i in message.items]
    return Order(
        message.idempotency_key,
        message.customer_id,
        items,
        message.attachment,
        message.work_us,
    )


def _confirmation_to_pb(confirmation: Confirmation) -> pb.Confirmation:
    return pb.Confirmation(
        order_id=confirmation.order_id,
        idempotency_key=confirmation.idempotency_key,
        status=_TO_PB[confirmation.status],
        total_cents=confirmation.total_cents,
        processed_ns=confirmation.processed_ns,
    )


def _confirmation_from_pb(message: pb.Confirmation) -> Confirmation:
    return Confirmation(
        order_id=message.order_id,
        idempotency_key=message.idempotency_key,
        status=_status(message.status),
        total_cents=message.total_cents,
        processed_ns=message.processed_ns,
    )


def _update_to_pb(update: Update) -> pb.Update:
    return pb.Update(
        order_id=update.order_id,
        idempotency_key=update.idempotency_key,
        status=_TO_PB[update.status],
        progress=update.progress,
        at_ns=update.at_ns,
        total_cents=update.total_cents,
        attachment=update.attachment,
    )


def _update_from_pb(message: pb.Update) -> Update:
    return Update(
        order_id=message.order_id,
        idempotency_key=message.idempotency_key,
        status=_status(message.status),
        progress=message.progress,
        at_ns=message.at_ns,
        total_cents=message.total_cents,
        attachment=message.attachment,
    )


def _status(value: pb.Status) -> Status:
    try:
        return _FROM_PB[value]
    except KeyError:
        raise MalformedReply(f"no status {value}") from None
