"""What spoils, marks or leaves a cell's figures, rule by rule (issue 6.3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.accounts import Counts
from harness.analysis.judgement import judge
from harness.analysis.stats import batch_percentiles, distribution
from harness.analysis.trial import Seen, TrialResult, summarize_trial
from harness.analysis.verdicts import Code, Status, Verdict
from harness.condition import Condition
from harness.plan import LoadPoint
from harness.results import DONE, DROPPED, Run, Samples
from harness.variant import parse_variant
from tests.unit import summaries
from tests.unit.noise import Floats

MS = 1_000_000
RATE = 1_000
COUNT = 4_000
WINDOW = (10**9, 10**9 + COUNT * MS)
LOAD = LoadPoint("constant", rate=float(RATE))
CLOSED = LoadPoint("closed", users=16)


def samples(
    latency_ms: Floats | float = 2.0, lag_ms: Floats | float = 0.1, dropped: int = 0
) -> Samples:
    """4 s at 1,000/s, every so manieth operation dropped."""
    planned = WINDOW[0] + np.arange(COUNT, dtype=np.int64) * MS
    sent = planned + np.round(np.broadcast_to(lag_ms, COUNT) * MS).astype(np.int64)
    done = planned + np.round(np.broadcast_to(latency_ms, COUNT) * MS).astype(np.int64)
    outcome = np.full(COUNT, DONE, np.int8)
    if dropped:
        outcome[::dropped], sent[::dropped], done[::dropped] = DROPPED, 0, 0
    return Samples(
        planned=planned,
        sent=sent,
        acked=np.zeros(COUNT, np.int64),
        processed=np.where(outcome == DONE, done - 1, 0),
        done=done,
        outcome=outcome,
        measured=np.ones(COUNT, np.bool_),
        lane=np.zeros(COUNT, np.int32),
        meta={"window": WINDOW, "health": {"lanes_opened": 4, "failure_details": []}},
    )


def result(
    found: Samples | None = None,
    number: int = 1,
    loop_ms: tuple[float, float] = (0.0, 0.1),
    seen: Seen | None = None,
    **health: Any,
) -> TrialResult:
    """A trial's own; `loop_ms` is the loop's lag at p50 and p99."""
    trial = summarize_trial(found or samples(), number, 2.0, seen=seen, steady=True)
    lag = {"p50": loop_ms[0] * 1e3, "p99": loop_ms[1] * 1e3, "max": loop_ms[1] * 1e3}
    return replace(trial, health={**trial.health, "loop_lag_us": lag, **health})


def judged(
    trials: Sequence[TrialResult],
    load: LoadPoint = LOAD,
    condition: Condition | None = None,
    variant: str = "rest",
    run: Mapping[str, Any] | None = None,
    events: Sequence[str] = (),
) -> Verdict:
    """The verdict on a cell of these trials; `run` adds to run.json, `events` are kinds."""
    info = summaries.info_of(parse_variant(variant), load, condition or Condition())
    said: dict[str, Any] = {"scenario": {"repeats": len(trials)}, "placement": {"shared": False}}
    counts = sum((trial.counts for trial in trials), Counts())
    told = [{"cell": info["id"], "trial": 1, "kind": kind, "detail": ""} for kind in events]
    return judge(Run(Path(), {**said, **(run or {})}, {}, [], told), info, trials, counts)


def codes(verdict: Verdict) -> set[str]:
    """The kinds of its reasons."""
    return {reason.code.value for reason in verdict.reasons}


def detail(verdict: Verdict, code: Code) -> str:
    """The first reason of a kind."""
    return next(reason.detail for reason in verdict.reasons if reason.code is code)


def busy(share: float, other: float | None = None, **roles: float) -> Seen:
    """What was seen of a generator, and others, that used so much of a processor."""
    used = {"generator": share, **roles}
    return Seen(cpu_ns={role: round(each * 4e9) for role, each in used.items()}, other_busy=other)


def test_nothing_speaks_against_a_trial_as_it_should_be() -> None:
    assert judged([result(number=n, seen=busy(0.3, 0.02)) for n in (1, 2, 3)]) == Verdict()


def test_a_trial_that_was_stopped_in_its_warm_up_says_nothing_of_the_service() -> None:
    found = samples()
    in_warm_up = replace(found, measured=np.zeros(COUNT, np.bool_))
    assert codes(judged([result(in_warm_up)])) >= {"no_completions"}
    verdict = judged([result(in_warm_up)], events=["trial_stopped"])
    assert codes(verdict) == {"not_run"}
    assert verdict.status is Status.SKIPPED
    assert codes(judged([result(found)], events=["trial_stopped"])) == set()


def test_lag_matters_by_what_it_does_to_a_percentile() -> None:
    # Two hundredths of the operations were late, and took as long as that.
    late = np.where(np.arange(COUNT) % 50 == 0, 30.0, 0.1)
    by_lag = judged([result(samples(late + 1.0, late))])
    assert codes(by_lag) == {"generator_bound"}
    assert by_lag.status is Status.INVALID
    said = "p99 of the latency 31.0 ms, send lag 30.0 ms"
    assert said in by_lag.reasons[0].detail
    # The same lag in a latency that is long by itself, and one that few operations met.
    assert judged([result(samples(late + 40.0, late))]) == Verdict()
    few = np.where(np.arange(COUNT) % 200 == 0, 30.0, 0.1)
    assert judged([result(samples(few + 1.0, few))]) == Verdict()


def test_lag_in_the_middle_counts_too() -> None:
    found = judged([result(samples(np.where(np.arange(COUNT) % 50 == 0, 90.0, 2.5), 2.0))])
    assert "p50 of the latency 2.5 ms, added by the generator 2.0 ms" in found.reasons[0].detail


def test_a_generator_that_is_held_up_is_told_from_a_service_that_is() -> None:
    draw = np.random.default_rng(1)

    def stalls(longest_ms: float) -> Floats:
        """One operation in fifty waits."""
        waits = draw.uniform(0.0, longest_ms, COUNT)
        return np.where(draw.random(COUNT) < 0.02, waits, 0.0)

    sending, answer, serving = 0.1 + stalls(10.0), stalls(10.0), stalls(30.0)
    alone = judged([result(samples(sending + answer + 0.3, sending))])
    assert codes(alone) == {"generator_bound"}
    both = judged([result(samples(sending + answer + serving + 0.3, sending))])
    assert both == Verdict()
    # Held up all of the time it says little of the service even so.
    always = draw.uniform(0.1, 10.0, (3, COUNT))
    found = judged([result(samples(always.sum(axis=0), always[0]))])
    assert "p50 of the latency" in found.reasons[0].detail


def test_a_loop_that_is_late_sees_answers_late() -> None:
    verdict = judged([result(samples(5.0), loop_ms=(0.1, 4.0))])
    assert codes(verdict) == {"generator_bound"}
    assert "p99 of the latency 5.0 ms, lag of its loop 4.0 ms" in verdict.reasons[0].detail
    assert judged([result(samples(5.0), loop_ms=(0.1, 2.4))]) == Verdict()
    assert judged([result(loop_lag_us=None)]) == Verdict()


def test_drops_are_the_services_unless_the_generator_was_late_or_busy() -> None:
    drops = samples(500.0, dropped=10)
    overloaded = judged([result(drops, seen=busy(0.5))])
    assert codes(overloaded) == {"overloaded"}
    assert overloaded.status is Status.QUALIFIED
    assert codes(judged([result(drops, seen=busy(0.9))])) == {"generator_bound"}
    assert codes(judged([result(drops, loop_ms=(0.1, 400.0))])) == {"generator_bound"}
    # Busy without dropping: it kept up.
    assert judged([result(samples(500.0), seen=busy(0.9))]) == Verdict()


def test_a_closed_loop_that_its_client_limits_is_told_from_one_that_was_held_up() -> None:
    limited = judged([result(seen=busy(0.95), loop_ms=(1.5, 1.9))], CLOSED)
    assert codes(limited) == {"client_limited"}
    assert limited.status is Status.QUALIFIED
    held_up = judged([result(seen=busy(0.2), loop_ms=(0.1, 1.9))], CLOSED)
    assert codes(held_up) == {"generator_bound"}


def test_where_there_is_no_service_the_generator_is_what_is_measured() -> None:
    own = result(samples(0.2, 0.15), loop_ms=(0.1, 0.2), seen=busy(0.9))
    assert judged([own], variant="noop") == Verdict()
    beyond = result(samples(0.2, 0.15, dropped=10), seen=busy(0.9))
    assert codes(judged([beyond], variant="noop")) == {"generator_bound"}


def test_a_minority_that_was_late_is_left_out() -> None:
    trials = [result(number=n, loop_ms=(0.1, 1.9 if n == 1 else 0.1)) for n in (1, 2, 3)]
    verdict = judged(trials)
    assert codes(verdict) == {"unstable"}
    assert verdict.status is Status.QUALIFIED
    assert detail(verdict, Code.UNSTABLE).startswith("trial 1: p99 of the latency 2.0 ms")


def test_a_schedule_without_the_asked_rate_is_not_what_was_asked_for() -> None:
    faster = LoadPoint("constant", rate=1_100.0)
    verdict = judged([result()], faster)
    assert codes(verdict) == {"rate_not_reached"}
    assert verdict.status is Status.INVALID
    assert "4000 operations were planned where the rate asks for 4400" in verdict.reasons[0].detail
    # A phase may cost one; chance may cost a Poisson schedule some hundred of 4,000.
    assert judged([result()], LoadPoint("constant", rate=1_000.2)) == Verdict()
    assert judged([result()], LoadPoint("poisson", rate=1_050.0)) == Verdict()
    assert codes(judged([result()], LoadPoint("poisson", rate=1_100.0))) == {"rate_not_reached"}
    burst = LoadPoint("burst", rate=900.0, burst_size=100, every_s=1.0)
    assert judged([result()], burst) == Verdict()
    assert codes(judged([result()], replace(burst, rate=800.0))) == {"rate_not_reached"}


@pytest.mark.parametrize(("share", "expected"), [(0.005, set()), (0.02, {"rate_not_reached"})])
def test_what_is_sent_after_the_window_was_not_sent_at_the_rate(
    share: float, expected: set[str]
) -> None:
    # It falls behind evenly, while the service takes long enough for that to be a small part.
    behind = np.linspace(0.1, 4_000 * share, COUNT)
    trial = result(samples(behind + 1_000.0, behind))
    verdict = judged([trial])
    assert codes(verdict) == expected
    if expected:
        assert f"{trial.sent_in_window} of 4000 operations" in verdict.reasons[0].detail
    assert judged([replace(trial, sent_in_window=0)], CLOSED).status is not Status.INVALID


def with_instant(column: str, row: int, at: int) -> TrialResult:
    """A trial of which one instant is another."""
    found = samples()
    getattr(found, column)[row] = at
    return result(found)


@pytest.mark.parametrize(
    ("column", "at", "said"),
    [
        ("sent", WINDOW[0] - 5, "sent before they were planned"),
        ("done", WINDOW[0] + 5, "done before they were sent"),
        ("acked", WINDOW[0] + 5, "acknowledged before they were sent"),
        ("processed", WINDOW[0] + 5, "processed before they were sent or after they were done"),
        ("processed", WINDOW[1], "processed before they were sent or after they were done"),
    ],
)
def test_instants_that_cannot_be(column: str, at: int, said: str) -> None:
    verdict = judged([with_instant(column, 0, at)])
    assert codes(verdict) == {"implausible"}
    assert verdict.status is Status.INVALID
    assert f"1 operations {said}" in verdict.reasons[0].detail


def test_a_clock_of_another_machine_is_not_judged() -> None:
    elsewhere = with_instant("processed", 0, WINDOW[0] + 5)
    assert judged([elsewhere], run={"targets": {"rest": "http://elsewhere"}}) == Verdict()


def test_an_answer_before_the_work_can_be_done_cannot_be() -> None:
    worked = Condition(work_time="fixed", work_mean_ms=50.0)
    verdict = judged([result(samples(40.0))], condition=worked)
    assert codes(verdict) == {"implausible"}
    assert "39.90 ms from sent to done where the work alone takes 50" in verdict.reasons[0].detail
    # Timers count whole milliseconds.
    assert judged([result(samples(49.0))], condition=worked) == Verdict()
    drawn = replace(worked, work_time="exponential")
    assert judged([result(samples(40.0))], condition=drawn) == Verdict()
    assert judged([result(samples(40.0))], condition=worked, run={"targets": {"rest": "x"}}) == (
        Verdict()
    )


@pytest.mark.parametrize(
    ("opened", "expected"),
    [(3, {"implausible"}), (4, set()), (1024, set()), (1025, {"implausible"})],
)
def test_lanes_are_as_many_as_asked(opened: int, expected: set[str]) -> None:
    assert codes(judged([result(lanes_opened=opened)])) == expected


def test_lanes_that_are_not_kept_are_one_for_each_operation() -> None:
    assert judged([result(lanes_opened=COUNT)], condition=Condition(kept=False)) == Verdict()
    assert codes(judged([result(lanes_opened=17)], CLOSED)) == {"implausible"}


@pytest.mark.parametrize(
    ("held", "style", "expected"),
    [
        (4, "rest", set()),
        (9, "rest", set()),
        (1, "grpc-unary", {"implausible"}),
        (8, "sse", set()),
        (4, "sse", {"implausible"}),
    ],
)
def test_the_kernel_must_have_seen_what_was_opened(
    held: int, style: str, expected: set[str]
) -> None:
    seen = Seen(cpu_ns={"generator": 1}, wire={"from": 0, "to": 1, "connections": held})
    assert codes(judged([result(seen=seen)], variant=style)) == expected
    cut = judged([result(seen=seen)], variant=style, condition=Condition(cut_idle_s=1.0))
    assert "implausible" not in codes(cut)
    at_broker = Seen(
        cpu_ns={"generator": 1, "broker": 1}, wire={"from": 0, "to": 1, "connections": 2}
    )
    assert judged([result(seen=at_broker)], variant="rest") == Verdict()


def varied(p50: float, p99: float, spread: float = 0.05, number: int = 1) -> TrialResult:
    """A trial of which every fiftieth operation took long."""
    draw = np.random.default_rng(number)
    body = np.where(np.arange(COUNT) % 50 == 0, p99, p50)
    return result(samples(body * np.exp(spread * draw.standard_normal(COUNT))), number)


@pytest.mark.parametrize(
    ("p50s", "p99s", "said"),
    [
        ((1.0, 1.0, 1.5), (9.0, 9.0, 12.0), ""),
        ((1.0, 1.1, 2.4), (9.0, 9.0, 9.0), "trial 3: p50 2.40 ms, of all trials 1.10 ms"),
        ((0.4, 1.0, 1.1), (9.0, 9.0, 9.0), "trial 1: p50 0.40 ms, of all trials 1.00 ms"),
        ((1.0, 1.0, 1.0), (9.0, 9.0, 30.0), "trial 3: p99"),
        ((1.0, 1.0, 1.0, 1.0, 3.0), (9.0,) * 5, ""),
        ((1.0, 1.0, 1.0, 3.0, 3.0), (9.0,) * 5, "trial 4: p50"),
    ],
)
def test_trials_that_disagree_are_unstable(
    p50s: Sequence[float], p99s: Sequence[float], said: str
) -> None:
    trials = [varied(*each, number=n) for n, each in enumerate(zip(p50s, p99s, strict=True), 1)]
    verdict = judged(trials)
    assert codes(verdict) == ({"unstable"} if said else set())
    if said:
        assert said.partition(" ms")[0][:-1] in verdict.reasons[0].detail


def test_a_trial_that_is_unsure_of_itself_disagrees_with_none() -> None:
    def with_batches(number: int, median: float, batches: Sequence[float]) -> TrialResult:
        trial = result(number=number)
        own = replace(trial.latency, p50=median)
        return replace(trial, latency=own, latency_batches={"p50": np.array(batches)})

    calm = [with_batches(n, 1.0, [1.0, 1.1] * 5) for n in (1, 2)]
    sure = with_batches(3, 2.2, [2.1, 2.3] * 5)
    unsure = with_batches(3, 2.2, [0.7, 6.0] * 5)
    assert "unstable" in codes(judged([*calm, sure]))
    assert "unstable" not in codes(judged([*calm, unsure]))


def test_a_tail_that_only_some_trials_censor_is_unstable() -> None:
    trials = [result(number=1), result(number=2), result(samples(dropped=20), number=3)]
    verdict = judged(trials)
    assert codes(verdict) == {"overloaded", "unstable"}
    assert "trial 3: p99 beyond the timeout" in detail(verdict, Code.UNSTABLE)


def drifting(to: float, number: int) -> TrialResult:
    """A trial whose latency grows to so many times what it was."""
    draw = np.random.default_rng(number)
    grown = 2.0 * to ** (np.arange(COUNT) / COUNT)
    return result(samples(grown * np.exp(0.2 * draw.standard_normal(COUNT))), number)


def test_a_drift_is_said_once_and_not_as_a_cold_start() -> None:
    up = judged([drifting(3.0, n) for n in (1, 2, 3)])
    assert codes(up) == {"not_stationary"}
    assert up.status is Status.QUALIFIED
    assert "times that at its start, in 3 trials" in up.reasons[0].detail
    # What falls is slower at first, too: one cause, one reason.
    assert codes(judged([drifting(1 / 3, n) for n in (1, 2, 3)])) == {"not_stationary"}
    place = np.arange(COUNT) / COUNT
    settling = [result(samples(2.0 + 6 * np.exp(-place / 0.06)), n) for n in (1, 2, 3)]
    assert codes(judged(settling)) == {"warm_up"}
    assert judged([drifting(1.1, n) for n in (1, 2, 3)]) == Verdict()


def test_a_drift_is_no_fault_of_loads_that_change_or_that_are_broken() -> None:
    trials = [drifting(3.0, n) for n in (1, 2, 3)]
    assert "not_stationary" not in codes(judged(trials, CLOSED))
    burst = LoadPoint("burst", rate=900.0, burst_size=100, every_s=1.0)
    assert "not_stationary" not in codes(judged(trials, burst))
    broken = {"scenario": {"repeats": 3, "fault": {"kill": "leader"}}}
    assert "not_stationary" not in codes(judged(trials, run=broken))
    assert "not_stationary" in codes(judged(trials, LoadPoint("poisson", rate=1_000.0)))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((0.02, 0.03, 0.09), set()),
        ((0.3, 0.02, 0.02), set()),
        ((0.3, 0.2, 0.02), {"rival_busy"}),
        ((None, None, None), set()),
    ],
)
def test_others_at_work_are_said(others: Sequence[float | None], expected: set[str]) -> None:
    trials = [result(number=n, seen=busy(0.3, other)) for n, other in enumerate(others, 1)]
    verdict = judged(trials)
    assert codes(verdict) == expected
    if expected:
        assert verdict.status is Status.QUALIFIED
        assert (
            detail(verdict, Code.RIVAL_BUSY) == "2 of 3 trials: others took up to 0.30 processors"
        )


def test_a_rival_that_should_stand_still_is_one_and_a_users_own_service_is_not() -> None:
    trial = result(seen=busy(0.3, rival=0.2))
    assert codes(judged([trial])) == {"rival_busy"}
    beside = result(seen=busy(0.3, 0.9))
    assert judged([beside], run={"targets": {"rest": "http://127.0.0.1:1"}}) == Verdict()
    assert judged([beside], run={"parts": {"kafka": {"origin": "address"}}}) == Verdict()
    assert codes(judged([beside], run={"parts": {"kafka": {"origin": "cache"}}})) == {"rival_busy"}


def test_a_server_that_stands_still_is_a_result_and_a_generator_that_does_is_not() -> None:
    # A second without an answer in the middle, in all else alike.
    at = np.arange(COUNT)
    wait = np.where((at >= 1500) & (at < 2500), 2500 - at, 0).astype(float)
    server = judged([result(samples(2.0 + wait))])
    assert server.status in (Status.VALID, Status.QUALIFIED)
    assert not codes(server) & {"generator_bound", "stopped_answering", "rate_not_reached"}
    generator = judged([result(samples(2.0 + wait, 0.1 + wait), loop_ms=(0.0, 950.0))])
    assert codes(generator) >= {"generator_bound"}
    assert generator.status is Status.INVALID


def test_a_frozen_generator_with_a_small_window_drops_by_itself() -> None:
    # What was due meanwhile found the window full of what was sent at the thaw.
    at = np.arange(COUNT)
    wait = np.where((at >= 1500) & (at < 2500), 2500 - at, 0).astype(float)
    found = samples(2.0 + wait, 0.1 + wait)
    lost = (at >= 1600) & (at < 2500)
    found.outcome[lost], found.sent[lost], found.done[lost] = DROPPED, 0, 0
    found.processed[lost] = 0
    verdict = judged([result(found, loop_ms=(0.0, 950.0))])
    assert "generator_bound" in codes(verdict)
    assert "overloaded" not in codes(verdict)
    # The same drops of a service that stood still.
    service = judged([result(replace(found, sent=np.where(lost, 0, found.planned + MS // 10)))])
    assert "overloaded" in codes(service)
    assert "generator_bound" not in codes(service)


def test_percentiles_of_a_batch_are_of_what_was_planned() -> None:
    latency = np.ones(COUNT)
    latency[: COUNT // 10] = math.inf
    assert math.isinf(batch_percentiles(latency, 50.0)[0])
    assert distribution(latency[COUNT // 10 :], COUNT).p50 == 1.0


def test_the_list_that_users_read_is_the_whole_list() -> None:
    said = (Path(__file__).resolve().parents[2] / "results" / "README.md").read_text()
    said = said.partition("## Verdicts")[2]
    assert [code.value for code in Code if f"`{code.value}`" not in said] == []
