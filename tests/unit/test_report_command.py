"""`bench.py report` (issue 7.6): what it makes of trials alone, opens, and refuses."""

import json
import os
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.cli.__main__ import main
from harness.report.rows import COLUMNS, parquet_schema
from harness.results import FORMAT, load_run

FORMAT_1 = Path(__file__).parent / "data" / "format-1"
RAW = ("run.json", "trials", "telemetry.parquet", "events.parquet")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of which only what was measured is there."""
    folder = tmp_path / "run #1"
    folder.mkdir()
    for name in RAW:
        copy = shutil.copytree if (FORMAT_1 / name).is_dir() else shutil.copy
        copy(FORMAT_1 / name, folder / name)
    return folder


def test_everything_is_made_of_what_was_measured(run: Path) -> None:
    assert main(["report", str(run)]) == 0
    made = {path.name for path in run.iterdir()} - set(RAW)
    assert made == {
        "summary.json", "summary.csv", "summary.parquet", "summary.md", "report.html", "charts",
    }  # fmt: skip


def test_the_page_is_opened_where_it_is_asked_for(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def browser(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browser)
    assert main(["report", str(run)]) == 0
    assert opened == []
    assert main(["report", "--open", str(run)]) == 0
    assert opened == [(run / "report.html").as_uri()]
    assert "%20%231/report.html" in opened[0]
    assert f"report: {run / 'report.html'}" in capsys.readouterr().out


def test_where_there_is_no_browser_the_path_is_said_all_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert main(["report", "--open", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"report: {run / 'report.html'}" in said
    assert "no browser" in said


def test_a_newer_format_is_refused_in_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "format": FORMAT + 1}))
    for command in (
        ["report", str(run)],
        ["compare", str(FORMAT_1), str(run)],
        ["run", "--resume", str(run)],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"format {FORMAT + 1}; this program reads up to {FORMAT}" in said
    assert {path.name for path in run.iterdir()} == set(RAW)
    with pytest.raises(ValueError, match="this program reads up to"):
        load_run(run)


def test_the_table_of_cells_has_types_and_the_columns_of_the_csv(run: Path) -> None:
    main(["report", str(run)])
    table = pq.read_table(run / "summary.parquet")
    assert table.schema.equals(parquet_schema())
    assert tuple(table.column_names) == COLUMNS
    header, *lines = (run / "summary.csv").read_text().splitlines()
    assert header.split(",") == table.column_names
    assert len(lines) == table.num_rows == 2
    (cell, _) = json.loads((run / "summary.json").read_text())["cells"]
    (first, _) = table.to_pylist()
    assert (first["cell"], first["planned"], first["items"]) == (cell["id"], 200, 3)
    assert first["latency_ms_p50"] == cell["latency_ms"]["p50"]
    assert first["latency_ms_p99"] is None
    assert first["latency_censored"] is False
    assert first["reasons"] == "under_sampled"


def test_a_notebook_gets_frames_each_read_when_it_is_asked_for(run: Path) -> None:
    frames = load_run(run)
    with pytest.raises(ValueError, match="make it"):
        assert frames.cells is None
    main(["report", str(run)])
    assert frames.cells["verdict"].tolist() == ["qualified", "qualified"]
    assert str(frames.cells["planned"].dtype) == "Int64"
    assert frames.info["run"] == "oldrun"
    marked = frames.telemetry[frames.telemetry["mark"] != ""]
    assert marked.groupby(["cell", "trial", "role"]).size().unique().tolist() == [2]
    assert frames.events["kind"].tolist().count("trial_started") == 4
    # Cells are not read from operations.
    shutil.rmtree(run / "trials")
    assert len(load_run(run).cells) == 2


def test_operations_are_one_frame_with_their_cells(run: Path) -> None:
    frame = load_run(run).operations
    assert frame.groupby(["cell", "trial"], observed=True)["measured"].sum().tolist() == [100] * 4
    assert frame["cell"].cat.categories.tolist() == [c["id"] for c in load_run(run).info["cells"]]
    assert frame["outcome"].unique().tolist() == ["done"]


def test_a_run_that_has_seen_nothing_yet_has_empty_frames(run: Path) -> None:
    for name in RAW[1:]:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    frames = load_run(run)
    assert (len(frames.operations), len(frames.telemetry), len(frames.events)) == (0, 0, 0)
    assert "cpu_ns" in frames.telemetry
    assert "kind" in frames.events


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    """As in `bench.py list | head -1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "harness.cli", "list"]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_the_index_is_opened_as_well(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert main(["report", "--open", str(run.parent)]) == 0
    assert opened == [(run.parent / "index.html").as_uri()]
