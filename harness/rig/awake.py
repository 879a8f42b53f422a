"""Keeps processors from falling asleep while something is measured.

A processor without work halts. To wake it again takes tens of microseconds, on a virtual machine
hundreds, and what it then runs begins with cold caches: an operation that comes alone would be
charged for its loneliness, and the longer the slower the service is. Linux lets a process ask for
none of that (PM QoS: as long as /dev/cpu_dma_latency is held open with a 0 in it), as cyclictest
does; it takes the right to write there.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

DEVICE = Path("/dev/cpu_dma_latency")


@contextlib.contextmanager
def awake(device: Path = DEVICE) -> Iterator[bool]:
    """Keep all processors awake within the block; says whether that could be had."""
    try:
        held = os.open(device, os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(held, bytes(4))
        yield True
    finally:
        os.close(held)
