"""TLS as clients use it."""

import functools
import ssl

from clients.base import Wire


def client_context(wire: Wire) -> ssl.SSLContext:
    """A context that trusts what `wire` says, the same for all lanes."""
    return _trusting(wire.ca)


@functools.cache
def _trusting(ca: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)
