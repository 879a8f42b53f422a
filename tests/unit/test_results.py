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
from harness.results import OUTCOMES, Samples

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


def test_a_notebook_gets_one_frame(tmp_path: Path) -> None:
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
    frame = results.load_run(tmp_path)
    assert frame.groupby("trial").size().tolist() == [2, 2]
    assert set(frame["cell"]) == {cell}
    assert frame["latency_ms"].dropna().tolist() == [2.0, 2.0]
    assert frame["outcome"].tolist().count("dropped") == 2


def test_ten_trials_come_in_order(tmp_path: Path) -> None:
    results.write_json(tmp_path / "run.json", {"format": 1, "cells": [{"id": "c"}]})
    for trial in range(1, 12):
        results.write_samples(results.trial_path(tmp_path, "c", trial), samples([]))
    assert [p.stem for p in results.open_run(tmp_path).trials["c"]] == [
        str(n) for n in range(1, 12)
    ]
