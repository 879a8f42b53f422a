"""Where the project keeps what commands work on."""

import difflib
from pathlib import Path

from harness.scenario import BadInput

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "scenarios"
RESULTS = ROOT / "results"


def scenario_path(word: str) -> Path:
    """The file of a shipped scenario's name, or of a path. Raises BadInput."""
    shipped = SCENARIOS / f"{word}.toml"
    if shipped.exists():
        return shipped
    path = Path(word)
    if path.suffix == ".toml" or path.exists():
        return path
    names = sorted(p.stem for p in SCENARIOS.glob("*.toml"))
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}, or a .toml file"
    raise BadInput([f"{word}: no such scenario; {hint}"])


def taken(folder: Path) -> list[str]:
    """Why results cannot go into a folder, as problems of --out; none if they can."""
    if folder.exists() and not folder.is_dir():
        return [f"--out: {folder} is a file; name a folder that does not exist"]
    if folder.exists() and any(folder.iterdir()):
        return [f"--out: {folder} is not empty; name a folder that does not exist"]
    return []


def unused(folder: Path) -> Path:
    """A folder that is not there, by this name or a numbered one."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return candidate


def make(folder: Path) -> None:
    """Make a folder for results. Raises BadInput if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput([f"--out: {folder} cannot be made: {error.strerror}"]) from None


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
