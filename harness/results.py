"""The wall between measuring and reading: what a run leaves on disk, written whole or not at all.

results/README.md says what the files are. Instants are nanoseconds of CLOCK_MONOTONIC.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.condition import Condition

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FORMAT = 2
"""Of run.json, the files beside it and summary.json; see results/README.md. It rises when a key or
a column changes its meaning or goes, or when a reader that does not know a new one would be misled.
"""
OUTCOMES = (
    "done",
    "dropped",
    "timeout",
    "rejected",
    "disconnected",
    "overloaded",
    "protocol",
    "wrong_reply",
)
DONE, DROPPED, TIMEOUT = 0, 1, 2
FAILURES = OUTCOMES[3:]

NOTE = "note_"

Ints = npt.NDArray[np.int64]
Reading = tuple[str, int, int]
"""A process's role, an instant, and the CPU time that it had used by then, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Samples:
    """One trial, a row an operation, sorted by `planned`. An instant that did not happen is 0."""

    planned: Ints
    sent: Ints
    acked: Ints
    processed: Ints
    done: Ints
    outcome: npt.NDArray[np.int8]
    """Index into OUTCOMES."""
    measured: npt.NDArray[np.bool_]
    lane: npt.NDArray[np.int32]
    """-1 where no lane took the operation."""
    meta: Mapping[str, Any]
    notes: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    """What a style counted for each operation: polls, attempts..."""
    seq: Ints | None = None
    """The operation's number; None where it is the row's."""

    def __len__(self) -> int:
        return len(self.planned)

    @property
    def numbers(self) -> Ints:
        """The operation's number of each row."""
        return np.arange(len(self), dtype=np.int64) if self.seq is None else self.seq

    def rows(self, numbers: Ints) -> Ints:
        """The row of each of these numbers; -1 where no operation has it."""
        if self.seq is None or not len(self):
            return np.where((numbers >= 0) & (numbers < len(self)), numbers, -1)
        order = np.argsort(self.seq)
        place = np.minimum(np.searchsorted(self.seq, numbers, sorter=order), len(self) - 1)
        found = order[place]
        return np.where(self.seq[found] == numbers, found, -1)


@dataclass(frozen=True, slots=True)
class Sightings:
    """One row for each update that a subscriber saw, in the order of `seen`."""

    operation: Ints
    subscriber: npt.NDArray[np.int32]
    happened: Ints
    """The server's instant, in the same clock where both run on one machine."""
    seen: Ints

    def __len__(self) -> int:
        return len(self.operation)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One row for each message that a worker was done with; a worker's rows are in that order."""

    producer: Ints
    """As stamped; 0 where there was no stamp that could be read."""
    sequence: Ints
    at: Ints
    partition: npt.NDArray[np.int32]
    worker: npt.NDArray[np.int32]
    intact: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sequence)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes it when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole. Raises ValueError for numbers that JSON does not have."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], schema: "pa.Schema") -> None:
    """Write rows as a Parquet file, whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with whole(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), partial)


def telemetry_schema() -> "pa.Schema":
    """Rows of telemetry.parquet: a process's CPU time and memory at an instant.

    `mark` is `window_start` or `window_end` at the measured window's ends, `count_start` or
    `count_end` just outside them, where context switches and the peak of memory are read too,
    `idle_start` or `idle_end` while connections stand and nothing is sent, `before_open` before
    the first connection; else empty.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("at", pa.int64()),
            ("cell", pa.string()),
            ("trial", pa.int32()),
            ("role", pa.string()),
            ("cpu_ns", pa.int64()),
            ("rss_bytes", pa.int64()),
            ("mark", pa.string()),
            ("user_ns", pa.int64()),
            ("system_ns", pa.int64()),
            ("peak_bytes", pa.int64()),
            ("voluntary", pa.int64()),
            ("involuntary", pa.int64()),
        ]
    )


def events_schema() -> "pa.Schema":
    """Rows of events.parquet: what happened when. `cell` and `trial` are null for the run's own."""
    import pyarrow as pa

    return pa.schema(
        [
            ("at", pa.int64()),
            ("cell", pa.string()),
            ("trial", pa.int32()),
            ("kind", pa.string()),
            ("detail", pa.string()),
        ]
    )


