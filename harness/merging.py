"""The parts of one trial that several generators have left, put together as one. Pure, but for
`merge`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.load.recorder import MAX_DETAILS
from harness.results import (
    Samples,
    Sightings,
    arrivals_path,
    part_path,
    read_samples,
    read_sightings,
    sightings_path,
    write_samples,
    write_sightings,
)

SAME = ("format", "cell", "trial", "block", "seed", "window", "parts", "keys", "acknowledges")
"""What of a part's metadata is the whole trial's."""


class Unlike(Exception):
    """Parts that are not of one trial, and in what."""


def merge(path: Path, parts: Sequence[int]) -> None:
    """Make one trial's files of those of its parts, or of what is left of them, by number.

    Raises OSError or ValueError where a part cannot be read, and Unlike.
    """
    files = [part_path(path, part) for part in parts]
    whole = merged([read_samples(file) for file in files], parts)
    seen = [found for file in files if (found := read_sightings(sightings_path(file)))]
    if seen:
        write_sightings(sightings_path(path), merged_sightings(seen))
    if "producers" in whole.meta:
        arrivals_path(files[0]).replace(arrivals_path(path))
    write_samples(path, whole)


def forget(path: Path, parts: int) -> None:
    """Remove what parts have left."""
    for file in (part_path(path, part) for part in range(parts)):
        for left in (file, sightings_path(file), arrivals_path(file)):
            left.unlink(missing_ok=True)


def merged(parts: Sequence[Samples], numbers: Sequence[int]) -> Samples:
    """One trial of the parts that have these numbers, in their order; rows are sorted when they are
    written. Raises Unlike."""
    metas = [part.meta for part in parts]
    for key in SAME:
        if len({repr(meta.get(key)) for meta in metas}) > 1:
            raise Unlike(f"parts differ in {key}: {[meta.get(key) for meta in metas]}")
    if [meta["part"] for meta in metas] != list(numbers):
        raise Unlike(f"parts {[meta['part'] for meta in metas]} of {metas[0]['parts']}")
    meta = {
        **metas[0],
        "part": None,
        "health": merged_health([meta["health"] for meta in metas]),
        "health_of_parts": [meta["health"] for meta in metas],
    }
    if "clock" in meta:
        meta.pop("clock")
        meta["clocks"] = [each["clock"] for each in metas]
    if "producer" in meta:
        meta.pop("producer")
        meta["producers"] = [each["producer"] for each in metas]
    columns = ("planned", "sent", "acked", "processed", "done", "outcome", "measured", "lane")
    names = dict.fromkeys(name for part in parts for name in part.notes)
    return Samples(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns},
        meta=meta,
        notes={
            name: np.concatenate(
                [part.notes.get(name, np.zeros(len(part), np.int32)) for part in parts]
            )
            for name in names
        },
        seq=np.concatenate([part.numbers for part in parts]),
    )


def merged_sightings(parts: Sequence[Sightings]) -> Sightings:
    """All rows, in the order in which they were seen."""
    order = np.argsort(np.concatenate([part.seen for part in parts]), kind="stable")
    return Sightings(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])[order]
            for name in ("operation", "subscriber", "happened", "seen")
        }
    )


def merged_health(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is counted is added up; of lags the worst part's is what may have spoilt a trial."""
    details: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for kind, text, count in part["failure_details"]:
            details[kind, text] += count
    lags = [lag for part in parts if (lag := part["loop_lag_us"]) is not None]
    added = ("cpu_s", "memory_growth_bytes", "lanes_opened", "stray_replies", "repeated_sightings")
    return {
        **parts[0],
        **{name: sum(part[name] for part in parts) for name in added},
        "loop_lag_us": {name: max(lag[name] for lag in lags) for name in lags[0]} if lags else None,
        "failure_details": [[*key, count] for key, count in details.most_common(MAX_DETAILS)],
    }
