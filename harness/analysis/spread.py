"""How messages were spread over the partitions of a topic, or a broker's queues. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.results import Arrivals


@dataclass(frozen=True, slots=True)
class Spread:
    """Counts, so that trials can be added up."""

    partitions: int
    """Those in which a message was seen."""
    pairs: int
    """Messages that their producer sent right after another one, where both arrived."""
    following: int
    """Of these, the ones in the partition that follows the former's: after the last comes the
    first."""
    same: int
    """Of these, the ones in the former's partition."""


def spread(arrivals: Arrivals, producers: int = 1) -> Spread:
    """Of a trial's messages, each where it arrived first. `producers` sent them in turn."""
    intact = arrivals.intact
    sequence, first = np.unique(arrivals.sequence[intact], return_index=True)
    by_producer = np.argsort(sequence % producers, kind="stable")
    sequence, first = sequence[by_producer], first[by_producer]
    seen, place = np.unique(arrivals.partition[intact][first], return_inverse=True)
    successive = np.diff(sequence) == producers
    steps = np.diff(place)[successive]
    return Spread(
        partitions=len(seen),
        pairs=len(steps),
        following=int(np.count_nonzero((steps == 1) | (steps == 1 - len(seen)) & (steps != 0))),
        same=int(np.count_nonzero(steps == 0)),
    )


def added(spreads: Sequence[Spread]) -> Spread | None:
    """Of several trials together; None of none."""
    if not spreads:
        return None
    return Spread(
        max(each.partitions for each in spreads),
        sum(each.pairs for each in spreads),
        sum(each.following for each in spreads),
        sum(each.same for each in spreads),
    )
