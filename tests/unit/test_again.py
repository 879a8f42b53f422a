"""A/A: one variant of each family runs against itself, where a scenario compares (issue 6.2)."""

from typing import Any

import pytest

from clients import catalog
from harness.analysis.effects import LEAST_PAIRS
from harness.cli.paths import SCENARIOS
from harness.plan import LEAST_REPEATS, Cell, make_plan
from harness.scenario import BadInput, Scenario, load_scenario


def again(**changes: Any) -> list[Cell]:
    """The cells that a small scenario has for their A/A pair alone."""
    fields = {
        "question": "?",
        "styles": ["rest", "grpc-unary"],
        "load": [{"model": "constant", "rate": [100, 500]}, {"model": "closed", "users": [4]}],
    }
    plan = make_plan(Scenario.model_validate({**fields, **changes}))
    return [cell for cell in plan.cells if cell.again]


def test_every_style_is_of_one_family() -> None:
    by_family: dict[str, set[str]] = {}
    for entry in catalog.ENTRIES:
        if entry.family:
            by_family.setdefault(entry.family, set()).add(entry.style)
        else:
            assert entry.style == "noop" or entry.null
    assert by_family == {
        "sync": {"rest", "rest-h2", "grpc-unary", "grpc-stream", "websocket", "zeromq"},
        "async": {"rest-poll", "sse", "webhook"},
        "broker": {"kafka", "rabbitmq"},
    }


def test_the_first_variant_of_each_family_runs_once_more_at_every_load() -> None:
    found = again(styles=["grpc-unary", "rest", "sse", "rest-poll", "noop"])
    assert [(cell.variant.name, cell.load.words) for cell in found] == [
        ("grpc-unary:grpcio+grpcio=again", "100/s"),
        ("grpc-unary:grpcio+grpcio=again", "500/s"),
        ("grpc-unary:grpcio+grpcio=again", "closed loop, 4 users"),
        ("sse:aiohttp+fastapi=again", "100/s"),
        ("sse:aiohttp+fastapi=again", "500/s"),
        ("sse:aiohttp+fastapi=again", "closed loop, 4 users"),
    ]


def test_it_is_the_same_but_for_its_label() -> None:
    plan = make_plan(load_scenario(SCENARIOS / "compare.toml", {}))
    by_id = {cell.id: cell for cell in plan.cells}
    assert len(by_id) == len(plan.cells)
    families = [cell.variant.entry.family for cell in plan.cells if cell.again]
    assert families == ["sync", "async", "broker"]
    for cell in (cell for cell in plan.cells if cell.again):
        first = by_id[cell.again]
        assert first.variant.entry == cell.variant.entry
        assert (first.load, first.condition) == (cell.load, cell.condition)
        assert (first.variant.label, cell.variant.label) == ("", "again")
        blocks = [trial.block for trial in plan.trials if trial.cell == cell]
        assert blocks == list(range(plan.scenario.repeats))
    assert plan.seconds < 360


def test_only_under_the_first_condition() -> None:
    found = again(styles=["rest"], wire={"tls": [True, False]}, order={"items": [1, 100]})
    assert {(cell.condition.tls, cell.condition.items) for cell in found} == {(True, 1)}
    assert len(found) == 3


def test_what_cannot_be_run_is_not_run_again() -> None:
    found = again(styles=["webhook", "sse"], operation="watch", watch={"subscribers": 2})
    assert {cell.variant.style for cell in found} == {"sse"}
    encrypted = again(styles=["kafka", "rest"], wire={"tls": True})
    assert {cell.variant.style for cell in encrypted} == {"rest"}


def test_a_pair_that_is_there_needs_no_other() -> None:
    assert again(styles=["rest=a", "grpc-unary", "rest=b"]) == []
    assert again(styles=["rest", "rest=mine"]) == []
    # Of another family there is none.
    found = again(styles=["rest=a", "rest=b", "sse"])
    assert {cell.variant.style for cell in found} == {"sse"}
    # Two libraries are not the same.
    assert {c.variant.entry.client for c in again(styles=["rest", "rest:httpx"])} == {"aiohttp"}


def test_a_label_of_ones_own_is_kept() -> None:
    assert {cell.variant.label for cell in again(styles=["rest=mine"])} == {"mine-again"}


@pytest.mark.parametrize("changes", [{"noise": False}, {"repeats": 2}, {"repeats": 1}])
def test_where_nothing_is_to_be_compared_nothing_runs_again(changes: dict[str, Any]) -> None:
    assert again(**changes) == []


def test_the_least_repeats_are_those_of_an_interval() -> None:
    assert LEAST_REPEATS == LEAST_PAIRS


def test_a_driver_of_the_users_own_is_of_the_first_family(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    methods = "".join(
        f"    async def {name}(self): ...\n" for name in ("open", "drop", "close", "place")
    )
    file.write_text(f'class Mine:\n    server = "rest"\n{methods}')
    found = again(styles=[f"{file}:Mine"])
    assert {(cell.variant.entry.family, cell.variant.label) for cell in found} == {
        ("sync", "again")
    }


def test_noise_is_yes_or_no() -> None:
    with pytest.raises(BadInput, match=r"noise: .*bool"):
        load_scenario(SCENARIOS / "compare.toml", {"--noise": "perhaps"})


@pytest.mark.parametrize("name", ["smoke", "failover"])
def test_scenarios_that_do_not_compare_have_none(name: str) -> None:
    plan = make_plan(load_scenario(SCENARIOS / f"{name}.toml", {"--repeats": 3, "--budget": 3600}))
    assert not any(cell.again for cell in plan.cells)
