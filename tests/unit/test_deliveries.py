"""What was delivered, polled, carried and redone, from samples to a cell's figures."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.analysis.accounts import Counts
from harness.analysis.deliveries import Watched, middle_watched, progress_ms, watched
from harness.analysis.judgement import judge
from harness.analysis.polling import expected_excess_ms, exponential_excess, fixed_excess
from harness.analysis.stats import BATCHES, batch_means, mean_of
from harness.analysis.summary import CellResult, put_together, summarize
from harness.analysis.trial import Seen, TrialResult, summarize_trial
from harness.analysis.verdicts import Code, Status, Verdict
from harness.condition import Condition, PollWay
from harness.results import (
    OUTCOMES,
    Run,
    Samples,
    Sightings,
    sightings_path,
    trial_path,
    write_samples,
    write_sightings,
)
from harness.variant import parse_variant
from tests.unit import summaries

MS = 1_000_000
START = 10**9


def samples(count: int = 8, planned_ms: int = 10, done_ms: int = 4, **columns: Any) -> Samples:
    """Operations one after the other, each done so long after its planned instant."""
    planned = START + np.arange(count, dtype=np.int64) * planned_ms * MS
    usual = {
        "planned": planned,
        "sent": planned + 1000,
        "acked": np.zeros(count, np.int64),
        "processed": planned + (done_ms - 1) * MS,
        "done": planned + done_ms * MS,
        "outcome": np.zeros(count, np.int8),
        "measured": np.ones(count, np.bool_),
        "lane": np.zeros(count, np.int32),
        "meta": {
            "format": 1,
            "window": [START, START + count * planned_ms * MS],
            "health": {"lanes_opened": 1, "failure_details": [], "floor_us": None},
        },
    }
    return Samples(**{**usual, **columns})


def sightings(rows: Sequence[tuple[int, int, float]]) -> Sightings:
    """Who saw which operation's change, so many ms after it happened."""
    operation, subscriber, after = zip(*rows, strict=True) if rows else ((), (), ())
    happened = START + np.array(operation, np.int64) * 10 * MS
    return Sightings(
        operation=np.array(operation, np.int64),
        subscriber=np.array(subscriber, np.int32),
        happened=happened,
        seen=happened + np.array([round(ms * MS) for ms in after], np.int64),
    )


def p50s(found: Watched) -> tuple[float, float, float]:
    """Medians of the first, the middle and the last who knew."""
    return found.first.p50, found.median.p50, found.last.p50


def test_the_first_the_middle_and_the_last_who_knew() -> None:
    rows = [(n, 1000 + s, after) for n in range(8) for s, after in enumerate((5.0, 1.0, 3.0))]
    found = watched(samples(), sightings(rows), 3)
    assert p50s(found) == (1.0, 3.0, 5.0)
    assert found.last.max == 5.0
    assert (found.delivered, found.expected, found.repeated) == (24, 24, 0)


def test_of_an_even_number_the_lower_is_the_middle() -> None:
    rows = [(n, s, 1.0 + s) for n in range(8) for s in range(4)]
    assert p50s(watched(samples(), sightings(rows), 4)) == (1.0, 2.0, 4.0)


def test_a_second_sight_is_a_repeat_and_the_first_counts() -> None:
    rows = [(n, s, after) for n in range(8) for after in (2.0, 9.0) for s in (0, 1)]
    found = watched(samples(), sightings(rows), 2)
    assert p50s(found) == (2.0, 2.0, 2.0)
    assert (found.delivered, found.expected, found.repeated) == (16, 16, 16)


def test_what_some_did_not_see_has_a_first_and_no_last() -> None:
    rows = [(n, s, 1.0) for n in range(8) for s in range(3) if not (n % 2 and s == 2)]
    found = watched(samples(), sightings(rows), 3)
    assert found.first.p50 == found.median.p50 == 1.0
    assert found.last.p50 == 1.0  # half of the changes reached all
    assert math.isinf(found.last.max)
    assert (found.delivered, found.expected) == (20, 24)
    none = watched(samples(), sightings([(n, 0, 1.0) for n in range(8)]), 3)
    assert none.first.p50 == 1.0
    assert math.isinf(none.median.p50)
    assert math.isinf(none.last.p50)


