"""What every message of a producer carries in one header, so that it can be accounted for.

20 bytes: the producer's number, the message's sequence in that producer, and a CRC-32 of the body.
"""

import struct
import zlib
from typing import NamedTuple

STAMP = "stamp"
"""The header's name."""
_FORM = struct.Struct(">QQI")


class Stamp(NamedTuple):
    """Read from a message."""

    producer: int
    sequence: int
    crc: int

    def fits(self, body: bytes) -> bool:
        """Whether the body is the one that was stamped."""
        return zlib.crc32(body) == self.crc


def stamp(producer: int, sequence: int, body: bytes) -> bytes:
    """The header's value; `producer` and `sequence` are below 2**64."""
    return _FORM.pack(producer, sequence, zlib.crc32(body))


def read_stamp(value: bytes) -> Stamp | None:
    """The stamp in a header's value; None if it is none."""
    return Stamp._make(_FORM.unpack(value)) if len(value) == _FORM.size else None
