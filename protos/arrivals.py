"""What a worker saw of stamped messages, as it tells the harness: a file of rows of 40 bytes.

Rows are in the order in which one worker was done with the messages.
"""

import struct
from pathlib import Path

ROW = struct.Struct("<QQqiiII")
"""producer, sequence (as stamped), the instant of its work's end (CLOCK_MONOTONIC, ns), partition,
worker, whether the body is intact (1 or 0), and reserved (0)."""


class Arrivals:
    """A worker's rows, kept in memory until they are asked for."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._rows = bytearray()
        self._pack = ROW.pack

    def __len__(self) -> int:
        return len(self._rows) // ROW.size

    def add(self, producer: int, sequence: int, at_ns: int, partition: int, intact: bool) -> None:
        """One message; a producer of 0 stands for a message without a stamp."""
        self._rows += self._pack(producer, sequence, at_ns, partition, self._worker, intact, 0)

    def write(self, path: Path) -> None:
        """All rows so far, as a file."""
        path.write_bytes(self._rows)
