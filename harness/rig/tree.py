"""Where the programs that a trial starts come from: this tree, or another revision of it."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
AS_IT_STANDS = "."
"""Names the work tree in the place of a revision, with what is changed in it."""


class NoSuchTree(Exception):
    """A revision that cannot be run; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A root folder of the project, and the interpreter that has what its lock asks for."""

    root: Path
    python: str
    revision: str = AS_IT_STANDS
    """As the user named it."""
    commit: str | None = None
    """None: the work tree's own, which may be changed."""

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs a module of this tree with its words."""
        return [self.python, "-P", "-m", *words]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let modules be found here before they are found elsewhere."""
        return {} if self == OWN else {"PYTHONPATH": str(self.root)}

    @property
    def told(self) -> dict[str, Any]:
        """What of a run's environment (run.json) is this tree's. Raises NoSuchTree."""
        if self == OWN:
            return {}
        found: dict[str, Any] = {"project": {"commit": self.commit, "changed": False}}
        if self.python != OWN.python:
            found["libraries"] = self.ask(
                "import json; from harness.observe import environment;"
                " print(json.dumps(environment.collect_libraries()))"
            )
        return found

    def ask(self, script: str) -> Any:
        """What a script prints as JSON when it runs among this tree's modules. Raises
        NoSuchTree."""
        done = subprocess.run(
            [self.python, "-P", "-c", script],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["no words"]
            raise NoSuchTree(f"{self.revision}: does not run: {said[0]}")
        return json.loads(done.stdout)


OWN = Tree(ROOT, sys.executable)


@contextlib.contextmanager
def unpacked(revisions: Sequence[str]) -> Iterator[list[Tree]]:
    """The trees of revisions, as `git archive` gives them, in a temporary folder that is gone
    afterwards; git is only read. One whose requirements.lock is another gets a .venv of its own.

    Raises NoSuchTree with a line for each revision that cannot be had.
    """
    with TemporaryDirectory(prefix="orderbench-revisions-", ignore_cleanup_errors=True) as folder:
        trees, problems = [], []
        for number, revision in enumerate(revisions, 1):
            try:
                trees.append(_tree(revision, Path(folder, str(number))))
            except NoSuchTree as error:
                problems.append(str(error))
        if problems:
            raise NoSuchTree("\n".join(problems))
        yield trees


def commit_of(revision: str) -> str:
    """The commit that a revision names. Raises NoSuchTree."""
    done = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if done.returncode:
        raise NoSuchTree(
            f"{revision}: no commit of this repository; a branch, a tag, a commit, or"
            f" {AS_IT_STANDS!r} for the work tree as it stands"
        )
    return done.stdout.decode().strip()


def _tree(revision: str, folder: Path) -> Tree:
    if revision == AS_IT_STANDS:
        return OWN
    commit = commit_of(revision)
    archive = folder.with_suffix(".tar")
    if _git("archive", "--format=tar", f"--output={archive}", commit).returncode:
        raise NoSuchTree(f"{revision}: git cannot archive it")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    python = sys.executable if _lock(folder) == _lock(ROOT) else _prepared(folder, revision)
    return Tree(folder, python, revision, commit)


def _lock(root: Path) -> str:
    try:
        return hashlib.sha256((root / "requirements.lock").read_bytes()).hexdigest()
    except OSError:
        return ""


def _prepared(root: Path, revision: str) -> str:
    """The interpreter of a .venv that the tree's own bench.py makes."""
    base = str(Path(sys.executable).resolve())
    done = subprocess.run(
        [base, str(root / "bench.py"), "list"],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.DEVNULL,
    )
    python = root / ".venv" / "bin" / "python"
    if done.returncode or not python.exists():
        raise NoSuchTree(f"{revision}: its bench.py does not prepare its .venv (see above)")
    return str(python)


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True)
    except OSError as error:
        raise NoSuchTree(f"git cannot be run: {error.strerror}") from None
