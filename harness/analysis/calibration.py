"""Does the instrument read what is true? Measured times against those of a queue whose every
departure is known, operation by operation. Pure.

The error of an operation is what was measured, less what is true, less the floor: the median of the
same server at the same rate when its work takes no time to speak of. How fast a machine answers
drifts within seconds, and by how long a path through it has rested, by more than what is asked for
here. So what is held against each other lies side by side in one trial: orders with and without
work, orders that are answered on time and late, in turn.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis import queueing
from harness.analysis.stats import middle, percentile_of
from harness.results import DONE, Samples
from orders.line import NO_WORK_NS, STALL_EVERY, Lateness, latenesses, turn

ERROR_MS = 0.15
"""What the median error may be."""
ADDED_US = 30.0
"""How far what is read of an added time may be from it."""
ADDED_POINTS = 0.5
"""The same of an added share, in percentage points."""
THEORY_PERCENT = 10.0
"""How far a measured p99 may be from theory's."""
NEAR = 100
"""Operations that share a floor: a quarter of a second, or less."""
ALL = "all"
THEORY = "theory"
"""The part whose orders are compared with theory's distributions."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
DRAWS = {"exponential": queueing.exponential, "fixed": queueing.fixed}


@dataclass(frozen=True, slots=True)
class Probe:
    """What one cell of a calibration asks of one variant."""

    part: str
    variant: str
    rate: float
    work: str
    """`fixed` or `exponential`, of `mean_ms`."""
    mean_ms: float
    between: int = 0
    """See harness.load.messages.OrderSpec.work_between."""
    late: str = ""
    """See orders.line.latenesses."""
    stall_ms: float = 0.0

    @property
    def load(self) -> float:
        """The share of time that the worker is busy."""
        return self.rate * self.mean_ms / 1e3 / (self.between + 1)

    def asks_the_same(self, other: "Probe") -> bool:
        """Whether the worker of another probe of this variant has the same to do."""
        return (self.variant, self.work, self.mean_ms, self.load) == (
            other.variant,
            other.work,
            other.mean_ms,
            other.load,
        )

    @property
    def words(self) -> str:
        """As a reader would say it, without the variant."""
        return f"{self.work} {self.mean_ms:g} ms, {self.load:.0%} load"


@dataclass(frozen=True, slots=True)
class Timed:
    """The measured operations of one trial, in milliseconds each."""

    number: Ints
    """Their places among all of the trial, from 0."""
    measured: Floats
    """+infinity for one that was not answered."""
    true: Floats
    working: npt.NDArray[np.bool_]
    """Whether there was work to do on it."""

    @property
    def added(self) -> Floats:
        """What was measured, less what is true."""
        return self.measured - self.true


def timed(samples: Samples, work_us: Sequence[int], stall_ms: float) -> Timed:
    """`work_us` are the lengths of the work, used in turn from the trial's first operation on."""
    measured = np.where(samples.outcome == DONE, samples.done - samples.planned, math.inf) / 1e6
    services = services_ns(work_us, len(samples), stall_ms)
    working = services > NO_WORK_NS
    true = services.astype(float)
    true[working] = queueing.sojourns(samples.planned[working], services[working])
    (number,) = np.nonzero(samples.measured)
    return Timed(number, measured[number], true[number] / 1e6, working[number])


def services_ns(work_us: Sequence[int], count: int, stall_ms: float) -> Ints:
    """How long the worker is kept by each of `count` operations, stalls included."""
    services = np.resize(np.array(work_us or [0], np.int64), count) * 1000
    (in_line,) = np.nonzero(services > NO_WORK_NS)
    services[in_line[STALL_EVERY - 1 :: STALL_EVERY]] += round(stall_ms * 1e6)
    return services


