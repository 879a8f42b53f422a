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
    of_workers: tuple[int, ...] | None = None
    """Where workers run the generators: the processor that each has, numbered from 0 over all of
    their machines."""

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
    def places(self) -> tuple[int, ...]:
        """The processor that each generator has, numbered from 0; where the system puts them, each
        may have its own."""
        if self.of_workers is not None:
            return self.of_workers
        own = self.generators if self.generator is None else len(self.generator)
        return tuple(part % own for part in range(self.generators))

    @property
    def words(self) -> str:
        """What is to be said of several generators; empty for one."""
        if self.generators == 1:
            return ""
        if self.generator is None and self.of_workers is None:
            return f"{self.generators} generators, where the system puts them"
        own = len(set(self.places))
        where = "processor" if own == 1 else "processors"
        if self.of_workers is not None:
            where = f"{own} {where} of their workers"
        elif self.generator is not None:
            where = f"{where} {', '.join(map(str, self.generator))}"
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
