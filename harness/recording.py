"""Reads when operations happened, so that a load can be replayed."""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MOST = 1_000_000
MOST_BYTES = 256 * 2**20
LONGEST_S = 86_400.0


def read_recording(path: Path, column: str | None = None) -> list[float]:
    """Seconds since the first instant of a file, ascending: a number a line, in seconds; or of CSV
    (`.csv`, with a header) and JSON lines (`.jsonl`) those of `column`.

    Raises OSError where it cannot be read, ValueError where it is no recording: an instant that is
    no number, negative or before the one above it; more than MOST, MOST_BYTES or LONGEST_S; or no
    time between the first and the last.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES // 2**20} MiB; split it")
    instants: list[float] = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, given in _column(file, path.suffix, column):
            try:
                at = math.nan if isinstance(given, bool) else float(given)
            except (TypeError, ValueError):
                at = math.nan
            if not 0 <= at < math.inf:
                raise ValueError(f"line {line}: {given!r:.60} is no number of seconds from 0 on")
            if instants and at < instants[-1]:
                raise ValueError(f"line {line}: {at:g} is before {instants[-1]:g}; sort the file")
            if len(instants) == MOST:
                raise ValueError(f"has more than {MOST:,} instants; split it")
            instants.append(at)
    if not instants or instants[-1] == instants[0]:
        raise ValueError("needs two instants or more, and time between the first and the last")
    if instants[-1] - instants[0] > LONGEST_S:
        raise ValueError(f"lasts longer than {LONGEST_S:,.0f} s; its numbers must be seconds")
    return [at - instants[0] for at in instants]


def _column(lines: Iterable[str], suffix: str, column: str | None) -> Iterator[tuple[int, Any]]:
    """The number of each line that is not empty, and what it has as its instant. Raises
    ValueError."""
    if suffix not in (".csv", ".jsonl"):
        if column is not None:
            raise ValueError(f"has no column {column!r}; only .csv and .jsonl have columns")
        yield from ((n, line.strip()) for n, line in enumerate(lines, 1) if line.strip())
        return
    if column is None:
        raise ValueError("has columns; name the one that holds the instants with column")
    if suffix == ".csv":
        rows = csv.DictReader(lines)
        try:
            names = rows.fieldnames or ["nothing"]
            if column not in names:
                raise ValueError(f"has no column {column!r}; it has {', '.join(names)}")
            yield from ((rows.line_num, row[column]) for row in rows)
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: is not CSV: {error}") from None
        return
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {n}: is not JSON: {error}") from None
        if not isinstance(row, dict) or column not in row:
            raise ValueError(f"line {n}: has no key {column!r}")
        yield n, row[column]
