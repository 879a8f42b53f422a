"""What the HTTP styles share: bodies, problems as answers, and a listening uvicorn."""

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable, Mapping

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orders.model import Order
from protos.codec import Codec
from protos.codecs import BY_MEDIA_TYPE, JSON
from protos.context import NOTHING, Context
from protos.frames import MAX_FRAME_BYTES
from protos.http import PROBLEM_JSON, REQUEST_ID, TRACEPARENT
from protos.packing import unpacked
from protos.problems import Problem, Refusal, to_http
from servers.base import Bind, Listening, refusal

KEEP_ALIVE_S = 75
"""As common gateways have it; uvicorn's own 5 s would cut lanes that rest between bursts."""

HEAD_LIMIT_BYTES = 64 * 1024
"""What may stand before a body; looked at when more of it arrives."""

Handler = Callable[[Request], Awaitable[Response]]


class Web:
    """A web application whose every error is a problem document (RFC 9457)."""

    def __init__(self, bind: Bind) -> None:
        self.app = FastAPI(openapi_url=None)
        self.app.add_exception_handler(HTTPException, _not_there)
        self._bind = bind

    def route(self, method: str, path: str, handler: Handler) -> None:
        """Let `handler` answer; what it raises becomes a problem."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientDisconnect:
                return problem(Problem("malformed", "the body was cut short"))  # heard by nobody
            except Exception as error:
                return problem(refusal(error))

        self.app.add_api_route(path, guarded, methods=[method], response_model=None)

    def reply(
        self,
        request: Request,
        status: int,
        body: bytes,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """An answer, compressed where the server does that and the client takes it."""
        if self._bind.compression and "gzip" in request.headers.get("accept-encoding", ""):
            packed = {**(headers or {}), "content-encoding": "gzip"}
            return Response(gzip.compress(body), status, packed, media_type)
        return Response(body, status, headers, media_type)


def codec_of(request: Request) -> Codec:
    """The codec of a request's body. Raises Refusal."""
    given = request.headers.get("content-type", "")
    codec = BY_MEDIA_TYPE.get(given)
    if codec is None:
        codec = BY_MEDIA_TYPE.get(given.partition(";")[0].strip().lower())
    if codec is None:
        known = ", ".join(BY_MEDIA_TYPE)
        raise Refusal("unsupported_type", f"content type {given!r} is not one of {known}")
    return codec


def codec_wanted(request: Request) -> Codec:
    """The codec that a request without a body asks for; JSON where it does not say."""
    return BY_MEDIA_TYPE.get(request.headers.get("accept", ""), JSON)


async def order_in(request: Request) -> tuple[Order, Codec]:
    """The order in a request's body, and how it was written. Raises Refusal or MalformedOrder."""
    codec = codec_of(request)
    return codec.decode_order(await body_of(request)), codec


async def body_of(request: Request) -> bytes:
    """A request's body, of at most MAX_FRAME_BYTES, unpacked. Raises Refusal."""
    chunks = []
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > MAX_FRAME_BYTES:
            raise _too_large()
        chunks.append(chunk)
    body = b"".join(chunks)
    match request.headers.get("content-encoding"):
        case None | "identity":
            return body
        case "gzip":
            return unpacked(body, MAX_FRAME_BYTES)
        case other:
            raise Refusal("unsupported_type", f"content encoding {other!r} is not gzip")


def context_of(request: Request) -> Context:
    """What accompanies an order in its headers."""
    headers = request.headers
    request_id, traceparent = headers.get(REQUEST_ID), headers.get(TRACEPARENT)
    if request_id is None and traceparent is None:
        return NOTHING
    return Context(request_id or "", traceparent or "")


def problem(refused: Problem) -> Response:
    """A problem as an answer."""
    status, body = to_http(refused)
    return Response(body, status, media_type=PROBLEM_JSON)


def _too_large() -> Refusal:
    return Refusal("too_large", f"a body has at most {MAX_FRAME_BYTES} bytes")


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "not_allowed"}.get(error.status_code, "internal")
    answer = problem(Problem(code, f"{request.method} {request.url.path}"))
    answer.headers.update(error.headers or {})
    return answer


def listener(bind: Bind) -> socket.socket:
    """A listening socket. Raises OSError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    return socket.create_server((bind.host, bind.port), family=family, backlog=4096)


def address(bind: Bind, listening: socket.socket) -> str:
    """Where a web server listens."""
    scheme = "https" if bind.certificate else "http"
    return f"{scheme}://{bind.shown_host}:{listening.getsockname()[1]}"


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's, which by itself keeps a request line and headers of any length."""

    _head_bytes: int | None = None

    def on_message_begin(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """See HttpToolsProtocol."""
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """See HttpToolsProtocol."""
        super().data_received(data)
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too long.")


async def listen(
    web: FastAPI, bind: Bind, connection: type[BoundedConnection] = BoundedConnection
) -> Listening:
    """Serve an application with uvicorn, each connection by a `connection`."""
    config = uvicorn.Config(
        web,
        http=connection,
        log_level="warning",
        access_log=False,
        lifespan="off",
        # Who stands behind the gateway, which is on this machine.
        forwarded_allow_ips="127.0.0.1",
        timeout_keep_alive=KEEP_ALIVE_S,
        # Event streams have no end of their own.
        timeout_graceful_shutdown=1,
        ssl_certfile=bind.certificate,
        ssl_keyfile=bind.key,
    )
    server = uvicorn.Server(config)
    listening = listener(bind)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    ticking = asyncio.create_task(server.main_loop())

    async def stop() -> None:
        server.should_exit = True
        await ticking
        await server.shutdown([listening])

    return Listening(address(bind, listening), stop)
