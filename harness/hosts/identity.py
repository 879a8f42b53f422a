"""Who a party is: its machine, and the code that it runs."""

import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("clients", "orders", "protos", "harness/load", "harness/hosts")
"""What must be the same on both sides, since it decides what is sent when."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The same for all that share a kernel, containers included; empty where it is not told."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


@functools.cache
def code_digest() -> str:
    """Of CODE's sources."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
