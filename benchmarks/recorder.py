"""What the recorder costs an operation: all that is noted of one, in the order of its life."""

import sys
import time

import numpy as np

from benchmarks.rounds import Line
from harness.load.recorder import Recorder

ROUNDS = 7
OPERATIONS = 500_000


def noted() -> float:
    """Nanoseconds an operation, the loop's own cost and the clock's taken off."""
    recorder = Recorder(np.arange(1, OPERATIONS + 1, dtype=np.int64))
    clock = time.monotonic_ns
    began = clock()
    for number in range(OPERATIONS):
        recorder.lane[number] = 1
        recorder.sent[number] = clock()
        recorder.finish(number, 5, clock())
    with_recorder = clock() - began
    began = clock()
    for _ in range(OPERATIONS):
        clock()
        clock()
    return (with_recorder - (clock() - began)) / OPERATIONS


def main() -> int:
    """Measure and print."""
    line = Line(tuple(noted() for _ in range(ROUNDS)))
    print(f"recorder {line.words('ns an operation')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