@dataclass(frozen=True, slots=True)
class Check:
    """One reading, and the bounds within which it must be."""

    what: str
    variant: str
    reading: float
    """NaN where there is none; such a check is not met."""
    low: float
    high: float
    unit: str
    operations: int
    detail: str

    @property
    def met(self) -> bool:
        """Whether the reading is within its bounds."""
        return self.low <= self.reading <= self.high

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        finite = math.isfinite(self.reading)
        return {
            "what": self.what,
            "variant": self.variant,
            "reading": round(self.reading, 6) if finite else None,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "operations": self.operations,
            "detail": self.detail,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Headline:
    """What later reports say of a calibration."""

    checks: int
    not_met: int
    p50_error_ms: float | None
    """The largest, without its sign."""
    added_100us: tuple[float, float] | None
    """What was read of it, in microseconds: the least and the most."""
    theory_percent: float | None
    """How far a p99 was from theory's, at most."""


def headline(found: Sequence[Check]) -> Headline:
    """What a calibration comes to."""

    def readings(what: str) -> list[float]:
        return [c.reading for c in found if c.what.startswith(what) and math.isfinite(c.reading)]

    errors, added, theory = readings("error, "), readings("100us added"), readings("p99 of ")
    return Headline(
        len(found),
        sum(not check.met for check in found),
        max(map(abs, errors)) if errors else None,
        (min(added), max(added)) if added else None,
        max(map(abs, theory)) if theory else None,
    )


Cells = Mapping[Probe, Sequence[Timed]]
"""The trials of each cell in the order of their blocks; none of one that failed."""


def checks(cells: Cells) -> list[Check]:
    """Every check of a calibration: the median error of each probe; what is read of what was added
    on purpose; what a stall did to those who came meanwhile; and the p99 of M/M/1 and M/D/1, for
    which the orders of all variants are taken together, each less its floor. The figure is the
    median over blocks."""
    found = []
    for probe in cells:
        if probe.part == THEORY:
            continue
        if probe.late:
            found += [_added(cells[probe], probe, late) for late in probe.late.split(",")]
        elif probe.stall_ms:
            found.append(_stalled(cells[probe], probe))
        else:
            found.append(_error(cells[probe], probe))
    return found + list(_theory(cells))


def _error(trials: Sequence[Timed], probe: Probe) -> Check:
    blocks = [_errors(trial) for trial in trials]
    return Check(
        f"error, {probe.words}",
        probe.variant,
        middle([_middle(errors) for errors in blocks]),
        -ERROR_MS,
        ERROR_MS,
        "ms",
        sum(map(len, blocks)),
        f"p99 {_said(middle([_percentile(errors, 99) for errors in blocks]))}, {_each(blocks)}",
    )


def _errors(trial: Timed) -> Floats:
    """Of each operation with work: what was added, less what was at the median to those without
    that are near it."""
    near = trial.number // NEAR
    return _joined(
        trial.added[(near == own) & trial.working]
        - _middle(trial.added[(near == own) & ~trial.working])
        for own in np.unique(near)
    )


def _added(trials: Sequence[Timed], probe: Probe, late: str) -> Check:
    kinds = latenesses(probe.late)
    by = Lateness.parse(late)
    if by.by_share:
        unit, added, bound = "%", 100 * by.by_share, ADDED_POINTS
    else:
        unit, added, bound = "µs", by.by_ns / 1e3, ADDED_US
    blocks = []
    for trial in trials:
        kind = np.array([turn(number, len(kinds)) for number in trial.number.tolist()])
        seen = 100 * trial.measured / trial.true if by.by_share else 1e3 * trial.added
        late_ones, on_time = (trial.working & (kind == k) for k in (kinds.index(by), 0))
        blocks.append(seen[late_ones] - _middle(seen[on_time]))
    return Check(
        f"{late} added, {probe.rate / (probe.between + 1):g}/s",
        probe.variant,
        middle([_middle(values) for values in blocks]),
        added - bound,
        added + bound,
        unit,
        sum(map(len, blocks)),
        _each(blocks),
    )


def _stalled(trials: Sequence[Timed], probe: Probe) -> Check:
    half = probe.stall_ms / 2
    measured = _joined(t.measured[t.working] - _middle(t.added[~t.working]) for t in trials)
    true = _joined(t.true[t.working] for t in trials)
    hit = true >= half
    longest = f"longest {measured.max():.1f} ms, true {true.max():.1f}" if len(true) else "none"
    return Check(
        f"error in a stall of {probe.stall_ms:g} ms",
        probe.variant,
        _middle((measured - true)[hit]),
        -ERROR_MS,
        ERROR_MS,
        "ms",
        int(hit.sum()),
        f"{longest}; {(measured >= half).sum()} took {half:g} ms or more, true {hit.sum()}",
    )


def _theory(cells: Cells) -> Iterator[Check]:
    for work, name in (("exponential", "M/M/1"), ("fixed", "M/D/1")):
        probes = [p for p in cells if p.part == THEORY and p.work == work]
        if probes:
            yield _against_theory(cells, probes, name)


def _against_theory(cells: Cells, probes: Sequence[Probe], name: str) -> Check:
    probe = probes[0]
    law = queueing.mm1_percentile if probe.work == "exponential" else queueing.md1_percentile
    theory = law(99, probe.rate / 1e3, probe.mean_ms)
    measured, true = _together(cells, probes)
    count = len(true)
    share = queueing.spread(99, probe.load, DRAWS[probe.work], count) if count else math.nan
    found = _percentile(measured, 99)
    return Check(
        f"p99 of {name}, {probe.words}",
        ALL,
        100 * (found / theory - 1),
        -THEORY_PERCENT,
        THEORY_PERCENT,
        "%",
        count,
        f"theory {theory:.2f} ms, measured {_said(found)}, its draws"
        f" {_said(_percentile(true, 99))}; sampling alone ± {share:.1%}",
    )


def _together(cells: Cells, probes: Sequence[Probe]) -> tuple[Floats, Floats]:
    """What was measured of all operations of probes, each less the floor of its variant where the
    worker was asked for the same, and what is true."""
    measured: list[Floats] = []
    true: list[Floats] = []
    for probe in probes:
        floors = [
            _middle(trial.added[~trial.working])
            for other, trials in cells.items()
            for trial in trials
            if other.between and other.asks_the_same(probe)
        ]
        measured += [trial.measured - middle(floors) for trial in cells[probe]]
        true += [trial.true for trial in cells[probe]]
    return _joined(measured), _joined(true)


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate([np.array([]), *parts])


def _each(blocks: Sequence[Floats]) -> str:
    return "blocks " + ", ".join(f"{_middle(values):.3g}" for values in blocks)


def _percentile(values: Floats, percentile: float) -> float:
    """NaN where there are too few."""
    if not len(values):
        return math.nan
    ascending = np.sort(values)
    return percentile_of(ascending[np.isfinite(ascending)], len(values), percentile)


def _middle(values: Floats) -> float:
    return _percentile(values, 50)


def _said(value: float) -> str:
    return "not resolvable" if math.isnan(value) else f"{value:.2f} ms"
