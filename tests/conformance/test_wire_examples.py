"""Issue 7.4: the report's wire examples are what goes over the wire today."""

import json
from collections import defaultdict
from typing import Any

import pytest

from clients import catalog
from harness.report.styles.wire_examples import FOLDER
from harness.rig.process import Rig
from tests.support import Run, UsePart
from tests.wire.examples import WAYS, recorded
from tests.wire.masking import without_numbers

AT_ANY_TIME = "Basic.Ack"
"""A confirm overtakes what else a broker says on its connection, or is overtaken."""


def conversations(example: dict[str, Any]) -> list[list[tuple[str, str, str]]]:
    """What is said on each connection, in its order: between connections there is none."""
    found: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
    for step in example["exchange"]:
        said = step["from"], step["what"], step["text"]
        found[step["connection"]].append(tuple(map(without_numbers, said)))  # type: ignore[arg-type]
    return sorted(sorted(each, key=lambda said: said[1] != AT_ANY_TIME) for each in found.values())


def test_every_style_with_a_server_has_a_way() -> None:
    assert set(WAYS) == set(catalog.served())
    assert {file.stem for file in FOLDER.glob("*.json")} == set(WAYS)


@pytest.mark.parametrize("style", WAYS)
def test_an_example_is_what_goes_over_the_wire(
    style: str, rig: Rig, part: UsePart, run: Run
) -> None:
    """The same messages with the same words on each connection, numbers and ids apart."""
    told = json.loads((FOLDER / f"{style}.json").read_text())
    broker = catalog.find(style).broker
    seen = run(recorded(style, rig, part(broker).address if broker else ""))
    assert conversations(seen) == conversations(told)
    assert (seen["client"], seen["server"]) == (told["client"], told["server"])
    assert [way["connections"] for way in seen["opening"]] == [
        way["connections"] for way in told["opening"]
    ]