def _plain(values: npt.NDArray[Any], kind: "pa.DataType") -> "pa.Array":
    """Not pa.array(): that imports pandas, which takes over a second at the end of a trial."""
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _bits(values: npt.NDArray[np.bool_]) -> "pa.Array":
    import pyarrow as pa

    packed = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(packed)])


def write_samples(path: Path, samples: Samples) -> None:
    """Write one trial's Parquet file, whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    order = (
        np.argsort(samples.planned, kind="stable")
        if samples.seq is None
        else np.lexsort((samples.seq, samples.planned))
    )

    def instants(column: Ints) -> "pa.Array":
        values = column[order]
        happened = np.packbits(values != 0, bitorder="little")
        buffers = [pa.py_buffer(happened), pa.py_buffer(values)]
        return pa.Array.from_buffers(pa.int64(), len(values), buffers)

    ends = np.cumsum([0, *map(len, OUTCOMES)], dtype=np.int32)
    words = pa.StringArray.from_buffers(
        len(OUTCOMES), pa.py_buffer(ends), pa.py_buffer("".join(OUTCOMES).encode())
    )
    outcome = _plain(samples.outcome[order], pa.int8())
    columns = {
        "seq": _plain(samples.numbers[order], pa.int64()),
        "planned": _plain(samples.planned[order], pa.int64()),
        "sent": instants(samples.sent),
        "acked": instants(samples.acked),
        "processed": instants(samples.processed),
        "done": instants(samples.done),
        "outcome": pa.DictionaryArray.from_arrays(outcome, words),
        "measured": _bits(samples.measured[order]),
        "lane": _plain(samples.lane[order], pa.int32()),
        **{
            NOTE + name: _plain(np.ascontiguousarray(values[order]), pa.int32())
            for name, values in samples.notes.items()
        },
    }
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    table = table.replace_schema_metadata({b"orderbench": json.dumps(dict(samples.meta)).encode()})
    with whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_samples(path: Path) -> Samples:
    """Read one trial's Parquet file. Raises OSError or ValueError if it is none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        raw = (schema.metadata or {}).get(b"orderbench")
        if raw is None:
            raise ValueError(f"{path}: not a trial of this program (no metadata)")
        meta = json.loads(raw)
        _check_format(path, meta)
        dealt = meta.get("parts", 1) > 1
        table = file.read([name for name in schema.names if name != "seq" or dealt])
    # Each is let go when it has been turned, so that a column at a time is held twice.
    columns = dict(zip(table.column_names, table.columns, strict=True))
    del table

    def instants(name: str) -> Ints:
        column: Ints = columns.pop(name).fill_null(0).to_numpy()
        return column

    def outcomes() -> npt.NDArray[np.int8]:
        outcome = columns.pop("outcome").combine_chunks()
        if isinstance(outcome, pa.ChunkedArray):
            outcome = outcome.chunk(0)
        codes = np.array([OUTCOMES.index(word) for word in outcome.dictionary.to_pylist()], np.int8)
        of_each: npt.NDArray[np.int8] = codes[outcome.indices.to_numpy()]
        return of_each

    return Samples(
        seq=columns.pop("seq").to_numpy() if dealt else None,
        planned=instants("planned"),
        sent=instants("sent"),
        acked=instants("acked"),
        processed=instants("processed"),
        done=instants("done"),
        outcome=outcomes(),
        measured=columns.pop("measured").to_numpy(),
        lane=columns.pop("lane").to_numpy(),
        meta=meta,
        notes={name.removeprefix(NOTE): column.to_numpy() for name, column in columns.items()},
    )


def write_sightings(path: Path, sightings: Sightings) -> None:
    """Write one trial's sightings beside its samples, whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "operation": _plain(sightings.operation, pa.int64()),
        "subscriber": _plain(sightings.subscriber, pa.int32()),
        "happened": _plain(sightings.happened, pa.int64()),
        "seen": _plain(sightings.seen, pa.int64()),
    }
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    with whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_sightings(path: Path) -> Sightings | None:
    """The sightings beside a trial's samples; None where it has none."""
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    table = pq.read_table(path)
    return Sightings(**{name: table[name].to_numpy() for name in table.column_names})


