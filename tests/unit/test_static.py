"""Linters, types, directions, and what a command may import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["importlinter.cli", "lint_imports_command"],
    ],
    ids=["ruff", "format", "mypy", "imports"],
)
def test_checks(words: list[str]) -> None:
    module, *rest = words
    command = [sys.executable, "-m", module, *rest]
    if module == "importlinter.cli":
        command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def loaded_by(command: list[str]) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = (
        "import sys; from harness.cli.__main__ import main\n"
        f"main({command!r})\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("MODULES ")[1].split())


LOCUST = {"locust", "gevent", "flask"}
HEAVY = {
    "pandas",
    "matplotlib",
    "pyarrow",
    "numpy",
    "aiohttp",
    "grpc",
    "httpx",
    "websockets",
} | LOCUST


def test_list_imports_nothing_heavy() -> None:
    assert not loaded_by(["list"]) & {*HEAVY, "uvloop", "fastapi", "jinja2"}


def test_the_parent_of_a_run_imports_no_client_library() -> None:
    code = "import sys, harness.run, harness.report.build, harness.cli.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    libraries = {"aiohttp", "grpc", "httpx", "websockets", "uvloop"}
    assert not set(done.stdout.split()) & (libraries | LOCUST)


def test_no_address_in_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock


def test_the_lock_has_everything_that_is_asked_for() -> None:
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert {re.split(r"[;<>= \[]", w)[0] for w in wanted} <= locked


def test_what_httpcore_imports_at_every_request_is_there() -> None:
    import sniffio

    assert sniffio.__file__
