"""One table: what is wrong, and how each protocol says it.

HTTP answers carry the code in an RFC 9457 problem body, gRPC in trailing metadata, frames and
messages in a problem of their own.
"""

from dataclasses import dataclass

import orjson

from orders.errors import OrderError


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal as it travels: a code of the table and words for the sender."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rendering:
    """How protocols say one problem: `grpc` by its status's name, `close` as WebSocket does."""

    title: str
    http: int
    grpc: str
    close: int


class Refusal(Exception):
    """What a protocol's own rules refuse, as an error to be raised."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(code, detail)


TABLE = {
    "malformed": Rendering("Not an order", 400, "INVALID_ARGUMENT", 1007),
    "unsupported_type": Rendering("Unknown content type", 415, "UNIMPLEMENTED", 1003),
    "too_large": Rendering("Too large", 413, "RESOURCE_EXHAUSTED", 1009),
    "invalid_order": Rendering("Order refused", 422, "INVALID_ARGUMENT", 1008),
    "key_conflict": Rendering("Key used before", 409, "ALREADY_EXISTS", 1008),
    "unknown_order": Rendering("Unknown order", 404, "NOT_FOUND", 1008),
    "not_found": Rendering("Nothing there", 404, "UNIMPLEMENTED", 1008),
    "not_allowed": Rendering("Method not allowed", 405, "UNIMPLEMENTED", 1008),
    "bad_event_id": Rendering("Cannot resume there", 400, "OUT_OF_RANGE", 1008),
    "bad_callback": Rendering("Callback not allowed", 403, "PERMISSION_DENIED", 1008),
    "bad_signature": Rendering("Signature not valid", 401, "UNAUTHENTICATED", 1008),
    "replayed": Rendering("Seen before", 409, "ALREADY_EXISTS", 1008),
    "overloaded": Rendering("Too busy", 503, "RESOURCE_EXHAUSTED", 1013),
    "internal": Rendering("Internal error", 500, "INTERNAL", 1011),
}


def problem_of(error: Exception) -> Problem:
    """The problem to answer with; an error that is not one of ours tells nothing of itself."""
    if isinstance(error, Refusal):
        return error.problem
    if isinstance(error, OrderError):
        return Problem(error.code, error.detail)
    return Problem("internal", "the service failed")


def to_http(problem: Problem) -> tuple[int, bytes]:
    """Status and body (RFC 9457) of an HTTP answer."""
    rendering = TABLE[problem.code]
    body = {
        "type": f"urn:orderbench:{problem.code}",
        "title": rendering.title,
        "status": rendering.http,
        "detail": problem.detail,
        "code": problem.code,
    }
    return rendering.http, orjson.dumps(body)


def from_http(status: int, body: bytes) -> Problem:
    """The problem in an HTTP answer that is no success, whoever wrote it."""
    try:
        fields = orjson.loads(body)
        code, detail = fields["code"], str(fields["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code, detail = "", ""
    if code in TABLE:
        return Problem(code, detail)
    return Problem("overloaded" if status == 503 else "internal", f"HTTP {status}")


def known(code: str, detail: str) -> Problem:
    """The problem that a peer tells of; a code that the table lacks is its internal matter."""
    return Problem(code if code in TABLE else "internal", detail)
