"""AMQP 0-9-1 frame by frame."""

from collections.abc import Iterable, Iterator
from typing import Any

import pamqp.frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.exceptions import UnmarshalingException
from pamqp.header import ContentHeader

from tests.wire.dialogue import Message, shortened

HOUSEKEEPING = ("Queue.Declare", "Queue.DeclareOk", "Channel.Open", "Channel.OpenOk", "Heartbeat")
"""What a worker asks some times a second, on a channel of its own: how much is left for it."""


class Amqp:
    """One connection."""

    def __init__(self) -> None:
        self._rest = {True: bytearray(), False: bytearray()}

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """See Dialogue."""
        rest = self._rest[there]
        rest += data
        while rest:
            try:
                size, channel, frame = pamqp.frame.unmarshal(bytes(rest))
            except UnmarshalingException:
                return
            del rest[:size]
            yield Message(
                "ContentHeader" if isinstance(frame, ContentHeader) else frame.name,
                size,
                _words(channel, frame),
                frame.name in HOUSEKEEPING,
            )


def _fields(pairs: Iterable[tuple[str, Any]], *unsaid: Any) -> list[str]:
    return [f"{name}: {value}" for name, value in pairs if value not in unsaid]


def _words(channel: int, frame: object) -> str:
    said = [f"channel {channel}"]
    match frame:
        case Frame():
            said += _fields(frame, None, "", 0)
        case ContentHeader():
            said.append(f"body_size: {frame.body_size}")
            properties = frame.properties
            assert properties is not None
            said += _fields(properties, None, "")
        case ContentBody():
            said.append(shortened(frame.value.decode("utf-8", "replace")))
    return "\n".join(said)
