"""Charts, by their data and labels."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise
from statistics import median
from xml.etree import ElementTree

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest

from clients import catalog
from harness.analysis.overhead import Overhead, Passage, bytes_per_op
from harness.analysis.stats import distribution
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Code, Reason
from harness.condition import BrokerWay
from harness.plan import LoadPoint
from harness.report.charts import look
from harness.report.charts.curves import SPACE, TICKS, _apart, _legible, spaced
from harness.report.charts.drawing import fitted, text_width
from harness.report.charts.every import make_charts, standalone
from harness.report.charts.frame import Frame
from harness.report.charts.growth import payload_charts, watch_charts
from harness.report.charts.panels import Chart, Series
from harness.report.charts.steps import step_charts, traffic_charts
from harness.report.charts.svg import SENTINELS
from harness.report.page import render_page
from harness.report.words import labels
from tests.unit import message_summaries, summaries

Floats = npt.NDArray[np.float64]
CURVES = ("latency", "scaling", "waiting", "payload", "rates", "lag", "deliveries", "over-time")


@cache
def drawn(make: summaries.Make) -> list[Chart]:
    """The charts of a made-up run, drawn once for all tests."""
    return make_charts(make())


def charts_of(summary: Summary | summaries.Make) -> dict[str, Chart]:
    charts = make_charts(summary) if isinstance(summary, Summary) else drawn(summary)
    return {chart.name: chart for chart in charts}


def label_of(chart: Chart) -> set[str]:
    return {one.label for one in chart.series}


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


SIGHTS = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
"""What linear RGB looks like (Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009, table 1)."""


def linear(colour: str) -> Floats:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def cielab(rgb: Floats) -> Floats:
    """Of linear sRGB, under D65."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175],
         [0.0193339, 0.119192, 0.9503041]]
    )  # fmt: skip
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_a_panel_a_load_with_every_cell_in_it() -> None:
    for chart in drawn(summaries.complete):
        assert [p.title for p in chart.panels] == ["200/s", "1000/s", "closed loop, 16 users"]
        for panel in chart.panels:
            assert [s.label for s in panel.series] == list(summaries.STYLES)
            assert not panel.missing


def test_open_and_closed_loop_never_share_a_panel() -> None:
    made = summaries.complete()
    model = {cell.info["id"]: cell.info["load"]["model"] for cell in made.cells}
    for chart in drawn(summaries.complete):
        for panel in chart.panels:
            closed = {model[one.cell] == "closed" for one in panel.series}
            assert closed == {panel.loop == "closed loop"}


def test_orders_of_different_size_never_share_a_panel() -> None:
    cells = [
        summaries.cell("rest", summaries.OPEN[0], condition=replace(summaries.USUAL, items=items))
        for items in (1, 100)
    ]
    chart = charts_of(summaries.summary(cells))["latency"]
    assert [p.title for p in chart.panels] == ["200/s, 1 item", "200/s, 100 items"]


def test_axes_name_unit_and_scale() -> None:
    charts = charts_of(summaries.complete)
    (latency, throughput, cpu) = (charts[n].panels[0] for n in ("latency", "throughput", "cpu"))
    assert latency.y_label == "latency, ms (log scale)"
    assert latency.x_label == "percentile of planned operations (log scale)"
    assert throughput.x_label == "operations answered a second, from 0"
    assert cpu.x_label == "CPU time an operation, µs, from 0"
    for panel in (latency, throughput, cpu):
        assert panel.x_label in panel.svg
        assert panel.y_label in panel.svg


@pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])
def test_every_scale_is_said(make: summaries.Make) -> None:
    """Issue 7.3: across it is from 0, a log scale, or time; upwards too, where there is one."""
    for chart in drawn(make):
        for panel in chart.panels:
            assert re.search(r"from 0|\(log scale\)|seconds", panel.x_label)
            if chart.name in CURVES:
                assert re.search(r"from 0|\(log scale\)|rows [\d.e-]+ to", panel.y_label)


