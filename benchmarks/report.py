"""A report of so many recorded operations: seconds and peak memory of `bench.py report`.

    .venv/bin/python -m benchmarks.report results/<run> [operations] [trials]

The run made for it lasts longer than the real one that it is made from: its operations are drawn
from those of each trial, its rates are the same, and what was sampled is as dense. `trials` of each
cell at most, so that 1 puts many operations into one file. Runs of messages or subscribers have
more than operations, and are not taken.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from harness import results
from harness.results import Samples

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = 10_000_000
SECONDS, MIB = 20.0, 2048.0
"""What a report of OPERATIONS may take."""
INSTANTS = ("at", "from", "to")
"""Keys of an event's detail that hold one."""


class Longer:
    """One trial whose window, and nothing else, is so many times as long."""

    def __init__(self, base: Samples, factor: float) -> None:
        self._start, self._end = map(int, base.meta["window"])
        self._factor = factor
        self._base = base

    def at(self, instant: int) -> int:
        """Where an instant of the real trial has come to."""
        within = min(max(instant - self._start, 0), self._end - self._start)
        return instant + round(within * (self._factor - 1))

    @property
    def seconds(self) -> float:
        """The window's length."""
        return (self.at(self._end) - self._start) / 1e9

    def samples(self, rng: np.random.Generator) -> Samples:
        """The warm-up as it was, then operations at the same rate, each drawn from the real ones of
        the window."""
        base = self._base
        warm = np.flatnonzero(~base.measured)
        real = np.flatnonzero(base.measured)
        drawn = rng.choice(real, round(len(real) * self._factor))
        taken = np.concatenate([warm, drawn])
        steps = np.linspace(self._start, self.at(self._end), len(drawn), endpoint=False)
        planned = np.concatenate([base.planned[warm], steps.astype(np.int64)])

        def moved(column: results.Ints) -> results.Ints:
            values = column[taken]
            found: results.Ints = np.where(values, values - base.planned[taken] + planned, 0)
            return found

        return Samples(
            planned=planned,
            sent=moved(base.sent),
            acked=moved(base.acked),
            processed=moved(base.processed),
            done=moved(base.done),
            outcome=base.outcome[taken],
            measured=base.measured[taken],
            lane=base.lane[taken],
            meta={**base.meta, "window": [self._start, self.at(self._end)]},
            notes={name: values[taken] for name, values in base.notes.items()},
        )

    def telemetry(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As many rows a second as there were."""
        found = []
        for row in rows:
            copies = 1 if row["mark"] else max(1, round(self._factor))
            found += [{**row, "at": self.at(row["at"]) + copy} for copy in range(copies)]
        return found

    def event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event, at its new place."""
        moved = {**event, "at": self.at(event["at"])}
        if event["detail"].startswith("{"):
            said = json.loads(event["detail"])
            said |= {key: self.at(said[key]) for key in INSTANTS if key in said}
            moved["detail"] = json.dumps(said)
        return moved


def make(source: Path, folder: Path, operations: int, trials: int) -> None:
    """A run of so many operations in the measured windows, after a real one."""
    run = results.open_run(source)
    taken = [
        (cell, path) for cell, paths in run.trials.items() for path in paths[:trials]
    ]  # fmt: skip
    if any(results.arrivals_path(path).exists() for _, path in taken):
        raise SystemExit(f"{run.folder}: a run of messages; name one of calls")
    if any(results.sightings_path(path).exists() for _, path in taken):
        raise SystemExit(f"{run.folder}: a run with subscribers or jobs; name one of plain calls")
    real = sum(int(results.read_samples(path).measured.sum()) for _, path in taken)
    rng = np.random.default_rng(0)
    telemetry: list[dict[str, Any]] = []
    events = [event for event in run.events if event["cell"] is None]
    seconds = 0.0
    for cell, path in taken:
        longer = Longer(results.read_samples(path), operations / real)
        number = int(path.stem)
        results.write_samples(results.trial_path(folder, cell, number), longer.samples(rng))
        mine = [r for r in run.telemetry if (r["cell"], r["trial"]) == (cell, number)]
        telemetry += longer.telemetry(mine)
        events += [longer.event(e) for e in run.events if (e["cell"], e["trial"]) == (cell, number)]
        seconds = longer.seconds
    results.write_table(folder / "telemetry.parquet", telemetry, results.telemetry_schema())
    results.write_table(folder / "events.parquet", events, results.events_schema())
    scenario = {**run.info["scenario"], "duration_s": seconds}
    scenario["repeats"] = min(scenario["repeats"], trials)
    results.write_json(folder / "run.json", {**run.info, "scenario": scenario})


def reported(folder: Path) -> tuple[float, float]:
    """Seconds and peak memory, in MiB, of `bench.py report`."""
    began = time.monotonic()
    # What bench.py becomes.
    command = [sys.executable, "-m", "harness.cli", "report", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("no report was made")
    return time.monotonic() - began, used.ru_maxrss / 1024


def main(source: str, operations: str = str(OPERATIONS), trials: str = "1000") -> int:
    """Make a run, report it, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "run"
        # Elsewhere: the peak of a child begins with the size of its parent.
        with ProcessPoolExecutor(1) as elsewhere:
            elsewhere.submit(make, Path(source), made, int(operations), int(trials)).result()
        seconds, mib = reported(made)
    print(f"{int(operations):,} operations: report in {seconds:.1f} s, {mib:,.0f} MiB at most")
    if int(operations) != OPERATIONS:
        return 0
    met = seconds < SECONDS and mib < MIB
    print(f"under {SECONDS:g} s and {MIB:,.0f} MiB: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