def write_arrivals(path: Path, arrivals: Arrivals) -> None:
    """Write one trial's arrivals beside its samples, whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "producer": _plain(arrivals.producer, pa.int64()),
        "sequence": _plain(arrivals.sequence, pa.int64()),
        "at": _plain(arrivals.at, pa.int64()),
        "partition": _plain(arrivals.partition, pa.int32()),
        "worker": _plain(arrivals.worker, pa.int32()),
        "intact": _bits(arrivals.intact),
    }
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    with whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_arrivals(path: Path) -> Arrivals | None:
    """The arrivals beside a trial's samples; None where it has none."""
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    table = pq.read_table(path)
    return Arrivals(**{name: table[name].to_numpy() for name in table.column_names})


@dataclass(frozen=True)
class Run:
    """A run as it stands on disk. `trials` maps a cell's id to its trial files in order."""

    folder: Path
    info: dict[str, Any]
    trials: dict[str, list[Path]]
    marks: list[dict[str, Any]]
    """Rows of telemetry.parquet that are at a mark: a few for each trial."""
    events: list[dict[str, Any]]

    @cached_property
    def telemetry(self) -> list[dict[str, Any]]:
        """All rows of telemetry.parquet, which grow with the seconds of a run."""
        return _rows(self.folder / "telemetry.parquet")

    def readings(self) -> dict[tuple[str, int], list[Reading]]:
        """All that was read of processes' CPU time, by cell and trial."""
        import pyarrow.parquet as pq

        found: dict[tuple[str, int], list[Reading]] = defaultdict(list)
        path = self.folder / "telemetry.parquet"
        if path.exists():
            names = ("cell", "trial", "role", "at", "cpu_ns")
            table = pq.read_table(path, columns=list(names))
            for cell, trial, *reading in zip(*(table[n].to_pylist() for n in names), strict=True):
                found[cell, trial].append(tuple(reading))
        return found


def trial_path(folder: Path, cell: str, number: int) -> Path:
    """Where a trial's samples are; `number` counts from 1."""
    return folder / "trials" / cell / f"{number}.parquet"


def part_path(samples_path: Path, part: int) -> Path:
    """Where the samples of one of a trial's generators are until all are put together."""
    return samples_path.with_suffix(f".part-{part}.parquet")


def sightings_path(samples_path: Path) -> Path:
    """Where the sightings of a trial are, by the path of its samples."""
    return samples_path.with_suffix(".sightings.parquet")


def arrivals_path(samples_path: Path) -> Path:
    """Where the arrivals of a trial are, by the path of its samples."""
    return samples_path.with_suffix(".arrivals.parquet")


def open_run(folder: Path) -> Run:
    """Read a run, complete or not, of this format or an earlier one. Raises ValueError saying what
    is wrong with the folder."""
    info = _run_info(folder)
    return Run(
        folder,
        info,
        _trials(folder, info),
        _rows(folder / "telemetry.parquet", marked=True),
        _rows(folder / "events.parquet"),
    )


def clock_error_ns(meta: Mapping[str, Any]) -> int | None:
    """How far off a time between a generator's machine and the run's may be, by a trial's metadata:
    what its clock's reading left open, and what it drifted; the most of several. None where all
    were on one."""
    clocks = meta.get("clocks") or ([meta["clock"]] if "clock" in meta else [])
    return max((each["error_ns"] + abs(each["drift_ns"]) for each in clocks), default=None)


def generators_of(info: Mapping[str, Any]) -> int:
    """How many generators each of a run's trials was dealt to, by its run.json."""
    return int(info["placement"].get("generators", 1))


def generator_places(info: Mapping[str, Any]) -> list[int]:
    """The processor that each of a run's generators has, numbered from 0, by its run.json."""
    # Before there were several, it was not told.
    return list(info["placement"].get("places") or [0])


def _run_info(folder: Path) -> dict[str, Any]:
    """run.json, with cells as they are noted now."""
    try:
        info: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: no run (there is no run.json in it)") from None
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder / 'run.json'}: cannot be read: {error}") from None
    _check_format(folder, info)
    return {**info, "cells": [_cell_as_now(cell) for cell in info["cells"]]}


def _check_format(path: Path, written: Mapping[str, Any]) -> None:
    found = written.get("format", 0)
    if found > FORMAT:
        raise ValueError(
            f"{path}: format {found}; this program reads up to {FORMAT}; take a newer version of it"
        )


