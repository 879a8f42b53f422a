"""Who a party is: its machine, and the code that it runs."""

import functools
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

from harness.observe.environment import collect_libraries

ROOT = Path(__file__).resolve().parents[2]
_CODE = ("clients", "orders", "protos", "harness")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The same for all that share a kernel, containers included; empty where it is not told."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def sources() -> list[Path]:
    """What decides what is sent when, and what is noted of it."""
    code = (path for folder in _CODE for path in sorted((ROOT / folder).rglob("*.py")))
    return [*code, ROOT / "requirements.lock"]


@functools.cache
def code_digest() -> str:
    """Of `sources`."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def software() -> Mapping[str, str]:
    """What sends and receives: versions of Python and of libraries."""
    return {"Python": platform.python_version(), **collect_libraries()}


def unlike(code: str, theirs: Mapping[str, str]) -> str:
    """In what a party that has this `code_digest` and `software` differs from this one; empty where
    in nothing."""
    if code != code_digest():
        return "another version of orderbench"
    ours = software()
    return ", ".join(
        f"{name} {theirs.get(name, 'missing')} in place of {ours.get(name, 'none')}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    )
