"""One order of each style on the wire, as tests/wire recorded it from this project's own drivers
and servers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients import catalog

FOLDER = Path(__file__).parent / "wire"


@dataclass(frozen=True, slots=True)
class Step:
    """One message or frame."""

    speaker: str
    hearer: str
    connection: int
    """Its number among those that this order goes over."""
    what: str
    size: int
    """In bytes, with all framing."""
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """An exchange, and what was needed before it."""

    settings: str
    opening: Sequence[str]
    """Who connected to whom, and what went by until then."""
    steps: Sequence[Step]

    @property
    def size(self) -> int:
        """Of all steps, in bytes."""
        return sum(step.size for step in self.steps)

    @property
    def connections(self) -> int:
        """So many did the order go over."""
        return len({step.connection for step in self.steps})


def wire_example(style: str) -> Example | None:
    """The example of a style; None where there is none, as of a driver of the user's own."""
    file = FOLDER / f"{style}.json"
    if style not in catalog.styles() or not file.exists():
        return None
    example: dict[str, Any] = json.loads(file.read_text())
    sides = ", ".join(filter(None, (example["client"], example["server"])))
    return Example(
        f"{sides}; {example['settings']}",
        [_opened(each) for each in example["opening"]],
        [
            Step(
                each["from"],
                each["to"],
                each["connection"],
                each["what"],
                each["bytes"],
                each["text"],
            )
            for each in example["exchange"]
        ],
    )


def _opened(way: dict[str, Any]) -> str:
    several = "s" if way["connections"] > 1 else ""
    return (
        f"{way['from']} to {way['to']}: {way['connections']} connection{several},"
        f" {way['bytes']:,} bytes in {way['messages']} messages"
    )
