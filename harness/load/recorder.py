"""What became of every operation, in flat arrays; nothing is worked out while load runs."""

import time
from array import array
from bisect import bisect_left
from collections import Counter

import numpy as np
import numpy.typing as npt

from clients.base import DriverError, Milestone
from harness.load.dealing import WHOLE, Share
from harness.load.sightings import SightingLog
from harness.results import DONE, DROPPED, OUTCOMES, TIMEOUT, Samples

CHUNK = 65_536
_CODE = {word: index for index, word in enumerate(OUTCOMES)}
_OPEN = -1
MAX_DETAILS = 20


class Recorder:
    """The sink and the memory of one trial, or of a share of it. Columns have a row for each own
    operation; a driver knows operations by their numbers in the whole (harness.load.dealing).

    An instant that did not happen is 0; an operation that has not ended has outcome -1.
    """

    def __init__(
        self,
        planned: npt.NDArray[np.int64] | None = None,
        key_prefix: str = "",
        share: Share = WHOLE,
    ) -> None:
        """With `planned` (absolute nanoseconds) its rows exist from the start; without, each
        operation is added when its user is ready. See SightingLog for `key_prefix`."""
        self.share = share
        self.sightings = SightingLog(key_prefix)
        self.saw = self.sightings.saw
        self._notes: dict[str, array[int]] = {}
        self.planned = array("q")
        if planned is not None:
            self.planned.frombytes(planned.astype(np.int64).tobytes())
        self.count = len(self.planned)
        self.sent = array("q")
        self.acked = array("q")
        self.processed = array("q")
        self.done = array("q")
        self.lane = array("i")
        self.outcome = array("b")
        self._grow(max(self.count, CHUNK))
        self.ended = 0
        self.not_done = 0
        """Of those that have ended."""
        self.stray = 0
        self.details: Counter[tuple[str, str]] = Counter()

    def _grow(self, by: int) -> None:
        for column in (self.sent, self.acked, self.processed, self.done):
            column.frombytes(bytes(8 * by))
        self.lane.extend(array("i", [-1]) * by)
        self.outcome.extend(array("b", [_OPEN]) * by)

    def add(self, planned_ns: int) -> int:
        """A further operation, planned now; returns its row."""
        row = self.count
        if row == len(self.sent):
            self._grow(row)
        self.planned.append(planned_ns)
        self.count = row + 1
        return row

    def add_many(self, planned_ns: int, more: int) -> int:
        """Further operations, all planned now; returns the first one's row."""
        first = self.count
        while first + more > len(self.sent):
            self._grow(len(self.sent))
        self.planned.extend(array("q", [planned_ns]) * more)
        self.count = first + more
        return first

    def cut(self, at_ns: int) -> None:
        """Nothing is planned from an instant on; what is due by now stays."""
        at_ns = max(at_ns, time.monotonic_ns() + 1)
        self.count = min(self.count, bisect_left(self.planned, at_ns))

    def drop(self, row: int) -> None:
        """The window was full at its planned instant."""
        self.outcome[row] = DROPPED
        self.ended += 1
        self.not_done += 1

    def finish(self, row: int, processed_ns: int, done_ns: int) -> None:
        """The right answer came in time."""
        self.processed[row] = processed_ns
        self.done[row] = done_ns
        self.outcome[row] = DONE
        self.ended += 1

    def time_out(self, row: int, done_ns: int = 0) -> None:
        """No answer in time; `done_ns` where it is known to have come too late."""
        self.done[row] = done_ns
        self.outcome[row] = TIMEOUT
        self.ended += 1
        self.not_done += 1

    def fail(self, row: int, error: DriverError) -> None:
        """The operation failed; the first texts of each kind are kept, and all are counted."""
        self.outcome[row] = _CODE[error.failure]
        self.ended += 1
        self.not_done += 1
        detail = (str(error.failure), error.detail[:200])
        if detail in self.details or len(self.details) < MAX_DETAILS:
            self.details[detail] += 1
        else:
            self.details[(str(error.failure), "others")] += 1

    def arrived(
        self, operation: int, milestone: Milestone, instant_ns: int, origin: str = ""
    ) -> None:
        """See Sink.arrived. A result after the timeout is late; any other that nobody waits for is
        counted as stray."""
        row = self.share.row(operation)
        if not 0 <= row < self.count:
            self.stray += 1
        elif milestone is Milestone.ACKED and self.acked[row] == 0:
            self.acked[row] = instant_ns
        elif milestone is Milestone.DONE and self.outcome[row] == TIMEOUT and self.done[row] == 0:
            self.done[row] = instant_ns
        else:
            self.stray += 1

    def failed(self, operation: int, error: DriverError) -> None:
        """See Sink.failed: an operation that is awaited fails by raising, so this is stray."""
        self.stray += 1

    def noted(self, operation: int, name: str, by: int = 1) -> None:
        """See Sink.noted."""
        row = self.share.row(operation)
        column = self._notes.get(name)
        if column is None:
            column = self._notes[name] = array("i", bytes(4 * len(self.sent)))
        if row >= len(column):
            column.frombytes(bytes(4 * (len(self.sent) - len(column))))
        column[row] += by

    def samples(self, window: tuple[int, int], meta: dict[str, object]) -> Samples:
        """Everything, with `window` (start and end, nanoseconds) marking the measured rows.

        Raises RuntimeError if an operation has not ended: an account would not balance.
        """
        count = self.count
        planned = np.frombuffer(self.planned, np.int64, count)
        outcome = np.frombuffer(self.outcome, np.int8, count)
        if (outcome == _OPEN).any():
            raise RuntimeError(f"{(outcome == _OPEN).sum()} operations have no outcome")
        rows = np.arange(count, dtype=np.int64)
        return Samples(
            seq=None if self.share.parts == 1 else self.share.numbers(rows),
            planned=planned,
            sent=np.frombuffer(self.sent, np.int64, count),
            acked=np.frombuffer(self.acked, np.int64, count),
            processed=np.frombuffer(self.processed, np.int64, count),
            done=np.frombuffer(self.done, np.int64, count),
            outcome=outcome,
            measured=(planned >= window[0]) & (planned < window[1]),
            lane=self.share.numbers(np.frombuffer(self.lane, np.int32, count)),
            notes={name: _padded(column, count) for name, column in self._notes.items()},
            meta=meta,
        )


def _padded(column: "array[int]", count: int) -> npt.NDArray[np.int32]:
    values = np.frombuffer(column, np.int32)[:count]
    return np.pad(values, (0, count - len(values)))
