"""One planned schedule dealt over several generators. Pure.

Part k of n has the operations k, k + n, k + 2n... of the schedule, which each part draws whole.
Its arrays have a row for each operation of its own; everything outside of it (the order, its key,
the stamp of a message, `seq` on disk) goes by the operation's number in the whole. Lanes
are numbered likewise. What is counted (users, the in-flight window, connections) is dealt so that
the shares add up, and none is larger than another by more than one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Share:
    """What one of `parts` generators has of a trial."""

    part: int = 0
    """From 0."""
    parts: int = 1

    def number(self, row: int) -> int:
        """In the whole, of its own operation (or lane) number `row`."""
        return row * self.parts + self.part

    def row(self, number: int) -> int:
        """Its own operation with this number in the whole; below 0 where that is another part's."""
        if self.parts == 1:
            return number
        row, others = divmod(number - self.part, self.parts)
        return -1 if others else row

    def numbers(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As `number`, of many; what is below 0 stays -1."""
        return np.where(rows < 0, -1, rows * self.parts + self.part).astype(rows.dtype)

    def rows(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """As `row`, of many."""
        row, others = np.divmod(numbers - self.part, self.parts)
        return np.where((others == 0) & (row >= 0), row, -1)

    def of(self, schedule: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Its own instants of the whole schedule."""
        return schedule[self.part :: self.parts]

    def amount(self, whole: int) -> int:
        """Its own of `whole` things."""
        return (whole + self.parts - 1 - self.part) // self.parts


WHOLE = Share()
