"""What every HTTP driver makes of a target and of answers."""

from clients.base import Call, DriverError, Failure, refused
from orders.model import Confirmation, Update
from protos.codec import Codec, MalformedReply
from protos.http import ORDERS_PATH, REQUEST_ID, TRACEPARENT
from protos.problems import from_http


def orders_url(target: str) -> str:
    """The URL that takes orders at a server's address."""
    return target.rstrip("/") + ORDERS_PATH


def context_headers(call: Call) -> dict[str, str]:
    """What accompanies an order, as headers."""
    headers = {}
    if call.context.request_id:
        headers[REQUEST_ID] = call.context.request_id
    if call.context.traceparent:
        headers[TRACEPARENT] = call.context.traceparent
    return headers


def require_success(status: int, body: bytes) -> None:
    """Raise DriverError for an answer that is none of 200 to 299."""
    if not 200 <= status < 300:
        raise refused(from_http(status, body))


def confirmation_in(status: int, body: bytes, codec: Codec) -> Confirmation:
    """The confirmation in an answer. Raises DriverError for every other answer."""
    require_success(status, body)
    try:
        return codec.decode_confirmation(body)
    except MalformedReply as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None


def update_in(status: int, body: bytes, codec: Codec) -> Update:
    """The update in an answer. Raises DriverError for every other answer."""
    require_success(status, body)
    try:
        return codec.decode_update(body)
    except MalformedReply as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None