def test_the_latency_line_is_the_summarys_curve() -> None:
    made = summaries.complete()
    series = {one.cell: one for one in charts_of(summaries.complete)["latency"].series}
    for cell in made.cells:
        drawn = series[cell.info["id"]]
        assert list(zip(drawn.x, drawn.y, strict=True)) == list(cell.latency_by_percentile)
        assert drawn.unit == "ms"
        assert drawn.censored_at is None


def test_the_band_is_the_lowest_and_the_highest_trial_at_each_point() -> None:
    """Issue 7.3: each by the percentile function that the line is made by."""
    made = summaries.complete()
    chart = charts_of(summaries.complete)["latency"]
    series = {one.cell: one for one in chart.series}
    for cell in made.cells:
        one = series[cell.info["id"]]
        assert len(one.band) == len(one.x)
        for at, y, (low, high) in zip(one.x, one.y, one.band, strict=True):
            each = [dict(curve)[float(at)] for curve in cell.latency_curves]
            assert (low, y, high) == (min(each), median(each), max(each))
        half = [trial.latency.p50 for trial in cell.trials]
        assert f"50 % {cell.latency.p50:.2f} ms ({min(half):.2f}–{max(half):.2f})" in chart.alt
    assert "pale band" in chart.caption


def test_one_trial_has_no_band() -> None:
    chart = charts_of(summaries.partial)["latency"]
    assert [one.band for one in chart.series] == [()]
    assert "band" not in chart.caption


def test_a_band_goes_on_to_a_trial_that_was_not_answered_in_time() -> None:
    load = summaries.OPEN[1]
    trials = [summaries.trial("rest", load, n) for n in (1, 2)]
    lost = summaries.trial("rest", load, 3, timed_out=400)
    chart = charts_of(summaries.summary([summaries.cell("rest", load, (), [*trials, lost])]))
    (one,) = chart["latency"].series
    band = dict(zip(one.x, one.band, strict=True))
    assert math.isfinite(band[89.0][1])
    assert band[91.0][1] == math.inf
    assert math.isfinite(one.y[-1])


def test_a_qualified_cell_is_marked_wherever_it_is_drawn() -> None:
    for chart in charts_of(summaries.censored).values():
        shown = {one.label for one in chart.series}
        assert shown <= {"rest*", "grpc-unary*", "websocket"}
        assert {label.rstrip("*") for label in shown} >= {"websocket"}
    for chart in charts_of(summaries.complete).values():
        assert not any("*" in one.label for one in chart.series)


def test_a_line_that_the_timeout_ends_says_so() -> None:
    chart = charts_of(summaries.censored)["latency"]
    rest = next(one for one in chart.series if one.label == "rest*")
    assert rest.note == "> 2 s"
    assert rest.censored_at == 97.1  # 3 % of the planned were lost
    assert rest.x[-1] == 97.0
    assert "99 % > 2 s" in chart.alt
    assert [(m.label, m.why) for m in chart.missing] == [
        ("grpc-unary", "> 2 s at every percentile")
    ]


def test_a_line_that_the_sample_ends_does_not_claim_a_timeout() -> None:
    chart = charts_of(summaries.not_resolvable)["latency"]
    rest = next(one for one in chart.series if one.label == "rest*")
    assert rest.censored_at is None
    assert not rest.note
    assert float(rest.x[-1]) < 99
    assert "99 % not resolvable" in chart.alt


def test_where_nothing_was_planned_no_timeout_is_claimed() -> None:
    none = [summaries.trial("rest", summaries.CLOSED, n, planned=0) for n in (1, 2, 3)]
    chart = charts_of(summaries.summary([summaries.cell("rest", summaries.CLOSED, (), none)]))
    assert [m.why for m in chart["latency"].missing] == ["too few operations for any percentile"]


