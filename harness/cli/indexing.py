"""The index of the folder around runs."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.paths import RESULTS, shown

if TYPE_CHECKING:
    from rich.console import Console


def keep_index(runs: Iterable[Path], screen: "Console") -> None:
    """Make the index around each run anew where there is to be one: in the project's results/, and
    where there is one already. No other folder gets a file that it did not have."""
    from harness.report.runs.index import NAME, is_index

    for around in dict.fromkeys(run.resolve().parent for run in runs):
        if around == RESULTS.resolve() or is_index(around / NAME):
            make_index(around, screen)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of runs that end together one at a time, so that the last index has all of them."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def make_index(around: Path, screen: "Console") -> bool:
    """Write a folder's index and say where it is; returns whether it could be written. That it
    could not is said, and no more: the runs themselves are whole."""
    from harness.report.runs.index import NAME, build_index

    path = shown(around / NAME)
    try:
        with _alone(around):
            build_index(around)
    except OSError as error:
        said, made = f"index: {path} cannot be written: {error.strerror}", False
    else:
        said, made = f"all runs: {path}", True
    screen.print(said, markup=False, highlight=False, soft_wrap=True)
    return made
