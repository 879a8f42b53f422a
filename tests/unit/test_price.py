"""What a user says of prices (issue 6.6)."""

from pathlib import Path

import pytest

from harness.scenario import BadInput, load_scenario

SCENARIO = """
question = "?"
styles = ["rest"]
load = { model = "constant", rate = 1 }
"""


def scenario(folder: Path, text: str = "") -> Path:
    """A file with a table of prices."""
    path = folder / "s.toml"
    path.write_text(SCENARIO + text)
    return path


def test_nothing_is_paid_unless_it_is_said(tmp_path: Path) -> None:
    assert load_scenario(scenario(tmp_path), {}).price is None


def test_a_price_from_the_file_and_from_the_command_line(tmp_path: Path) -> None:
    path = scenario(tmp_path, "[price]\ncore_hour = 0.04\ngb = 0.09\n")
    price = load_scenario(path, {}).price
    assert price is not None
    assert (price.core_hour, price.gib_hour, price.gb) == (0.04, 0, 0.09)
    price = load_scenario(path, {"--price": 1}).price
    assert price is not None
    assert (price.core_hour, price.gb) == (1, 0.09)
    price = load_scenario(scenario(tmp_path), {"--price": 0.5}).price
    assert price is not None
    assert price.core_hour == 0.5


@pytest.mark.parametrize("given", [-1, "cheap", [1, 2]])
def test_a_bad_price_is_refused_by_its_option(tmp_path: Path, given: object) -> None:
    with pytest.raises(BadInput) as caught:
        load_scenario(scenario(tmp_path), {"--price": given})
    (said,) = caught.value.problems
    assert said.startswith("--price: ")


def test_every_mistake_of_the_table_is_named(tmp_path: Path) -> None:
    path = scenario(tmp_path, "[price]\ncore_hours = 1\ngib_hour = -2\n")
    with pytest.raises(BadInput) as caught:
        load_scenario(path, {})
    said = "\n".join(caught.value.problems)
    assert "price.core_hour: is missing" in said
    assert "price.core_hours: unknown key; did you mean 'core_hour'?" in said
    assert "price.gib_hour" in said
