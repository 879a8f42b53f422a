"""What came to clients by itself: a change to its subscribers, progress of a job. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.stats import Distribution, distribution, middle_distribution
from harness.results import Samples, Sightings


@dataclass(frozen=True, slots=True)
class Watched:
    """One trial's changes and who saw them, in ms from the change in the server."""

    first: Distribution
    median: Distribution
    last: Distribution
    delivered: int
    """Sightings by subscribers that read."""
    expected: int
    repeated: int


def watched(samples: Samples, sightings: Sightings | None, readers: int) -> Watched:
    """How a trial's changes of the measured window reached `readers` subscribers.

    A change that some did not see has a first and perhaps a median, but no last.
    """
    operations = np.flatnonzero(samples.measured & (samples.sent != 0))
    expected = len(operations) * readers
    if sightings is None or not len(sightings):
        nothing = distribution(np.array([]), len(operations))
        return Watched(nothing, nothing, nothing, 0, expected, 0)
    mine = np.isin(sightings.operation, operations)
    # A subscriber's second sight of one change is a repeat, and its first is what counts.
    pair = sightings.operation[mine] * (int(sightings.subscriber.max()) + 1)
    pair += sightings.subscriber[mine]
    _, firsts = np.unique(pair, return_index=True)
    operation = sightings.operation[mine][firsts]
    after_ms = ((sightings.seen - sightings.happened)[mine][firsts]) / 1e6
    order = np.lexsort((after_ms, operation))
    operation, after_ms = operation[order], after_ms[order]
    starts = np.flatnonzero(np.r_[True, operation[1:] != operation[:-1]])
    counts = np.diff(np.r_[starts, len(operation)])
    middle = (readers - 1) // 2

    def at(rank: int) -> Distribution:
        reached = counts > rank
        return distribution(after_ms[starts[reached] + rank], len(operations))

    return Watched(
        at(0),
        at(middle),
        at(readers - 1),
        len(firsts),
        expected,
        int(mine.sum()) - len(firsts),
    )


def middle_watched(trials: Sequence[Watched]) -> Watched | None:
    """Each percentile's median over trials, and the counts of all."""
    if not trials:
        return None
    return Watched(
        middle_distribution([t.first for t in trials]),
        middle_distribution([t.median for t in trials]),
        middle_distribution([t.last for t in trials]),
        sum(t.delivered for t in trials),
        sum(t.expected for t in trials),
        sum(t.repeated for t in trials),
    )


def progress_ms(samples: Samples, sightings: Sightings | None) -> npt.NDArray[Any]:
    """How old each update of a job was when its client saw it, in ms."""
    if sightings is None:
        return np.array([])
    operations = samples.numbers[samples.measured]
    mine = np.isin(sightings.operation, operations)
    ages: npt.NDArray[Any] = (sightings.seen - sightings.happened)[mine] / 1e6
    return ages