def test_bars_carry_the_summarys_figures() -> None:
    made = summaries.complete()
    charts = charts_of(summaries.complete)
    rate = {one.cell: one.y for one in charts["throughput"].series}
    cpu = {one.cell: one for one in charts["cpu"].series}
    for cell in made.cells:
        assert rate[cell.info["id"]] == (cell.throughput_per_s,)
        drawn = cpu[cell.info["id"]]
        assert drawn.x == ("client", "server")
        assert drawn.y == (cell.cpu_us_per_op["generator"], cell.cpu_us_per_op["server"])


def test_only_an_open_loop_has_a_planned_rate() -> None:
    planned = [p.planned_per_s for p in charts_of(summaries.many)["throughput"].panels]
    assert planned == [200.0, 1000.0, 300.0, None]


def test_cpu_that_was_not_seen_is_not_zero() -> None:
    cell = summaries.cell("rest", summaries.OPEN[0])
    cell = replace(cell, cpu_us_per_op={"generator": 90.0, "server": None, "gateway": None})
    (drawn,) = charts_of(summaries.summary([cell]))["cpu"].series
    assert (drawn.x, drawn.y, drawn.note) == (("client",), (90.0,), "server not seen")
    noop = summaries.cell("noop", summaries.OPEN[0])
    (drawn,) = charts_of(summaries.summary([noop]))["cpu"].series
    assert drawn.note == "no server"


def test_failed_and_skipped_cells_are_named_and_not_drawn() -> None:
    for chart in drawn(summaries.failed_style):
        assert label_of(chart) == {"rest"}
        assert [(m.label, m.why) for m in chart.missing] == [
            ("grpc-unary", "failed: disconnected"),
            ("websocket", "failed: server died"),
        ]
        assert "websocket" in chart.panels[0].svg
        assert "websocket is not shown (failed: server died)" in chart.alt
    for chart in drawn(summaries.partial):
        assert [m.why for m in chart.missing] == ["skipped: not run"]


def test_an_invalid_cell_is_grey_and_says_so() -> None:
    for chart in drawn(summaries.invalid):
        spoilt = next(one for one in chart.series if one.label == "grpc-stream")
        assert spoilt.look.colour == "invalid"
        assert spoilt.said == "grpc-stream (invalid)"
        assert "grpc-stream (invalid)" in chart.panels[0].svg


def test_a_style_has_one_colour_and_one_mark_in_every_run() -> None:
    seen: dict[str, set[tuple[str, str]]] = {}
    for make in (summaries.complete, summaries.many, summaries.one_cell, summaries.censored):
        for chart in drawn(make):
            for one in chart.series:
                seen.setdefault(one.style, set()).add((one.look.colour, one.look.mark))
    assert all(len(found) == 1 for found in seen.values())
    assert len(set.union(*seen.values())) == len(seen)
    place = catalog.styles().index("websocket")
    assert seen["websocket"] == {(look.PALETTE[place], look.MARKS[place])}


def test_variants_of_a_style_differ_by_line_style() -> None:
    chart = charts_of(summaries.many)["latency"]
    rest = {s.label: s.look.dash for s in chart.panels[0].series if s.style == "rest"}
    assert rest == {"rest:aiohttp": (), "rest:httpx": look.DASHES[1]}


def test_labels_are_as_short_as_can_be_told_apart() -> None:
    assert set(labels(summaries.complete().cells).values()) == set(summaries.STYLES)
    assert set(labels(summaries.many().cells).values()) == {
        "rest:aiohttp",
        "rest:httpx",
        "grpc-stream:grpcio=a",
        "grpc-stream:grpcio=b",
        "websocket",
    }


@pytest.mark.parametrize("paper", [look.LIGHT["paper"], look.DARK["paper"]])
def test_every_colour_stands_out_on_light_and_dark_paper(paper: str) -> None:
    assert min(contrast(colour, paper) for colour in look.PALETTE) >= 3


