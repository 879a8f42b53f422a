"""Where a run takes its trials from: a plan that is known, or a search that goes by what it saw."""

import random
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from harness.analysis.capacity import outcome
from harness.analysis.trial import TrialResult
from harness.plan import Cell, Plan, Trial, at_rate
from harness.search import Outcome, Search


class Trials(Protocol):
    """The trials of a run, one after the other; each is told before the next is asked for."""

    @property
    def cells(self) -> Sequence[Cell]:
        """All that there are so far."""

    def next(self) -> Trial | None:
        """The next one; None when there is none left."""

    def tell(self, trial: Trial, result: TrialResult | None) -> None:
        """What came of it; None where it has no samples."""


def trials_of(plan: Plan) -> Trials:
    """Those of a plan."""
    search = plan.search
    return KnownTrials(plan) if search is None else SearchedTrials(plan, search)


class KnownTrials:
    """A plan's own, in its order."""

    def __init__(self, plan: Plan) -> None:
        self._cells = plan.cells
        self._left = iter(plan.trials)

    @property
    def cells(self) -> Sequence[Cell]:
        """See Trials.cells."""
        return self._cells

    def next(self) -> Trial | None:
        """See Trials.next."""
        return next(self._left, None)

    def tell(self, trial: Trial, result: TrialResult | None) -> None:
        """See Trials.tell."""


class SearchedTrials:
    """A search for every variant under every condition, in rounds of one trial of each that is not
    done, in random order: what drifts on the machine meets all alike."""

    def __init__(self, plan: Plan, search: Search) -> None:
        self._scenario = plan.scenario
        self._search = search
        self._cells = {cell.id: cell for cell in plan.cells}
        self._firsts = [trial.cell for trial in plan.trials]
        self._outcomes: dict[str, dict[float, list[Outcome]]] = {}
        """By what is searched, see _told."""
        self._round: deque[Trial] = deque()
        self._rounds = 0

    @property
    def cells(self) -> Sequence[Cell]:
        """See Trials.cells."""
        return sorted(self._cells.values(), key=lambda cell: cell.load.rate or 0.0)

    def next(self) -> Trial | None:
        """See Trials.next."""
        if not self._round:
            self._round.extend(self._next_round())
        return self._round.popleft() if self._round else None

    def tell(self, trial: Trial, result: TrialResult | None) -> None:
        """See Trials.tell. What has no samples was missed."""
        assert self._scenario.objective is not None
        assert trial.cell.load.rate is not None
        came = Outcome.MISSED
        if result is not None:
            came = outcome(result, self._scenario.objective.model_dump())
        self._told(trial.cell).setdefault(trial.cell.load.rate, []).append(came)

    def _told(self, cell: Cell) -> dict[float, list[Outcome]]:
        """The outcomes of the search to which a cell belongs."""
        return self._outcomes.setdefault(f"{cell.variant.name} {cell.condition}", {})

    def _next_round(self) -> list[Trial]:
        trials = []
        for first in self._firsts:
            outcomes = self._told(first)
            rate = self._search.following(outcomes)
            if rate is not None:
                cell = at_rate(self._scenario, first, rate)
                self._cells.setdefault(cell.id, cell)
                trials.append(Trial(cell, len(outcomes.get(rate, ()))))
        random.Random(f"order/{self._scenario.seed}/{self._rounds}").shuffle(trials)
        self._rounds += 1
        return trials
