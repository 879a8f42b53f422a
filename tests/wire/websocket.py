"""WebSocket (RFC 6455): the handshake, then frames."""

from collections.abc import Iterator

from protos.websocket import BINARY, CLOSE, PING, PONG, TEXT
from tests.wire.dialogue import Message, shortened
from tests.wire.http1 import END_OF_HEAD, kind_of

NAMES = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
FIN, MASKED, LENGTH = 0x80, 0x80, 0x7F


class WebSocket:
    """One connection."""

    def __init__(self) -> None:
        self._rest = {True: bytearray(), False: bytearray()}
        self._shaken = {True: False, False: False}

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """See Dialogue."""
        rest = self._rest[there]
        rest += data
        while rest:
            taken = _frame(rest) if self._shaken[there] else _handshake(rest)
            if taken is None:
                return
            self._shaken[there] = True
            del rest[: taken.size]
            yield taken


def _handshake(rest: bytearray) -> Message | None:
    head, end, _ = rest.partition(END_OF_HEAD)
    if not end:
        return None
    text = head.decode("latin-1")
    return Message(kind_of(text), len(head) + len(end), text.replace("\r\n", "\n"))


def _frame(rest: bytearray) -> Message | None:
    if len(rest) < 2:
        return None
    masked, length, at = rest[1] & MASKED, rest[1] & LENGTH, 2
    if length > 125:
        at += 2 if length == 126 else 8
        length = int.from_bytes(rest[2:at], "big")
    mask = rest[at : at + 4] if masked else b""
    at += len(mask)
    if len(rest) < at + length:
        return None
    payload = bytes(rest[at : at + length])
    if masked:
        payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    name = NAMES.get(rest[0] & 0xF, "continuation")
    bits = [f"{'FIN' if rest[0] & FIN else 'no FIN'}, opcode {rest[0] & 0xF} ({name})"]
    bits.append("masked" if masked else "not masked")
    bits.append(f"{length} bytes of payload")
    return Message(
        f"{name} frame",
        at + length,
        f"{', '.join(bits)}\n{shortened(payload.decode('utf-8', 'replace'))}",
        name in ("ping", "pong"),
    )
