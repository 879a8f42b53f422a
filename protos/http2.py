"""HTTP/2 (RFC 9113) as far as gRPC needs it, without I/O: the raw client and server share it.

Priorities are ignored and nothing is pushed. What a side says again and again is prepared once, and
what it hears again and again is read once.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from protos.frames import MAX_FRAME_BYTES

Fields = Mapping[str, str]
"""Header fields by name; of several with one name the last."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION = 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 2, 3, 4, 5

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 6, 7, 8, 9
ENHANCE_YOUR_CALM = 11

FRAME_BYTES = 2**14
"""What a frame may carry unless a peer allows more; we do not."""
BLOCK_BYTES = 2**16
"""What the header fields of a message may take."""
WINDOW = 2**31 - 1
STREAM_WINDOW = MAX_FRAME_BYTES + FRAME_BYTES
"""What we take of a stream. It holds one message, so that its window is never opened further."""
USUAL_WINDOW = 2**16 - 1
USUAL_TABLE = 4096
KNOWN_BLOCKS = 256

_HEAD = struct.Struct(">HBBBL")
_SETTING = struct.Struct(">HL")
_LONG = struct.Struct(">L")
_AWAY = struct.Struct(">LL")
_STREAM = 0x7FFFFFFF


class Http2Error(Exception):
    """What ends a connection, with the code of RFC 9113 section 7."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame; `payload` fits into one."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def literal(name: str, value: str) -> bytes:
    """A header field that the peer is not to remember (RFC 7541, section 6.2.2), in plain bytes."""
    key, text = name.encode(), value.encode()
    return b"\0" + _length(len(key)) + key + _length(len(text)) + text


def _length(number: int) -> bytes:
    """An integer with a prefix of seven bits (RFC 7541, section 5.1)."""
    if number < 127:
        return bytes((number,))
    found = bytearray((127,))
    number -= 127
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


class Prepared:
    """Sets of header fields that are sent again and again, always in one order: in full at first,
    then as references to what the peer remembers."""

    def __init__(self, *sets: Sequence[tuple[str, str]]) -> None:
        self._sets = sets
        self._encoder = Encoder()
        self._full: list[bytes] | None = None
        self._short: list[bytes] = []
        self._encode()

    def resize(self, table_bytes: int) -> None:
        """The peer remembers so much."""
        size = min(table_bytes, USUAL_TABLE)
        if size != self._encoder.header_table_size:
            self._encoder.header_table_size = size
            self._encode()

    def next(self) -> list[bytes]:
        """A block for each set, to be sent now."""
        full = self._full
        if full is None:
            return self._short
        self._full = None
        return full

    def _encode(self) -> None:
        self._full = [self._encoder.encode(fields) for fields in self._sets]
        self._short = [self._encoder.encode(fields) for fields in self._sets]


class Blocks:
    """Reads header blocks. One that leaves the table of remembered fields as it was means the same
    until that changes, so it is read once."""

    def __init__(self) -> None:
        self._decoder = Decoder(BLOCK_BYTES)
        self._known: dict[bytes, Fields] = {}

    def read(self, block: bytes) -> Fields:
        """The fields in a block. Raises Http2Error."""
        found = self._known.get(block)
        if found is not None:
            return found
        before = self._table
        try:
            found = {str(name): str(text) for name, text in self._decoder.decode(block)}
        except (HPACKError, ValueError, IndexError) as error:
            words = f"header fields cannot be read: {error}"
            raise Http2Error(COMPRESSION_ERROR, words) from None
        if self._table != before:
            self._known.clear()
        elif len(self._known) < KNOWN_BLOCKS:
            self._known[block] = found
        return found

    @property
    def _table(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        table = self._decoder.header_table
        return table.maxsize, list(table.dynamic_entries)


class Streams(Protocol):
    """What becomes of streams."""

    def headers(self, stream: int, fields: Fields, ended: bool) -> None:
        """Header fields, or trailing ones, came."""

    def data(self, stream: int, payload: bytes, ended: bool) -> None:
        """A piece of a body came."""

    def reset(self, stream: int, code: int) -> None:
        """The peer gave a stream up."""

    def going_away(self, last: int, code: int) -> None:
        """The peer takes no stream after `last`."""

    def settled(self, values: Mapping[int, int]) -> None:
        """The peer's settings came."""


