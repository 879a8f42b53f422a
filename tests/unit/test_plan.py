"""From a scenario to cells, trials and their order."""

from pathlib import Path
from typing import Any

import pytest

from clients import catalog
from harness.cli.paths import SCENARIOS
from harness.plan import make_plan
from harness.scenario import BadInput, Scenario, load_scenario
from harness.variant import parse_variant

SHIPPED = sorted(SCENARIOS.glob("*.toml"))


def scenario(**changes: Any) -> Scenario:
    """A small scenario."""
    fields = {
        "question": "?",
        "styles": ["rest", "websocket"],
        "load": [{"model": "constant", "rate": [100, 500]}, {"model": "closed", "users": [4]}],
    }
    return Scenario.model_validate({**fields, **changes})


def test_cells_are_the_product_of_styles_loads_and_items() -> None:
    plan = make_plan(scenario(order={"items": [1, 10]}))
    assert len(plan.cells) == 2 * 3 * 2
    assert plan.cells[0].id == "place.rest-aiohttp.constant-100.items-1"
    assert plan.cells[5].id == "place.rest-aiohttp.closed-4.items-10"
    assert len({c.id for c in plan.cells}) == len(plan.cells)


def test_ids_are_folder_names() -> None:
    burst = {"model": "burst", "rate": [0.5], "burst_size": 9, "every_s": 0.25}
    poisson = {"model": "poisson", "rate": [1e6]}
    thinking = {"model": "closed", "users": [1], "think_s": 0.5}
    plan = make_plan(
        scenario(
            styles=["rest:httpx+fastapi=a.b"],
            load=[burst, poisson, thinking],
            service={"time": "fixed", "mean_ms": 2.5},
        )
    )
    assert [c.id for c in plan.cells] == [
        "place.rest-httpx-a.b.burst-0.5-9-every-0.25.items-3.work-2.5ms",
        "place.rest-httpx-a.b.poisson-1000000.items-3.work-2.5ms",
        "place.rest-httpx-a.b.closed-1-think-0.5.items-3.work-2.5ms",
    ]


def test_a_block_has_every_cell_once_in_an_order_of_its_own() -> None:
    plan = make_plan(scenario(repeats=5))
    size = len(plan.cells)
    blocks = [plan.trials[n * size : (n + 1) * size] for n in range(5)]
    for number, block in enumerate(blocks):
        assert {t.block for t in block} == {number}
        assert {t.cell.id for t in block} == {c.id for c in plan.cells}
    assert len({tuple(t.cell.id for t in block) for block in blocks}) > 1
    assert make_plan(scenario(repeats=5)) == plan
    assert make_plan(scenario(repeats=5, seed=2)).trials != plan.trials


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_fit_their_budget(path: Path) -> None:
    plan = make_plan(load_scenario(path, {}))
    assert plan.scenario.budget_s is not None
    assert plan.seconds <= plan.scenario.budget_s


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget_s": 10.0}, "budget_s: the plan comes to"),
        ({"load": [{"model": "constant", "rate": [1e6]}], "duration_s": 100.0}, "more than 50000"),
        ({"load": [{"model": "constant", "rate": [5, 5]}]}, "planned twice"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        make_plan(scenario(**changes))


@pytest.mark.parametrize(
    ("text", "name", "slug"),
    [
        ("rest", "rest:aiohttp+fastapi", "rest-aiohttp"),
        ("rest:httpx", "rest:httpx+fastapi", "rest-httpx"),
        ("rest:httpx+fastapi=b", "rest:httpx+fastapi=b", "rest-httpx-b"),
        ("noop", "noop:none", "noop-none"),
    ],
)
def test_the_grammar_of_variants(text: str, name: str, slug: str) -> None:
    variant = parse_variant(text)
    assert (variant.name, variant.slug) == (name, slug)


@pytest.mark.parametrize("text", ["", "REST", "rest:", "rest:curl", "rest:httpx+nginx", "soap", 3])
def test_what_is_no_variant(text: Any) -> None:
    with pytest.raises(LookupError):
        parse_variant(text)


def test_the_first_line_of_a_style_stands_for_it() -> None:
    for style in catalog.styles():
        first = next(e for e in catalog.ENTRIES if e.style == style)
        assert catalog.find(style) is first
