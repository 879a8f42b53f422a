"""Where installed parts are kept between runs: filled once, whole, whoever comes first."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """ORDERBENCH_CACHE, else `orderbench` where the user's caches are (XDG Base Directory)."""
    if own := os.environ.get("ORDERBENCH_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "orderbench"


def cached(name: str) -> Path | None:
    """The folder of a part that is complete in the cache; None if it is not."""
    folder = cache_folder() / name
    return folder if folder.is_dir() else None


def filled(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of a part, made by `fill` in a folder of another name if it is not there.

    Blocks while another process fills the same part. What `fill` raises leaves nothing behind.
    Raises OSError where the cache cannot be written.
    """
    folder = cache_folder() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            fill(partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder
