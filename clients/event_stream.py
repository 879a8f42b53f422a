"""Server-Sent Events as they come in (WHATWG HTML, section 9.2.6)."""

from typing import NamedTuple

from protos.codec import MalformedReply
from protos.frames import MAX_FRAME_BYTES

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; `id` is that of the last event that had one."""

    id: str
    name: str
    data: bytes


class EventParser:
    """Reads events from bytes, in whatever pieces these come.

    Lines end in LF, CR or CR LF. An event that is not complete when the stream ends does not count.
    Reconnection times are left to the caller and ignored.
    """

    def __init__(self, last_id: str = "") -> None:
        """`last_id` is the last event's before this stream."""
        self._id = last_id
        self._name = ""
        self._data: list[bytes] = []
        self._line: list[bytes] = []
        self._line_size = 0
        self._data_size = 0
        self._after_cr = False
        self._begun = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in the next piece of the stream.

        Raises MalformedReply when one has more than MAX_FRAME_BYTES.
        """
        if not chunk:
            return []
        ends_in_cr = chunk.endswith(b"\r")
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = ends_in_cr
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[Event] = []
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            line = piece
            if self._line:
                line = b"".join([*self._line, piece])
                self._line.clear()
            if not self._begun:
                self._begun = True
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line:
                self._take(line)
            elif (event := self._end()) is not None:
                events.append(event)
        if rest:
            self._line.append(rest)
        self._line_size = len(rest) + (0 if ended else self._line_size)
        if self._data_size + self._line_size > MAX_FRAME_BYTES:
            raise MalformedReply(f"an event has more than {MAX_FRAME_BYTES} bytes")
        return events

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data":
                self._data.append(value)
                self._data_size += len(line)
            case b"event":
                self._name = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace")

    def _end(self) -> Event | None:
        name, self._name = self._name or "message", ""
        if not self._data:
            return None
        data = b"\n".join(self._data)
        self._data.clear()
        self._data_size = 0
        return Event(self._id, name, data)
