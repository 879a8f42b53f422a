"""A style with its libraries, written once: `style[:client[+server]][=label]`, or
`path/file.py:Class[=label]` for a driver of the user's own."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from clients import catalog

_GRAMMAR = re.compile(
    r"(?P<style>[a-z0-9-]+)"
    r"(?::(?P<client>[a-z0-9.-]+)(?:\+(?P<server>[a-z0-9.-]+))?)?"
    r"(?:=(?P<label>[a-z0-9.-]+))?"
)
_OWN = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)(?:=(?P<label>[a-z0-9.-]+))?")


@dataclass(frozen=True, slots=True)
class Variant:
    """What runs: a catalog entry, and a label that tells two of the same apart."""

    entry: catalog.Entry
    label: str = ""

    @property
    def style(self) -> str:
        """The style's name."""
        return self.entry.style

    @property
    def name(self) -> str:
        """The variant in its own grammar."""
        server = f"+{self.entry.server}" if self.entry.server else ""
        label = f"={self.label}" if self.label else ""
        return f"{self.entry.style}:{self.entry.client}{server}{label}"

    @property
    def slug(self) -> str:
        """The variant as a part of a cell's id; the server only where it is not the usual one."""
        entry = self.entry
        usual = next((e.server for e in catalog.ENTRIES if _same_client(e, entry)), entry.server)
        server = f"-on-{entry.server}" if entry.server != usual else ""
        label = f"-{self.label}" if self.label else ""
        return f"{entry.style}-{entry.client}{server}{label}"


def _same_client(one: catalog.Entry, other: catalog.Entry) -> bool:
    return (one.style, one.client) == (other.style, other.client)


def parse_variant(text: str) -> Variant:
    """Read the grammar. Raises LookupError saying what is wrong and what exists."""
    if isinstance(text, str):
        if own := _OWN.fullmatch(text):
            return Variant(_own_driver(Path(own["path"]), own["name"]), own["label"] or "")
        if match := _GRAMMAR.fullmatch(text):
            entry = catalog.find(match["style"], match["client"], match["server"])
            return Variant(entry, match["label"] or "")
    raise LookupError(f"{text!r} is not style[:client[+server]][=label], nor path/file.py:Class")


def _own_driver(path: Path, name: str) -> catalog.Entry:
    """The entry of a user's own class, read from its source: only the generator runs it.

    The style is called like the file. `server = "rest"` in the class names the style whose server
    it talks to; without it the driver needs a --target. Raises LookupError.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise LookupError(f"{path} cannot be read: {error.strerror or error}") from None
    except (SyntaxError, ValueError) as error:
        raise LookupError(f"{path} is not Python: {error}") from None
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        raise LookupError(f"{path} has no class {name!r}; it has: {', '.join(classes) or 'none'}")
    methods = {n.name for n in classes[name].body if isinstance(n, ast.AsyncFunctionDef)}
    # What a class inherits is not to be seen in its own source.
    inherits = bool(classes[name].bases)
    if not inherits and (missing := {"open", "drop", "close", "place"} - methods):
        raise LookupError(
            f"{path}: {name} lacks {', '.join(sorted(missing))} (see Driver and Places in"
            " clients/base.py)"
        )
    speaks = _text_attribute(classes[name], "server")
    if speaks and speaks not in catalog.served():
        raise LookupError(
            f"{path}: {name}.server = {speaks!r} is no style with a server; there are:"
            f" {', '.join(catalog.served())}"
        )
    style = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "own"
    return catalog.Entry(
        style,
        "own",
        f"{path.resolve()}:{name}",
        catalog.find(speaks).server if speaks else "",
        operations=("place", "job", "watch") if "watch" in methods else ("place", "job"),
        speaks=speaks,
    )


def _text_attribute(node: ast.ClassDef, name: str) -> str:
    for statement in node.body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
        value = getattr(statement, "value", None)
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return str(value.value) if isinstance(value, ast.Constant) else ""
    return ""