def test_only_what_was_sent_in_the_window_counts() -> None:
    base = samples()
    measured, sent = base.measured.copy(), base.sent.copy()
    measured[:2], sent[2] = False, 0
    rows = [(n, 0, 50.0 if n < 3 else 1.0) for n in range(8)]
    found = watched(replace(base, measured=measured, sent=sent), sightings(rows), 1)
    assert p50s(found) == (1.0, 1.0, 1.0)
    assert (found.delivered, found.expected) == (5, 5)


@pytest.mark.parametrize("nothing", [None, sightings([]), sightings([(99, 0, 1.0)])])
def test_what_nobody_saw_is_beyond_every_bound(nothing: Sightings | None) -> None:
    found = watched(samples(), nothing, 3)
    assert all(map(math.isinf, p50s(found)))
    assert (found.delivered, found.expected, found.repeated) == (0, 24, 0)


seen_rows = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(1, 99).map(float)), max_size=40
)


@settings(max_examples=40)
@given(seen_rows)
def test_deliveries_are_those_of_a_slow_and_simple_count(
    rows: list[tuple[int, int, float]],
) -> None:
    first_sights: dict[tuple[int, int], float] = {}
    for operation, subscriber, after in rows:
        if operation < 8:
            first_sights.setdefault((operation, subscriber), after)
    readers = 4
    found = watched(samples(), sightings(rows), readers)
    assert found.delivered == len(first_sights)
    assert found.repeated == sum(o < 8 for o, *_ in rows) - len(first_sights)
    for rank, marks in ((0, found.first), (1, found.median), (3, found.last)):
        reached = []
        for n in range(8):
            ascending = sorted(after for (o, _), after in first_sights.items() if o == n)
            reached += ascending[rank : rank + 1]
        reached += [math.inf] * (8 - len(reached))
        assert marks.p50 == sorted(reached)[3]
        assert marks.max == max(reached)


def test_a_cell_has_the_middle_of_its_trials_and_the_counts_of_all() -> None:
    trials = [
        watched(samples(), sightings([(n, 0, after) for n in range(8)]), 1)
        for after in (1.0, 9.0, 2.0)
    ]
    found = middle_watched(trials)
    assert found is not None
    assert p50s(found) == (2.0, 2.0, 2.0)
    assert (found.delivered, found.expected) == (24, 24)
    assert middle_watched([]) is None


def test_how_old_progress_was_when_it_was_seen() -> None:
    rows = [(0, 5, 2.0), (0, 5, 1.0), (1, 5, 3.0), (99, 5, 9.0)]
    assert progress_ms(samples(), sightings(rows)).tolist() == [2.0, 1.0, 3.0]
    assert progress_ms(samples(), None).tolist() == []
    warm_up = replace(samples(), measured=np.arange(8) > 0)
    assert progress_ms(warm_up, sightings(rows)).tolist() == [3.0]


@pytest.mark.parametrize(
    ("work", "interval", "excess"),
    [(50, 20, 10), (60, 20, 0), (1, 100, 99), (0.3, 0.1, 0), (0.25, 0.1, 0.05), (61, 20, 19)],
)
def test_work_of_one_length_is_seen_at_the_next_point_of_the_grid(
    work: float, interval: float, excess: float
) -> None:
    assert fixed_excess(work, interval) == pytest.approx(excess, abs=1e-9)


@pytest.mark.parametrize(("mean", "interval"), [(50.0, 20.0), (5.0, 100.0), (2000.0, 250.0)])
def test_the_mean_excess_of_exponential_work_is_that_of_its_sum(
    mean: float, interval: float
) -> None:
    # Poll number k is the last with the probability that the work ends in the interval before it.
    polls = np.arange(1, 20_000)
    last = np.exp(-interval * (polls - 1) / mean) - np.exp(-interval * polls / mean)
    assert last.sum() == pytest.approx(1)
    summed = float((polls * interval * last).sum()) - mean
    assert exponential_excess(mean, interval) == pytest.approx(summed)
    # Short intervals are missed by half on average.
    assert exponential_excess(mean, mean / 1000) == pytest.approx(mean / 2000, rel=0.01)


