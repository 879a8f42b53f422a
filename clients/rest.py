"""What every HTTP driver makes of an answer to POST /orders."""

from clients.base import DriverError, Failure, refused
from orders.model import Confirmation
from protos import codec
from protos.http import ORDERS_PATH
from protos.problems import from_http


def orders_url(target: str) -> str:
    """The URL that takes orders at a server's address."""
    return target.rstrip("/") + ORDERS_PATH


def confirmation_in(status: int, body: bytes) -> Confirmation:
    """The confirmation in an answer. Raises DriverError for every other answer."""
    if not 200 <= status < 300:
        raise refused(from_http(status, body))
    try:
        return codec.confirmation_from_json(body)
    except codec.MalformedReply as error:
        raise DriverError(Failure.PROTOCOL, str(error)) from None
