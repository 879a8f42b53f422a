"""Server-Sent Events (WHATWG HTML, section 9.2) as answers that have no end of their own."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from protos.http import EVENT_STREAM
from protos.problems import Refusal
from servers.http import BoundedConnection

HEARTBEAT_S = 0.5
"""At least so often something goes over a stream, because gateways cut what is idle for long."""
HEARTBEAT = b":\n\n"
FAREWELL_S = 0.5
"""How long a client that does not read may keep a stream that is to end."""
GZIP = 16 + zlib.MAX_WBITS


def written(name: str, data: str, number: int | None = None) -> bytes:
    """An event; `data` is one line."""
    numbered = "" if number is None else f"id: {number}\n"
    return f"{numbered}event: {name}\ndata: {data}\n\n".encode()


class Connection(BoundedConnection):
    """uvicorn's, whose requests know their transport, so that one that hangs can be cut."""

    def on_message_begin(self) -> None:
        """See BoundedConnection."""
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class EventStream(Response):
    """An answer that goes on until its client leaves or the server ends it. Over a `Connection`.

    While the client does not read, nothing more is asked of what it carries.
    """

    media_type = EVENT_STREAM

    def __init__(self, streams: "EventStreams", packed: bool) -> None:
        """With `packed` it is gzip, flushed at every event."""
        self.status_code = 200
        self.background = None
        headers = {"cache-control": "no-store"}
        if packed:
            headers["content-encoding"] = "gzip"
        self.init_headers(headers)
        self._packer = zlib.compressobj(wbits=GZIP) if packed else None
        self._streams = streams
        self._source: Callable[[], Awaitable[bytes]]
        self._left: Callable[[], None]
        self._send: Send
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[object] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._ended = False
        self._said_s = 0.0
        self._timer: asyncio.TimerHandle

    def carrying(
        self, source: Callable[[], Awaitable[bytes]], left: Callable[[], None]
    ) -> "EventStream":
        """Itself, to send what `source` gives, whole events, and to call `left` at its end."""
        self._source, self._left = source, left
        return self

    def end(self) -> None:
        """Say no more."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    def cut_off(self) -> None:
        """End without what is still to be told: the client shall know that it missed something."""
        if self._transport is not None:
            self._transport.abort()
        self.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application that a response is."""
        self._send = send
        self._transport = transport = scope["state"]["transport"]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._carry(receive)
        finally:
            self._left()
        rest = self._packer.flush() if self._packer is not None else b""
        farewell = asyncio.get_running_loop().call_later(FAREWELL_S, transport.abort)
        await send({"type": "http.response.body", "body": rest, "more_body": False})
        farewell.cancel()

    async def _carry(self, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        self._said_s = loop.time()
        self._timer = loop.call_later(HEARTBEAT_S, self._look)
        watching = asyncio.create_task(self._watch(receive))
        self._task = task = asyncio.current_task()
        assert task is not None
        self._streams.open.add(self)
        try:
            while not self._ended:
                await self._say(await self._source())
        except asyncio.CancelledError:
            if not self._ended:
                raise
            task.uncancel()
        finally:
            self._task = None
            self._streams.open.discard(self)
            self._timer.cancel()
            watching.cancel()
            if self._beating is not None:
                self._beating.cancel()

    async def _say(self, chunk: bytes) -> None:
        if self._packer is not None:
            chunk = self._packer.compress(chunk) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._said_s = asyncio.get_running_loop().time()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = self._said_s + HEARTBEAT_S
        if loop.time() < due_s:
            self._timer = loop.call_at(due_s, self._look)
            return
        self._timer = loop.call_later(HEARTBEAT_S, self._look)
        if self._beating is None or self._beating.done():
            self._beating = loop.create_task(self._say(HEARTBEAT))


class EventStreams:
    """All streams of one server that are open."""

    def __init__(self) -> None:
        self.open: set[EventStream] = set()
        self._stopping = False

    def new(self, request: Request, packs: bool) -> EventStream:
        """A stream in answer to a request, gzip if the server `packs` and the client takes it.

        Raises Refusal.
        """
        if self._stopping:
            raise Refusal("overloaded", "the server stops")
        return EventStream(self, packs and "gzip" in request.headers.get("accept-encoding", ""))

    def end(self) -> None:
        """End all, and open none any more."""
        self._stopping = True
        for stream in list(self.open):
            stream.end()