@pytest.mark.parametrize("theme", [look.LIGHT, look.DARK])
def test_every_text_colour_is_legible(theme: dict[str, str]) -> None:
    for name in ("ink", "muted", "link", "valid", "qualified", "failed"):
        assert contrast(theme[name], theme["paper"]) >= 4.5
        assert contrast(theme[name], theme["panel"]) >= 4.5
    assert contrast(theme["invalid"], theme["paper"]) >= 3


def test_every_style_has_a_mark_of_its_own_and_repeats_late() -> None:
    assert len(set(look.MARKS)) == len(look.MARKS) >= len(catalog.styles())
    assert math.lcm(len(look.PALETTE), len(look.MARKS)) == 132


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_differ_to_the_colour_blind_and_none_looks_like_the_grey_of_invalid(
    sight: str,
) -> None:
    """Issue 7.3: two and a half in CIELAB is the least that is seen side by side."""
    seen = [cielab(SIGHTS[sight] @ linear(colour)) for colour in look.PALETTE]
    apart = [float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)]
    assert min(apart) > 9
    for theme in (look.LIGHT, look.DARK):
        grey = cielab(SIGHTS[sight] @ linear(theme["invalid"]))
        assert min(float(np.linalg.norm(each - grey)) for each in seen) > 9


@pytest.mark.parametrize("make", [*summaries.ALL, *message_summaries.ALL])
def test_every_file_is_svg_that_works_alone(make: summaries.Make) -> None:
    for chart in drawn(make):
        text = standalone(chart)
        root = ElementTree.fromstring(text)
        assert root.get("aria-label") == chart.alt
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        for reference in re.findall(r'(?:href="|url\()#([^")]+)', text):
            assert reference in ids
        assert "prefers-color-scheme:dark" in text
        for variable in set(re.findall(r"var\(--([a-z]+)\)", text)):
            assert f"--{variable}:" in text
        assert not re.search("|".join(SENTINELS.values()), text)
        assert "<script" not in text


def test_drawing_is_deterministic_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    once = [standalone(chart) for chart in drawn(summaries.complete)]
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 9.0)
    assert [standalone(chart) for chart in make_charts(summaries.complete())] == once
    assert matplotlib.rcParams["lines.linewidth"] == 9.0
    assert matplotlib.rcParams["svg.fonttype"] == matplotlib.rcParamsDefault["svg.fonttype"]


def test_text_stays_text() -> None:
    (panel,) = charts_of(summaries.one_cell)["latency"].panels
    texts = [element.text for element in ElementTree.fromstring(panel.svg).iter("text")]
    assert {"200/s", "rest", "99 %"} <= set(texts)


def test_labels_are_moved_apart_in_their_order() -> None:
    placed = _apart([0.99, 0.5, 0.5, 1.0], 0.1)
    assert placed[3] == 1.0
    assert placed[0] == pytest.approx(0.9)
    assert placed[2] - placed[1] == pytest.approx(0.1)
    assert all(0 <= place <= 1 for place in placed)


def test_a_band_has_no_more_points_than_can_be_seen() -> None:
    pixels = [n / 10 for n in range(101)]
    kept = spaced(pixels)
    assert (kept[0], kept[-1]) == (0, 100)
    assert all(pixels[b] - pixels[a] >= SPACE for a, b in pairwise(kept[:-1]))
    assert len(kept) == 6
    assert spaced([3.0]) == [0]


def test_a_text_is_cut_to_its_room_and_no_more() -> None:
    long = "rest-poll, every 20 ms, new connections, class A"
    room = text_width(long)
    assert fitted(long, room) == long
    cut = fitted(long, room / 2)
    assert "…" in cut
    assert text_width(cut) <= room / 2 < text_width(cut) + 2 * text_width("m")
    assert (cut[0], cut[-1]) == (long[0], long[-1])


