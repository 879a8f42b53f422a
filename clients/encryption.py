"""TLS as clients use it."""

import functools
import ssl

from clients.base import Wire


def client_context(wire: Wire, *protocols: str) -> ssl.SSLContext:
    """A context that trusts what `wire` says and offers `protocols` (ALPN), the same for all
    lanes."""
    return _trusting(wire.ca, protocols)


@functools.cache
def _trusting(ca: str | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
