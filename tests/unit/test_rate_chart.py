"""Latency against the rate of an open loop (issue 7.3)."""

import math

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Code, Reason
from harness.plan import LoadPoint
from harness.report.charts.every import make_charts
from harness.report.charts.panels import Chart
from tests.unit import summaries
from tests.unit.summaries import cell, scaled, trial

RATES = (200.0, 400.0, 800.0, 1600.0)


def at_rates(style: str, factors: dict[float, float], **lost: int) -> list[CellResult]:
    """Latencies so many times the usual ones; `lost` at the highest rate."""
    found = []
    for rate, factor in factors.items():
        load = LoadPoint("constant", rate=rate)
        gone = lost if rate == max(factors) else {}
        trials = [scaled(trial(style, load, n, **gone), factor) for n in (1, 2, 3)]
        found.append(cell(style, load, (), trials))
    return found


def chart_of(made: Summary) -> Chart:
    return next(chart for chart in make_charts(made) if chart.name == "rates")


def test_a_line_a_style_with_the_objective_and_the_highest_rate_that_holds() -> None:
    rest = at_rates("rest", dict.fromkeys(RATES, 1.0) | {800.0: 40.0})
    socket = at_rates("websocket", dict.fromkeys(RATES, 1.0), timed_out=3)
    chart = chart_of(summaries.summary([*rest, *socket]))
    (panel,) = chart.panels
    assert panel.level == (20.0, "objective: 20 ms")
    assert panel.x_label == "planned operations a second (log scale)"
    assert panel.y_label == "latency of 99 %, ms (log scale)"
    for one, cells in zip(panel.series, (rest, socket), strict=True):
        assert one.x == RATES
        assert one.y == tuple(cell.latency.p99 for cell in cells)
    # One that holds again beyond a rate that does not is not believed.
    assert panel.series[0].marked == (400.0, rest[1].latency.p99)
    assert "holds up to 400/s" in panel.series[0].figures
    # Three that timed out are under one in a hundred, and are not nothing.
    assert panel.series[1].marked == (800.0, socket[2].latency.p99)


def test_a_percentile_that_was_not_answered_ends_the_line() -> None:
    made = at_rates("rest", dict.fromkeys(RATES, 1.0), timed_out=400)
    (one,) = chart_of(summaries.summary(made)).series
    assert one.x == RATES[:3]
    assert one.censored_at == 1600.0
    lowest = LoadPoint("constant", rate=RATES[0])
    none = cell("sse", lowest, (), [trial("sse", lowest, 1, timed_out=150)])
    chart = chart_of(summaries.summary([*made, none]))
    assert [m.why for m in chart.missing] == ["> 2 s at every rate"]


def test_a_rate_that_does_not_resolve_the_percentile_is_passed_over() -> None:
    made = at_rates("rest", dict.fromkeys((10.0, *RATES), 1.0))
    (one,) = chart_of(summaries.summary(made)).series
    assert one.x == RATES
    assert one.marked == (1600.0, made[-1].latency.p99)


def test_without_an_objective_there_is_no_ring() -> None:
    usual = summaries.summary(at_rates("rest", dict.fromkeys(RATES, 1.0)))
    scenario = {**usual.info["scenario"], "objective": None}
    chart = chart_of(Summary({**usual.info, "scenario": scenario}, usual.cells))
    assert chart.panels[0].level is None
    assert [one.marked for one in chart.series] == [None]
    assert "ring" not in chart.caption


def test_an_invalid_rate_is_named_and_failed_ones_are_left_out() -> None:
    made = at_rates("rest", dict.fromkeys(RATES, 1.0))
    late = Reason(Code.GENERATOR_BOUND, "trial 1: send lag")
    died = Reason(Code.SERVER_DIED, "trial 1: the server ended")
    loads = [LoadPoint("constant", rate=rate) for rate in RATES]
    made[2] = cell("rest", loads[2], [late])
    made[3] = cell("rest", loads[3], [died], [])
    (one,) = chart_of(summaries.summary(made)).series
    assert one.x == RATES[:3]
    assert one.note == "invalid at 800"
    assert one.look.colour != "invalid"


def test_two_rates_are_no_curve() -> None:
    made = summaries.summary(at_rates("rest", dict.fromkeys(RATES[:2], 1.0)))
    assert "rates" not in [chart.name for chart in make_charts(made)]
    assert all(math.isfinite(cell.latency.p99) for cell in made.cells)
