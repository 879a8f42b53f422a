"""One table: what is wrong, and how each protocol says it.

HTTP answers carry the code in an RFC 9457 problem body, gRPC in trailing metadata, frames and
messages in a problem of their own.
"""

from dataclasses import dataclass

import orjson

from orders.errors import OrderError

GRPC_METADATA_KEY = "orderbench-problem"


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


TABLE = {
    "malformed": Rendering("Not an order", 400, "INVALID_ARGUMENT", 1007),
    "invalid_order": Rendering("Order refused", 422, "INVALID_ARGUMENT", 1008),
    "key_conflict": Rendering("Key used before", 409, "ALREADY_EXISTS", 1008),
    "overloaded": Rendering("Too busy", 503, "RESOURCE_EXHAUSTED", 1013),
    "internal": Rendering("Internal error", 500, "INTERNAL", 1011),
}


def problem_of(error: Exception) -> Problem:
    """The problem to answer with; an error that is not the domain's own tells nothing of itself."""
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
