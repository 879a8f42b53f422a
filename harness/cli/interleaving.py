"""`--interleave`: two revisions that take turns at every trial of one run."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.scenario import BadInput

if TYPE_CHECKING:
    from harness.rig.tree import Tree
    from harness.run import Side

_FIELDS = """
import dataclasses, json
from harness.load import messages
print(json.dumps({
    name: [field.name for field in dataclasses.fields(kind)]
    for name, kind in vars(messages).items()
    if dataclasses.is_dataclass(kind)
}))
"""


def revision_problems(revisions: Sequence[str]) -> list[str]:
    """What is wrong with the names of revisions."""
    from harness.rig.tree import AS_IT_STANDS, NoSuchTree, commit_of

    problems = []
    for revision in dict.fromkeys(revisions):
        if revision != AS_IT_STANDS:
            try:
                commit_of(revision)
            except NoSuchTree as error:
                problems.append(f"--interleave: {error}")
    return problems


def side_folders(base: Path) -> tuple[Path, Path]:
    """The folders of the two sides of a run: a run's name, and which."""
    return base.with_name(f"{base.name}-a"), base.with_name(f"{base.name}-b")


@contextlib.contextmanager
def sides_of(revisions: Sequence[str] | None, folders: Sequence[Path]) -> Iterator[list["Side"]]:
    """What is measured: this tree, or the trees of two revisions while the block lasts. Raises
    BadInput where one of them cannot be had, or does not understand this program."""
    from harness.rig.tree import OWN, NoSuchTree, unpacked
    from harness.run import Side

    if revisions is None:
        yield [Side(folder) for folder in folders]
        return
    try:
        with unpacked(revisions) as trees:
            ours = OWN.ask(_FIELDS)
            problems = [words for tree in trees for words in _not_understood(tree, ours)]
            if problems:
                raise BadInput(problems)
            yield [Side(folder, tree) for folder, tree in zip(folders, trees, strict=True)]
    except NoSuchTree as error:
        raise BadInput(f"--interleave: {line}" for line in str(error).splitlines()) from None


def _not_understood(tree: "Tree", ours: dict[str, list[str]]) -> list[str]:
    """What this program says to a generator that the tree's generator has never heard of."""
    theirs = tree.ask(_FIELDS)
    unknown = [
        f"{kind}.{name}"
        for kind, names in ours.items()
        for name in names
        if name not in theirs.get(kind, ())
    ]
    said = (
        f"--interleave: {tree.revision} is too far from this version: its generator does not know"
        f" {', '.join(unknown)}; run it from a checkout that is nearer to both"
    )
    return [said] if unknown else []
