"""WebSocket's frames and handshake (RFC 6455), without extensions and I/O: the raw client and
server share them."""

import base64
import hashlib
import os
import struct
from collections.abc import Iterator

from websockets.utils import apply_mask

from protos.frames import MAX_FRAME_BYTES

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, GOING_AWAY, PROTOCOL_ERROR, TOO_LARGE = 1000, 1001, 1002, 1009
NO_CODE, CUT = 1005, 1006
"""Stand for a close without a code, and for a connection that ended without a close."""

_FIN, _MASKED = 0x80, 0x80
_SHORT, _LONG = struct.Struct(">BBH"), struct.Struct(">BBQ")
_CODE = struct.Struct(">H")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """What ends a connection, with its close code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def accept_for(key: str) -> str:
    """The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def frame(opcode: int, payload: bytes, client: bool = False) -> bytes:
    """A frame that is a whole message; a `client` masks it."""
    size, bit = len(payload), _MASKED if client else 0
    first = _FIN | opcode
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 2**16:
        head = _SHORT.pack(first, bit | 126, size)
    else:
        head = _LONG.pack(first, bit | 127, size)
    if not client:
        return head + payload
    mask = os.urandom(4)
    return head + mask + apply_mask(payload, mask)


def close_frame(code: int, words: str = "", client: bool = False) -> bytes:
    """A frame that closes; the words may be cut."""
    return frame(CLOSE, _CODE.pack(code) + words.encode()[:120], client)


def code_in(payload: bytes) -> tuple[int, str]:
    """The code and the words of a frame that closes. Raises WebSocketError."""
    if not payload:
        return NO_CODE, ""
    if len(payload) == 1:
        raise WebSocketError(PROTOCOL_ERROR, "half a close code")
    return _CODE.unpack_from(payload)[0], payload[2:].decode("utf-8", "replace")


class Messages:
    """Bytes of a peer as messages; `from_client` says which side it is."""

    def __init__(self, from_client: bool) -> None:
        self._mask = _MASKED if from_client else 0
        self._rest = bytearray()
        self._needed = 0
        """Of a frame that has begun, with what is before it in `rest`."""
        self._pieces: list[bytes] = []
        self._opcode = CONTINUATION
        self._size = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(opcode, payload) of each message that is whole now, control frames among them. Raises
        WebSocketError, after which the connection is of no use."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return
            data = bytes(rest)
            rest.clear()
        at, end, self._needed = 0, len(data), 0
        while end - at >= 2:
            first, second = data[at], data[at + 1]
            size, start = second & 0x7F, at + 2
            if first & 0x70 or (second & _MASKED) != self._mask:
                raise WebSocketError(PROTOCOL_ERROR, "bits that nobody agreed on")
            if size >= 126:
                kind = _SHORT if size == 126 else _LONG
                if end - at < kind.size:
                    break
                size, start = kind.unpack_from(data, at)[2], at + kind.size
            self._check(first, size)
            stop = start + size + (4 if self._mask else 0)
            if stop > end:
                self._needed = stop - at
                break
            payload = data[start:stop]
            if self._mask:
                payload = apply_mask(payload[4:], payload[:4])
            at = stop
            opcode = first & 0xF
            if first & _FIN and opcode:
                yield opcode, payload
                continue
            self._pieces.append(payload)
            self._size += size
            self._opcode = opcode or self._opcode
            if first & _FIN:
                whole, opcode = b"".join(self._pieces), self._opcode
                self._pieces, self._opcode, self._size = [], CONTINUATION, 0
                yield opcode, whole
        rest += data[at:]

    def _check(self, first: int, size: int) -> None:
        opcode = first & 0xF
        if opcode > BINARY:
            if opcode not in (CLOSE, PING, PONG) or size > 125 or not first & _FIN:
                raise WebSocketError(PROTOCOL_ERROR, "no control frame")
        elif bool(opcode) == bool(self._pieces):
            raise WebSocketError(PROTOCOL_ERROR, "pieces of messages that do not fit together")
        elif self._size + size > MAX_FRAME_BYTES:
            raise WebSocketError(TOO_LARGE, f"a message of more than {MAX_FRAME_BYTES} bytes")
