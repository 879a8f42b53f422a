"""What is known of this machine from earlier measurements, in the cache under its identity."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.analysis.sameness import MACHINE
from harness.results import write_json
from harness.rig.cache import cache_folder

CALIBRATION = "calibration"
"""The name of what `bench.py calibrate` found (harness.calibration)."""
_QUOTED = ("calibrated_at", "commit", "headline")


def calibration_of(environment: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the last calibration on this machine came to, as run.json has it; None without one."""
    kept = remembered(environment, CALIBRATION)
    return {name: kept.get(name) for name in _QUOTED} if isinstance(kept, dict) else None


def machine_id(environment: Mapping[str, Any]) -> str:
    """Twelve hex digits that are the same as long as nothing has changed that would make figures
    those of another machine. `environment` is as in run.json."""
    known = [
        (topic, key, environment.get(topic, {}).get(key))
        for topic, keys in MACHINE.items()
        for key in keys
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]


def remember(environment: Mapping[str, Any], what: str, value: Any) -> Path:
    """Keep plain values under a name, in the place of earlier ones; returns their file. Raises
    OSError where the cache cannot be written."""
    path = _path(environment, what)
    write_json(path, value)
    return path


def remembered(environment: Mapping[str, Any], what: str) -> Any:
    """What was kept last; None where nothing was, or nothing that can be read."""
    try:
        return json.loads(_path(environment, what).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _path(environment: Mapping[str, Any], what: str) -> Path:
    return cache_folder() / "machines" / machine_id(environment) / f"{what}.json"
