"""What a search for capacity found, from its trials to the report (issue 6.5)."""

import json
import math
from dataclasses import replace

import pytest

from harness.analysis.capacity import Ending, capacities, judged_ms, outcome
from harness.analysis.instrument import late_generator
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Code, Reason
from harness.plan import LoadPoint
from harness.report.answers import answers
from harness.report.brief import _shown
from harness.report.capacity import capacity_table
from harness.report.charts.every import make_charts
from harness.report.page import render_page
from tests.unit.capacity_summaries import (
    GENERATOR,
    HELD,
    MISSED,
    SEARCH,
    behind,
    every_ending,
    half,
    of_search,
    probed,
    result,
    searched,
)
from tests.unit.summaries import cell, trial

OBJECTIVE = {"percentile": 99.0, "latency_ms": 20.0}


def test_an_objective_holds_where_its_percentile_does_and_nothing_is_left_undone() -> None:
    good = trial("rest", LoadPoint("constant", rate=400), planned=1000)
    assert outcome(good, OBJECTIVE) is HELD
    p99 = judged_ms(good, 99)
    assert p99 == good.latency.p99
    assert outcome(good, {"percentile": 99, "latency_ms": p99}) is HELD
    assert outcome(good, {"percentile": 99, "latency_ms": math.nextafter(p99, 0)}) is MISSED
    for lost in ("dropped", "timed_out", "failed"):
        # One of a thousand does not move the 99th percentile.
        one = trial("rest", LoadPoint("constant", rate=400), planned=1000, **{lost: 1})
        assert judged_ms(one, 99) < 20
        assert outcome(one, OBJECTIVE) is MISSED


def test_what_cannot_be_judged_does_not_hold() -> None:
    few = trial("rest", LoadPoint("constant", rate=400), planned=100)
    assert math.isnan(judged_ms(few, 99))
    assert outcome(few, OBJECTIVE) is MISSED
    assert outcome(few, {"percentile": 50, "latency_ms": 20}) is HELD
    none = trial("rest", LoadPoint("constant", rate=400), planned=0)
    assert outcome(none, OBJECTIVE) is MISSED


def test_where_the_generator_was_late_nothing_is_said_of_the_service() -> None:
    assert outcome(result("rest", 400, 1, GENERATOR), OBJECTIVE) is GENERATOR
    assert outcome(result("rest", 400, 1, MISSED), OBJECTIVE) is MISSED
    # Late, and the objective holds all the same: it holds.
    good = trial("rest", LoadPoint("constant", rate=400), planned=1000)
    assert late_generator(behind(good))
    assert outcome(behind(good), OBJECTIVE) is HELD


def test_the_answer_is_worked_out_from_the_trials_alone() -> None:
    found = {each.cell.info["style"]: each for each in every_ending().capacities}
    assert {style: each.ending for style, each in found.items()} == {
        "rest": Ending.FOUND,
        "zeromq": Ending.LIMIT,
        "webhook": Ending.BELOW,
        "websocket": Ending.GENERATOR,
        "grpc-unary": Ending.UNFINISHED,
        "kafka": Ending.NOT_RUN,
    }
    rest = found["rest"].found
    assert rest.held is not None
    assert rest.missed is not None
    assert rest.held <= 2300 < rest.missed <= rest.held * 1.05
    # 90 µs of the generator's time an operation: see tests.unit.summaries.
    assert found["rest"].generator_us == pytest.approx(90)
    assert found["rest"].generator_per_s == pytest.approx(1e6 / 90)
    assert found["webhook"].generator_per_s is None
    assert found["zeromq"].found.held == 6400


def test_the_ceiling_of_several_generators_is_that_of_their_processors() -> None:
    """Issue 8.3."""
    usual = every_ending()
    placement = {"generator": [1, 2], "server": [3], "shared": False, "generators": 3}
    placement["places"] = [0, 1, 0]
    three = Summary({**usual.info, "placement": placement}, usual.cells)
    assert three.capacities[0].generator_per_s == pytest.approx(2e6 / 90)
    assert "2 processors by the CPU time" in " ".join(answers(three))


