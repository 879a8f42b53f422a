"""HTTP/1.1 (RFC 9112), and event streams over it."""

from collections.abc import Iterator, Mapping

from tests.wire.dialogue import Message, shortened

END_OF_HEAD = b"\r\n\r\n"
HEARTBEAT = ":"


class Http1:
    """Requests and answers with a length; an answer without end is its head, then its chunks."""

    def __init__(self) -> None:
        self._rest = {True: bytearray(), False: bytearray()}
        self._chunked = {True: False, False: False}

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """See Dialogue."""
        rest = self._rest[there]
        rest += data
        while rest:
            taken = self._chunk(there, rest) if self._chunked[there] else self._whole(there, rest)
            if taken is None:
                return
            del rest[: taken.size]
            yield taken

    def _whole(self, there: bool, rest: bytearray) -> Message | None:
        end = rest.find(END_OF_HEAD)
        if end < 0:
            return None
        head = rest[:end].decode("latin-1")
        headers = headers_in(head)
        size = end + len(END_OF_HEAD) + int(headers.get("content-length", 0))
        if len(rest) < size:
            return None
        self._chunked[there] = headers.get("transfer-encoding") == "chunked"
        body = rest[end + len(END_OF_HEAD) : size].decode("utf-8", "replace")
        text = head.replace("\r\n", "\n") + (f"\n\n{shortened(body)}" if body else "")
        return Message(kind_of(head), size, text)

    def _chunk(self, there: bool, rest: bytearray) -> Message | None:
        length, line, _ = rest.partition(b"\r\n")
        if not line:
            return None
        size = len(length) + 4 + int(length, 16)
        if len(rest) < size:
            return None
        if int(length, 16) == 0:
            self._chunked[there] = False
        data = rest[len(length) + 2 : size - 2].decode()
        what = next((li for li in data.splitlines() if li.startswith("event:")), "chunk")
        beat = data.startswith(HEARTBEAT)
        return Message("heartbeat" if beat else what, size, shortened(data.strip()), beat)


def kind_of(head: str) -> str:
    """The method and path of a request, the status of an answer."""
    first = head.partition("\r\n")[0].split(" ")
    return " ".join(first[1:] if first[0].startswith("HTTP/") else first[:2])


def headers_in(head: str) -> Mapping[str, str]:
    """By their names in small letters."""
    pairs = (line.partition(":") for line in head.split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}