def test_the_tenth_panel_and_those_after_it_are_folded() -> None:
    loads = [LoadPoint("constant", rate=float(rate)) for rate in range(100, 1200, 100)]
    made = summaries.summary(summaries.product(["rest"], loads))
    page = render_page(made, make_charts(made))
    assert page.count("<summary>2 more: 1000/s, …</summary>") == 4
    few = summaries.summary(summaries.product(["rest"], loads[:9]))
    assert " more: " not in render_page(few, make_charts(few))


def test_ticks_whose_labels_would_touch_are_left_out() -> None:
    assert _legible(TICKS, 80) == list(TICKS)
    assert _legible(TICKS, 40) == [50.0, 90.0, 99.0, 99.99]
    assert _legible([], 10) == []


def steps_of(cells: Sequence[CellResult]) -> Chart:
    """The chart of steps alone."""
    (chart,) = step_charts(Frame.of(summaries.summary(cells)))
    return chart


def traffic_of(cells: Sequence[CellResult]) -> Chart:
    """The chart of bytes, where nothing else was counted."""
    (chart,) = traffic_charts(Frame.of(summaries.summary(cells)))
    return chart


def deliveries_of(cells: Sequence[CellResult]) -> Chart:
    """The chart of deliveries alone."""
    (chart,) = watch_charts(Frame.of(summaries.summary(cells)))
    return chart


def by_cell(chart: Chart) -> dict[str, Series]:
    """What a chart draws of each cell, by the cell's id."""
    return {one.cell: one for one in chart.series}


def test_steps_are_the_cells_medians_and_seen_is_the_latency() -> None:
    made = summaries.asynchronous()
    chart = charts_of(summaries.asynchronous)["steps"]
    (panel,) = chart.panels
    assert panel.x_label == "ms after the planned instant, from 0"
    assert panel.y_label == "accepted | / processed ○ / seen, ms"
    drawn_of = by_cell(chart)
    for cell in made.cells:
        one = drawn_of[cell.info["id"]]
        at = dict(zip(one.x, one.y, strict=True))
        assert at.pop("sent") == cell.send_lag_us.p50 / 1e3
        assert at.pop("seen") == cell.latency.p50
        assert at.pop("processed") == cell.processed.p50
        if cell.ack is not None:
            assert at.pop("accepted") == cell.ack.p50
        assert at == {}
        assert one.unit == "ms"
        assert one.look.colour != "invalid"
    figures = {one.label: one.figures for one in chart.series}
    assert figures["rest"] == "sent 0.08, accepted –, processed 51, seen 51 ms"
    assert figures["rest-poll, every 20 ms"].startswith("sent 0.08, accepted 1.1, processed 51")
    for label, words in figures.items():
        assert f"{label} {words}" in chart.alt
    assert ">– / 51 / 51<" in panel.svg


def test_every_style_has_its_milestones_where_nothing_is_acknowledged_early_too() -> None:
    """Issue 7.3."""
    made = summaries.complete()
    steps = by_cell(charts_of(summaries.complete)["steps"])
    assert set(steps) == {cell.info["id"] for cell in made.cells}
    for cell in made.cells:
        one = steps[cell.info["id"]]
        known = (cell.send_lag_us.p50 / 1e3, cell.processed.p50, cell.latency.p50)
        assert (one.x, one.y) == (("sent", "processed", "seen"), known)


def test_steps_of_a_style_that_acknowledges_early_do_not_end_early() -> None:
    worked = replace(summaries.USUAL, work_time="fixed", work_mean_ms=50.0)
    answered = [summaries.trial("sse", summaries.OPEN[0], n) for n in (1, 2, 3)]
    lost = [summaries.trial("sse", summaries.OPEN[0], n, timed_out=700) for n in (1, 2, 3)]
    none = [summaries.trial("sse", summaries.OPEN[0], n, timed_out=790) for n in (1, 2, 3)]
    planned = answered[0].counts.planned
    acked = distribution(np.full(planned, 1.5), planned)
    for trials, seen in ((answered, True), (lost, False), (none, False)):
        early = [replace(summaries.with_work(each, 50.0, 1.0), ack=acked) for each in trials]
        (cell,) = cells = [summaries.cell("sse", summaries.OPEN[0], (), early, worked)]
        assert cell.ack is not None
        assert cell.ack.p50 == 1.5
        chart = steps_of(cells)
        if seen:
            (one,) = chart.series
            assert one.y[-1] == max(one.y) == cell.latency.p50 > 50
        else:
            assert chart.series == ()
            assert [m.why for m in chart.missing] == ["half not seen in time"]
            assert "1.5" not in chart.alt


