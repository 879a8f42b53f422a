"""The noise of this machine, for the tests of how often a page ranks what is alike.

    python3 bench.py run compare --styles rest=a,rest=b --rate 500 --repeats 16 --duration 2
    .venv/bin/python -m benchmarks.noise results/<run>... > tests/unit/data/noise.json

Of every usable cell of these runs: p50 and p99 of each trial beside which other programs took no
more than OTHERS, with those of its batches. What is left out is counted. The trials of both labels,
and of all runs, make one pool.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from harness.analysis.subjects import subject_of
from harness.analysis.summary import summarize
from harness.results import open_run

OTHERS = 0.3
"""Processors, on average over a trial's window."""


def main(folders: list[Path]) -> None:
    """Write the pools of these runs to standard output."""
    pools: dict[str, list[Any]] = {}
    disturbed = unusable = 0
    for folder in folders:
        summary = summarize(open_run(folder))
        for cell in summary.cells:
            subject = subject_of(cell.info, cell.trials, cell.verdict)
            if not subject.usable:
                unusable += len(cell.trials)
                continue
            alone = {t.number for t in cell.trials if (t.seen.other_busy or 0.0) <= OTHERS}
            disturbed += len(cell.trials) - len(alone)
            said = ", ".join([cell.info["load"]["words"], *cell.info["condition"]["asked"]])
            for metric in ("p50", "p99"):
                pools.setdefault(f"{cell.info['style']} {said} {metric}", []).extend(
                    [_short(repeat.value), [_short(value) for value in repeat.batches]]
                    for block, repeat in subject.repeats[metric].items()
                    if block in alone and math.isfinite(repeat.value)
                )
    environment = summary.info["environment"]
    made = {
        "made": "python -m benchmarks.noise, of runs of variants against themselves; milliseconds",
        "machine": f"{environment['machine']['cpu']}, {len(environment['machine']['cpus'])} cores,"
        f" Linux {environment['kernel']['release']}",
        "runs": len(folders),
        "trials_left_out": {"of unusable cells": unusable, "disturbed by others": disturbed},
        "trials": pools,
    }
    print(json.dumps(made).replace(']], "', ']],\n"').replace("]], [", "]],\n["))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
