"""The door: when it thinks .venv ready, which ways it tries, and what it says when none works."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).resolve().parents[2]
Way = tuple[str, list[tuple[str, list[str]]]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what the set-up needs, and no .venv."""
    shutil.copy(ROOT / "bench.py", tmp_path)
    (tmp_path / "requirements.lock").write_text("one==1\n")
    rig = tmp_path / "harness" / "rig"
    rig.mkdir(parents=True)
    for name in ("__init__.py", "rig/__init__.py", "rig/warden.py"):
        shutil.copy(ROOT / "harness" / name, tmp_path / "harness" / name)
    return tmp_path


def making(root: Path) -> list[tuple[str, list[str]]]:
    """Steps that make something like an environment with this interpreter in it."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    script = (
        f"mkdir -p .venv/bin .venv/lib/{version}/site-packages && "
        f"ln -s {sys.executable} .venv/bin/python"
    )
    return [(bench.ENVIRONMENT, ["sh", "-c", script]), (bench.PACKAGES, ["true"])]


def prepare(root: Path, choices: list[Way]) -> None:
    """bench.prepare with a lock of its own."""
    with (root / ".venv.lock").open("a") as lock:
        bench.prepare(str(root), choices, lock.fileno())


def test_ready_is_for_exactly_this_lock_place_and_interpreter(project: Path) -> None:
    assert not bench.is_ready(str(project))
    prepare(project, [("fake", making(project))])
    assert bench.is_ready(str(project))
    ready = project / ".venv" / ".ready"
    good = ready.read_text()
    ready.write_text("{")
    assert not bench.is_ready(str(project))
    ready.write_text(good)
    (project / "requirements.lock").write_text("one==2\n")
    assert not bench.is_ready(str(project))
    (project / "requirements.lock").write_text("one==1\n")
    assert bench.is_ready(str(project))
    moved = project.rename(project.with_name("moved"))
    assert not bench.is_ready(str(moved))
    moved.rename(project)
    ready.write_text(json.dumps({**json.loads(good), "python": "3.10.1"}))
    assert not bench.is_ready(str(project))


def test_the_project_is_found_from_anywhere(project: Path) -> None:
    prepare(project, [("fake", making(project))])
    (path,) = project.glob(".venv/lib/*/site-packages/orderbench.pth")
    assert path.read_text() == f"{project}\n"


def test_a_way_that_fails_is_shown_and_the_next_is_tried(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    half = [(bench.ENVIRONMENT, ["sh", "-c", "mkdir -p .venv/half; echo no luck; exit 3"])]
    missing = [(bench.ENVIRONMENT, ["no-such-program-at-all"])]
    prepare(project, [("first", half), ("second", missing), ("third", making(project))])
    said = capfd.readouterr().err
    assert [line for line in said.splitlines() if line.startswith("set-up: ")] == [
        "set-up: first",
        "set-up: second",
        "set-up: third",
    ]
    assert "failed with exit code 3" in said
    assert "| no luck" in said
    assert bench.is_ready(str(project))
    assert not (project / ".venv" / "half").exists()


def test_an_unfinished_environment_is_made_again(project: Path) -> None:
    (project / ".venv" / "half").mkdir(parents=True)
    prepare(project, [("fake", making(project))])
    assert not (project / ".venv" / "half").exists()


def test_when_no_way_works_the_command_to_type_is_said(project: Path) -> None:
    fails = [(bench.ENVIRONMENT, ["false"])]
    with pytest.raises(bench.SetUpError, match=r"sudo apt-get install python3.*-venv"):
        prepare(project, [(bench.ENSUREPIP, fails)])
    with pytest.raises(bench.SetUpError, match=r"the packages of requirements.lock could not"):
        prepare(project, [(bench.ENSUREPIP, [(bench.PACKAGES, ["false"])])])
    assert not (project / ".venv" / ".ready").exists()


def test_apt_is_only_asked_for_what_it_can_mend(project: Path) -> None:
    marker = project / "asked"
    apt = [("python3-venv", ["touch", str(marker)])]
    no_network = (bench.ENSUREPIP, [(bench.PACKAGES, ["false"])])
    with pytest.raises(bench.SetUpError):
        prepare(project, [no_network, (bench.APT, apt)])
    assert not marker.exists()
    no_venv = (bench.ENSUREPIP, [(bench.ENVIRONMENT, ["false"])])
    prepare(project, [no_venv, (bench.APT, [*apt, *making(project)])])
    assert marker.exists()


def test_the_order_of_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("uv", "apt-get"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    names = [name for name, _ in bench.ways("/r", sys.executable)]
    without_pip = [n for n in names if n != bench.SYSTEM_PIP]
    assert without_pip == [bench.UV, bench.ENSUREPIP, bench.APT]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert bench.APT not in [name for name, _ in bench.ways("/r", sys.executable)]
    monkeypatch.setenv("PATH", "/nowhere")
    assert bench.UV not in [name for name, _ in bench.ways("/r", sys.executable)]
    for _, steps in bench.ways("/r", sys.executable):
        assert any("--require-hashes" in command for _, command in steps)


def test_two_starts_at_once_make_it_once(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = project / "count"
    slow = [(bench.ENVIRONMENT, ["sh", "-c", f"echo x >> {count}; sleep 0.5"]), *making(project)]
    monkeypatch.setattr(bench, "ways", lambda *_: [("slow", slow)])
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    starts = [threading.Thread(target=bench.set_up, args=(str(project),)) for _ in range(2)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert count.read_text() == "x\n"
    assert bench.is_ready(str(project))
    assert "another start is at it; waiting" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("version", "platform", "said"),
    [
        ((3, 10, 13), "linux", "orderbench needs Python 3.11 or newer; this is 3.10.13 (/py)"),
        ((2, 7, 18), "linux2", "orderbench needs Python 3.11 or newer; this is 2.7.18 (/py)"),
        ((3, 11, 0), "darwin", "orderbench needs Linux to keep hold of its processes"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence(
    version: tuple[int, ...], platform: str, said: str
) -> None:
    assert said in (bench.complaint(version, "/py", platform) or "")


def test_nothing_stands_in_the_way_here() -> None:
    assert bench.complaint((3, 11, 0), "/py", "linux") is None
    assert bench.complaint((3, 14, 0), "/py", "linux") is None


def older_interpreters() -> list[Path]:
    """Interpreters on this machine that are too old, if any."""
    folders = [Path(p) for p in os.environ.get("PATH", "").split(":")]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    names = ("python2.7", "python3.6", "python3.8", "python3.9", "python3.10")
    found = [folder / name for folder in folders for name in names if "shims" not in str(folder)]
    return [path for path in found if path.exists()]


def test_an_older_interpreter_says_so_in_a_sentence(project: Path) -> None:
    for python in older_interpreters():
        done = subprocess.run(
            [python, project / "bench.py", "run"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("orderbench needs Python 3.11 or newer; this is ")
        assert done.stderr.count("\n") == 1
        assert not (project / ".venv").exists()
