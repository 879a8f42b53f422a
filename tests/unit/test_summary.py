"""From samples to counts, percentiles and verdicts."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import accounts
from harness.analysis.subjects import subject_of
from harness.analysis.summary import CellResult, summarize
from harness.analysis.trial import summarize_trial
from harness.analysis.verdicts import RULES, Code, Reason, Status, Verdict
from harness.results import DONE, DROPPED, OUTCOMES, TIMEOUT, Run, Samples, write_samples

MS = 1_000_000
HEALTH = {"lanes_opened": 4, "failure_details": [["wrong_reply", "the total is wrong", 3]]}
COUNT = 4000
WINDOW = (10**9, 10**9 + COUNT * MS)


def samples(latency_ms: float = 1.0, lag_ms: float = 0.1) -> Samples:
    """4 s at 1,000/s, each operation with the same latency."""
    planned = WINDOW[0] + np.arange(COUNT, dtype=np.int64) * MS
    return Samples(
        planned=planned,
        sent=planned + round(lag_ms * MS),
        acked=np.zeros(COUNT, np.int64),
        processed=planned + round(lag_ms * MS) + 1000,
        done=planned + round(latency_ms * MS),
        outcome=np.zeros(COUNT, np.int8),
        measured=np.ones(COUNT, np.bool_),
        lane=np.zeros(COUNT, np.int32),
        meta={"format": 1, "window": list(WINDOW), "health": HEALTH},
    )


def with_outcome(base: Samples, word: str, rows: slice) -> Samples:
    """Some rows that ended otherwise, with the instants that such an end has."""
    outcome, sent, done = base.outcome.copy(), base.sent.copy(), base.done.copy()
    outcome[rows] = OUTCOMES.index(word)
    done[rows] = 0
    if word == "dropped":
        sent[rows] = 0
    return replace(base, outcome=outcome, sent=sent, done=done)


def cell(
    folder: Path, *trials: Samples, events: list[dict[str, Any]] | None = None, **changes: Any
) -> CellResult:
    """One cell's result from its trials."""
    info = {
        "id": "c",
        "style": "rest",
        "load": {"model": "constant", "rate": 1000, "users": None},
        "condition": {"in_flight": 1024},
        "has_server": True,
        **changes,
    }
    paths = []
    for number, trial in enumerate(trials, 1):
        paths.append(folder / f"{number}.parquet")
        write_samples(paths[-1], trial)
    telemetry = [
        {
            "at": at,
            "cell": "c",
            "trial": n,
            "role": role,
            "mark": mark,
            "cpu_ns": at,
            "rss_bytes": 5,
        }
        for n in range(1, len(trials) + 1)
        for role, used in (("generator", 400 * MS), ("server", 800 * MS))
        for mark, at in (("window_start", 7), ("window_end", 7 + used))
    ]
    run_info = {
        "run": "r",
        "cells": [info],
        "scenario": {"repeats": max(len(trials), 1), "timeout_s": 2.0},
        "placement": {"shared": False},
    }
    return summarize(Run(folder, run_info, {"c": paths}, telemetry, events or [])).cells[0]


def codes(result: CellResult) -> set[str]:
    """The reasons of a verdict."""
    return {r.code.value for r in result.verdict.reasons}


def test_a_healthy_cell(tmp_path: Path) -> None:
    result = cell(tmp_path, samples(1.5), samples(3.0), samples(2.0))
    assert result.verdict.status is Status.VALID
    assert result.latency.p50 == result.latency.p99 == 2.0
    assert result.service_time.p50 == pytest.approx(1.9)
    assert result.send_lag_us.p99 == pytest.approx(100.0)
    assert result.counts.planned == 3 * COUNT
    assert result.cpu_us_per_op["generator"] == pytest.approx(100, rel=0.01)
    assert result.cpu_us_per_op["server"] == pytest.approx(200, rel=0.01)
    shown = result.to_json()
    assert set(shown) >= {
        "id", "style", "load", "condition", "trials", "counts", "throughput_per_s", "latency_ms",
        "ack_ms", "service_time_ms", "send_lag_us", "lanes_opened", "client_cpu_us_per_op",
        "server_cpu_us_per_op", "verdict",
    }  # fmt: skip
    assert set(shown["counts"]) == {
        "planned", "sent", "dropped", "done", "failed", "timed_out", "late",
    }  # fmt: skip
    assert shown["ack_ms"] is None
    assert shown["latency_ms"]["p99_9"] == 2.0


