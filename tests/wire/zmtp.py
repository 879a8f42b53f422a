"""ZMTP 3 (RFC 37): a greeting, then commands and frames."""

from collections.abc import Iterator

from tests.wire.dialogue import Message, shortened

GREETING_BYTES = 64
MORE, LONG, COMMAND = 1, 2, 4


class Zmtp:
    """One connection."""

    def __init__(self) -> None:
        self._rest = {True: bytearray(), False: bytearray()}
        self._greeted = {True: False, False: False}

    def feed(self, there: bool, data: bytes) -> Iterator[Message]:
        """See Dialogue."""
        rest = self._rest[there]
        rest += data
        if not self._greeted[there]:
            if len(rest) < GREETING_BYTES:
                return
            self._greeted[there] = True
            mechanism = rest[12:32].rstrip(b"\0").decode()
            said = f"ZMTP {rest[10]}.{rest[11]}, mechanism {mechanism}"
            del rest[:GREETING_BYTES]
            yield Message("greeting", GREETING_BYTES, said)
        while (taken := _frame(rest)) is not None:
            del rest[: taken.size]
            yield taken


def _frame(rest: bytearray) -> Message | None:
    if len(rest) < 2:
        return None
    flags, at = rest[0], 9 if rest[0] & LONG else 2
    if len(rest) < at:
        return None
    length = int.from_bytes(rest[1:at], "big")
    if len(rest) < at + length:
        return None
    body = bytes(rest[at : at + length])
    size = at + length
    said = f"flags {flags}, {'more to come' if flags & MORE else 'the last frame of its message'}"
    if flags & COMMAND:
        name = body[1 : 1 + body[0]].decode()
        return Message(f"command {name}", size, said, name in ("PING", "PONG"))
    return Message(
        "message frame",
        size,
        f"{said}, {length} bytes\n{shortened(body.decode('utf-8', 'replace'))}",
    )