def test_theory_is_silent_where_it_has_no_formula() -> None:
    way = PollWay("fixed", 20.0, 2000.0)
    worked = Condition(work_time="fixed", work_mean_ms=50.0, poll=way)
    exponential = replace(worked, work_time="exponential")
    assert expected_excess_ms(worked.to_json()) == pytest.approx(10)
    assert expected_excess_ms(exponential.to_json()) == pytest.approx(exponential_excess(50, 20))
    for silent in (
        Condition(poll=way),
        replace(worked, poll=None),
        replace(worked, poll=PollWay("long", 0.0, 2000.0)),
        replace(worked, poll=PollWay("backoff", 20.0, 2000.0)),
    ):
        assert expected_excess_ms(silent.to_json()) is None


def test_a_mean_with_its_interval_by_batch_means() -> None:
    # Two values a batch: the batches' means are 1 to 10, whose deviation is 3.02765.
    trial = np.repeat(np.arange(1.0, 11.0), 2)
    mean = mean_of([batch_means(trial)])
    assert mean is not None
    half = 2.262 * 3.02765 / math.sqrt(10)
    assert mean.value == 5.5
    assert mean.low == pytest.approx(5.5 - half, rel=0.005)
    assert mean.high == pytest.approx(5.5 + half, rel=0.005)
    assert mean.count == 20
    two = mean_of([batch_means(trial)] * 2)
    assert two is not None
    both = np.concatenate([np.arange(1.0, 11.0)] * 2)
    half = 2.093 * float(both.std(ddof=1)) / math.sqrt(20)
    assert two.high == pytest.approx(5.5 + half, rel=0.005)


def test_a_mean_that_is_too_small_for_an_interval_says_so() -> None:
    assert mean_of([]) is None
    assert mean_of([batch_means(np.array([]))]) is None
    small = mean_of([batch_means(np.ones(2 * BATCHES - 1))])
    assert small is not None
    assert (small.value, small.count) == (1.0, 19)
    assert small.to_json() == {"value": 1.0, "low": None, "high": None, "count": 19}
    # A short trial takes part in the mean, and makes no batches.
    mixed = mean_of([batch_means(np.ones(2 * BATCHES)), batch_means(np.full(5, 6.0))])
    assert mixed is not None
    assert (mixed.value, mixed.low, mixed.high) == (2.0, 2.0, 2.0)


def judged(
    trials: Sequence[TrialResult],
    condition: Condition = summaries.USUAL,
    events: Sequence[dict[str, Any]] = (),
    skipped: str = "",
) -> Verdict:
    """What is concluded from trials."""
    info = summaries.info_of(parse_variant("rest"), summaries.OPEN[0], condition, skipped=skipped)
    run = Run(
        Path(),
        {"scenario": {"repeats": len(trials)}, "placement": {"shared": False}},
        {},
        [],
        [{**event, "cell": info["id"]} for event in events],
    )
    return judge(run, info, trials, sum((t.counts for t in trials), Counts()))


def codes(verdict: Verdict) -> list[str]:
    """The reasons of a verdict."""
    return [reason.code.value for reason in verdict.reasons]


def three(**lost: int) -> list[TrialResult]:
    """Usual trials."""
    return [summaries.trial("rest", summaries.OPEN[0], n, **lost) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("floors_us", "code", "status"),
    [
        ((900.0, 900.0, 900.0), [], Status.VALID),
        ((1100.0, 900.0, 900.0), ["unstable"], Status.QUALIFIED),
        ((1100.0, 1100.0, 900.0), ["generator_bound"] * 2, Status.INVALID),
    ],
)
def test_a_cell_whose_receiver_needs_as_long_itself_says_nothing_of_its_style(
    floors_us: Sequence[float], code: list[str], status: Status
) -> None:
    trials = [
        summaries.watching(each, 2.0, 100, floor_us)
        for each, floor_us in zip(three(), floors_us, strict=True)
    ]
    verdict = judged(trials)
    assert codes(verdict) == code
    assert verdict.status is status
    if code:
        assert "a bare epoll loop needs 1.10 ms of 2.00 ms" in verdict.reasons[0].detail