def test_only_answers_within_the_window_are_throughput() -> None:
    trial = summarize_trial(samples(latency_ms=500), 1, 2.0)
    assert trial.completed_in_window == COUNT - 500
    assert trial.throughput_per_s == (COUNT - 500) / 4


def test_warm_up_is_counted_apart() -> None:
    base = samples()
    measured = base.measured.copy()
    measured[:1000] = False
    assert accounts.count(replace(base, measured=measured)).planned == COUNT - 1000


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=COUNT))
def test_accounts_balance_whatever_happens(words: list[str]) -> None:
    base = samples()
    outcome, sent = base.outcome.copy(), base.sent.copy()
    outcome[: len(words)] = [OUTCOMES.index(w) for w in words]
    sent[: len(words)][np.array(words) == "dropped"] = 0
    counts = accounts.count(replace(base, outcome=outcome, sent=sent))
    assert counts.imbalances == []
    assert counts.planned == COUNT


def test_an_account_that_does_not_balance_is_found(tmp_path: Path) -> None:
    base = samples()
    lost = base.sent.copy()
    lost[5] = 0
    result = cell(tmp_path, replace(base, sent=lost))
    assert codes(result) == {"accounts"}
    assert result.verdict.status is Status.INVALID
    never_dropped = base.outcome.copy()
    never_dropped[5] = DROPPED
    assert "accounts" in codes(cell(tmp_path, replace(base, outcome=never_dropped)))


def test_drops_and_timeouts_are_a_result_and_censor(tmp_path: Path) -> None:
    dropped = with_outcome(samples(), "dropped", slice(0, 100))
    result = cell(tmp_path, dropped)
    assert codes(result) == {"overloaded"}
    assert result.to_json()["latency_ms"]["p99"] is None
    assert result.to_json()["latency_ms"]["censored"] is True
    late = with_outcome(samples(), "timeout", slice(0, 3))
    late.done[:2] = late.sent[:2] + 10**10
    counts = cell(tmp_path, late).counts
    assert (counts.timed_out, counts.late, counts.done) == (3, 2, COUNT - 3)


@pytest.mark.parametrize("word", ["rejected", "disconnected", "protocol", "wrong_reply"])
def test_a_service_that_does_not_serve_has_failed(tmp_path: Path, word: str) -> None:
    result = cell(tmp_path, samples(), with_outcome(samples(), word, slice(0, 3)))
    assert codes(result) == {word}
    assert result.verdict.status is Status.FAILED
    assert result.counts.failed == 3
    if word == "wrong_reply":
        assert "3 of 8000 operations: the total is wrong" in result.verdict.reasons[0].detail


def test_a_service_that_never_answers_has_failed(tmp_path: Path) -> None:
    result = cell(tmp_path, with_outcome(samples(), "timeout", slice(None)))
    assert codes(result) == {"no_completions"}
    assert result.throughput_per_s == 0
    assert result.cpu_us_per_op["server"] is None


