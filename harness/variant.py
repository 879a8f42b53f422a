"""A style with its libraries, written once: `style[:client[+server]][=label]`."""

import re
from dataclasses import dataclass

from clients import catalog

_GRAMMAR = re.compile(
    r"(?P<style>[a-z0-9-]+)"
    r"(?::(?P<client>[a-z0-9.-]+)(?:\+(?P<server>[a-z0-9.-]+))?)?"
    r"(?:=(?P<label>[a-z0-9.-]+))?"
)


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
        """The variant as a part of a cell's id."""
        label = f"-{self.label}" if self.label else ""
        return f"{self.entry.style}-{self.entry.client}{label}"


def parse_variant(text: str) -> Variant:
    """Read the grammar. Raises LookupError saying what is wrong and what exists."""
    match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise LookupError(f"{text!r} is not style[:client[+server]][=label]")
    entry = catalog.find(match["style"], match["client"], match["server"])
    return Variant(entry, match["label"] or "")
