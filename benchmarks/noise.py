"""The noise of this machine, for the tests of how often a page ranks what is alike.

    python3 bench.py run compare --styles rest=a,rest=b --rate 200,500 --repeats 16 --duration 2
    .venv/bin/python -m benchmarks.noise results/<run>... > tests/unit/data/noise.json

Of every usable open-loop cell of these runs each trial's p50 and p99 with those of its batches; the
trials of both labels, and of all runs, make one pool.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from harness.analysis.subjects import subject_of
from harness.analysis.summary import summarize
from harness.results import open_run


def main(folders: list[Path]) -> None:
    """Write the pools of these runs to standard output."""
    pools: dict[str, list[Any]] = {}
    loads = []
    for folder in folders:
        summary = summarize(open_run(folder))
        environment = summary.info["environment"]
        loads.append(environment["machine"]["load_1m_before"])
        for cell in summary.cells:
            subject = subject_of(cell.info, cell.trials, cell.verdict)
            for metric in ("p50", "p99"):
                name = f"{cell.info['style']} {cell.info['load']['words']} {metric}"
                pools.setdefault(name, []).extend(
                    [_short(repeat.value), [_short(value) for value in repeat.batches]]
                    for repeat in subject.repeats[metric].values()
                    if subject.usable and math.isfinite(repeat.value)
                )
    made = {
        "made": "python -m benchmarks.noise, of runs of one cell against itself; milliseconds",
        "machine": f"{environment['machine']['cpu']}, {len(environment['machine']['cpus'])} cores,"
        f" Linux {environment['kernel']['release']}",
        "runs": len(folders),
        "load_1m_before": [min(loads), max(loads)],
        "trials": pools,
    }
    print(json.dumps(made).replace('], "', '],\n"').replace("]], [", "]],\n["))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
