"""What accompanies an order without being part of it: never in its body."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """Empty texts stand for what is not sent.

    `request_id` is made by the client, and is the same for a retry of the same request (P1).
    `traceparent` is W3C Trace Context's header of that name, level 1 (P2).
    """

    request_id: str = ""
    traceparent: str = ""


NOTHING = Context()