def test_a_trial_without_samples_has_missed_in_its_place() -> None:
    broke = Reason(Code.TRIAL_FAILED, "trial 1: could not open")
    second = replace(result("rest", 400, 2, HELD), number=2)
    made = probed("rest", 400, reasons=[broke])
    (found,) = of_search([replace(made, trials=[second])]).capacities
    assert [list(probe.outcomes) for probe in found.probes] == [[MISSED, HELD]]
    twice = probed("rest", 400, reasons=[broke, replace(broke, detail="trial 2: could not open")])
    (found,) = of_search([twice]).capacities
    assert [list(probe.outcomes) for probe in found.probes] == [[MISSED, MISSED]]
    assert found.ending is Ending.BELOW


def test_a_trial_that_lost_a_worker_does_not_hold_whatever_the_others_saw() -> None:
    """The service had less than the rate, and an objective that holds there says nothing of it."""
    assert outcome(half(result("rest", 400, 1, HELD)), OBJECTIVE) is MISSED
    assert outcome(half(result("rest", 400, 1, GENERATOR)), OBJECTIVE) is MISSED
    lost = Reason(Code.WORKER_LOST, "trial 1: worker 2 (b, pid 3) was lost: it was told to end")
    low, high = probed("rest", 400, HELD, HELD), probed("rest", 6400, HELD, HELD, HELD)
    quick, *others = high.trials
    alone = cell("rest", LoadPoint("constant", rate=6400), [lost], [half(quick)])
    (found,) = of_search([low, alone]).capacities
    assert found.found.held == 400
    assert [list(probe.outcomes) for probe in found.probes] == [[HELD, HELD], [MISSED]]
    assert math.isnan(found.probes[1].latency_ms)
    # Whole ones at the same rate have the majority, and the latency is theirs.
    slow = half(replace(quick, latency_at=dict.fromkeys(quick.latency_at, 900.0)))
    most = cell("rest", LoadPoint("constant", rate=6400), [lost], [slow, *others])
    (found,) = of_search([low, most]).capacities
    assert found.found.held == 6400
    assert [list(probe.outcomes) for probe in found.probes] == [[HELD, HELD], [MISSED, HELD, HELD]]
    assert found.probes[1].latency_ms < 20


def test_variants_and_conditions_are_searched_apart() -> None:
    again = [*searched("rest", 1000), *searched("rest=again", 2000)]
    found = of_search(again).capacities
    assert [each.cell.info["variant"].rpartition("=")[2] for each in found] == [
        "rest:aiohttp+fastapi",
        "again",
    ]
    assert found[0].found.held != found[1].found.held


def test_a_run_with_known_rates_has_no_capacity() -> None:
    assert of_search(searched("rest", 1000), capacity=None).capacities == []
    assert capacities({"scenario": {"objective": None}}, []) == []


def test_the_summary_has_every_rate_and_what_came_of_it() -> None:
    said = json.loads(json.dumps(every_ending().to_json()))["capacity"]
    rest = said[0]
    assert (rest["style"], rest["ending"]) == ("rest", "found")
    assert rest["held_per_s"] in SEARCH.rates
    rates = [probe["rate"] for probe in rest["probes"]]
    assert rates == sorted(rates)
    ids = {made.info["id"] for made in every_ending().cells}
    for each in said:
        for probe in each["probes"]:
            assert probe["cell"] in ids
            assert set(probe["outcomes"]) <= {"held", "missed", "generator"}
    # Beyond the timeout a latency has no number.
    assert any(probe["latency_ms"] is None for probe in rest["probes"])