def test_steps_of_too_few_operations_do_not_blame_the_service() -> None:
    few = [
        summaries.with_work(summaries.trial("sse", summaries.OPEN[0], n, planned=1), 50.0, 1.0, 1.5)
        for n in (1, 2, 3)
    ]
    cells = [summaries.cell("sse", summaries.OPEN[0], (), few)]
    chart = steps_of(cells)
    assert [m.why for m in chart.missing] == ["too few operations"]


def test_steps_come_first_where_they_lie_apart_and_traffic_only_where_it_was_counted() -> None:
    assert list(charts_of(summaries.complete)) == ["latency", "steps", "throughput", "cpu"]
    assert list(charts_of(summaries.asynchronous)) == [
        "steps", "latency", "throughput", "cpu", "traffic",
    ]  # fmt: skip
    acked = [replace(t, ack=t.latency) for t in summaries.one_cell().cells[0].trials]
    cells = [summaries.cell("rest", summaries.OPEN[0], (), acked)]
    assert next(iter(charts_of(summaries.summary(cells)))) == "steps"


def test_traffic_is_the_cells_bytes_in_two_parts() -> None:
    made = summaries.asynchronous()
    chart = charts_of(summaries.asynchronous)["traffic"]
    for cell in made.cells:
        one = by_cell(chart)[cell.info["id"]]
        assert one.x == ("to server", "from server")
        assert one.y == cell.bytes_per_op
        assert (one.unit, one.parts) == ("bytes", 2)
    assert "rest to the server 300 + from it 600 bytes" in chart.alt
    assert chart.panels[0].x_label == "bytes an operation, from 0"
    assert "300 + 600" in chart.panels[0].svg


def test_segments_are_drawn_beside_bytes() -> None:
    """Issue 7.3: of a call what went to and from the client, of a broker on all connections."""
    kafka = replace(summaries.USUAL, broker=BrokerWay())
    cells = [
        summaries.cell("rest", summaries.OPEN[0]),
        summaries.cell("kafka", summaries.OPEN[0], condition=kafka),
        summaries.cell("websocket", summaries.OPEN[0]),
    ]
    call = Passage(("generator", "server"), (300, 600), (2.0, 1.5), (1, 1))
    produced = Passage(("generator", "broker"), (500, 100), (3.0, 2.0), (1, 1))
    consumed = Passage(("server", "broker"), (50, 400), (0.5, 0.25), (1, 1))
    copied = Passage(("broker", "broker"), (400, 0), (9.0, 0.0), (1, 1))
    moved = [(call,), (produced, consumed, copied), ()]
    cells = [
        replace(cell, overhead=Overhead(passages=each), bytes_per_op=bytes_per_op(each))
        for cell, each in zip(cells, moved, strict=True)
    ]
    bytes_of, segments = traffic_charts(Frame.of(summaries.summary(cells)))
    assert [chart.name for chart in (bytes_of, segments)] == ["traffic", "segments"]
    assert [one.y for one in bytes_of.series] == [(300, 600), (550, 500)]
    assert [one.y for one in segments.series] == [(2.0, 1.5), (3.5, 2.25)]
    assert {one.x for one in segments.series} == {("to server", "from server")}
    assert [m.why for m in segments.missing] == ["not counted"]
    assert segments.panels[0].x_label == "segments an operation, from 0"
    assert "rest, class A to the server 2 + from it 1.5 segments" in segments.alt


