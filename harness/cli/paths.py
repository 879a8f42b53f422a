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
