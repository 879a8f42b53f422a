"""Which processor each part of a run is given."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Processors of each part; None leaves a part where the system puts it."""

    generator: tuple[int, ...] | None
    server: tuple[int, ...] | None

    @property
    def shared(self) -> bool:
        """Whether the generator and the server may take time from each other."""
        if self.generator is None or self.server is None:
            return True
        return bool(set(self.generator) & set(self.server))


def place_on(cpus: list[int]) -> Placement:
    """Two or three processors: the server on the last, the generator on the first, with the
    harness, which sleeps. More: the harness keeps the first and each has one of its own. One: all
    share it."""
    match len(cpus):
        case 0 | 1:
            return Placement(None, None)
        case 2 | 3:
            return Placement((cpus[0],), (cpus[-1],))
    return Placement((cpus[1],), (cpus[-1],))


def this_machine() -> Placement:
    """The placement on the processors that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return Placement(None, None)
    return place_on(sorted(os.sched_getaffinity(0)))