def test_traffic_that_was_not_counted_is_named() -> None:
    fresh = replace(summaries.USUAL, kept=False)
    counted = [
        summaries.with_traffic(summaries.trial("rest", summaries.OPEN[0], n), 100, 200)
        for n in (1, 2, 3)
    ]
    cells = [
        summaries.cell("rest", summaries.OPEN[0], (), counted),
        summaries.cell("rest", summaries.OPEN[0], (), counted, fresh),
        summaries.cell("websocket", summaries.OPEN[0]),
    ]
    chart = traffic_of(cells)
    assert [(one.label, one.y) for one in chart.series] == [("rest", (100, 200))]
    assert [(m.label, m.why) for m in chart.missing] == [
        ("rest, new connections", "not counted: connections come and go"),
        ("websocket", "not counted"),
    ]
    assert "websocket is not shown (not counted)" in chart.alt


def test_deliveries_grow_with_the_subscribers() -> None:
    made = summaries.watch()
    charts = charts_of(summaries.watch)
    assert list(charts) == ["deliveries", "cpu"]
    chart = charts["deliveries"]
    assert [panel.title for panel in chart.panels] == [
        "The last subscriber, 200/s",
        "The last subscriber, 200/s, 1 of them stalled",
        "The first subscriber, 200/s",
        "The first subscriber, 200/s, 1 of them stalled",
    ]
    for panel in chart.panels:
        mark = "last" if "last" in panel.title else "first"
        stalled = int("stalled" in panel.title)
        assert panel.x_label == "subscribers (log scale)"
        assert panel.y_label == f"ms until the {mark} knew (log scale)"
        assert [one.label for one in panel.series] == ["websocket", "sse"]
        for one in panel.series:
            cells = {
                float(cell.info["condition"]["subscribers"]): cell.watched
                for cell in made.cells
                if (cell.info["style"], cell.info["condition"]["stalled"]) == (one.style, stalled)
            }
            assert set(one.x) == set(cells)
            for number, value in zip(one.x, one.y, strict=True):
                watched = cells[float(number)]
                assert watched is not None
                assert value == getattr(watched, mark).p50
        assert panel.y_label in panel.svg
    assert "websocket 1 subscribers 0.3 ms, 200 subscribers 61 ms" in chart.alt


def test_deliveries_that_not_all_saw_end_the_line() -> None:
    def cell(subscribers: int, last_ms: float, *reasons: Reason) -> CellResult:
        trials = [
            summaries.watching(summaries.trial("sse", summaries.OPEN[0], n), last_ms, subscribers)
            for n in (1, 2, 3)
        ]
        condition = replace(summaries.USUAL, subscribers=subscribers)
        return summaries.cell(
            "sse", summaries.OPEN[0], reasons, trials, condition, operation="watch"
        )

    floor = Reason(Code.GENERATOR_BOUND, "trial 1: a bare epoll loop needs 9 ms of 10 ms")
    died = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1")
    cells = [cell(1000, math.inf), cell(100, 10.0, floor), cell(10, 2.0), cell(1, 1.0, died)]
    last, first = deliveries_of(cells).panels
    (one,) = last.series
    assert (one.x, one.y) == ((10.0, 100.0), (2.0, 10.0))
    # What the generator spoilt is named, and the line keeps its colour for what holds.
    assert one.said == "sse (invalid at 100)"
    assert one.look.colour != "invalid"
    assert one.figures == "10 subscribers 2 ms, 100 subscribers 10 ms"
    assert first.series[0].x == (10.0, 100.0)
    spoilt = deliveries_of([cell(100, 10.0, floor)]).series
    assert {each.said for each in spoilt} == {"sse (invalid)"}
    assert {each.look.colour for each in spoilt} == {"invalid"}
    unseen = deliveries_of([cell(100, math.inf)])
    assert {m.why for m in unseen.missing} == {"not within the timeout"}