def test_a_floor_beside_nothing_seen_concludes_nothing() -> None:
    unseen = [summaries.watching(each, math.inf, 100, 1e9) for each in three()]
    assert codes(judged(unseen)) == []
    assert codes(judged([replace(each, watched=None) for each in unseen])) == []
    old = [replace(t, health={"lanes_opened": 4, "failure_details": []}) for t in three()]
    assert codes(judged(old)) == []


def test_what_a_gateway_cuts_is_a_result() -> None:
    behind = Condition(cut_idle_s=1.0)
    some, all_of_it = three(failed=9), three(failed=800)
    for trials in (some, all_of_it):
        verdict = judged(trials, behind)
        assert codes(verdict) == ["cut"]
        assert verdict.status is Status.QUALIFIED
    assert judged(some, behind).reasons[0].detail.startswith("27 of 2400 operations")
    assert codes(judged(some)) == ["disconnected"]
    assert codes(judged(all_of_it)) == ["disconnected", "no_completions"]
    assert judged(all_of_it).status is Status.FAILED


def test_a_gateway_excuses_nothing_but_what_it_cuts() -> None:
    wrong = [replace(each, failures={"protocol": 9}) for each in three(failed=9)]
    verdict = judged(wrong, Condition(cut_idle_s=1.0))
    assert codes(verdict) == ["protocol"]
    assert verdict.status is Status.FAILED
    buried = [replace(each, stopped_answering=True) for each in three(timed_out=9)]
    assert judged(buried, Condition(cut_idle_s=1.0)).status is Status.FAILED


def test_what_a_style_cannot_do_is_skipped_with_its_reason() -> None:
    verdict = judged([], skipped="rest has no way to watch")
    assert [(r.code, r.detail) for r in verdict.reasons] == [
        (Code.NOT_OFFERED, "rest has no way to watch")
    ]
    assert verdict.status is Status.SKIPPED
    assert codes(judged([])) == ["not_run"]


def put(trials: Sequence[TrialResult], condition: Condition = summaries.USUAL) -> CellResult:
    """A cell from trials."""
    return summaries.cell("rest", summaries.OPEN[0], (), trials, condition)


def test_bytes_are_shared_out_among_what_was_done_meanwhile() -> None:
    wire = {"bytes_to_server": 300, "bytes_from_server": 600, "connections": 4, "closed": 0}
    base = three()[0]
    counted = replace(base, seen=Seen(wire={**wire, "from": 10, "to": 25}), done_on_wire=3)
    cell = put([counted])
    assert cell.bytes_per_op == (100.0, 200.0)
    assert cell.connections == 4
    wire |= {"from": 0, "to": 30, "connections": 9}
    more = replace(base, seen=Seen(wire=wire), done_on_wire=5)
    two = put([counted, more, base])
    assert two.bytes_per_op == (600 / 8, 1200 / 8)
    assert two.connections == 9
    shown = two.to_json()
    assert (shown["bytes_to_server_per_op"], shown["bytes_from_server_per_op"]) == (75.0, 150.0)


def test_what_was_done_meanwhile_is_counted_from_the_instant_on_and_up_to_the_other() -> None:
    """Eight operations, done 4 ms after each ten; one of them in the warm-up, one timed out."""
    outcome = np.zeros(8, np.int8)
    outcome[6] = OUTCOMES.index("timeout")
    measured = np.arange(8) > 0
    done = [START + (10 * n + 4) * MS for n in range(8)]
    wire = {"from": done[0], "to": done[3]}
    seen = Seen(wire=wire, counted=(done[4], done[7] + 1))
    trial = summarize_trial(samples(outcome=outcome, measured=measured), 1, 2.0, seen=seen)
    assert trial.done_on_wire == 3
    assert trial.done_while_counted == 3
    assert trial.answers.tolist() == [1, 1, 0, 1, 1, 1, 1, 0, 0, 1]
    unseen = summarize_trial(samples(), 1, 2.0)
    assert (unseen.done_on_wire, unseen.done_while_counted) == (0, 0)


