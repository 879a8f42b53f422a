"""What consumers did with the messages of a trial, put beside what their producer knows."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.load.recorder import Recorder
from harness.results import DONE, TIMEOUT, Arrivals
from protos.arrivals import ROW

_ROWS = np.dtype(
    [
        ("producer", "<u8"),
        ("sequence", "<u8"),
        ("at", "<i8"),
        ("partition", "<i4"),
        ("worker", "<i4"),
        ("intact", "<u4"),
        ("reserved", "<u4"),
    ]
)
assert _ROWS.itemsize == ROW.size


def read_rows(paths: Iterable[Path]) -> Arrivals:
    """The files of several workers (protos.arrivals), one after the other. Raises OSError, and
    ValueError for a file that is not whole."""
    parts = [_rows_of(path) for path in paths]
    rows = np.concatenate(parts) if parts else np.empty(0, _ROWS)
    return Arrivals(
        producer=rows["producer"].astype(np.int64),
        sequence=rows["sequence"].astype(np.int64),
        at=np.ascontiguousarray(rows["at"]),
        partition=np.ascontiguousarray(rows["partition"]),
        worker=np.ascontiguousarray(rows["worker"]),
        intact=rows["intact"] != 0,
    )


def _rows_of(path: Path) -> npt.NDArray[np.void]:
    if path.stat().st_size % ROW.size:
        raise ValueError(f"{path} is not whole")
    return np.fromfile(path, _ROWS)


def shifted(file: bytes, by_ns: int) -> bytes:
    """A worker's file with its instants in a clock that is so far ahead."""
    rows = np.frombuffer(file, _ROWS).copy()
    rows["at"] += by_ns
    return rows.tobytes()


def conclude(
    recorder: Recorder, arrivals: Arrivals, producer: int, acknowledges: bool, timeout_s: float
) -> None:
    """Give every own message that was sent its end: `done` when it was acknowledged, where that is
    done at all, and processed by a consumer, both within `timeout_s` seconds; else a timeout, or
    the failure that its producer saw."""
    count = recorder.count
    sent = np.frombuffer(recorder.sent, np.int64, count)
    acked = np.frombuffer(recorder.acked, np.int64, count)
    processed = np.frombuffer(recorder.processed, np.int64, count)
    done = np.frombuffer(recorder.done, np.int64, count)
    outcome = np.frombuffer(recorder.outcome, np.int8, count)
    rows = recorder.share.rows(arrivals.sequence)
    known = (rows >= 0) & (rows < count)
    ours = arrivals.intact & (arrivals.producer == producer) & known
    row, at = rows[ours], arrivals.at[ours]
    # Backwards in time, so that the first arrival of each is what stays.
    backwards = np.argsort(at, kind="stable")[::-1]
    processed[row[backwards]] = at[backwards]
    undecided = (sent != 0) & (outcome < 0)
    both = undecided & (processed != 0) & ((acked != 0) | (not acknowledges))
    done[both] = np.maximum(acked, processed)[both]
    outcome[undecided] = TIMEOUT
    outcome[both & (done - sent <= round(timeout_s * 1e9))] = DONE
