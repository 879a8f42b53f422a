"""Every cell over the seconds of its window (issue 7.3)."""

import math
import re
from dataclasses import replace

from harness.analysis.summary import CellResult, Summary
from harness.analysis.timeline import SLICES, Slice
from harness.report.charts.every import make_charts
from harness.report.charts.frame import Frame
from harness.report.charts.over_time import over_time_charts
from harness.report.charts.panels import Chart
from harness.report.page import render_page
from tests.unit import message_summaries, summaries
from tests.unit.capacity_summaries import every_ending

BUSY = {"generator": 0.25, "server": 0.5}


def told(cell: CellResult, **figures: float) -> CellResult:
    """A cell each of whose trials told the same in every part of its window."""
    usual = {"p99_ms": math.nan, "done_per_s": 200.0, "lag_ms": 0.05, **figures}
    parts = [Slice((n + 0.5) / 10, 200.0, 1.0, 2.0 + n, busy=BUSY, **usual) for n in range(SLICES)]
    return replace(cell, trials=[replace(trial, timeline=parts) for trial in cell.trials])


def run_of(made: Summary, **figures: float) -> Summary:
    return Summary(made.info, [told(cell, **figures) for cell in made.cells])


def charts_of(made: Summary) -> list[Chart]:
    frame = Frame.of(made)
    return over_time_charts(frame, frame.groups)


def test_a_chart_a_load_with_a_row_a_cell_in_each_panel() -> None:
    charts = charts_of(run_of(summaries.complete()))
    assert [chart.name for chart in charts] == ["over-time-1", "over-time-2", "over-time-3"]
    assert charts[0].title == "Over time: 200/s"
    quantities = ["Done", "The slowest", "The last to be sent", "CPU of the client"]
    assert [panel.title for panel in charts[0].panels] == [*quantities, "CPU of the server"]
    for panel in charts[0].panels:
        assert [one.label for one in panel.series] == list(summaries.STYLES)
        assert panel.x_label == "seconds of the measured window"
    done, slowest, lag, client, _ = charts[0].panels
    assert done.y_label == "operations a second; rows 0 to 200"
    assert slowest.y_label == "latency, ms; rows 2 to 41 (log scale)"
    assert lag.y_label == "send lag, ms; rows 0.05 to 0.1 (log scale)"
    assert client.y_label == "% of a processor; rows 0 to 25"
    assert done.series[0].y == (200.0,) * SLICES
    assert slowest.series[0].y == tuple(2.0 + n for n in range(SLICES))
    assert "rest 2 to 41" in slowest.alt
    assert ">2–41<" in slowest.svg


def test_users_who_wait_have_no_schedule_to_be_late_for() -> None:
    closed = charts_of(run_of(summaries.complete()))[2]
    assert closed.title == "Over time: closed loop, 16 users"
    assert "The last to be sent" not in [panel.title for panel in closed.panels]


def test_99_percent_are_shown_where_every_part_resolves_them() -> None:
    resolved = run_of(summaries.one_cell(), p99_ms=3.0)
    (chart,) = charts_of(resolved)
    assert chart.name == "over-time"
    assert chart.panels[1].title == "Latency at 99 %"
    assert chart.panels[1].series[0].y == (3.0,) * SLICES
    (late,) = charts_of(run_of(summaries.one_cell(), p99_ms=math.inf))
    assert set(late.panels[1].series[0].y) == {2000.0}


def test_a_panel_of_a_broker_has_only_those_that_have_one() -> None:
    made = run_of(message_summaries.brokers())
    cells = list(made.cells)
    parts = [replace(each, busy={**each.busy, "broker": 1.5}) for each in cells[2].timeline]
    cells[2] = replace(cells[2], trials=[replace(t, timeline=parts) for t in cells[2].trials])
    (chart,) = charts_of(Summary(made.info, cells))
    at_broker = next(panel for panel in chart.panels if panel.title == "CPU of the broker")
    assert [(one.style, set(one.y)) for one in at_broker.series] == [("kafka", {150.0})]
    # One that was to be there, and was not, is named where all are.
    assert [m.why for m in chart.panels[0].missing] == ["skipped: unavailable"]


def test_the_lag_of_messages_is_the_workers_within_the_window() -> None:
    chart = charts_of(run_of(message_summaries.ingest()))[0]
    lag = next(panel for panel in chart.panels if panel.title == "Workers' lag")
    seen = [(at, behind) for at, behind in message_summaries.RAMP if 0 <= at <= 4]
    for one in lag.series:
        assert list(zip(one.x, one.y, strict=True)) == seen


def test_what_was_done_on_purpose_stands_in_its_own_row_and_unfolds_the_chart() -> None:
    made = run_of(message_summaries.failover())
    first = made.cells[0]
    later = [
        replace(t, seen=replace(t.seen, faults=[(2_500_000_000, "killed")])) for t in first.trials
    ]
    made = Summary(made.info, [replace(first, trials=later), *made.cells[1:]])
    names = [chart.name for chart in make_charts(made)]
    assert names.index("over-time") < names.index("lag")
    (chart,) = charts_of(made)
    assert not chart.folded
    for panel in chart.panels:
        assert [one.instants for one in panel.series] == [
            ((2.5, "killed"),),
            ((2.1, "killed"), (3.4, "back")),
            ((2.1, "killed"), (3.4, "back")),
        ]
        assert "killed at 2.5 s" in panel.alt
        assert {">killed<", ">back<"} == set(re.findall(">killed<|>back<", panel.svg))
    assert "Dashed lines mark" in chart.caption


def test_others_are_folded_at_the_end_and_can_be_reached() -> None:
    made = run_of(summaries.complete())
    charts = make_charts(made)
    assert [chart.folded for chart in charts][-3:] == [True] * 3
    page = render_page(made, charts)
    assert page.count('<a href="#folded">Over time</a>') == 1
    assert page.count("<summary>Over time: ") == 3
    assert 'href="#over-time-1"' not in page
    none = render_page(summaries.complete(), make_charts(summaries.complete()))
    assert "#folded" not in none


def test_trials_that_told_nothing_have_none() -> None:
    assert charts_of(summaries.complete()) == []


def test_a_search_shows_those_that_held() -> None:
    made = every_ending()
    charts = make_charts(run_of(made))
    assert [chart.name for chart in charts] == ["capacity", "over-time"]
    assert charts[1].title == "Over time: at the highest rate that held"
    held = [found.held.cell.info["id"] for found in made.capacities if found.held]
    assert [one.cell for one in charts[1].panels[0].series] == held
