"""What a protocol makes of a connection's bytes: its messages, in words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tests.wire.tape import Link, Tape

MOST = 900
"""Characters of a body; what is longer is cut."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or frame, of a protocol."""

    what: str
    """Its kind: `POST /orders`, `HEADERS`, `Basic.Publish`."""
    size: int
    """In bytes, with all framing."""
    text: str
    housekeeping: bool = False
    """Whether it comes by a timer or a window, and not for this order."""


class Dialogue(Protocol):
    """One connection, from its first byte on."""

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """Messages that are whole now; `there`: from who opened the connection."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and who said it to whom."""

    chunk: int
    """The place on the tape where it was whole."""
    link: Link
    speaker: str
    hearer: str
    message: Message


def heard(tape: Tape, dialogue: Callable[[], Dialogue]) -> list[Said]:
    """All that is on a tape, in the order in which it was whole."""
    dialogues: dict[Link, Dialogue] = {}
    said: list[Said] = []
    for place, chunk in enumerate(tape.chunks):
        link = chunk.link
        speaking = dialogues.setdefault(link, dialogue())
        ends = (link.opener, link.accepter)
        speaker, hearer = ends if chunk.there else ends[::-1]
        said += [
            Said(place, link, speaker, hearer, message)
            for message in speaking.feed(chunk.there, chunk.data)
        ]
    return said


def shortened(text: str) -> str:
    """A text of at most MOST characters, and how much is not shown."""
    left = len(text.encode()) - len(text[:MOST].encode())
    return text if not left else f"{text[:MOST]} … {left} bytes"
