"""Which processor each part of a run is given."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Processors of each part; None leaves a part where the system puts it."""

    generator: tuple[int, ...] | None
    """Those of all generators; each has one of them."""
    server: tuple[int, ...] | None
    generators: int = 1
    elsewhere: bool = False
    """Whether generators are on other machines than servers."""
    processors: int | None = None
    """Those that generators have on several machines, where they are on such."""

    @property
    def shared(self) -> bool:
        """Whether the generator and the server may take time from each other."""
        if self.elsewhere:
            return False
        if self.generator is None or self.server is None:
            return True
        return bool(set(self.generator) & set(self.server))

    def of_generator(self, part: int) -> tuple[int, ...] | None:
        """The processor of one generator, from 0; they take them in turn."""
        return None if self.generator is None else (self.generator[part % len(self.generator)],)

    @property
    def generator_processors(self) -> int:
        """How many processors generators have; where the system puts them, each its own."""
        if self.processors is not None:
            return self.processors
        return self.generators if self.generator is None else len(self.generator)

    @property
    def words(self) -> str:
        """What is to be said of several generators; empty for one."""
        if self.generators == 1:
            return ""
        if self.elsewhere:
            return f"{self.generators} generators on other machines"
        if self.generator is None:
            return f"{self.generators} generators, where the system puts them"
        own = len(self.generator)
        where = f"{'processor' if own == 1 else 'processors'} {', '.join(map(str, self.generator))}"
        if own >= self.generators:
            return f"{self.generators} generators on {where}"
        return f"{self.generators} generators share {where}: they send no more than {own} could"


def place_on(cpus: list[int], generators: int = 1) -> Placement:
    """Two or three processors: the server on the last, the generators on the first, with the
    harness, which sleeps. More: the harness keeps the first, the server has the last, and each
    generator one in between, as far as there are so many. One: all share it."""
    match len(cpus):
        case 0 | 1:
            return Placement(None, None, generators)
        case 2 | 3:
            return Placement((cpus[0],), (cpus[-1],), generators)
    return Placement(tuple(cpus[1:-1][:generators]), (cpus[-1],), generators)


def this_machine(generators: int = 1) -> Placement:
    """The placement on the processors that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return Placement(None, None, generators)
    return place_on(sorted(os.sched_getaffinity(0)), generators)
