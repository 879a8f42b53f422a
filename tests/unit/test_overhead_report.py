"""The tables of what an operation costs, as a reader sees them (issue 6.6)."""

import csv
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from harness.analysis.overhead import Overhead, Passage, RoleCost
from harness.analysis.summary import CellResult, Summary
from harness.report.overhead import COST, USE, WIRE, tables
from harness.report.page import render_page
from harness.report.rows import COLUMNS, to_csv
from tests.unit import summaries
from tests.unit.test_page import Page

CLIENT = RoleCost(100.0, 75.4, 24.6, 90 << 20, 2.0, 0.5, 0.0)
SERVER = RoleCost(210.0, None, None, None, None, None, None)
BROKER = RoleCost(900.0, 600.0, 300.0, 400 << 20, 12.151, 4.2, 55.6)
COSTS = Overhead(
    {"generator": CLIENT, "server": SERVER, "broker": BROKER},
    [
        Passage(("generator", "broker"), (589.2, 353.8), (2.26, 2.28), (1.56, 2.27)),
        Passage(("broker", "broker"), (8.0, 0.0), (0.2, 0.0), (0.1, 0.0)),
    ],
    other_busy=0.031,
    idle_other_busy=0.012,
)
PRICE = {"core_hour": 0.04, "gib_hour": 0.0, "gb": 0.09}
PAID = {"generator": 0.0011111, "server": 0.0023, "broker": 0.01, "traffic": 0.09, "total": 0.1034}


def made(costs: Overhead = COSTS, price: dict[str, float] | None = None, **info: Any) -> Summary:
    """A run whose first cell costs so much."""
    cells: list[CellResult] = summaries.product(["rest", "websocket"], summaries.OPEN[:1])
    cells[0] = replace(cells[0], overhead=costs)
    found = summaries.summary(cells, **info)
    scenario = {**found.info["scenario"], "price": price}
    return Summary({**found.info, "scenario": scenario}, found.cells)


def test_a_line_for_each_role() -> None:
    found = tables(made())
    assert found.use_heads == USE
    (row,) = found.use
    assert (row.name, row.load) == ("rest", "200/s, 3 items")
    assert row.lines == [
        ("client", ["75", "25", "0.0", "90", "2.00", "0.50"]),
        ("server", ["210 in all", "–", "–", "–", "–", "–"]),
        ("broker", ["600", "300", "55.6", "400", "12.15", "4.20"]),
    ]


def test_a_line_for_each_two_roles() -> None:
    found = tables(made())
    assert found.wire_heads == WIRE
    assert [line for row in found.wire for line in row.lines] == [
        ("client ↔ broker", ["589", "354", "2.26", "2.28", "1.56", "2.27"]),
        ("between brokers", ["8", "–", "0.20", "–", "0.10", "–"]),
    ]


def test_without_a_price_nothing_is_paid() -> None:
    found = tables(made())
    assert found.price == ""
    assert COST not in found.use_heads
    assert COST not in render_page(made(), [])


def test_with_one_each_role_and_the_whole_is() -> None:
    found = tables(made(replace(COSTS, cost_per_million=PAID), PRICE))
    assert found.use_heads == (*USE, COST)
    paid = {who: figures[-1] for who, figures in found.use[0].lines}
    assert paid == {
        "client": "0.00111", "server": "0.0023", "broker": "0.01", "traffic": "0.09",
        "total": "0.103",
    }  # fmt: skip
    assert {len(figures) for _, figures in found.use[0].lines} == {len(found.use_heads)}
    assert found.price == (
        "0.04 for a processor in use for an hour; 0.09 for 10⁹ bytes between two processes"
    )


def test_what_was_busy_beside_the_run_is_said_with_the_worst_cell() -> None:
    summary = made()
    cells = [
        summary.cells[0],
        replace(summary.cells[1], overhead=replace(COSTS, other_busy=0.25)),
    ]
    said = tables(Summary(summary.info, cells)).others
    assert (
        said == "14.1% of one processor, 25.0% at most (websocket at 200/s); before the load 1.2%"
    )
    assert tables(made(replace(COSTS, other_busy=None))).others == ""


def test_the_page_has_both_tables_and_says_what_loopback_does() -> None:
    page = Page(render_page(made(replace(COSTS, cost_per_million=PAID), PRICE), []))
    assert [row[-1] for table in page.tables for row in table].count("0.103") == 1
    assert any("client ↔ broker" in row for table in page.tables for row in table)
    assert "charges it to the sender" in page.text
    assert "3.1% of one processor" in page.text


def test_a_page_without_telemetry_has_neither() -> None:
    page = render_page(summaries.one_cell(), [])
    assert "What an operation costs" not in page
    assert "On the wire" not in page


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>"])
def test_what_users_wrote_is_escaped(hostile: str) -> None:
    summary = made(environment={"before": {"warnings": [hostile]}})
    cells = [
        replace(c, info={**c.info, "load": {**c.info["load"], "words": hostile}})
        for c in summary.cells
    ]
    page = render_page(Summary(summary.info, cells), [])
    assert hostile not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_table_for_machines_has_them_at_its_end() -> None:
    rows = list(
        csv.DictReader(StringIO(to_csv(made(replace(COSTS, cost_per_million=PAID), PRICE))))
    )
    first, second = rows
    assert list(first) == list(COLUMNS)
    assert float(first["client_user_us"]) == 75.4
    assert float(first["broker_peak_bytes"]) == 400 << 20
    assert first["server_user_us"] == ""
    assert float(first["other_busy"]) == 0.031
    assert float(first["cost_per_million"]) == 0.1034
    assert second["client_user_us"] == second["cost_per_million"] == ""
