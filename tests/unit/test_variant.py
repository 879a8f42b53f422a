"""Variants by name, and drivers of the user's own: read from their source, run by the generator."""

import re
from pathlib import Path

import pytest

from clients import catalog
from clients.base import Driver, Places, Watches
from harness.load.__main__ import driver_named
from harness.variant import Variant, parse_variant

METHODS = """
    multiplexes = False
    async def open(self, target, lanes, sink, wire=None): ...
    async def drop(self, lane): ...
    async def close(self): ...
    async def place(self, lane, order, call): ...
"""
WATCH = "    async def watch(self, lane, reads=True): ...\n"


def own(folder: Path, text: str, name: str = "mine.py") -> str:
    """A file of the user's own; returns its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def refusal(text: str) -> str:
    """Why a text is no variant."""
    with pytest.raises(LookupError) as caught:
        parse_variant(text)
    return str(caught.value)


def test_a_driver_of_ones_own_is_named_after_its_file(tmp_path: Path) -> None:
    path = own(tmp_path, f"class Mine:{METHODS}", "My Fast_Driver.py")
    variant = parse_variant(f"{path}:Mine=a.b")
    assert (variant.style, variant.label) == ("my-fast-driver", "a.b")
    assert variant.name == "my-fast-driver:own=a.b"
    assert variant.slug == "my-fast-driver-own-a.b"
    assert variant.entry.driver == f"{Path(path).resolve()}:Mine"
    assert variant.entry.server == ""
    assert parse_variant(f"{path}:Mine") == Variant(variant.entry)


def test_reading_it_runs_nothing_of_it(tmp_path: Path) -> None:
    path = own(tmp_path, f"raise SystemExit('it was run')\nclass Mine:{METHODS}")
    assert parse_variant(f"{path}:Mine").style == "mine"


@pytest.mark.parametrize("line", ['    server = "rest"\n', '    server: str = "rest"\n'])
def test_it_may_name_the_style_whose_server_it_talks_to(tmp_path: Path, line: str) -> None:
    path = own(tmp_path, f"class Mine:{METHODS}{line}")
    entry = parse_variant(f"{path}:Mine").entry
    assert entry.speaks == "rest"
    assert entry.server == catalog.find("rest").server


def test_what_it_can_do_is_which_methods_it_has(tmp_path: Path) -> None:
    path = own(tmp_path, f"class Mine:{METHODS}\nclass Other:{METHODS}{WATCH}")
    assert parse_variant(f"{path}:Mine").entry.operations == ("place", "job")
    assert parse_variant(f"{path}:Other").entry.operations == ("place", "job", "watch")


def test_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        f"class Mine:{METHODS}\nclass Half:\n"
        "    async def open(self): ...\n    def close(self): ...\n"
        f"class Lost:{METHODS}    server = 'soap'\n",
    )
    assert "has no class 'Mime'; it has: Mine, Half, Lost" in refusal(f"{path}:Mime")
    assert "Half lacks close, drop, place" in refusal(f"{path}:Half")
    assert "server = 'soap' is no style with a server; there are: rest" in refusal(f"{path}:Lost")
    assert "cannot be read: No such file" in refusal(f"{tmp_path}/nowhere.py:Mine")
    assert "is not Python" in refusal(own(tmp_path, "class Mine(", "no.py") + ":Mine")
    assert "is not Python" in refusal(own(tmp_path, "x = '\0'", "nul.py") + ":Mine")
    assert "it has: none" in refusal(own(tmp_path, "", "empty.py") + ":Mine")


def test_the_generator_loads_what_the_entry_names(tmp_path: Path) -> None:
    path = own(tmp_path, f"class Mine:{METHODS}")
    driver = driver_named(parse_variant(f"{path}:Mine").entry.driver)
    assert type(driver).__name__ == "Mine"
    assert isinstance(driver, Driver)
    assert isinstance(driver, Places)
    assert not isinstance(driver, Watches)


def test_every_line_of_the_catalog_can_be_written_down() -> None:
    for entry in catalog.ENTRIES:
        variant = Variant(entry, "a")
        assert parse_variant(variant.name) == variant
        assert re.fullmatch(r"[a-z0-9.-]+", variant.slug)
        assert set(entry.lacks) <= set(catalog.ABILITIES)
        assert all(entry.lacks.values())
        assert set(entry.operations) <= {"place", "job", "watch", "ingest"}
