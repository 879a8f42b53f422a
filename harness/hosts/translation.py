"""A part's files, which hold another machine's instants."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import results
from harness.hosts.clock import Clock


def translate(path: Path, clock: Clock, told: Mapping[str, Any]) -> None:
    """Give a part's files this machine's clock. What a server says (`processed`, `happened`) is in
    its own; but where the generator has it of a worker's arrivals, they were translated for it."""
    samples = results.read_samples(path)
    by = clock.offset_ns

    def here(column: results.Ints) -> results.Ints:
        return np.where(column == 0, 0, column - by)

    start, end = samples.meta["window"]
    translated = replace(
        samples,
        planned=here(samples.planned),
        sent=here(samples.sent),
        acked=here(samples.acked),
        processed=here(samples.processed) if "producer" in samples.meta else samples.processed,
        done=here(samples.done),
        meta={**samples.meta, "window": [clock.here(start), clock.here(end)], "clock": dict(told)},
    )
    results.write_samples(path, translated)
    if sightings := results.read_sightings(results.sightings_path(path)):
        seen = here(sightings.seen)
        results.write_sightings(results.sightings_path(path), replace(sightings, seen=seen))
    # Arrivals were sent there from here.
    if (file := results.arrivals_path(path)).exists():
        arrivals = results.read_arrivals(file)
        assert arrivals is not None
        results.write_arrivals(file, replace(arrivals, at=here(arrivals.at)))