def test_a_service_that_stops_answering_has_failed(tmp_path: Path) -> None:
    stopped = with_outcome(samples(), "timeout", slice(COUNT // 2, None))
    assert codes(cell(tmp_path, stopped)) == {"overloaded", "stopped_answering"}
    buried = with_outcome(stopped, "dropped", slice(COUNT - 500, None))
    assert cell(tmp_path, buried).verdict.status is Status.FAILED
    recovered = with_outcome(samples(), "timeout", slice(COUNT // 2, COUNT - 1))
    assert codes(cell(tmp_path, recovered)) == {"overloaded"}


def test_a_slow_generator_is_not_a_slow_service(tmp_path: Path) -> None:
    assert codes(cell(tmp_path, samples(latency_ms=30, lag_ms=25))) == {"generator_bound"}
    assert codes(cell(tmp_path, samples(latency_ms=60, lag_ms=25))) == set()


def test_one_late_trial_of_three_is_left_out_and_two_make_the_cell_invalid(tmp_path: Path) -> None:
    late, good = samples(latency_ms=30, lag_ms=25), samples(latency_ms=3)
    one = cell(tmp_path, good, late, good)
    assert codes(one) == {"unstable"}
    assert one.verdict.status is Status.QUALIFIED
    assert one.latency.p99 == pytest.approx(3)
    assert cell(tmp_path, late, late, good).verdict.status is Status.INVALID
    # The median of two is touched by either.
    assert cell(tmp_path, late, good).verdict.status is Status.INVALID


def test_impossible_instants_are_found(tmp_path: Path) -> None:
    early = samples()
    early.sent[3] = early.planned[3] - 1
    assert codes(cell(tmp_path, early)) == {"implausible"}
    backwards = samples()
    backwards.done[3] = backwards.sent[3] - 1
    assert codes(cell(tmp_path, backwards)) == {"implausible"}


def test_a_small_sample_is_said_to_be_small(tmp_path: Path) -> None:
    base = samples()
    window = [WINDOW[0], WINDOW[0] + 300 * MS]
    measured = base.measured & (base.planned < window[1])
    result = cell(tmp_path, replace(base, measured=measured, meta={**base.meta, "window": window}))
    assert codes(result) == {"under_sampled"}
    assert result.to_json()["latency_ms"]["not_resolvable"] == ["p99", "p99_9"]
    assert result.to_json()["latency_ms"]["censored"] is False


def test_what_did_not_run_is_named(tmp_path: Path) -> None:
    nothing = cell(tmp_path)
    assert codes(nothing) == {"not_run"}
    assert nothing.verdict.status is Status.SKIPPED
    event = {"cell": "c", "trial": 1, "kind": "trial_failed", "detail": "could not open"}
    failed = cell(tmp_path, events=[event])
    assert codes(failed) == {"trial_failed"}
    assert failed.verdict.status is Status.FAILED
    died = cell(tmp_path, samples(), events=[{**event, "kind": "server_died"}])
    assert codes(died) == {"server_died"}
    assert nothing.to_json()["latency_ms"]["p50"] is None


def test_a_cell_that_lost_a_worker_failed_and_is_not_ranked(tmp_path: Path) -> None:
    event = {"cell": "c", "trial": 2, "kind": "worker_lost", "detail": "worker 1 was lost: why"}
    load = {"model": "constant", "rate": 1000, "users": None, "words": "1,000/s"}
    lost = cell(tmp_path, samples(), samples(), events=[event], variant="rest", load=load)
    assert codes(lost) == {"worker_lost"}
    assert lost.verdict.status is Status.FAILED
    assert [trial.seen.worker_lost for trial in lost.trials] == [False, True]
    assert not subject_of(lost.info, lost.trials, lost.verdict).usable


def test_every_reason_has_a_rule_with_a_remedy() -> None:
    assert set(RULES) == set(Code)
    for code, (_, remedy) in RULES.items():
        assert remedy, code


def test_the_worst_reason_decides() -> None:
    assert Verdict().status is Status.VALID
    reasons = [Reason(Code.OVERLOADED, ""), Reason(Code.WRONG_REPLY, ""), Reason(Code.ACCOUNTS, "")]
    assert Verdict(tuple(reasons)).status is Status.FAILED


def test_outcome_codes_are_those_of_their_words() -> None:
    assert [OUTCOMES[c] for c in (DONE, DROPPED, TIMEOUT)] == ["done", "dropped", "timeout"]


def test_what_is_kept_of_a_trial_does_not_grow_with_its_operations() -> None:
    """Issue 7: a report of ten million operations holds one trial at a time."""
    whole = samples()
    plain = [f.name for f in fields(whole) if f.name not in ("meta", "notes", "seq")]
    few = {name: getattr(whole, name) for name in plain}
    half = replace(whole, **{name: values[: COUNT // 2] for name, values in few.items()})

    def sizes(kept: Samples) -> dict[str, int]:
        trial = summarize_trial(kept, 1, 2.0, steady=True, objective=97.3)
        held = {f.name: getattr(trial, f.name) for f in fields(trial)}
        held["batches"] = held.pop("latency_batches")["p50"]
        held["excess"] = held.pop("excess_ms").means
        return {name: len(each) for name, each in held.items() if hasattr(each, "__len__")}

    assert sizes(half) == sizes(whole)
    assert {"answers", "batches", "excess", "latency_at", "timeline"} <= sizes(whole).keys()
