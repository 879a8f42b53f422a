"""What a report says of brokers: durability, messages and their fates, what ran beside."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Code, Reason
from harness.report.answers import BOOTED_FAST, answers
from harness.report.charts import look
from harness.report.charts.every import standalone
from harness.report.charts.frame import Frame
from harness.report.charts.messages import MOST_POINTS, lag_charts, middle_lag, thinned
from harness.report.charts.panels import Chart
from harness.report.console import print_summary
from harness.report.message_answers import KILLED, WIPED
from harness.report.messages import HEADLINE, HEADS, account, fates
from harness.report.page import render_page
from harness.report.rows import to_csv
from harness.report.words import durability_words, labels, share
from tests.unit import message_summaries as made
from tests.unit import summaries
from tests.unit.message_summaries import STEADY, way
from tests.unit.test_charts import charts_of, drawn
from tests.unit.test_page import Page, page_of


def names(cells: Sequence[CellResult]) -> list[str]:
    """What cells are called, in their order."""
    return list(labels(cells).values())


def sentence(summary: Summary, lead: str) -> str:
    """The one sentence of an answer that begins so."""
    (found,) = [each for each in answers(summary) if each.startswith(lead)]
    return found


def changed(summary: Summary, **scenario: Any) -> Summary:
    """A run of another scenario."""
    info = {**summary.info, "scenario": {**summary.info["scenario"], **scenario}}
    return Summary(info, summary.cells)


# Names and classes


def test_where_classes_differ_every_name_ends_in_its_class() -> None:
    assert names(made.durability().cells) == [
        f"{style}, class {promise}" for style in ("kafka", "rabbitmq") for promise in "ABCD"
    ]
    assert names(made.brokers().cells) == [
        "rest, class A",
        "rest, single-node flush",
        "kafka, class B",
        "rabbitmq, class B",
    ]


def test_where_classes_are_alike_no_name_has_one_and_it_is_said_once() -> None:
    assert names(made.ingest().cells)[::2] == ["kafka:confluent", "kafka:aiokafka", "rabbitmq"]
    assert durability_words(made.ingest().cells) == "All class B: one node has it, not flushed."
    for chart in drawn(made.ingest):
        assert chart.durability == "All class B: one node has it, not flushed."
        assert chart.alt.endswith(chart.durability)
        assert chart.durability in standalone(chart)
    said = Page(render_page(made.ingest(), drawn(made.ingest))).text
    # Beside each chart, and in the answer.
    assert said.count("All class B: one node has it, not flushed.") >= 1 + len(drawn(made.ingest))


def test_where_classes_differ_their_meaning_stands_beside_the_names() -> None:
    meaning = durability_words(made.durability().cells)
    assert meaning.startswith("Class A: nothing is promised; class B: one node has it")
    assert meaning.endswith("class D: two of three nodes have it on disk.")
    assert meaning in answers(made.durability())
    assert all(chart.durability == meaning for chart in drawn(made.durability))
    for chart in drawn(made.durability):
        shown = [one.label for one in chart.series] + [one.label for one in chart.missing]
        assert len(shown) == len(made.durability().cells)
        assert all(re.search(r", class [ABCD]\*?$", label) for label in shown)


def test_a_store_is_a_flush_on_a_single_node() -> None:
    assert "single-node flush: one node has it on disk" in durability_words(made.brokers().cells)
    committed = [made.brokers().cells[1]]
    assert durability_words(committed) == "All single-node flush: one node has it on disk."
    assert names(committed) == ["rest"]


@pytest.mark.parametrize("make", [summaries.complete, summaries.watch, summaries.asynchronous])
def test_without_a_broker_or_a_store_nothing_is_said_of_durability(make: summaries.Make) -> None:
    assert durability_words(make().cells) == ""
    assert not any("class A" in each for each in answers(make()))
    assert all(chart.durability == "" for chart in drawn(make))
    # But for the method.
    assert "class A: nothing is promised" in page_of(make).text


def test_a_run_from_before_there_were_classes_still_has_its_names() -> None:
    old = []
    for cell in summaries.complete().cells:
        condition = dict(cell.info["condition"])
        for key in ("durability", "durability_words", "broker", "store"):
            del condition[key]
        old.append(replace(cell, info={**cell.info, "condition": condition}))
    assert names(old) == names(summaries.complete().cells)
    assert durability_words(old) == ""


def test_classes_of_a_style_differ_in_their_line_alone() -> None:
    found = look.looks(made.durability().cells)
    kafka = [found[c.info["id"]] for c in made.durability().cells if c.info["style"] == "kafka"]
    assert len({(one.colour, one.mark) for one in kafka}) == 1
    assert [one.dash for one in kafka] == list(look.DASHES)


def test_a_number_that_differs_is_said_of_all() -> None:
    assert names(made.consumers().cells)[:4] == [
        "kafka, 1 worker",
        "kafka, 2 workers",
        "kafka, 4 workers",
        "kafka, 8 workers",
    ]
    assert set(names(made.in_flight().cells)) == {"kafka", "rabbitmq"}


def test_ways_of_different_class_are_no_multiple_of_each_other() -> None:
    base = summaries.trial("rest", summaries.OPEN[0])
    cells = []
    for store, p50 in (("memory", 1.0), ("postgres", 4.0)):
        for tls in (False, True):
            condition = replace(summaries.USUAL, store=store, tls=tls)
            slow = replace(base, latency=replace(base.latency, p50=p50 * (1 + tls)))
            cells.append(summaries.cell("rest", summaries.OPEN[0], (), [slow], condition))
    memory, flushed, *_ = answers(summaries.summary(cells))
    assert "rest, class A 1.00 ms" in memory
    assert "with TLS 2.00 ms, 2.00 times as much" in memory
    assert "rest, single-node flush 4.00 ms" in flushed
    assert "with TLS 8.00 ms, 2.00 times as much" in flushed


def test_what_all_of_a_style_choose_at_their_broker_tells_none_of_them_apart() -> None:
    batched = way(linger_ms=5.0, batch_bytes=131_072)
    cells = [
        made.messages("kafka:confluent", STEADY, batched),
        made.messages("kafka:aiokafka", STEADY, batched),
        made.messages("rabbitmq", STEADY, way()),
    ]
    assert names(cells) == ["kafka:confluent", "kafka:aiokafka", "rabbitmq"]
    # The table has it.
    row = Page(render_page(made.run(cells), [])).rows[cells[0].info["id"]]
    assert row[0] == "kafka:confluent+confluentlinger 5 ms, batches of 128 KiB"
    usual = made.messages("kafka:aiokafka", STEADY, way())
    assert names([*cells, usual])[:2] == [
        "kafka:confluent, linger 5 ms, batches of 128 KiB",
        "kafka:aiokafka, linger 5 ms, batches of 128 KiB",
    ]
    one_sided = [
        made.messages("kafka", STEADY, way(safe=False)),
        made.messages("rabbitmq", STEADY, way()),
        made.messages("rabbitmq", STEADY, way(safe=False)),
    ]
    assert names(one_sided)[0] == "kafka, unsafe producer"


# Charts


def test_the_steps_of_messages_are_acknowledged_processed_and_both() -> None:
    chart = charts_of(made.durability)["steps"]
    assert chart.title == "Acknowledged and processed"
    assert chart.panels[0].y_label == "acknowledged | / processed ○ / both, ms"
    for cell, one in zip(made.durability().cells, chart.series, strict=True):
        at = dict(zip(one.x, one.y, strict=True))
        assert at["both"] == cell.latency.p50
        assert at["processed"] == cell.processed.p50
        assert at.get("acknowledged") == (cell.ack.p50 if cell.ack else None)
        assert ("acknowledged –" in one.figures) == (cell.ack is None)


def test_acknowledgements_a_second_are_the_cells_and_class_a_has_none() -> None:
    chart = charts_of(made.durability)["acknowledged"]
    by_cell = {cell.info["id"]: cell for cell in made.durability().cells}
    for one in chart.series:
        assert one.y == (by_cell[one.cell].acked_per_s,)
    assert [(m.label, m.why) for m in chart.missing] == [
        ("kafka, class A", "nothing is acknowledged"),
        ("rabbitmq, class A", "nothing is acknowledged"),
    ]
    assert chart.panels[0].planned_per_s == 500
    assert [p.planned_per_s for p in charts_of(made.ingest)["acknowledged"].panels] == [500, None]
    assert "acknowledged" not in charts_of(summaries.asynchronous)


def test_the_lag_is_that_of_the_trial_with_the_middle_peak() -> None:
    cell = made.ingest().cells[0]
    lags = [[(-1.0, 99), (0.0, peak), (1.0, 0)] for peak in (5, 900, 70)]
    assert middle_lag(replace(cell, lag=lags)) == [(0.0, 70), (1.0, 0)]
    assert middle_lag(replace(cell, lag=[[(-1.0, 99)]])) == []
    chart = charts_of(made.ingest)["lag"]
    for one in chart.series:
        assert list(zip(one.x, one.y, strict=True)) == [p for p in made.RAMP if p[0] >= 0]
        assert one.figures == "at most 1,800 behind, 0 at the end"
    assert chart.panels[0].x_label == "seconds from the start of the measured window"
    assert not any(one.instants for one in chart.series)
    assert "Dashed" not in chart.caption


def test_a_long_lag_keeps_its_peak_and_its_end() -> None:
    lag = [(n / 10, n % 7) for n in range(1000)]
    lag[503] = (50.3, 10_000)
    kept = thinned(lag)
    assert len(kept) <= MOST_POINTS + 1
    assert (50.3, 10_000) in kept
    assert kept[-1] == lag[-1]
    assert thinned(lag[:5]) == lag[:5]


def test_a_kill_is_marked_where_it_was_seen_and_not_where_it_was_planned() -> None:
    chart = charts_of(made.failover)["lag"]
    (panel,) = chart.panels
    for one in panel.series:
        assert one.instants == ((2.1, "killed"), (3.4, "back"))
    assert "0 at the end, killed at 2.1 s, back at 3.4 s" in panel.alt
    assert {">killed<", ">back<"} <= set(re.findall(">killed<|>back<", panel.svg))
    assert "Dashed lines mark" in chart.caption


def test_cells_whose_workers_did_not_tell_have_no_lag() -> None:
    assert "lag" not in charts_of(made.durability)
    silent = replace(made.ingest().cells[0], lag=[])
    (chart,) = lag_charts(Frame.of(made.run([silent, *made.ingest().cells[1:]])))
    assert [m.why for m in chart.missing] == ["no worker told"]


def test_throughput_grows_with_the_workers_on_one_line_a_style() -> None:
    chart = charts_of(made.consumers)["scaling"]
    (panel,) = chart.panels
    assert panel.title == "By workers, 300/s"
    assert [one.label for one in panel.series] == ["kafka", "rabbitmq"]
    for one in panel.series:
        cells = [c for c in made.consumers().cells if c.info["style"] == one.style]
        assert one.x == (1.0, 2.0, 4.0, 8.0)
        assert one.y == tuple(cell.throughput_per_s for cell in cells)
    assert "8 workers 300/s" in chart.alt


def test_acknowledgements_grow_with_the_messages_in_flight() -> None:
    chart = charts_of(made.in_flight)["scaling"]
    (panel,) = chart.panels
    assert panel.title == "By messages in flight, closed loop"
    for one in panel.series:
        cells = [c for c in made.in_flight().cells if c.info["style"] == one.style]
        assert one.x == (1.0, 20.0, 200.0, 1000.0)
        assert one.y == tuple(cell.acked_per_s for cell in cells)


def test_calls_grow_with_their_users_where_there_are_enough_of_them() -> None:
    loads = [replace(summaries.CLOSED, users=users) for users in (1, 16, 64)]
    cells = summaries.product(["rest", "sse"], loads)
    chart = charts_of(summaries.summary([*cells, summaries.cell("rest", STEADY)]))["scaling"]
    (panel,) = chart.panels
    assert panel.title == "By users, closed loop"
    assert {one.x for one in panel.series} == {(1.0, 16.0, 64.0)}
    assert "scaling" not in charts_of(summaries.summary(summaries.product(["rest"], loads[:2])))


def test_a_brokers_cpu_is_stacked_and_a_rivals_is_not() -> None:
    rest, _, kafka = charts_of(made.brokers)["cpu"].series
    assert rest.x == ("client", "server")
    assert (kafka.x, kafka.parts, kafka.note) == (("client", "server", "broker"), 3, "")
    assert kafka.figures == "client 90 + server 180 + broker 120 µs"


def test_a_broker_that_was_not_seen_has_a_dash_and_not_a_zero() -> None:
    cells = list(made.ingest().cells)
    cells[0] = replace(cells[0], cpu_us_per_op={**cells[0].cpu_us_per_op, "broker": None})
    unseen = charts_of(made.run(cells))["cpu"].series[0]
    assert (unseen.x, unseen.parts, unseen.note) == (("client", "server"), 3, "broker not seen")


def test_bytes_at_a_broker_are_said_to_be_of_all_its_connections() -> None:
    for style, condition, told in (("rest", summaries.USUAL, False), ("kafka", way(), True)):
        trials = [summaries.with_traffic(summaries.trial(style, STEADY), 300, 600)]
        cells = [summaries.cell(style, STEADY, (), trials, condition)]
        caption = charts_of(summaries.summary(cells))["traffic"].caption
        assert ("on all connections to its nodes" in caption) == told


# The account of messages


def test_the_headline_is_none_only_where_none_was_lost() -> None:
    said = sentence(made.ingest(), "Message by message: ")
    assert "kafka:confluent lost none of 24,000 acknowledged messages;" in said
    said = sentence(made.lossy(), "Message by message: ")
    assert "kafka:confluent lost 3 of 6,000 acknowledged messages;" in said
    assert "kafka:confluent lost none" not in said
    assert "kafka:aiokafka lost none of 6,000 acknowledged messages, 6 damaged, 3 never" in said


def test_a_loss_is_told_although_the_cell_failed_and_its_rates_are_not() -> None:
    said = answers(made.lossy())
    assert not any("kafka" in each for each in said if "acknowledged within" in each)
    assert (
        "Not used here, but for its messages' account: kafka:confluent (failed);"
        " kafka:aiokafka (failed)."
    ) in said
    only = made.run(made.lossy().cells[:1])
    assert answers(only)[0] == ("Message by message: kafka lost 3 of 6,000 acknowledged messages.")


def test_one_loss_among_many_loads_is_a_loss() -> None:
    cells = [made.messages("kafka", STEADY, way()), made.messages("kafka", made.FULL, way())]
    lost = made.messages("kafka", made.FULL, way(), fate=made.lose(1))
    assert "lost none of 24,000" in sentence(made.run(cells), "Message by message: ")
    assert "lost 3 of 24,000" in sentence(made.run([cells[0], lost]), "Message by message: ")


def test_class_a_acknowledges_nothing() -> None:
    said = sentence(made.durability(), "Message by message: ")
    assert "kafka, class A acknowledges nothing and lost 9 of 6,000 sent messages;" in said
    first = fates(made.durability())[0]
    assert first.lost == "–"
    assert first.figures[HEADS.index("acknowledged")] == "–"
    assert first.figures[HEADS.index("lost, not acknowledged")] == "9"
    assert not first.alarming


def test_what_the_broker_still_holds_is_not_lost() -> None:
    said = sentence(made.durability(), "Message by message: ")
    assert said.endswith(
        "rabbitmq, class D lost none of 6,000 acknowledged messages, and the broker still held 120."
    )
    last = fates(made.durability())[-1]
    assert (last.lost, last.alarming) == ("0", False)
    assert last.figures[HEADS.index("still at the broker")] == "120"
    assert "late, and not lost" in last.said[-1]
    assert not any("are lost" in each for each in last.said)


def test_of_more_losses_than_are_left_the_rest_is_lost() -> None:
    trials = [
        made.sending(summaries.trial("kafka", STEADY, 1), fate=made.lose(10), left=4),
        # What one trial's broker holds excuses no other trial.
        made.sending(summaries.trial("kafka", STEADY, 2), left=100),
        made.sending(summaries.trial("kafka", STEADY, 3), False, fate=made.lose(9), left=2),
    ]
    found = account(trials)
    assert found is not None
    assert (found.lost_acknowledged, found.lost_unacknowledged, found.held) == (6, 7, 106)
    assert account([summaries.trial("rest", STEADY)]) is None


def test_what_was_not_consumed_is_not_said_to_be_read_again() -> None:
    left = made.sending(summaries.trial("kafka", STEADY, 1), left=4, read_again=1.3)
    whole = made.sending(summaries.trial("kafka", STEADY, 2), read_again=0.5)
    for trials, told in (([left], None), ([left, whole], 0.5)):
        found = account(trials)
        assert found is not None
        assert found.read_again == told


def test_a_kill_is_told_with_what_it_tests_and_what_it_did() -> None:
    said = answers(made.failover())
    assert KILLED in said
    assert "not fsync" in KILLED
    assert (
        "No message arrived for at most: kafka, class C 1,834 ms, 36 repeated,"
        " 0 behind a later one of their key; rabbitmq, class D 641 ms, 0 repeated,"
        " 15 behind a later one of their key; rabbitmq, class B 12 ms, 0 repeated,"
        " 0 behind a later one of their key."
    ) in said
    losses = sentence(made.failover(), "Message by message: ")
    assert "kafka, class C lost none of 6,000 acknowledged messages;" in losses
    assert "rabbitmq, class B lost 21 of 6,000 acknowledged messages." in losses
    wiped = changed(made.failover(), fault={**made.FAULT, "wipe": True})
    assert WIPED in answers(wiped)
    assert KILLED not in answers(wiped)


def test_survival_is_claimed_only_where_a_node_died() -> None:
    unharmed = [replace(c, verdict=type(c.verdict)()) for c in made.failover().cells]
    for summary in (made.ingest(), made.run(unharmed, fault=made.FAULT)):
        said = " ".join(answers(summary))
        assert "node was killed" not in said
        assert "No message arrived" not in said


def test_a_kill_during_calls_is_told_too() -> None:
    cells = [summaries.cell("kafka", STEADY, [made.KILLED], condition=way("C"))]
    assert KILLED in answers(made.run(cells, fault=made.FAULT))


def test_what_can_be_read_again_is_told_of_each() -> None:
    assert (
        "After the workers had consumed them, a further consumer could read again:"
        " kafka:confluent 100 % of the messages; kafka:aiokafka 100 % of the messages;"
        " rabbitmq 0 % of the messages."
    ) in answers(made.ingest())
    assert not any("read again" in each for each in answers(made.durability()))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50.0 %"),
        (0.0001, "less than 0.1 %"),
        (0.99999, "more than 99.9 %"),
        (1.00001, "more than 100 %"),
        (1.25, "125.0 %"),
    ],
)
def test_a_share_that_is_not_all_or_nothing_does_not_read_so(value: float, words: str) -> None:
    assert share(value) == words


def test_an_open_loop_is_told_by_its_delays_and_a_closed_one_by_its_rates() -> None:
    cells = made.ingest().cells
    open_loop, closed = sentence(made.ingest(), "500/s: "), sentence(made.ingest(), "closed loop")
    for cell in cells[::2]:
        assert cell.ack is not None
        assert f"acknowledged within {cell.ack.p50:.2f} ms (" in open_loop
        assert f"and {cell.ack.p99:.2f} ms (" in open_loop
        assert f"processed within {cell.processed.p99:.2f} ms (" in open_loop
    for cell in cells[1::2]:
        assert f"{cell.acked_per_s:,.0f} (1,500–1,500) acknowledged and" in closed
        assert f"{cell.throughput_per_s:,.0f} (1,500–1,500) completed a second" in closed


def table_of(page: Page) -> list[dict[str, str]]:
    """The table of messages by its heads."""
    heads, *rows = page.table("acknowledged and lost")
    plain = [head.replace("\u00ad", "") for head in heads]
    return [dict(zip(plain, row, strict=True)) for row in rows]


def test_the_table_of_messages_has_the_ledgers_figures_and_its_headline_first() -> None:
    page = page_of(made.lossy)
    rows = table_of(page)
    assert list(rows[0]) == ["style", HEADLINE, *HEADS, "in words"]
    assert rows[0]["style"] == "kafka:confluent500/s"
    assert [row[HEADLINE] for row in rows] == ["3", "0", "0"]
    alarms = [given for tag, given in page.elements if given.get("class") == "alarm"]
    assert len(alarms) == 1
    for cell, row in zip(made.lossy().cells, rows, strict=True):
        kept = cell.ledger
        assert kept is not None
        assert row["sent"] == f"{kept.sent:,}"
        assert row["acknowledged"] == f"{kept.acknowledged:,}"
        assert row["arrived"] == f"{kept.arrived:,}"
        assert row["corrupted"] == f"{kept.corrupted:,}"
        assert row["unexpected"] == f"{kept.unexpected:,}"
        assert row["in words"] == "; ".join(kept.words) + "."
    (first, *_) = table_of(page_of(made.failover))
    assert first["duplicated"] == "36"
    assert first["longest gap, ms"] == "1,834"
    assert first["can be read again"] == "–"
    assert table_of(page_of(made.ingest))[0]["can be read again"] == "100 %"


def test_a_run_without_messages_has_no_table_of_them() -> None:
    assert "What became of every message" not in page_of(summaries.complete).text
    assert "What became of every message" not in page_of(made.brokers).text


def test_messages_have_steps_of_their_own() -> None:
    heads, *rows = page_of(made.ingest).table("acknowledged and processed")
    assert "seen" not in heads
    assert "mean delay of the result" not in heads
    row = dict(zip(heads, rows[0], strict=True))
    cell = made.ingest().cells[0]
    assert cell.ack is not None
    assert row["acknowledged"] == f"{cell.ack.p50:.2f}"
    assert row["acknowledged and processed"] == f"{cell.latency.p50:.2f}"
    assert row["CPU of the broker, µs"] == "120"
    assert row["broker memory"] == "400 MiB"


# What ran beside


def test_each_part_is_listed_with_what_it_was_started_with() -> None:
    text = page_of(made.failover).text
    for words in (
        "9.9.1",
        "cache",
        "-Xmx1G -Xms1G -XX:+UseG1GC",
        "broker.session.timeout.ms",
        "3000",
        "amqp://guest:***@127.0.0.1:2",
        "vendor's",
    ):
        assert words in text


def test_brokers_that_stood_still_are_a_check_beside_the_environment() -> None:
    text = page_of(made.brokers).text
    assert "check: brokers that stood still" in text
    assert "an operation at most, beside kafka:aiokafka+aiokafka, class B at 200/s" in text
    assert "stood still" not in page_of(made.ingest).text


def test_a_fast_boot_is_a_warning_before_all_figures() -> None:
    fast = changed(made.ingest(), broker={"boot": "fast"})
    assert answers(fast)[0] == BOOTED_FAST
    assert BOOTED_FAST not in answers(changed(made.ingest(), broker={"boot": "usual"}))
    without = Summary({**fast.info, "parts": {"rabbitmq": made.RABBITMQ_PART}}, fast.cells)
    assert BOOTED_FAST not in answers(without)


def test_a_cell_that_could_not_be_run_says_why_and_what_mends_it() -> None:
    page = page_of(made.brokers)
    reason = "there is no RabbitMQ and no package of it; apt-get install rabbitmq-server"
    # Below the charts, and among the verdicts.
    assert page.text.count(reason) == 2
    absent = made.brokers().cells[-1].info["id"]
    assert page.rows[absent][1] == "skipped"


def test_rows_of_one_variant_are_told_apart() -> None:
    for make in (made.durability, made.consumers, made.in_flight):
        page = page_of(make)
        shown = [page.rows[cell.info["id"]][0] for cell in make().cells]
        by_load = list(zip(shown, (c.info["load"]["words"] for c in make().cells), strict=True))
        assert len(set(by_load)) == len(by_load)


def test_hostile_words_of_a_part_or_a_reason_are_escaped() -> None:
    text = render_page(made.hostile_parts(), drawn(made.hostile_parts))
    assert text.count("<script") == 1
    assert Page(text).text.count(summaries.HOSTILE) >= 6


def test_csv_has_the_fates_of_messages_at_its_end() -> None:
    rows = list(csv.DictReader(StringIO(to_csv(made.lossy()))))
    assert [row["messages_lost_acknowledged"] for row in rows] == ["3", "0", "0"]
    assert [row["durability"] for row in rows] == ["B", "B", "B"]
    assert float(rows[0]["broker_cpu_us_per_op"]) == made.BROKER_US
    (call, *_) = csv.DictReader(StringIO(to_csv(made.brokers())))
    assert call["messages_sent"] == call["acked_per_s"] == ""


def printed(summary: Summary) -> str:
    """What the console says of a run."""
    console = Console(width=200)
    with console.capture() as captured:
        print_summary(summary, console)
    return captured.get()


def test_the_console_has_acknowledgements_and_losses_of_messages_alone() -> None:
    said = printed(made.lossy())
    assert "Message by message: kafka:confluent lost 3 of 6,000 acknowledged messages" in said
    (head,) = [line for line in said.splitlines() if "acked/s" in line]
    assert "acked, lost" in head
    (row,) = [line for line in said.splitlines() if line.endswith("failed ") and ":confl" in line]
    assert row.split()[4:6] == ["500", "3"]
    assert "acked/s" not in printed(summaries.complete())


def test_charts_of_messages_come_in_their_order() -> None:
    def order(charts: Sequence[Chart]) -> list[str]:
        return [chart.name for chart in charts]

    usual = ["latency", "throughput", "cpu"]
    assert order(drawn(made.ingest)) == ["steps", "acknowledged", "lag", *usual]
    assert order(drawn(made.consumers)) == ["steps", "acknowledged", "scaling", *usual]
    # Nothing is acknowledged early: the steps are none of the first.
    assert order(drawn(made.brokers)) == ["latency", "steps", "throughput", "cpu"]


def test_a_failed_cell_has_its_account_in_the_table() -> None:
    died = Reason(Code.SERVER_DIED, "trial 1: the server ended with code 1")
    cells = [made.messages("kafka", STEADY, way(), [died])]
    (row,) = fates(made.run(cells))
    assert row.figures[0] == "6,000"
