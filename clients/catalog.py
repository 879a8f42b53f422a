"""Which drivers exist, as data. A style's first line is the library that stands for it.

A style's place decides its colour and mark in charts: new styles go above `noop`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to drive a style.

    `client` and `server` name libraries as they are installed, or say `asyncio` where there is
    none but Python's own; `server` is empty for a style without a server. `driver` is
    `module:Class`. A style's server is the module of its name in servers/.
    """

    style: str
    client: str
    driver: str
    server: str


ENTRIES = (
    Entry("rest", "aiohttp", "clients.rest_aiohttp:RestAiohttp", "fastapi"),
    Entry("rest", "httpx", "clients.rest_httpx:RestHttpx", "fastapi"),
    Entry("grpc-unary", "grpcio", "clients.grpc_unary:GrpcUnary", "grpcio"),
    Entry("grpc-stream", "grpcio", "clients.grpc_stream:GrpcStream", "grpcio"),
    Entry("websocket", "websockets", "clients.websocket:WebSocket", "websockets"),
    Entry("noop", "none", "clients.noop:Noop", ""),
)


def styles() -> list[str]:
    """All styles, in the catalog's order."""
    return list(dict.fromkeys(entry.style for entry in ENTRIES))


def served() -> list[str]:
    """The styles that have a server."""
    return list(dict.fromkeys(entry.style for entry in ENTRIES if entry.server))


def find(style: str, client: str | None = None, server: str | None = None) -> Entry:
    """The entry for a style and libraries; None takes the one that stands for the style.

    Raises LookupError saying what exists instead.
    """
    of_style = [entry for entry in ENTRIES if entry.style == style]
    if not of_style:
        raise LookupError(f"unknown style {style!r}; styles: {', '.join(styles())}")
    of_client = [e for e in of_style if client in (None, e.client)]
    if not of_client:
        names = ", ".join(dict.fromkeys(e.client for e in of_style))
        raise LookupError(f"{style} has no client {client!r}; clients: {names}")
    matching = [e for e in of_client if server in (None, e.server)]
    if not matching:
        names = ", ".join(dict.fromkeys(e.server or "none" for e in of_client))
        raise LookupError(
            f"{style}:{of_client[0].client} has no server {server!r}; it has: {names}"
        )
    return matching[0]
