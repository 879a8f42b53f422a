"""What docs/summary.schema.json says of summary.json is so (issue 7.6)."""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness.analysis.summary import Summary
from harness.analysis.verdicts import Code, Status
from harness.report.build import summary_json
from harness.results import FORMAT
from tests.unit import capacity_summaries, message_summaries, summaries
from tests.unit.test_stack import usual as stacked

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "summary.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def taken_apart() -> Summary:
    """One whose calls are taken apart."""
    return summaries.summary(stacked())


ALL = [
    *summaries.ALL,
    *message_summaries.ALL,
    capacity_summaries.every_ending,
    taken_apart,
]


def written(make: summaries.Make) -> Any:
    """summary.json of a made-up run, read back."""
    return json.loads(json.dumps(summary_json(make()), allow_nan=False))


def problems(value: Any) -> list[str]:
    """Where a summary is not as the schema has it."""
    return [f"{each.json_path}: {each.message[:200]}" for each in VALIDATOR.iter_errors(value)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["format"]["const"] == FORMAT


@pytest.mark.parametrize("make", ALL)
def test_every_summary_is_as_the_schema_says(make: summaries.Make) -> None:
    assert problems(written(make)) == []


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects(each)


def test_a_key_that_is_not_known_is_found_wherever_it_is() -> None:
    whole = written(message_summaries.brokers)
    for number, _ in enumerate(objects(whole)):
        spoilt = deepcopy(whole)
        (place,) = [each for n, each in enumerate(objects(spoilt)) if n == number]
        place["unheard_of"] = "x"
        assert problems(spoilt), f"{sorted(place)} may have any key"


def test_a_key_that_is_missing_is_found() -> None:
    whole = written(summaries.against_itself)
    for path in (
        (),
        ("cells", 0),
        ("cells", 0, "load"),
        ("cells", 0, "condition"),
        ("cells", 0, "latency_ms"),
        ("cells", 0, "verdict"),
        ("comparisons", 0),
        ("noise_floors", 0),
    ):
        for key in reduce(getitem, path, whole):
            spoilt = deepcopy(whole)
            del reduce(getitem, path, spoilt)[key]
            assert problems(spoilt), (*path, key)


def test_a_number_of_another_kind_is_found() -> None:
    whole = written(summaries.one_cell)
    for key, value in (("trials", 1.5), ("throughput_per_s", "9"), ("operation", "buy")):
        spoilt = deepcopy(whole)
        spoilt["cells"][0][key] = value
        assert problems(spoilt), key


def test_every_key_says_what_it_means() -> None:
    """Where one refers to a definition, that says it."""
    keys = [key for each in objects(SCHEMA) if "required" in each for key in each["properties"]]
    told = [
        key
        for each in objects(SCHEMA)
        if "required" in each
        for key, value in each["properties"].items()
        if {"description", "$ref"} & value.keys()
    ]
    assert told == keys
    assert [name for name, each in SCHEMA["$defs"].items() if "description" not in each] == []


def test_what_results_readme_lists_is_what_a_verdict_may_say() -> None:
    verdict = SCHEMA["$defs"]["verdict"]["properties"]
    assert verdict["status"]["enum"] == [status.value for status in Status]
    readme = (ROOT / "results" / "README.md").read_text()
    assert [code.value for code in Code if f"`{code.value}`" not in readme] == []