def test_bytes_that_were_not_all_counted_are_not_told() -> None:
    trials = [summaries.with_traffic(each, 100, 200) for each in three()]
    assert put(trials).bytes_per_op == pytest.approx((100, 200))
    assert put(trials, Condition(kept=False)).bytes_per_op is None
    one_closed = [*trials[:2], summaries.with_traffic(trials[2], 100, 200, closed=1)]
    assert put(one_closed).bytes_per_op is None
    assert put(one_closed).connections == 4
    assert put(three()).bytes_per_op is None
    assert put(three()).connections is None
    nothing_done = [replace(each, done_on_wire=0) for each in trials]
    assert put(nothing_done).bytes_per_op is None
    assert put(nothing_done).to_json()["bytes_to_server_per_op"] is None


def test_how_often_the_work_of_an_order_was_done() -> None:
    first, second, third = three()
    told = [
        replace(each, sent_in_all=1000, seen=Seen(orders_worked=worked))
        for each, worked in ((first, 1000), (second, 1500))
    ]
    assert put(told).worked_per_order == 1.25
    # A trial whose server did not tell stands on neither side.
    assert put([*told, replace(third, sent_in_all=9)]).worked_per_order == 1.25
    assert put([third]).worked_per_order is None
    assert put([replace(told[0], sent_in_all=0)]).worked_per_order is None
    assert put([replace(told[0], seen=Seen(orders_worked=0))]).worked_per_order == 0.0


def test_the_memory_of_a_server_is_the_middle_of_its_trials() -> None:
    def seen(before: int, start: int, end: int) -> Seen:
        return Seen(memory={"before_open": before, "window_start": start, "window_end": end})

    trials = [
        replace(each, seen=one)
        for each, one in zip(
            three(), (seen(100, 300, 301), seen(100, 500, 520), seen(100, 400, 450)), strict=True
        )
    ]
    assert put(trials).server_memory == {
        "before_open": 100.0, "window_start": 400.0, "window_end": 450.0,
    }  # fmt: skip
    assert put(trials, Condition(subscribers=10)).server_memory["per_subscriber"] == 30
    # A server that this program did not start has no memory here.
    assert put([replace(three()[0], seen=Seen(memory={"window_end": 5}))]).server_memory == {}


def test_steps_are_means_over_what_was_done_and_medians_over_trials() -> None:
    outcome = np.zeros(8, np.int8)
    outcome[4:] = OUTCOMES.index("timeout")
    notes = {"polls": np.array([1, 2, 3, 2, 50, 50, 50, 50], np.int32)}
    trial = summarize_trial(samples(outcome=outcome, notes=notes), 1, 2.0)
    assert trial.notes == {"polls": 2.0}
    never = summarize_trial(samples(outcome=np.full(8, 2, np.int8), notes=notes), 1, 2.0)
    assert never.notes == {"polls": 0.0}
    other = replace(trial, notes={"polls": 4.0, "retries": 0.5})
    assert put([trial, other, other]).notes == {"polls": 4.0, "retries": 0.5}


def test_a_result_is_late_from_the_end_of_the_work_where_the_server_told_it() -> None:
    told = samples()
    told.processed[:4] = 0
    trial = summarize_trial(told, 1, 2.0)
    assert (trial.excess_ms.count, trial.excess_ms.total) == (4, 4.0)
    assert trial.processed.p50 == 3.0
    assert trial.latency.p50 == 4.0
    silent = summarize_trial(samples(processed=np.zeros(8, np.int64)), 1, 2.0)
    assert put([silent]).excess is None
    assert math.isinf(silent.processed.p50)


def test_an_acknowledgement_is_no_completion() -> None:
    base = samples()
    early = replace(
        base,
        acked=base.sent + MS // 2,
        outcome=np.full(8, OUTCOMES.index("timeout"), np.int8),
        done=np.zeros(8, np.int64),
    )
    trial = summarize_trial(early, 1, 2.0)
    assert trial.ack is not None
    assert trial.ack.p50 == pytest.approx(0.501)
    assert trial.counts.done == trial.completed_in_window == 0
    assert math.isinf(trial.latency.p50)
    assert math.isinf(trial.processed.p50)
    assert summarize_trial(base, 1, 2.0).ack is None


