"""A run told as JSON lines, for a program that shows it."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from clients import catalog
from harness.analysis.overhead import bytes_per_op, overhead
from harness.analysis.trial import TrialResult
from harness.plan import Cell, Plan, Trial
from harness.variant import Variant


class LinesWatcher:
    """See trial.Watcher. Every line is about one thing, which `event` names:

    - `planned`: `folder`, `trials`, `seconds`; nothing is written before `begin` is answered;
    - `said`: `words`;
    - `hosts`: `rows`, the workers on other machines as they are now (Crew.states);
    - `trial`: `subject` (of the rows), `number`, `load`: what is under way;
    - `figures`: `subject` and `rows` (harness.load.live.Figures), what has happened since the last;
    - `trial_ended`: `subject`, `number` and what the trial came to, in three tables;
    - `trial_failed`: `subject`, `number`, `reason`;
    - `end`: `code`, the exit code, and `report`, the page. It is the last.
    """

    def __init__(self, plan: Plan, folder: Path, out: TextIO) -> None:
        self._out = out
        self._subjects = subjects(plan.cells)
        self._number = 0
        self._trial: Trial
        self._say("planned", folder=str(folder), trials=plan.most_trials, seconds=plan.seconds)

    def said(self, words: str) -> None:
        """See trial.Watcher."""
        self._say("said", words=words)

    def hosts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See trial.Watcher."""
        self._say("hosts", rows=rows)

    def trial_started(self, trial: Trial, number: int, revision: str = "") -> None:
        """See trial.Watcher."""
        self._number, self._trial = number, trial
        self._tell("trial", load=trial.cell.load.words)

    def trial_progress(self, elapsed_s: float, rate: float, failed: int) -> None:
        """See trial.Watcher: the figures say more."""

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See trial.Watcher."""
        self._tell("figures", rows=rows)

    def trial_ended(self, trial: Trial, result: TrialResult) -> None:
        """See trial.Watcher."""
        self._tell(
            "trial_ended",
            load=trial.cell.load.words,
            overhead=_overhead(result),
            generator=_generator(result),
            ledger=_ledger(result),
        )

    def trial_failed(self, trial: Trial, reason: str) -> None:
        """See trial.Watcher."""
        self._tell("trial_failed", reason=reason)

    def close(self) -> None:
        """Nothing is held."""

    def end(self, code: int, report: Path) -> None:
        """The report is written, and the program ends with `code`."""
        self._say("end", code=code, report=str(report))

    def _tell(self, event: str, **fields: Any) -> None:
        style, what = self._subject(self._trial.cell)
        self._say(event, subject=[style, what], number=self._number, **fields)

    def _subject(self, cell: Cell) -> tuple[str, str]:
        # A search adds cells as it goes.
        return self._subjects.get(cell.id) or (short(cell.variant), f"place {cell.load.words}")

    def _say(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=self._out, flush=True)


def short(variant: Variant) -> str:
    """The variant in its own grammar, without the libraries where they are the style's own."""
    entry = variant.entry
    own = entry.client == "own" or entry == catalog.find(entry.style)
    label = f"={variant.label}" if variant.label else ""
    return entry.style + label if own else variant.name


def subjects(cells: Sequence[Cell]) -> dict[str, tuple[str, str]]:
    """By cell: its variant, and what is done, as short as it tells cells apart."""
    alike = Counter(short(cell.variant) for cell in cells)
    found = {}
    for cell in cells:
        operation = cell.id.partition(".")[0]
        detail = [cell.load.words, *cell.condition.asked, *cell.condition.how]
        style = short(cell.variant)
        what = operation if alike[style] == 1 else f"{operation}, {', '.join(detail)}"
        found[cell.id] = (style, what)
    return found


def _overhead(result: TrialResult) -> dict[str, Any]:
    costs = overhead([result])
    moved = bytes_per_op(costs.passages)
    return {
        "cpu_us": {role: round(cost.cpu_us, 1) for role, cost in costs.roles.items()},
        "bytes": None if moved is None else [round(each) for each in moved],
    }


def _generator(result: TrialResult) -> dict[str, Any]:
    health, lag = result.health, result.send_lag_us
    return {
        "send_lag_us": [_known(lag.p50), _known(lag.p99), _known(lag.max)],
        "loop_lag_p99_us": health["loop_lag_us"] and _known(health["loop_lag_us"]["p99"]),
        "busy": round(result.client_busy, 4),
        "pacer": health["pacer"],
        "lanes": health["lanes_opened"],
    }


def _known(value: float) -> float | None:
    """JSON has no NaN, which a percentile is that cannot be told."""
    return round(value, 1) if math.isfinite(value) else None


def _ledger(result: TrialResult) -> dict[str, Any]:
    counts = result.counts
    found: dict[str, Any] = {
        "planned": counts.planned,
        "sent": counts.sent,
        "done": counts.done,
        "failed": counts.failed,
        "timed_out": counts.timed_out,
        "dropped": counts.dropped,
        "late": counts.late,
        "wrong": counts.imbalances,
    }
    if result.ledger is not None:
        found["wrong"] = counts.imbalances + result.ledger.imbalances
        found["messages"] = result.ledger.to_json()
    return found
