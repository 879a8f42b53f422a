"""What a call is made of: the arithmetic, and what the report says of it (issue 6.7)."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stack import PARTS, QUANTITIES, broken, stacks
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import RULES, Code, Reason, Status
from harness.plan import LoadPoint, make_plan
from harness.report.answers import answers
from harness.report.charts.every import make_charts
from harness.report.page import render_page
from harness.scenario import load_scenario
from tests.unit import summaries

LOAD = LoadPoint("constant", rate=500.0)
NULL = Reason(Code.NULL, "nothing is done")
REST = {
    "rest:null+null": 0.20,
    "rest:asyncio+asyncio": 0.26,
    "rest:aiohttp+asyncio": 0.36,
    "rest:asyncio+fastapi": 0.47,
    "rest:aiohttp+fastapi": 0.60,
}
"""Medians in ms: floor 0.20, codec 0.06, aiohttp 0.10, fastapi 0.21, and 0.03 that is left."""
WORDS = list(REST)


def cell_of(
    variant: str,
    p50_ms: Mapping[int, float],
    cpu_us: tuple[float, float] = (90.0, 150.0),
    reasons: tuple[Reason, ...] = (),
    load: LoadPoint = LOAD,
) -> CellResult:
    """A cell with such a median in each block (its number -> ms), and CPU an operation of client
    and server."""
    if variant.endswith("+null"):
        reasons = (NULL, *reasons)
    trials = []
    for number, value in p50_ms.items():
        base = summaries.trial(variant, load, number)
        values = np.full(base.counts.done, value)
        cpu = {
            role: round(each * 1e3 * base.completed_in_window)
            for role, each in zip(("generator", "server"), cpu_us, strict=True)
        }
        trials.append(
            replace(
                base,
                **summaries.of_latency(values, base.counts.planned),
                seen=replace(base.seen, cpu_ns=cpu),
            )
        )
    return summaries.cell(variant, load, reasons, trials)


def cells_of(table: Mapping[str, Mapping[int, float]]) -> list[CellResult]:
    """Cells by their medians."""
    return [cell_of(variant, p50_ms) for variant, p50_ms in table.items()]


def usual() -> list[CellResult]:
    """REST in three blocks, each slower than the one before."""
    return cells_of({v: {1: ms, 2: ms + 1, 3: ms + 2} for v, ms in REST.items()})


def parts_of(cells: list[CellResult], quantity: str = "latency p50") -> dict[str, float]:
    """The parts of the only stack of a quantity."""
    (found,) = [stack for stack in stacks(cells) if stack.quantity.name == quantity]
    return {name: round(part.value, 6) for name, part in found.parts.items()}


def test_parts_are_differences_within_blocks_and_come_to_what_was_measured() -> None:
    (found,) = [stack for stack in stacks(usual()) if stack.quantity.name == "latency p50"]
    assert found.cell.info["variant"] == "rest:aiohttp+fastapi"
    assert found.blocks == 3
    assert parts_of(usual()) == {
        "floor": 1.2,
        "codec": 0.06,
        "client library": 0.1,
        "server library": 0.21,
        "rest": 0.03,
    }
    # The blocks lie a millisecond apart, and no difference does.
    assert (found.parts["floor"].low, found.parts["floor"].high) == (0.2, 2.2)
    assert found.parts["codec"].high - found.parts["codec"].low < 1e-9
    assert found.measured.value == 1.6


BLOCKS = st.dictionaries(st.integers(1, 6), st.floats(0.01, 50), min_size=1, max_size=6)


@given(st.fixed_dictionaries(dict.fromkeys(REST, BLOCKS)))
def test_the_sum_is_exact_and_only_blocks_with_all_five_count(
    table: dict[str, dict[int, float]],
) -> None:
    whole = set.intersection(*(set(each) for each in table.values()))
    found = [s for s in stacks(cells_of(table)) if s.quantity.name == "latency p50"]
    assert len(found) == bool(whole)
    for stack in found:
        assert stack.blocks == len(whole)
        total = math.fsum(part.value for part in stack.parts.values())
        assert total == pytest.approx(stack.measured.value)
        measured = [table["rest:aiohttp+fastapi"][block] for block in whole]
        assert min(measured) <= stack.measured.value <= max(measured)


def test_what_is_below_zero_stays_below_zero() -> None:
    faster = {**REST, "rest:aiohttp+asyncio": 0.20}
    parts = parts_of(cells_of({variant: {1: ms} for variant, ms in faster.items()}))
    assert parts["client library"] == -0.06
    assert parts["rest"] == 0.19


def test_cpu_is_taken_apart_for_client_and_server() -> None:
    used = {
        "rest:null+null": (40.0, 30.0),
        "rest:asyncio+asyncio": (50.0, 45.0),
        "rest:aiohttp+asyncio": (110.0, 46.0),
        "rest:asyncio+fastapi": (49.0, 160.0),
        "rest:aiohttp+fastapi": (112.0, 165.0),
    }
    cells = [cell_of(v, {1: REST[v], 2: REST[v]}, cpu_us=each) for v, each in used.items()]
    assert parts_of(cells, "client CPU") == {
        "floor": 40.0,
        "codec": 10.0,
        "client library": 60.0,
        "server library": -1.0,
        "rest": 3.0,
    }
    assert parts_of(cells, "server CPU") == {
        "floor": 30.0,
        "codec": 15.0,
        "client library": 1.0,
        "server library": 115.0,
        "rest": 4.0,
    }


def test_every_pair_of_libraries_with_its_companions_is_taken_apart() -> None:
    more = {**REST, "rest:httpx+asyncio": 0.8, "rest:httpx+fastapi": 1.0}
    cells = cells_of({variant: {1: ms} for variant, ms in more.items()})
    measured = {stack.cell.info["variant"] for stack in stacks(cells)}
    assert measured == {"rest:aiohttp+fastapi", "rest:httpx+fastapi"}


@pytest.mark.parametrize("left_out", [v for v in REST if v != "rest:aiohttp+fastapi"])
def test_without_a_companion_nothing_is_taken_apart(left_out: str) -> None:
    cells = [cell for cell in usual() if cell.info["variant"] != left_out]
    assert not stacks(cells)
    assert not broken(cells)
    assert "stack" not in {chart.name for chart in make_charts(summaries.summary(cells))}


def test_only_what_was_asked_alike_is_compared() -> None:
    faster = LoadPoint("constant", rate=1000.0)
    both = usual() + [cell_of(v, {1: ms / 2}, load=faster) for v, ms in REST.items()]
    by_load = {s.cell.info["load"]["words"]: s for s in stacks(both) if s.quantity.unit == "ms"}
    assert set(by_load) == {"500/s", "1000/s"}
    assert by_load["1000/s"].measured.value == 0.3
    # A floor of another load is none.
    split = [*usual()[1:], cell_of("rest:null+null", {1: 0.2}, load=faster)]
    assert not stacks(split)
    closed = LoadPoint("closed", users=16)
    assert not stacks([cell_of(v, {1: ms}, load=closed) for v, ms in REST.items()])


def test_a_companion_that_cannot_be_used_is_named() -> None:
    bad = Reason(Code.GENERATOR_BOUND, "it was late")
    cells = [
        cell_of(v, {1: ms}, reasons=(bad,) if v == "rest:asyncio+asyncio" else ())
        for v, ms in REST.items()
    ]
    assert not stacks(cells)
    ((cell, why),) = broken(cells)
    assert cell.info["variant"] == "rest:aiohttp+fastapi"
    assert why == "rest:asyncio+asyncio is invalid: it was late"


def test_a_null_cell_is_never_valid_and_still_a_floor() -> None:
    assert RULES[Code.NULL][0] is Status.INVALID
    floor = next(cell for cell in usual() if cell.info["variant"] == "rest:null+null")
    assert floor.verdict.status is Status.INVALID
    assert stacks(usual())


def test_it_stands_in_the_summary() -> None:
    found = json.loads(json.dumps(summaries.summary(usual()).to_json()))["stacks"]
    assert [each["quantity"] for each in found] == [q.name for q in QUANTITIES]
    assert found[0]["parts"]["codec"] == [0.06, 0.06, 0.06]
    assert found[0]["cell"] == usual()[-1].info["id"]


def shown() -> Summary:
    """What the report is made from."""
    return summaries.summary(usual())


def test_the_chart_has_a_panel_a_quantity_and_a_bar_a_style() -> None:
    chart = next(chart for chart in make_charts(shown()) if chart.name == "stack")
    assert [panel.title for panel in chart.panels] == [
        "latency for half, 500/s",
        "client CPU, 500/s",
        "server CPU, 500/s",
    ]
    latency = chart.panels[0].series
    assert [one.label for one in latency] == ["rest: aiohttp + fastapi"]
    assert latency[0].x == PARTS
    assert [round(value, 6) for value in latency[0].y] == [1.2, 0.06, 0.1, 0.21, 0.03]
    assert latency[0].figures.startswith("1.60 = floor 1.20, codec 0.06")
    assert "rest 0.03" in chart.alt


def test_a_bar_below_zero_has_its_scale_begin_there() -> None:
    faster = {**REST, "rest:aiohttp+asyncio": 0.05}
    cells = cells_of({variant: {1: ms} for variant, ms in faster.items()})
    chart = next(c for c in make_charts(summaries.summary(cells)) if c.name == "stack")
    assert min(chart.panels[0].series[0].y) == pytest.approx(-0.21)
    assert "client library −0.21" in chart.panels[0].alt


def test_sentences_and_table_say_the_parts() -> None:
    told = answers(shown())
    assert told[0] == (
        "500/s, rest: latency for half 1.60 ms = 1.20 the protocol alone + 0.06 codec and order"
        " + 0.10 aiohttp + 0.21 fastapi + 0.03 not explained; client CPU 90 µs = 90 the protocol"
        " alone + 0 codec and order + 0 aiohttp + 0 fastapi + 0 not explained; server CPU 150 µs ="
        " 150 the protocol alone + 0 codec and order + 0 aiohttp + 0 fastapi + 0 not explained."
    )
    # Nobody expects an answer of what answers nothing.
    assert not [line for line in told if "Not used" in line]
    page = render_page(shown(), make_charts(shown()))
    assert "What a call is made of, in figures" in page
    assert "0.06 (0.06 to 0.06)" in page
    assert "What a call is made of" not in render_page(summaries.one_cell(), [])


def test_the_scenario_has_all_that_is_needed() -> None:
    plan = make_plan(load_scenario(Path("scenarios/stack.toml"), {}))
    assert not [cell.skipped for cell in plan.cells if cell.skipped]
    made = [cell_of(cell.variant.name, {1: 1.0}) for cell in plan.cells]
    styles = {stack.cell.info["style"] for stack in stacks(made)}
    assert styles == {"rest", "grpc-unary", "websocket"}
