"""The decision guide and the rules of thumb (issue 7.2)."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from clients import catalog
from harness.analysis.spread import Spread
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Code, Reason
from harness.condition import BrokerWay, PollWay
from harness.plan import LoadPoint
from harness.report.charts.every import make_charts
from harness.report.guide.needs import NEEDS, Measured, Need, Stated, Unmeasured, guide
from harness.report.guide.properties import PROPERTIES
from harness.report.guide.rules import Holds, Rule, rules
from harness.report.page import render_page
from harness.variant import parse_variant
from tests.unit import capacity_summaries, message_summaries, summaries
from tests.unit.summaries import HOSTILE, OPEN, USUAL, cell, repeated, summary

SCENARIOS = Path(__file__).parents[2] / "scenarios"
EVERY = pytest.mark.parametrize(
    "make", [*summaries.ALL, *message_summaries.ALL, capacity_summaries.every_ending]
)
STATED = ("browser", "languages", "standard")


def entries(made: Summary, key: str) -> dict[str, list[Measured | Stated | Unmeasured]]:
    """What is said of each style for a need."""
    table = guide(made)
    (row,) = (row for need, row in zip(NEEDS, table.rows, strict=True) if need.key == key)
    return {style: list(said) for style, said in zip(table.styles, row.entries, strict=True)}


def texts(made: Summary, key: str, style: str) -> list[str]:
    found = [each for each in entries(made, key)[style] if isinstance(each, Measured)]
    return [f"{each.text} {each.way}".strip() for each in found]


def unmeasured(made: Summary, key: str) -> str:
    """The command that a whole row names."""
    (row,) = (r for need, r in zip(NEEDS, guide(made).rows, strict=True) if need.key == key)
    return row.unmeasured


@EVERY
def test_every_figure_links_to_a_cell_of_the_run(make: summaries.Make) -> None:
    made = make()
    ids = {c.info["id"] for c in made.cells}
    for row in guide(made).rows:
        assert len(row.entries) == len(guide(made).styles)
        for said in row.entries:
            assert {each.cell for each in said if isinstance(each, Measured)} <= ids
    for rule in rules(made):
        assert {each.cell for each in rule.figures} <= ids


@EVERY
def test_a_need_has_figures_or_the_run_that_would_measure_it(make: summaries.Make) -> None:
    made = make()
    for need, row in zip(NEEDS, guide(made).rows, strict=True):
        any_figure = any(isinstance(each, Measured) for said in row.entries for each in said)
        assert any_figure == (bool(need.scenario) and not row.unmeasured)
        assert row.unmeasured in ("", f"python3 bench.py run {need.scenario}")


@pytest.mark.parametrize("need", [need for need in NEEDS if need.scenario])
def test_a_named_scenario_has_the_styles_that_it_is_said_to_have(need: Need) -> None:
    raw = tomllib.loads((SCENARIOS / f"{need.scenario}.toml").read_text())
    assert {parse_variant(style).style for style in raw["styles"]} == set(need.usual)
    assert raw["operation"] == need.operation


@pytest.mark.parametrize("style", [s for s in catalog.styles() if s != "noop"])
def test_every_style_has_each_property_with_its_source(style: str) -> None:
    known = PROPERTIES[style]
    assert {*STATED, "order", "payload", "survive"} <= set(known)
    for each in known.values():
        assert each.text
        assert each.source.title
        assert each.source.url.startswith(("https://", "#"))


def test_the_figures_of_a_row_come_from_one_load() -> None:
    made = summaries.complete()
    (row,) = (r for need, r in zip(NEEDS, guide(made).rows, strict=True) if need.key == "now")
    assert row.what == "latency in ms of an order without work, at 200/s"
    (rest,) = (c for c in made.cells if c.info["style"] == "rest" and c.info["load"]["rate"] == 200)
    latency = rest.latency
    assert entries(made, "now")["rest"] == [
        Measured(f"p50 {latency.p50:.2f}, p99 {latency.p99:.2f}", "", rest.info["id"])
    ]


def test_a_style_that_was_left_out_names_the_run_that_has_it() -> None:
    made = summaries.complete()
    assert entries(made, "now")["sse"] == [Unmeasured("python3 bench.py run compare")]
    assert entries(made, "now")["rest-h2"] == [
        Unmeasured("python3 bench.py run compare --styles rest-h2")
    ]


def test_what_is_invalid_has_no_figure() -> None:
    made = summaries.invalid()
    assert texts(made, "now", "rest")
    assert not texts(made, "now", "grpc-stream")


def test_each_way_of_a_style_is_named() -> None:
    made = summaries.asynchronous()
    fixed, long = texts(made, "later", "rest-poll")
    assert fixed.endswith(" ms every 20 ms")
    assert long.endswith(" ms long polls")


def test_who_knows_last() -> None:
    assert [t.endswith(" ms") for t in texts(summaries.watch(), "fan-out", "sse")] == [True]
    assert unmeasured(summaries.complete(), "fan-out") == "python3 bench.py run watch"


def test_survival_is_claimed_only_where_a_node_died() -> None:
    assert not texts(message_summaries.ingest(), "survive", "kafka")
    made = message_summaries.failover()
    assert texts(made, "survive", "kafka") == ["0 of 6,000 lost class C"]
    assert texts(made, "survive", "rabbitmq") == [
        "0 of 6,000 lost class D",
        "21 of 6,000 lost class B",
    ]


def test_order_is_counted_where_messages_were() -> None:
    assert texts(message_summaries.failover(), "order", "rabbitmq")[0].startswith("15 of 6,000 ")
    assert not texts(summaries.complete(), "order", "rest")


def test_as_many_as_possible_is_the_rate_that_held() -> None:
    made = capacity_summaries.every_ending()
    (rest,) = (c for c in made.capacities if c.cell.info["style"] == "rest")
    assert rest.held is not None
    assert texts(made, "throughput", "rest") == [f"{rest.held.rate:,.0f}/s"]


def test_without_a_search_it_is_what_a_closed_loop_got_done() -> None:
    made = summaries.complete()
    (rest,) = (
        c for c in made.cells if c.info["style"] == "rest" and c.info["load"]["model"] == "closed"
    )
    assert rest.throughput_per_s is not None
    assert texts(made, "throughput", "rest") == [f"{rest.throughput_per_s:,.0f}/s"]


def test_large_orders_beside_small_ones() -> None:
    few, many = (
        cell("rest", OPEN[0], (), None, replace(USUAL, items=items)) for items in (1, 1000)
    )
    made = summary([few, many])
    (said,) = texts(made, "payload", "rest")
    assert said == f"{few.latency.p50:.2f} / {many.latency.p50:.2f} ms with 1 / 1,000 items"
    assert not texts(summary([few]), "payload", "rest")


def test_a_broker_is_something_to_look_after() -> None:
    made = message_summaries.ingest()
    assert texts(made, "operations", "kafka")[0].startswith("a broker: 400 MiB, 120 µs of CPU")
    assert texts(summaries.complete(), "operations", "rest") == ["nothing"]


def test_a_driver_of_ones_own_has_a_column() -> None:
    base = cell("rest", OPEN[0])
    own = replace(base, info={**base.info, "style": "mine", "variant": "mine", "id": "place.mine"})
    made = summary([base, own])
    assert guide(made).styles[-1] == "mine"
    assert texts(made, "now", "mine")
    assert entries(made, "browser")["mine"] == []


def test_hostile_names_are_escaped_in_the_guide() -> None:
    made = summaries.hostile()
    page = render_page(made, make_charts(made))
    assert HOSTILE not in page


def rule(made: Summary, start: str) -> Rule:
    (found,) = (each for each in rules(made) if each.text.startswith(start))
    return found


def ranked(factors: Mapping[str, float], load: LoadPoint = OPEN[0]) -> Summary:
    """Styles that take so many times as long as another, with an A/A pair of each family."""
    cells: list[CellResult] = []
    for style, factor in factors.items():
        condition = (
            replace(USUAL, broker=BrokerWay("A")) if style in ("kafka", "rabbitmq") else USUAL
        )
        made = cell(style, load, (), repeated(style, load, factor), condition)
        label = f"{style}=again"
        again = cell(
            label, load, (), repeated(label, load, factor), condition, again=made.info["id"]
        )
        cells += [made, again]
    return summary(cells)


def test_grpc_that_is_faster_bears_the_rule_out() -> None:
    found = rule(ranked({"rest": 1.0, "grpc-unary": 0.5}), "Use gRPC")
    assert found.holds is Holds.HOLDS
    assert found.figures[0].text.startswith("200/s, at the median: grpc-unary beside rest 0.5")
    assert found.unmeasured == ""


def test_grpc_that_is_slower_does_not_whichever_ran_first() -> None:
    assert rule(ranked({"rest": 1.0, "grpc-unary": 2.0}), "Use gRPC").holds is Holds.NOT
    assert rule(ranked({"grpc-unary": 2.0, "rest": 1.0}), "Use gRPC").holds is Holds.NOT


def test_one_grpc_faster_and_one_slower_is_in_part() -> None:
    made = ranked({"rest": 1.0, "grpc-unary": 2.0, "grpc-stream": 0.5})
    assert rule(made, "Use gRPC").holds is Holds.SOMETIMES


def test_alike_is_silent_and_nothing_is_not_tested() -> None:
    assert rule(ranked({"rest": 1.0, "grpc-unary": 1.0}), "Use gRPC").holds is Holds.SILENT
    found = rule(summaries.complete(), "Use gRPC")
    assert found.holds is Holds.UNKNOWN
    assert found.unmeasured == "python3 bench.py run compare"


def test_a_broker_beside_a_call_of_its_class() -> None:
    found = rule(ranked({"rest": 1.0, "kafka": 3.0}), "Brokers do not")
    assert found.holds is Holds.HOLDS
    assert "kafka beside rest 2.99 " in found.figures[0].text
    assert rule(ranked({"rest": 3.0, "kafka": 1.0}), "Brokers do not").holds is Holds.NOT


def test_classes_are_never_ranked_against_each_other() -> None:
    made = summaries.against_itself()
    assert {c.info["style"] for c in made.cells} >= {"rest", "kafka"}
    assert rule(made, "Brokers do not").holds is Holds.UNKNOWN


def polling(empty: float, policy: str = "fixed") -> Summary:
    condition = replace(USUAL, poll=PollWay(policy, 20.0, 2000.0))
    trials = [
        replace(
            summaries.trial("rest-poll", OPEN[0], n), notes={"polls": 4.0, "empty_polls": empty}
        )
        for n in (1, 2, 3)
    ]
    return summary([cell("rest-poll", OPEN[0], (), trials, condition)])


def test_polls_are_counted() -> None:
    found = rule(polling(3.0), "Most polls")
    assert found.holds is Holds.HOLDS
    assert found.figures[0].text == "rest-poll: 75.0 % of its polls were empty"
    assert rule(polling(1.0), "Most polls").holds is Holds.NOT
    assert rule(polling(1.0, "long"), "Most polls").holds is Holds.UNKNOWN


def spread_over(found: Spread | None) -> Summary:
    base = message_summaries.messages("kafka", OPEN[0], message_summaries.way())
    return summary([replace(base, spread=found)])


def test_round_robin_is_what_follows_message_after_message() -> None:
    keyed = rule(spread_over(Spread(4, 1000, 260, 240)), "Kafka spreads")
    assert keyed.holds is Holds.NOT
    assert keyed.figures[0].text == (
        "kafka: of 1,000 messages over 4 partitions 26.0 % went to the one that follows, 24.0 %"
        " stayed (by chance 25.0 % each)"
    )
    assert rule(spread_over(Spread(4, 1000, 1000, 0)), "Kafka spreads").holds is Holds.HOLDS
    assert rule(spread_over(None), "Kafka spreads").holds is Holds.UNKNOWN
    assert rule(spread_over(Spread(1, 1000, 0, 1000)), "Kafka spreads").holds is Holds.UNKNOWN


def test_what_a_generator_spoilt_bears_nothing_out() -> None:
    made = polling(3.0)
    late = Reason(Code.GENERATOR_BOUND, "trial 1: late")
    spoilt = replace(made.cells[0], verdict=replace(made.cells[0].verdict, reasons=(late,)))
    assert rule(summary([spoilt]), "Most polls").holds is Holds.UNKNOWN