@dataclass(slots=True)
class _Unsent:
    """What of a body waits for the windows to open."""

    body: memoryview
    room: int
    tail: bytes


class Http2:
    """One side of a connection. What it says goes to `write`, what it hears to `streams`."""

    def __init__(self, streams: Streams, write: Callable[[bytes], None]) -> None:
        self._streams = streams
        self._write = write
        self._blocks = Blocks()
        self._rest = b""
        self._greeted = False
        self._block: tuple[int, int, list[bytes]] | None = None
        """Stream, flags and pieces of header fields that go on in a further frame."""
        self._taken = 0
        self._room = USUAL_WINDOW
        self._initial = USUAL_WINDOW
        self._largest = FRAME_BYTES
        self._unsent: dict[int, _Unsent] = {}

    @staticmethod
    def greeting(values: Mapping[int, int]) -> bytes:
        """What a side begins with, but for a client's preface: its settings, and all the room that
        a connection can have."""
        update = frame(WINDOW_UPDATE, 0, 0, _LONG.pack(WINDOW - USUAL_WINDOW))
        return settings({INITIAL_WINDOW: STREAM_WINDOW, **values}) + update

    def send(self, stream: int, head: bytes, body: bytes, tail: bytes = b"") -> None:
        """A message: `head` and `tail` are blocks of header fields; without `tail` the body ends
        the stream. What the windows do not let through follows when they open."""
        size, block = len(body), len(head)
        begin = _HEAD.pack(block >> 8, block & 0xFF, HEADERS, END_HEADERS, stream) + head
        end = frame(HEADERS, END_HEADERS | END_STREAM, stream, tail) if tail else b""
        if size <= self._room and size <= self._initial and size <= self._largest:
            self._room -= size
            flags = 0 if tail else END_STREAM
            between = _HEAD.pack(size >> 8, size & 0xFF, DATA, flags, stream)
            self._write(b"".join((begin, between, body, end)))
        else:
            self._write(begin)
            self._unsent[stream] = _Unsent(memoryview(body), self._initial, end)
            self._flush()

    def send_headers(self, stream: int, block: bytes) -> None:
        """Header fields that end a stream."""
        self._unsent.pop(stream, None)
        self._write(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))

    def sends(self, stream: int) -> bool:
        """Whether a part of a stream's message waits for the windows."""
        return stream in self._unsent

    def give_up(self, stream: int, code: int) -> None:
        """Reset a stream."""
        self._unsent.pop(stream, None)
        self._write(frame(RST_STREAM, 0, stream, _LONG.pack(code)))

    def go_away(self, last: int, code: int) -> None:
        """Take no stream after `last`."""
        self._write(frame(GOAWAY, 0, 0, _AWAY.pack(last, code)))

    def receive(self, data: bytes) -> None:
        """Take what came. Raises Http2Error, after which the connection is of no use."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > FRAME_BYTES:
                raise Http2Error(FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            start = at + _HEAD.size
            at = start + size
            if at > end:
                at = start - _HEAD.size
                break
            self._frame(kind, flags, stream & _STREAM, data[start:at])
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None:
            self._continue(kind, flags, stream, payload)
        elif not self._greeted:
            if kind != SETTINGS or flags & ACK:
                raise Http2Error(PROTOCOL_ERROR, "the peer does not begin with its settings")
            self._greeted = True
            self._set(payload)
        elif kind == DATA:
            self._data(flags, _of_stream(stream), payload)
        elif kind == HEADERS:
            self._headers(flags, _of_stream(stream), payload)
        elif kind == WINDOW_UPDATE:
            self._open(stream, _number(payload) & _STREAM)
        elif kind == PING:
            if len(payload) != 8:
                raise Http2Error(FRAME_SIZE_ERROR, "a PING of another size")
            if not flags & ACK:
                self._write(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS:
            if not flags & ACK:
                self._set(payload)
        elif kind == RST_STREAM:
            self._unsent.pop(_of_stream(stream), None)
            self._streams.reset(stream, _number(payload))
        elif kind == GOAWAY:
            if len(payload) < _AWAY.size:
                raise Http2Error(FRAME_SIZE_ERROR, "a GOAWAY of another size")
            last, code = _AWAY.unpack_from(payload)
            self._streams.going_away(last & _STREAM, code)
        elif kind in (CONTINUATION, PUSH_PROMISE):
            raise Http2Error(PROTOCOL_ERROR, "a frame that may not come here")

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._taken += len(payload)
        if self._taken > WINDOW // 2:
            self._write(frame(WINDOW_UPDATE, 0, 0, _LONG.pack(self._taken)))
            self._taken = 0
        if flags & PADDED:
            payload = _unpadded(payload)
        self._streams.data(stream, payload, bool(flags & END_STREAM))

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & PRIORITIZED:
            payload = payload[5:]
        if flags & END_HEADERS:
            fields = self._blocks.read(payload)
            self._streams.headers(stream, fields, bool(flags & END_STREAM))
        else:
            self._block = stream, flags, [payload]

    def _continue(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self._block is not None
        of, first, pieces = self._block
        if kind != CONTINUATION or stream != of:
            raise Http2Error(PROTOCOL_ERROR, "header fields without their end")
        pieces.append(payload)
        if sum(map(len, pieces)) > BLOCK_BYTES or len(pieces) > BLOCK_BYTES // 256:
            raise Http2Error(ENHANCE_YOUR_CALM, "header fields without end")
        if flags & END_HEADERS:
            self._block = None
            fields = self._blocks.read(b"".join(pieces))
            self._streams.headers(stream, fields, bool(first & END_STREAM))

    def _set(self, payload: bytes) -> None:
        if len(payload) % _SETTING.size:
            raise Http2Error(FRAME_SIZE_ERROR, "settings of another size")
        values = dict(_SETTING.iter_unpack(payload))
        initial = values.get(INITIAL_WINDOW, self._initial)
        if initial > WINDOW:
            raise Http2Error(FLOW_CONTROL_ERROR, "a window that is too large")
        largest = values.get(MAX_FRAME, self._largest)
        if not FRAME_BYTES <= largest < 2**24:
            raise Http2Error(PROTOCOL_ERROR, "frames of a size that there is not")
        for unsent in self._unsent.values():
            unsent.room += initial - self._initial
        self._initial, self._largest = initial, largest
        self._write(frame(SETTINGS, ACK, 0))
        self._streams.settled(values)
        self._flush()

    def _open(self, stream: int, by: int) -> None:
        if not by:
            raise Http2Error(PROTOCOL_ERROR, "a window that opens by nothing")
        if not stream:
            self._room += by
            if self._room > WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "a window that is too large")
        elif (unsent := self._unsent.get(stream)) is not None:
            unsent.room += by
        if self._unsent:
            self._flush()

    def _flush(self) -> None:
        for stream, unsent in list(self._unsent.items()):
            while unsent.body:
                most = min(self._room, unsent.room, self._largest)
                if most <= 0:
                    break
                piece, unsent.body = unsent.body[:most], unsent.body[most:]
                self._room -= len(piece)
                unsent.room -= len(piece)
                ended = not unsent.body and not unsent.tail
                self._write(frame(DATA, END_STREAM if ended else 0, stream, bytes(piece)))
            if not unsent.body:
                del self._unsent[stream]
                if unsent.tail:
                    self._write(unsent.tail)


def _of_stream(stream: int) -> int:
    if not stream:
        raise Http2Error(PROTOCOL_ERROR, "a frame that belongs to no stream")
    return stream


def _number(payload: bytes) -> int:
    if len(payload) != _LONG.size:
        raise Http2Error(FRAME_SIZE_ERROR, "a frame of another size")
    number: int = _LONG.unpack(payload)[0]
    return number


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "more padding than there is")
    return payload[1 : len(payload) - payload[0]]