def _trials(folder: Path, info: Mapping[str, Any]) -> dict[str, list[Path]]:
    return {
        cell["id"]: sorted(
            (p for p in (folder / "trials" / cell["id"]).glob("*.parquet") if p.stem.isdecimal()),
            key=lambda p: int(p.stem),
        )
        for cell in info["cells"]
    }


_CELL_BEFORE = {"null": False, "connections_a_lane": 1, "skipped": "", "family": None, "again": ""}
_LOAD_BEFORE = {"rates": [], "hold_s": 0.0, "file": None, "column": None, "count": 0}
"""What runs of format 1 may leave out, as it was for all of them; a family is not known."""


def _cell_as_now(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell of run.json with every key, its own ones first."""
    whole = {**cell, **(_CELL_BEFORE | cell)}
    if "load" in cell:
        whole["load"] = {**cell["load"], **(_LOAD_BEFORE | cell["load"])}
    if cell.get("condition"):
        whole["condition"] = _whole_condition(cell["condition"])
    return whole


def _whole_condition(known: Mapping[str, Any]) -> dict[str, Any]:
    """The first runs knew of items and work alone, under the name of `service_time`."""
    kept = {key: value for key, value in known.items() if key != "service_time"}
    work = known.get("service_time", {})
    usual = Condition(
        items=known["items"],
        work_time=known.get("work_time", work.get("time", "none")),
        work_mean_ms=known.get("work_mean_ms", work.get("mean_ms", 0.0)),
    )
    return {**usual.to_json(), "attempts": 1, **kept}


def _rows(path: Path, marked: bool = False) -> list[dict[str, Any]]:
    """Of a Parquet file; all of them, or those at a mark."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.exists():
        return []
    # Not pq.read_table(): that imports pandas.
    with pq.ParquetFile(path) as file:
        table = file.read()
    if marked:
        table = table.filter(pc.not_equal(table["mark"], ""))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


class Frames:
    """A run as pandas frames, each of them read when it is first asked for. Instants are
    nanoseconds, in nullable integers."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError if the folder holds no run that this program can read."""
        self._folder = folder
        self.info = _run_info(folder)
        """run.json."""

    @cached_property
    def cells(self) -> "pd.DataFrame":
        """A row a cell: summary.parquet. Raises ValueError where the run has none yet."""
        path = self._folder / "summary.parquet"
        if not path.exists():
            raise ValueError(f"{path} is not there; make it: bench.py report {self._folder}")
        return _frame(path)

    @cached_property
    def operations(self) -> "pd.DataFrame":
        """A row an operation of every trial, with `cell`, `trial`, and `latency_ms`, which is done
        - planned."""
        import pandas as pd

        trials = _trials(self._folder, self.info)
        known = pd.CategoricalDtype(list(trials))
        frames = []
        for cell, paths in trials.items():
            for path in paths:
                frame = _frame(path)
                frame.insert(0, "trial", int(path.stem))
                frame.insert(0, "cell", pd.Series(cell, frame.index, known))
                frames.append(frame)
        if not frames:
            return pd.DataFrame()
        joined = pd.concat(frames, ignore_index=True)
        joined["latency_ms"] = (joined["done"] - joined["planned"]) / 1e6
        return joined

    @cached_property
    def telemetry(self) -> "pd.DataFrame":
        """A row a process and instant: telemetry.parquet."""
        return _frame(self._folder / "telemetry.parquet", telemetry_schema())

    @cached_property
    def events(self) -> "pd.DataFrame":
        """A row an event: events.parquet."""
        return _frame(self._folder / "events.parquet", events_schema())


def _frame(path: Path, schema: "pa.Schema | None" = None) -> "pd.DataFrame":
    """A Parquet file; an empty frame of `schema` where there is none yet."""
    import pandas as pd

    if schema is not None and not path.exists():
        return schema.empty_table().to_pandas()
    return pd.read_parquet(path, dtype_backend="numpy_nullable")


def load_run(folder: str | Path) -> Frames:
    """A run for notebooks: `load_run("results/<run>").cells`, `.operations`, `.telemetry`,
    `.events`. Raises ValueError if the folder holds no run that this program can read."""
    return Frames(Path(folder))
