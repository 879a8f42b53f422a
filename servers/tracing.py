"""P2: what a server does for an order, as spans under its client's trace (W3C Trace Context)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Tracer(Protocol):
    """Makes spans. Only imported parts of a server that traces pay for it."""

    @contextmanager
    def span(self, name: str, traceparent: str) -> Iterator[str]:
        """A span over what happens inside, below the client's; gives its own traceparent, for what
        is called from here."""
