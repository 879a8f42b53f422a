"""HTTP/2 (RFC 9113) frame by frame, its headers decoded (RFC 7541); what a body holds is the
style's."""

from collections.abc import Callable, Iterator, Mapping

from google.protobuf.message import Message as Protobuf
from google.protobuf.text_format import MessageToString
from hpack import Decoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame

from protos import orders_pb2 as pb
from protos.rpc import PREFIX_BYTES
from tests.wire.dialogue import Message, shortened

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
HOUSEKEEPING = ("SETTINGS", "WINDOW_UPDATE", "PING")
CALLS: Mapping[str, tuple[type[Protobuf], type[Protobuf]]] = {
    "Place": (pb.Order, pb.Confirmation),
    "PlaceStream": (pb.RequestFrame, pb.ReplyFrame),
}
"""What goes there and comes back in the calls that place an order."""

Read = Callable[[str, bool, bytes], str]
"""A body in words: of a stream's path, whether from who opened the connection."""


def as_text(path: str, there: bool, body: bytes) -> str:
    """A body that is text."""
    return body.decode()


def as_grpc(path: str, there: bool, body: bytes) -> str:
    """A body that is one message of gRPC in protobuf."""
    if not body:
        return ""
    message = CALLS[path.rpartition("/")[2]][0 if there else 1]()
    message.ParseFromString(body[PREFIX_BYTES:])
    length = int.from_bytes(body[1:PREFIX_BYTES], "big")
    head = f"not compressed, a message of {length} bytes: {message.DESCRIPTOR.full_name}"
    return f"{head}\n{MessageToString(message).rstrip()}"


class Http2:
    """One connection."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = {True: bytearray(), False: bytearray()}
        self._decoders = {True: Decoder(), False: Decoder()}
        self._begun = False
        self._paths: dict[int, str] = {}

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """See Dialogue."""
        rest = self._rest[there]
        rest += data
        if there and not self._begun:
            if len(rest) < len(PREFACE):
                return
            assert rest.startswith(PREFACE)
            self._begun = True
            del rest[: len(PREFACE)]
            yield Message("preface", len(PREFACE), PREFACE.decode().strip())
        while len(rest) >= HEAD_BYTES:
            frame, length = Frame.parse_frame_header(memoryview(bytes(rest[:HEAD_BYTES])))
            size = HEAD_BYTES + length
            if len(rest) < size:
                return
            frame.parse_body(memoryview(bytes(rest[HEAD_BYTES:size])))
            del rest[:size]
            yield self._told(there, frame, size)

    def _told(self, there: bool, frame: Frame, size: int) -> Message:
        name = type(frame).__name__.removesuffix("Frame")
        what = {"Headers": "HEADERS", "Data": "DATA", "WindowUpdate": "WINDOW_UPDATE"}.get(
            name, name.upper()
        )
        flags = "".join(f", {flag}" for flag in sorted(frame.flags))
        text = f"stream {frame.stream_id}{flags}"
        if isinstance(frame, HeadersFrame):
            headers = self._headers(there, frame)
            text += "".join(f"\n{name}: {value}" for name, value in headers)
        elif isinstance(frame, DataFrame):
            body = self._read(self._paths.get(frame.stream_id, ""), there, frame.data)
            text += f"\n{shortened(body)}" if body else ""
        return Message(what, size, text, what in HOUSEKEEPING)

    def _headers(self, there: bool, frame: HeadersFrame) -> list[tuple[str, str]]:
        assert "END_HEADERS" in frame.flags
        decoded = self._decoders[there].decode(frame.data, raw=True)
        headers = [(bytes(h[0]).decode(), bytes(h[1]).decode()) for h in decoded]
        if path := dict(headers).get(":path"):
            self._paths[frame.stream_id] = path
        return headers