def test_what_the_harness_saw_reaches_the_cell(tmp_path: Path) -> None:
    condition = Condition(subscribers=3, stalled=1)
    info = summaries.info_of(
        parse_variant("websocket"), summaries.OPEN[0], condition, operation="watch"
    )
    path = trial_path(tmp_path, info["id"], 1)
    base = samples()
    meta = {**base.meta, "health": {**base.meta["health"], "floor_us": {"last_us": 100.0}}}
    write_samples(path, replace(base, meta=meta, notes={"polls": np.full(8, 2, np.int32)}))
    rows = [(n, s, 1.0 + s) for n in range(8) for s in (0, 1)]
    write_sightings(sightings_path(path), sightings(rows))
    mine = {"cell": info["id"], "trial": 1}
    wire = {
        "from": START, "to": START + 80 * MS, "bytes_to_server": 80, "bytes_from_server": 800,
        "connections": 5, "closed": 0,
    }  # fmt: skip
    events = [
        {**mine, "kind": "wire", "detail": json.dumps(wire)},
        {**mine, "kind": "server_stopped", "detail": json.dumps({"orders_worked": 16})},
        {"cell": None, "trial": None, "kind": "interrupted", "detail": ""},
    ]
    telemetry = [
        {**mine, "at": cpu, "role": role, "mark": mark, "cpu_ns": cpu, "rss_bytes": 1000 + cpu}
        for role in ("generator", "server", "gateway", "harness")
        for mark, cpu in (("before_open", 0), ("", 5), ("window_start", 300), ("window_end", 8300))
    ]
    run = Run(
        tmp_path,
        {
            "run": "r",
            "cells": [info],
            "scenario": {"repeats": 1, "timeout_s": 2.0},
            "placement": {"shared": False},
        },
        {info["id"]: [path]},
        telemetry,
        events,
    )
    (cell,) = summarize(run).cells
    assert cell.watched is not None
    assert p50s(cell.watched) == (1.0, 1.0, 2.0)  # by two who read
    assert cell.bytes_per_op == (10.0, 100.0)
    assert cell.connections == 5
    assert cell.worked_per_order == 2.0
    assert cell.notes == {"polls": 2.0}
    others = {"broker": None, "rival": None}
    assert cell.cpu_us_per_op == {"generator": 1.0, "server": 1.0, "gateway": 1.0, **others}
    assert cell.server_memory == {
        "before_open": 1000.0, "window_start": 1300.0, "window_end": 9300.0, "per_subscriber": 100,
    }  # fmt: skip
    shown = json.loads(json.dumps(cell.to_json(), allow_nan=False))
    assert shown["watched"]["last_ms"]["p50"] == 2.0
    assert (shown["watched"]["delivered"], shown["watched"]["expected"]) == (16, 16)
    assert shown["gateway_cpu_us_per_op"] == 1.0
    assert shown["worked_per_order"] == 2.0
    assert shown["notes_per_op"] == {"polls": 2.0}
    assert shown["condition"]["stalled"] == 1


def test_a_cell_without_any_of_it_is_json_all_the_same() -> None:
    for cell in (put([]), put(three())):
        shown = json.loads(json.dumps(cell.to_json(), allow_nan=False))
        for name in ("watched", "progress_ms", "connections", "worked_per_order"):
            assert shown[name] is None
        assert shown["notes_per_op"] == {}
        assert shown["server_memory_bytes"] == {}
    assert put_together(put([]).info, [], Verdict()).excess is None


@given(st.floats(0.5, 500.0), st.floats(0.5, 500.0), st.floats(0.0, 5.0), st.integers(0, 2**32 - 1))
@settings(max_examples=20, derandomize=True)
def test_half_of_the_round_trip_comes_before_the_question(
    mean: float, interval: float, round_trip: float, seed: int
) -> None:
    """By following each order: its question n is at the server at n i + r / 2."""
    assume(0.02 < interval / mean < 50)
    work = np.random.default_rng(seed).exponential(mean, 4000)
    polls = np.maximum(1, np.ceil((work - round_trip / 2) / interval))
    late = polls * interval + round_trip - work
    spread = 5 * late.std() / math.sqrt(len(work))
    assert abs(late.mean() - exponential_excess(mean, interval, round_trip)) <= spread + 1e-9
    one = fixed_excess(work[0], interval, round_trip)
    assert one == pytest.approx(late[0], abs=1e-6 * max(1.0, late[0]) + interval * 1e-6)
