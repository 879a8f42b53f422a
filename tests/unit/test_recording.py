"""Recordings of when operations happened (issue 6.5)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import recording
from harness.recording import read_recording


def written(folder: Path, text: str, name: str = "r.txt") -> Path:
    """A file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("r.txt", "1700000000.5\n1700000000.75\n\n1700000002.5\n", None),
        ("r.log", "0\n0.25\n2", None),
        ("r.csv", 'id,at\n"a,b",5\nc,5.25\nd,7\n', "at"),
        ("r.jsonl", '{"at": 5, "id": 1}\n\n{"at": 5.25}\n{"at": "7"}\n', "at"),
    ],
)
def test_instants_count_from_the_first(
    tmp_path: Path, name: str, text: str, column: str | None
) -> None:
    assert read_recording(written(tmp_path, text, name), column) == [0, 0.25, 2]


@given(st.lists(st.integers(0, 10**9), min_size=2).filter(lambda us: max(us) > min(us)))
def test_every_instant_is_kept(tmp_path_factory: pytest.TempPathFactory, us: list[int]) -> None:
    ascending = sorted(us)
    path = tmp_path_factory.getbasetemp() / "every.txt"
    path.write_text("".join(f"{at / 1e6}\n" for at in ascending))
    read = read_recording(path)
    assert read[0] == 0
    assert read == pytest.approx([(at - ascending[0]) / 1e6 for at in ascending], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "text", "column", "said"),
    [
        ("r.txt", "", None, "needs two instants"),
        ("r.txt", "1\n", None, "needs two instants"),
        ("r.txt", "1\n1\n", None, "needs two instants"),
        ("r.txt", "1\n3\n2\n", None, "line 3: 2 is before 3; sort the file"),
        ("r.txt", "1\nthen\n", None, "line 2: 'then' is no number of seconds from 0 on"),
        ("r.txt", "-1\n2\n", None, "line 1: '-1' is no number of seconds from 0 on"),
        ("r.txt", "1\nnan\n", None, "line 2: 'nan' is no number"),
        ("r.txt", "1\ninf\n", None, "line 2: 'inf' is no number"),
        ("r.txt", "1\n90000\n", None, "lasts longer than 86,400 s; its numbers must be seconds"),
        ("r.txt", "1\n2\n", "at", "has no column 'at'; only .csv and .jsonl have columns"),
        ("r.csv", "a,b\n1,2\n", None, "name the one that holds the instants with column"),
        ("r.csv", "a,b\n1,2\n", "at", "has no column 'at'; it has a, b"),
        ("r.csv", "a,at\n1\n", "at", "line 2: None is no number"),
        ("r.csv", "", "at", "has no column 'at'; it has nothing"),
        ("r.jsonl", '{"at": 1}\n{"at":\n', "at", "line 2: is not JSON"),
        ("r.jsonl", '{"at": 1}\n{"to": 2}\n', "at", "line 2: has no key 'at'"),
        ("r.jsonl", "[1]\n", "at", "line 1: has no key 'at'"),
        ("r.jsonl", '{"at": true}\n', "at", "line 1: True is no number"),
        ("r.jsonl", '{"at": null}\n', "at", "line 1: None is no number"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, column: str | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read_recording(written(tmp_path, text, name), column)


def test_a_recording_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST", 3)
    assert len(read_recording(written(tmp_path, "1\n2\n3\n"))) == 3
    with pytest.raises(ValueError, match="has more than 3 instants; split it"):
        read_recording(written(tmp_path, "1\n2\n3\n4\n"))
    with written(tmp_path, "1\n2\n").open("r+b") as file:
        file.truncate(recording.MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(ValueError, match="is larger than 256 MiB"):
        read_recording(tmp_path / "r.txt")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"at\n1\n\xff\n")
    with pytest.raises(ValueError, match="utf-8"):
        read_recording(path, "at")
    path.write_bytes(b'at\n"' + b"x" * 200_000 + b'"\n')
    with pytest.raises(ValueError, match="is not CSV"):
        read_recording(path, "at")
