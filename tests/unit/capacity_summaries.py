"""Made-up runs that searched for capacity, or whose rate or users change."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from harness.analysis.summary import CellResult, Summary
from harness.analysis.timeline import SLICES, Slice
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Code, Reason
from harness.plan import LoadPoint
from harness.search import Outcome, Search
from tests.unit.summaries import cell, summary, trial

HELD, MISSED, GENERATOR = Outcome
SEARCH = Search(lowest=400, highest=6400, width=0.05, repeats=3)


def result(variant: str, rate: float, number: int, came: Outcome) -> TrialResult:
    """A trial in which that came of the objective: 99 % within 20 ms, nothing undone."""
    load = LoadPoint("constant", rate=rate)
    if came is HELD:
        return trial(variant, load, number, planned=1000)
    made = trial(variant, load, number, planned=1000, dropped=60)
    return behind(made) if came is GENERATOR else made


def behind(made: TrialResult) -> TrialResult:
    """A trial whose generator's loop was later than its answers took."""
    lag = {"p50": 10_000.0, "p99": 40_000.0, "max": 90_000.0}
    return replace(made, health={**made.health, "loop_lag_us": lag})


def half(made: TrialResult) -> TrialResult:
    """A trial that lost one of its workers."""
    return replace(made, seen=replace(made.seen, worker_lost=True))


def probed(variant: str, rate: float, *outcomes: Outcome, **more: Any) -> CellResult:
    """What was seen at a rate."""
    trials = [result(variant, rate, n, came) for n, came in enumerate(outcomes, 1)]
    return cell(variant, LoadPoint("constant", rate=rate), more.pop("reasons", ()), trials, **more)


def searched(variant: str, capacity: float, beyond: Outcome = MISSED) -> list[CellResult]:
    """All that a search sees of a service without noise."""
    outcomes: dict[float, list[Outcome]] = {}
    while (rate := SEARCH.following(outcomes)) is not None:
        outcomes.setdefault(rate, []).append(HELD if rate <= capacity else beyond)
    return [probed(variant, rate, *each) for rate, each in sorted(outcomes.items())]


def of_search(cells: list[CellResult], **scenario: Any) -> Summary:
    """A run that searched."""
    usual = summary(cells).info["scenario"]
    shape: Mapping[str, Any] = {
        **usual,
        "load": [{"model": "constant", "rate": [400.0]}],
        "capacity": {"limit": 6400.0, "width": 0.05, "longest_s": 30.0},
        **scenario,
    }
    return summary(cells, scenario=shape)


@cache
def every_ending() -> Summary:
    """One that is found, one that holds throughout, one that holds nowhere, one that the generator
    could not exhaust, one that was interrupted, one that could not be run."""
    away = Reason(Code.UNAVAILABLE, "kafka: there is no Java; install one")
    return of_search(
        [
            *searched("rest", 2300),
            *searched("zeromq", 9000),
            *searched("webhook", 100),
            *searched("websocket", 3000, GENERATOR),
            probed("grpc-unary", 400, HELD),
            probed("grpc-unary", 800, MISSED),
            probed("kafka", 400, reasons=[away]),
        ]
    )


def along(load: LoadPoint) -> Summary:
    """A run at a rate that changes: one style keeps up, one does not, one has no trial."""

    def slices(p50_ms: float) -> tuple[Slice, ...]:
        return tuple(
            Slice(n / 10, 100.0 + n, p50_ms, np.inf if p50_ms > 5 and n > 30 else 2 * p50_ms)
            for n in range(SLICES)
        )

    died = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1")
    kept_up = [replace(trial("rest", load, n), timeline=slices(1.0 + n)) for n in (1, 2, 3)]
    late = [replace(trial("websocket", load, n), timeline=slices(9.0)) for n in (1, 2, 3)]
    cells = [
        cell("rest", load, (), kept_up),
        cell("websocket", load, (), late),
        cell("grpc-unary", load, [died], []),
    ]
    return summary(cells)


def by_users(variant: str, per_s: Mapping[int, float]) -> list[CellResult]:
    """Closed loops with so many answers a second."""
    found = []
    for users, rate in per_s.items():
        load = LoadPoint("closed", users=users)
        made = [trial(variant, load, n) for n in (1, 2, 3)]
        made = [
            replace(each, completed_in_window=round(rate * each.window_s), window_s=each.window_s)
            for each in made
        ]
        found.append(cell(variant, load, (), made))
    return found
