"""What a run leaves on disk."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import results
from harness.results import OUTCOMES, Samples, Sightings

rows = st.lists(
    st.tuples(
        st.integers(1, 2**62),
        *[st.integers(0, 2**62)] * 4,
        st.integers(0, len(OUTCOMES) - 1),
        st.booleans(),
        st.integers(-1, 5000),
    ),
    max_size=30,
)


def samples(values: list[tuple[int, int, int, int, int, int, bool, int]]) -> Samples:
    """Samples from rows, which are sorted by planned on the way."""
    columns = list(zip(*sorted(values), strict=True)) if values else [()] * 8
    planned, sent, acked, processed, done = (np.array(c, dtype=np.int64) for c in columns[:5])
    return Samples(
        planned=planned,
        sent=sent,
        acked=acked,
        processed=processed,
        done=done,
        outcome=np.array(columns[5], dtype=np.int8),
        measured=np.array(columns[6], dtype=np.bool_),
        lane=np.array(columns[7], dtype=np.int32),
        meta={"format": results.FORMAT, "window": [0, 1]},
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_samples_come_back_as_they_were(tmp_path: Path, values: list[tuple[int, ...]]) -> None:
    written = samples(values)  # type: ignore[arg-type]
    path = tmp_path / "1.parquet"
    results.write_samples(path, written)
    read = results.read_samples(path)
    assert dict(read.meta) == dict(written.meta)
    for name in ("planned", "sent", "acked", "processed", "done", "outcome", "measured", "lane"):
        before, after = getattr(written, name), getattr(read, name)
        assert before.dtype == after.dtype, name
        assert before.tolist() == after.tolist(), name


def test_the_columns_are_those_that_are_documented(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    results.write_samples(
        path, samples([(5, 6, 0, 0, 0, 2, True, 1), (3, 0, 0, 0, 0, 1, False, -1)])
    )
    table = pq.read_table(path)
    assert table.column_names == [
        "seq", "planned", "sent", "acked", "processed", "done", "outcome", "measured", "lane",
    ]  # fmt: skip
    assert table["sent"].to_pylist() == [None, 6]
    assert table["outcome"].to_pylist() == ["dropped", "timeout"]
    readme = (Path(__file__).parents[2] / "results" / "README.md").read_text()
    for name in table.column_names:
        assert f"`{name}`" in readme
    for word in OUTCOMES:
        assert f"`{word}`" in readme


def test_steps_come_back_in_the_order_of_their_operations(tmp_path: Path) -> None:
    written = replace(
        samples([(n, n + 1, 0, 0, n + 2, 0, True, 0) for n in (10, 20, 30)]),
        notes={"polls": np.array([3, 1, 2], np.int32), "retries": np.array([0, 0, 1], np.int32)},
    )
    # Written in any order, sorted by planned.
    shuffled = {
        name: getattr(written, name)[[2, 0, 1]]
        for name in ("planned", "sent", "acked", "processed", "done", "outcome", "measured", "lane")
    }
    notes = {name: values[[2, 0, 1]] for name, values in written.notes.items()}
    path = tmp_path / "1.parquet"
    results.write_samples(path, replace(written, **shuffled, notes=notes))
    read = results.read_samples(path)
    assert {name: values.tolist() for name, values in read.notes.items()} == {
        "polls": [3, 1, 2],
        "retries": [0, 0, 1],
    }
    assert {values.dtype for values in read.notes.values()} == {np.dtype(np.int32)}
    assert pq.read_table(path).column_names[-2:] == ["note_polls", "note_retries"]


def test_sightings_come_back_as_they_were(tmp_path: Path) -> None:
    path = results.sightings_path(results.trial_path(tmp_path, "c", 3))
    assert path.name == "3.sightings.parquet"
    for rows in ([], [(7, 1000, 5, 9), (3, 1001, 4, 8)]):
        columns = list(zip(*rows, strict=True)) or [()] * 4
        operation, subscriber, happened, seen = (np.array(c, np.int64) for c in columns)
        written = Sightings(operation, subscriber.astype(np.int32), happened, seen)
        results.write_sightings(path, written)
        read = results.read_sightings(path)
        assert read is not None
        assert len(read) == len(rows)
        for name in ("operation", "subscriber", "happened", "seen"):
            before, after = getattr(written, name), getattr(read, name)
            assert before.dtype == after.dtype, name
            assert before.tolist() == after.tolist(), name
    readme = (Path(__file__).parents[2] / "results" / "README.md").read_text()
    for word in ("operation", "subscriber", "happened", "seen", "note_<step>"):
        assert f"`{word}`" in readme
    assert ".sightings.parquet" in readme


def test_files_from_before_there_were_steps_and_sightings_are_read(tmp_path: Path) -> None:
    path = results.trial_path(tmp_path, "c", 1)
    results.write_samples(path, samples([(1, 2, 0, 0, 3, 0, True, 0)]))
    assert results.read_samples(path).notes == {}
    assert results.read_sightings(results.sightings_path(path)) is None


def test_sightings_are_no_trial(tmp_path: Path) -> None:
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": [{"id": "c"}]})
    path = results.trial_path(tmp_path, "c", 1)
    results.write_samples(path, samples([]))
    one = np.array([1], np.int64)
    sightings = Sightings(one, one.astype(np.int32), one, one)
    results.write_sightings(results.sightings_path(path), sightings)
    assert results.open_run(tmp_path).trials == {"c": [path]}
    assert len(results.load_run(tmp_path).operations) == 0


def test_a_run_from_before_there_were_conditions_is_read(tmp_path: Path) -> None:
    known = {
        "items": 3,
        "connections": 4,
        "in_flight": 9,
        "service_time": {"time": "fixed", "mean_ms": 2.5},
        "timeout_s": 2.0,
    }
    cells = [{"id": "c", "condition": known}]
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": cells})
    (cell,) = results.open_run(tmp_path).info["cells"]
    condition = cell["condition"]
    del known["service_time"]  # it has other names now
    assert condition == {**condition, **known}
    assert condition["asked"] == ["3 items", "2.5 ms work"]
    assert (condition["how"], condition["kept"], condition["attempts"]) == ([], True, 1)
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": [cell]})
    assert results.open_run(tmp_path).info["cells"] == [cell]


def test_nothing_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    results.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        results.write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), results.whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    results.write_table(tmp_path / "t.parquet", [], results.events_schema())
    with pytest.raises(ValueError, match="not a trial of this program"):
        results.read_samples(tmp_path / "t.parquet")
    newer = samples([])
    results.write_samples(
        tmp_path / "n.parquet",
        replace(newer, meta={"format": 99}),
    )
    with pytest.raises(ValueError, match="format 99"):
        results.read_samples(tmp_path / "n.parquet")
    with pytest.raises(ValueError, match=r"there is no run\.json"):
        results.open_run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="reads up to"):
        results.open_run(tmp_path)


def test_a_notebook_gets_all_operations_as_a_frame(tmp_path: Path) -> None:
    cell = "place.noop-none.constant-1.items-1"
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": [{"id": cell}]})
    now = time.monotonic_ns()
    for trial in (1, 2):
        results.write_samples(
            results.trial_path(tmp_path, cell, trial),
            samples(
                [(now, now + 1, 0, 0, now + 2_000_000, 0, True, 0), (now, 0, 0, 0, 0, 1, True, -1)]
            ),
        )
    frame = results.load_run(tmp_path).operations
    assert frame.groupby("trial").size().tolist() == [2, 2]
    assert set(frame["cell"]) == {cell}
    assert frame["latency_ms"].dropna().tolist() == [2.0, 2.0]
    assert frame["outcome"].tolist().count("dropped") == 2


def test_a_notebook_has_the_steps_of_trials_that_took_them(tmp_path: Path) -> None:
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": [{"id": "c"}]})
    plain = samples([(1, 2, 0, 0, 3, 0, True, 0)])
    noted = replace(plain, notes={"polls": np.array([4], np.int32)})
    for trial, written in enumerate((plain, noted), 1):
        results.write_samples(results.trial_path(tmp_path, "c", trial), written)
    frame = results.load_run(tmp_path).operations
    assert frame["note_polls"].dropna().tolist() == [4]


def test_ten_trials_come_in_order(tmp_path: Path) -> None:
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": [{"id": "c"}]})
    for trial in range(1, 12):
        results.write_samples(results.trial_path(tmp_path, "c", trial), samples([]))
    (tmp_path / "trials" / "c" / "².parquet").touch()
    assert [p.stem for p in results.open_run(tmp_path).trials["c"]] == [
        str(n) for n in range(1, 12)
    ]