def test_latency_grows_with_the_orders_where_there_are_sizes_enough() -> None:
    cells = [
        summaries.cell("rest", summaries.OPEN[0], condition=replace(summaries.USUAL, items=items))
        for items in (100, 1, 10)
    ]
    (payload,) = payload_charts(Frame.of(summaries.summary(cells)))
    (one,) = payload.series
    by_items = {float(c.info["condition"]["items"]): c.latency.p50 for c in cells}
    assert dict(zip(one.x, one.y, strict=True)) == by_items
    assert one.x == (1.0, 10.0, 100.0)
    assert payload_charts(Frame.of(summaries.summary(cells[:2]))) == []


def test_styles_that_change_places_as_orders_grow_are_named() -> None:
    """Issue 7.3: only where every trial says so."""

    def grown(style: str, by_items: dict[int, float]) -> list[CellResult]:
        return [
            summaries.cell(
                style,
                summaries.OPEN[0],
                (),
                [
                    replace(t, latency=replace(t.latency, p50=ms))
                    for t in (summaries.trial(style, summaries.OPEN[0], n) for n in (1, 2, 3))
                ],
                replace(summaries.USUAL, items=items),
            )
            for items, ms in by_items.items()
        ]

    quick = grown("websocket", {1: 1.0, 10: 1.0, 100: 4.0})
    even = grown("rest", {1: 2.0, 10: 2.0, 100: 2.0})
    (chart,) = payload_charts(Frame.of(summaries.summary([*quick, *even])))
    (panel,) = chart.panels
    assert panel.notes == (
        "websocket and rest change places at about 32 items",
        "the slowest over the quickest: 2 at 1 item, 2 at 100 items",
    )
    for note in panel.notes:
        assert note in panel.alt
        assert f">{note}<" in panel.svg
    slow = grown("sse", {1: 5.0, 10: 5.0, 100: 5.0})
    (chart,) = payload_charts(Frame.of(summaries.summary([*slow, *even])))
    assert chart.panels[0].notes[0] == "no two of them surely change places"
    (chart,) = payload_charts(Frame.of(summaries.summary(even)))
    assert chart.panels[0].notes == ()


def test_a_gateways_cpu_has_its_own_part() -> None:
    behind = replace(summaries.USUAL, remember="gateway")
    cpu = {"generator": 100.0, "server": 200.0, "gateway": 300.0}
    cells = [
        summaries.cell("rest", summaries.OPEN[0]),
        replace(summaries.cell("rest", summaries.OPEN[0], condition=behind), cpu_us_per_op=cpu),
    ]
    alone, through = charts_of(summaries.summary(cells))["cpu"].series
    assert (alone.x, alone.note) == (("client", "server"), "")
    assert (through.x, through.y) == (("client", "server", "gateway"), (100.0, 200.0, 300.0))
    assert through.figures == "client 100 + server 200 + gateway 300 µs"


def test_ways_to_do_it_share_a_colour_and_differ_in_name_and_line() -> None:
    chart = charts_of(summaries.asynchronous)["latency"]
    polls = [one for one in chart.series if one.style == "rest-poll"]
    assert [one.label for one in polls] == ["rest-poll, every 20 ms", "rest-poll, long polls"]
    assert len({(one.look.colour, one.look.mark) for one in polls}) == 1
    assert [one.look.dash for one in polls] == list(look.DASHES[:2])


def test_what_all_do_alike_stands_in_no_label() -> None:
    tls = replace(summaries.USUAL, tls=True)
    cells = [
        summaries.cell(style, summaries.OPEN[0], (), None, replace(tls, codec=codec))
        for style, codec in (("rest", "json"), ("rest", "protobuf"), ("websocket", "json"))
    ]
    assert list(labels(cells).values()) == ["rest, JSON", "rest, protobuf", "websocket, JSON"]
    assert list(labels(cells[::2]).values()) == ["rest", "websocket"]
