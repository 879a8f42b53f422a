"""Ports of loopback for parts that must be told theirs."""

import socket

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", LOOPBACK, "::1")


class Ports:
    """Free ports that nobody else is given while they are held, also between a part's runs.

    A held port is bound and does not listen: what listens with SO_REUSEADDR, as servers do, may.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> int:
        """A port that was free. Raises OSError."""
        held = socket.socket()
        self._held.append(held)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, 0))
        return int(held.getsockname()[1])

    def close(self) -> None:
        """Give all of them back."""
        for held in self._held:
            held.close()
