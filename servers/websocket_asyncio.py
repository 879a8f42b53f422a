"""`websocket` by asyncio: the raw floor. Frames by protos.websocket on an asyncio protocol;
messages as in servers/websocket.py."""

from orders.errors import MalformedOrder
from orders.model import Update
from protos import websocket
from protos.codec import Codec
from protos.codecs import JSON, PROTOBUF
from protos.frames import STANDS, Reply, Request, Watch
from protos.http import PROBLEM_JSON
from protos.problems import TABLE, Problem, to_http
from protos.websocket import Messages, WebSocketError, accept_for, close_frame, code_in, frame
from servers import raw
from servers.base import Bind, Desk, Listening, answer
from servers.fanout import Fanout

HANDSHAKE_BYTES = 2**16
LINGER_S = 0.2
"""How long what still comes is heard and dropped when a connection is closed for an error: to close
at once would take back the words that say why."""
Codecs = tuple[Codec, Codec]
"""Of text, and of binary messages."""


class SocketConnection(raw.Connection):
    """One connection, its handshake included."""

    def __init__(
        self, open_now: set[raw.Connection], desk: Desk, changes: Fanout, codecs: Codecs
    ) -> None:
        super().__init__(open_now)
        self._desk = desk
        self._changes = changes
        self._codecs = dict(zip((websocket.TEXT, websocket.BINARY), codecs, strict=True))
        self._messages = Messages(from_client=True)
        self._asked = b""
        self._stands = False
        self._ends = False

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._ends:
            return
        if not self._stands:
            data = self._greet(data)
        try:
            for opcode, payload in self._messages.feed(data):
                self._take(opcode, payload)
                if self._ends:
                    return
        except WebSocketError as error:
            self._fail(error.code, str(error))
        except MalformedOrder as error:
            self._fail(TABLE[error.code].close, error.detail)

    def _take(self, opcode: int, payload: bytes) -> None:
        codec = self._codecs.get(opcode)
        if codec is not None:
            request = codec.decode_request(payload)
            if isinstance(request.ask, Watch):
                self.work(self._watch(request.id, codec, opcode))
            else:
                self.work(self._reply(request, codec, opcode))
        elif opcode == websocket.PING:
            self.transport.write(frame(websocket.PONG, payload))
        elif opcode == websocket.CLOSE:
            code, _ = code_in(payload)
            self._ends = True
            code = websocket.NORMAL if code == websocket.NO_CODE else code
            self.transport.write(close_frame(code))
            self.transport.close()

    async def _reply(self, request: Request, codec: Codec, opcode: int) -> None:
        assert not isinstance(request.ask, Watch)
        result = await answer(self._desk, request.ask, request.context)
        self.transport.write(frame(opcode, codec.encode_reply(Reply(request.id, result))))

    async def _watch(self, frame_id: int, codec: Codec, opcode: int) -> None:
        def write(update: Update) -> bytes:
            return frame(opcode, codec.encode_reply(Reply(frame_id, update)))

        subscriber = self._changes.join(self.transport.abort)
        try:
            self.transport.write(write(STANDS))
            while True:
                change = await subscriber.next()
                await self.drained()
                self.transport.write(change.written((frame_id, codec.name), write))
        finally:
            self._changes.leave(subscriber)

    def _greet(self, data: bytes) -> bytes:
        """Take the handshake; returns what came behind it."""
        self._asked += data
        head, found, rest = self._asked.partition(b"\r\n\r\n")
        if not found:
            if len(head) > HANDSHAKE_BYTES:
                self._refuse(Problem("malformed", "the head is too long"))
            return b""
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        fields = {name.strip().lower(): text.strip() for name, _, text in pairs}
        path = first.split(" ")[1].partition("?")[0] if first.count(" ") == 2 else ""
        key = fields.get("sec-websocket-key", "")
        if not path.startswith("/") or not first.endswith("HTTP/1.1"):
            self._refuse(Problem("malformed", "not HTTP"))
        elif path != "/":
            self._refuse(Problem("not_found", path[:200]))
        elif fields.get("upgrade", "").lower() != "websocket" or not key:
            self._ends = True
            self._say("426 Upgrade Required", "Upgrade: websocket", "Connection: close")
            self.transport.close()
        else:
            upgrade = "Upgrade: websocket", "Connection: Upgrade"
            accept = f"Sec-WebSocket-Accept: {accept_for(key)}"
            self._say("101 Switching Protocols", *upgrade, accept)
            self._stands = True
        return rest if self._stands else b""

    def _refuse(self, problem: Problem) -> None:
        status, body = to_http(problem)
        size, kind = f"Content-Length: {len(body)}", f"Content-Type: {PROBLEM_JSON}"
        self._ends = True
        self._say(f"{status} {problem.code}", kind, size, "Connection: close")
        self.transport.write(body)
        self.transport.close()

    def _say(self, status: str, *lines: str) -> None:
        self.transport.write("\r\n".join((f"HTTP/1.1 {status}", *lines, "\r\n")).encode())

    def _fail(self, code: int, words: str) -> None:
        self._ends = True
        self.transport.write(close_frame(code, words))
        self._loop.call_later(LINGER_S, self.transport.close)


async def start(desk: Desk, bind: Bind, codecs: Codecs = (JSON, PROTOBUF)) -> Listening:
    """Serve, text and binary messages in `codecs`."""
    changes = Fanout(desk.service)
    return await raw.listen(
        bind,
        lambda open_now: SocketConnection(open_now, desk, changes, codecs),
        ("ws://", "wss://"),
    )
