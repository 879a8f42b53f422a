"""The forest plot: what was compared, with its interval and its floor (issue 7.3)."""

import pytest

from harness.analysis.ranking import Word
from harness.report.charts import make_charts
from harness.report.findings import comparison_words
from harness.report.panels import Chart
from tests.unit import message_summaries, summaries

EVERY = pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])


def forest() -> Chart:
    (chart,) = (c for c in make_charts(summaries.against_itself()) if c.name == "ratios")
    return chart


def test_a_panel_a_metric_with_every_cell_beside_the_first() -> None:
    first, second = forest().panels
    assert first.title == "200/s, class A, at the median"
    assert second.title == "200/s, class A, at 99 %"
    assert first.x_label == "times the median latency of rest, class A (log scale)"
    for panel in (first, second):
        assert [one.label for one in panel.series] == [
            "grpc-unary, class A",
            "websocket, class A",
        ]
        assert [one.label for one in panel.missing] == ["sse, class A"]
        assert panel.missing[0].why == "not ranked: no A/A of the family async"
        assert panel.x_label in panel.svg


def test_marks_intervals_and_floors_are_the_comparisons() -> None:
    found = {
        (each.metric, each.cells[1]): each
        for each in summaries.against_itself().findings.comparisons
        if each.cells[0].startswith("place.rest-") and each.word is not Word.NOT_RANKED
    }
    drawn = forest()
    assert len(drawn.series) == len(found)
    for panel, metric in zip(drawn.panels, ("p50", "p99"), strict=True):
        for one in panel.series:
            each = found[metric, one.cell]
            assert one.y == (each.effect.ratio, each.low, each.high, each.floor)
            assert comparison_words(each) in panel.alt


@EVERY
def test_there_is_none_where_nothing_is_ranked(make: summaries.Make) -> None:
    made = make()
    ranked = any(c.word is not Word.NOT_RANKED for c in made.findings.comparisons)
    assert ranked == any(chart.name == "ratios" for chart in make_charts(made))
