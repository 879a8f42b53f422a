"""The forest plot: what was compared, with its interval and its floor (issue 7.3)."""

import math

import pytest

from harness.analysis.ranking import Word
from harness.report.charts.every import make_charts
from harness.report.charts.forest import NARROWEST, _beside, _limits
from harness.report.charts.look import Look
from harness.report.charts.panels import Chart, Series
from harness.report.findings import comparison_words
from tests.unit import message_summaries, summaries

EVERY = pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])


def one_of(figures: tuple[float, float, float, float], words: str) -> Series:
    return Series("c", "sse", "sse", Look("#000000", "o", ()), ("ratio",), figures, "times", words)


def forest() -> Chart:
    (chart,) = (c for c in make_charts(summaries.against_itself()) if c.name == "ratios")
    return chart


def test_a_panel_a_metric_with_every_cell_beside_the_first() -> None:
    first, second = forest().panels
    assert first.title == "200/s, class A, at the median"
    assert second.title == "200/s, class A, at 99 %"
    assert first.x_label == "times the median latency of rest (log scale)"
    assert first.y_label == "left of 1: less than rest"
    for panel in (first, second):
        # The class stands in the title.
        assert [one.label for one in panel.series] == ["grpc-unary", "websocket"]
        assert [one.label for one in panel.missing] == ["sse"]
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
            # A mark is filled where a difference was found.
            assert (one.marked is not None) == (each.word in (Word.FASTER, Word.SLOWER))
            assert f">{each.effect.ratio:.2f} [{each.low:.2f}, {each.high:.2f}] " in panel.svg
    assert {one.marked is not None for one in drawn.series} == {True, False}


def test_a_wide_interval_does_not_hide_the_others() -> None:
    """What goes on beyond the scale is cut, and says so beside it."""
    sure = one_of((0.5, 0.45, 0.55, 1.1), "0.50 [0.45, 0.55] faster")
    wide = one_of(
        (1.2, 1e-4, 2.7e6, 1.1), "1.20 [0.00, 2737560.08] no difference found (floor 10 %)"
    )
    low, high = _limits([sure, wide])
    assert 0.1 < low < 0.45
    assert 2 < high < 10
    assert _beside(wide) == "1.20 [< 0.01, > 100] no difference"
    assert _beside(sure) == "0.50 [0.45, 0.55] faster"
    endless = one_of((1.0, 0.9, 1.1, math.inf), "1.00 [0.90, 1.10] not ranked")
    assert all(math.isfinite(end) for end in _limits([endless]))


def test_nothing_but_close_ratios_is_not_blown_up() -> None:
    low, high = _limits([one_of((1.01, 1.0, 1.02, 1.01), "")])
    assert low <= 1 / NARROWEST
    assert high >= NARROWEST


@EVERY
def test_there_is_none_where_nothing_is_ranked(make: summaries.Make) -> None:
    made = make()
    ranked = any(c.word is not Word.NOT_RANKED for c in made.findings.comparisons)
    assert ranked == any(chart.name == "ratios" for chart in make_charts(made))