def test_the_first_lines_answer_the_question() -> None:
    first, ceilings, last = answers(every_ending())
    assert first.startswith(
        "99 % within 20 ms and nothing left undone: rest up to 2,263/s, no more"
    )
    for words in (
        "zeromq at least 6,400/s, the highest rate that was asked for",
        "webhook not even 400/s, the lowest rate that was asked for",
        "websocket at least 2,934/s: at 3,064/s the generator was late",
        "grpc-unary between 400/s and 800/s, as far as its trials went",
        "kafka skipped: unavailable",
    ):
        assert words in first
    assert "rest 11,111/s (90 µs each)" in ceilings
    assert "webhook" not in ceilings
    assert "touch or overlap" in last


def test_the_table_has_a_row_a_search() -> None:
    rows = {row.name: row for row in capacity_table(every_ending())}
    assert list(rows) == ["rest", "zeromq", "webhook", "websocket", "grpc-unary", "kafka"]
    held, missed, latency, trials, used, ceiling = rows["rest"].figures
    assert (held, missed, used, ceiling) == ("2,263", "2,363", "90", "11,111")
    assert float(latency) < 20
    assert int(trials) <= SEARCH.most
    assert rows["webhook"].figures[0] == "–"


def test_a_search_beside_other_programs_may_have_ended_too_low() -> None:
    busy = Reason(Code.RIVAL_BUSY, "2 of 2 trials: others took up to 0.90 processors")
    made = searched("rest", 2300)
    told = [
        replace(each, verdict=replace(each.verdict, reasons=(busy,)))
        if each.info["load"]["rate"] == 2363
        else each
        for each in made
    ]
    assert made != told
    quiet, disturbed = of_search(made), of_search(told)
    assert [each.disturbed for each in (*quiet.capacities, *disturbed.capacities)] == [False, True]
    words = (
        "rest up to 2,263/s, no more at 2,363/s (other programs were busy there: it may be more)"
    )
    assert words in answers(disturbed)[0]
    assert words.removeprefix("rest ") == capacity_table(disturbed)[0].said
    assert "other programs" not in answers(quiet)[0]


def test_the_chart_shows_latency_against_rate_and_the_objective() -> None:
    (chart,) = make_charts(every_ending())
    (panel,) = chart.panels
    assert chart.name == "capacity"
    assert panel.level == (20.0, "objective: 20 ms")
    lines = {one.style: one for one in panel.series}
    rest = lines["rest"]
    assert list(rest.x) == sorted(rest.x)
    assert rest.marked is not None
    assert rest.marked[0] == 2263
    assert rest.marked[1] in rest.y
    # The first rate whose percentile was not answered in time ends the line.
    assert rest.censored_at is not None
    assert rest.censored_at > max(map(float, rest.x))
    assert [row.cell.partition(".")[2].partition("-")[0] for row in panel.missing] == [
        "webhook",
        "kafka",
    ]
    assert "objective: 20 ms" in panel.alt
    assert panel.svg.startswith("<svg")


def test_conditions_have_panels_of_their_own() -> None:
    cells = [*searched("rest", 1000), *searched("websocket", 2000)]
    large = [
        replace(
            made,
            info={
                **made.info,
                "id": f"{made.info['id']}.large",
                "condition": {**made.info["condition"], "items": 100, "asked": ["100 items"]},
            },
        )
        for made in searched("rest", 700)
    ]
    made = of_search([*cells, *large])
    (chart,) = make_charts(made)
    assert [panel.title for panel in chart.panels] == [
        "Latency against rate, 3 items",
        "Latency against rate, 100 items",
    ]
    said = answers(made)
    assert said[0].startswith("3 items, 99 % within 20 ms")
    assert said[1].startswith("100 items, 99 % within 20 ms")


def test_page_and_console_are_of_searches() -> None:
    made = every_ending()
    page = render_page(made, make_charts(made))
    assert "What the searches found" in page
    assert "of at most" in page
    ends = {cell.info["load"]["rate"] for cell in _shown(made).cells if "rest" in cell.info["id"]}
    assert ends == {2263, 2363}
    known = of_search(searched("rest", 1000), capacity=None)
    assert "What the searches found" not in render_page(known, make_charts(known))
