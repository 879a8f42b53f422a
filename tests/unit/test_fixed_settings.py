"""Issue 7.4: what the report calls fixed in code is what the code says."""

import re
from pathlib import Path

import pytest

from clients import catalog
from harness.report.styles.texts import FIXED, Fixed

ROOT = Path(__file__).resolve().parents[2]

NAMED = {256.0}
"""Numbers that are part of a name: SHA256."""


def named(setting: Fixed) -> str:
    return f"{setting.name}, {setting.styles[0]}"


@pytest.mark.parametrize("setting", FIXED, ids=named)
def test_its_sources_say_so(setting: Fixed) -> None:
    assert setting.sources
    for file, fragment in setting.sources:
        assert fragment in (ROOT / file).read_text(), file
    assert set(setting.styles) <= set(catalog.styles())
    libraries = {
        getattr(entry, setting.side)
        for entry in catalog.ENTRIES
        if setting.side and entry.style in setting.styles
    }
    assert set(setting.libraries) <= libraries


@pytest.mark.parametrize(
    "setting", [each for each in FIXED if re.search(r"\d", each.text)], ids=named
)
def test_its_numbers_are_in_its_sources(setting: Fixed) -> None:
    """As they are written there: 16,384 is 2**14, and 2 MiB is 2 * 2**20."""
    worth = set()
    for _, fragment in setting.sources:
        for number in re.findall(r"\d[\d.]*(?:\s*\*+\s*\d+)*", fragment):
            value = float(eval(number))
            worth |= {value, value / 2**20}
    for said in re.findall(r"\d[\d,]*(?:\.\d+)?", setting.text):
        assert float(said.replace(",", "")) in worth | NAMED, said
