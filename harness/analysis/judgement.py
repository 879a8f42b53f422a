"""What may be concluded from a cell's trials. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis.accounts import Counts
from harness.analysis.trial import TrialResult
from harness.analysis.verdicts import Code, Reason, Verdict
from harness.condition import counted
from harness.results import FAILURES, Run

BUSY = 0.85
LAG_SHARE = 0.5
LAG_FLOOR_MS = 1.0
FLOOR_SHARE = 0.5


def judge(
    run: Run, info: Mapping[str, Any], trials: Sequence[TrialResult], counts: Counts
) -> Verdict:
    """A cell's verdict, with every reason for it. `info` is the cell as run.json has it."""
    events = [e for e in run.events if e["cell"] == info["id"]]
    reasons = [
        Reason(code, f"trial {event['trial']}: {event['detail']}")
        for code in (Code.TRIAL_FAILED, Code.SERVER_DIED)
        for event in events
        if event["kind"] == code.value
    ]
    if info.get("skipped"):
        return Verdict((Reason(Code.NOT_OFFERED, info["skipped"]),))
    for event in events:
        if event["kind"] == Code.UNAVAILABLE.value:
            return Verdict((Reason(Code.UNAVAILABLE, event["detail"]),))
    if not trials and not reasons:
        return Verdict((Reason(Code.NOT_RUN, "the run ended before its first trial"),))
    reasons += [Reason(Code.ACCOUNTS, words) for words in counts.imbalances]
    scenario = run.info["scenario"]
    faulty = scenario.get("fault") is not None
    reasons += _failure_reasons(scenario, info, trials, counts)
    for trial in trials:
        reasons += [
            Reason(Code.IMPLAUSIBLE, f"trial {trial.number}: {words}")
            for words in trial.implausible
        ]
    reasons += _generator_reasons(info, trials)
    reasons += _floor_reasons(trials)
    if faulty and trials:
        reasons.append(Reason(Code.FAULT, "a node of the broker was killed in every trial"))
    reasons += _ledger_reasons(trials, faulty)
    reasons += _warm_up_reasons(trials)
    if counts.done and counts.dropped + counts.timed_out:
        reasons.append(
            Reason(
                Code.OVERLOADED,
                f"{counts.dropped} of {counts.planned} operations were dropped because"
                f" {info['condition']['in_flight']} were in flight, {counts.timed_out} timed out",
            )
        )
    planned_trials = run.info["scenario"]["repeats"]
    if 0 < len(trials) < planned_trials:
        reasons.append(
            Reason(Code.FEWER_TRIALS, f"{len(trials)} of {planned_trials} trials were finished")
        )
    smallest = min((t.counts.planned for t in trials), default=0)
    if any(np.isnan(t.latency.p99) for t in trials):
        reasons.append(
            Reason(Code.UNDER_SAMPLED, f"p99 is not resolvable from {smallest} operations")
        )
    if run.info["placement"]["shared"] and info["has_server"]:
        reasons.append(Reason(Code.SHARED_CORE, "server and generator share a processor"))
    return Verdict(tuple(reasons))


def _failure_reasons(
    scenario: Mapping[str, Any],
    info: Mapping[str, Any],
    trials: Sequence[TrialResult],
    counts: Counts,
) -> list[Reason]:
    faulty = scenario.get("fault") is not None
    # Where messages are consumed only after the load, an acknowledgement is all that can come.
    later = scenario.get("ingest", {}).get("consume") == "after" and any(
        t.acked_in_window for t in trials
    )
    reasons = []
    for word in FAILURES:
        number = sum(t.failures.get(word, 0) for t in trials)
        if not number:
            continue
        first = next(
            (
                text
                for trial in trials
                for kind, text, _ in trial.health["failure_details"]
                if kind == word
            ),
            "",
        )
        code = Code.OVERLOADED if word == "overloaded" else Code(word)
        if code is Code.DISCONNECTED and info["condition"].get("cut_idle_s"):
            code = Code.CUT
        if code is Code.DISCONNECTED and faulty:
            code = Code.FAULT
        reasons.append(Reason(code, f"{number} of {counts.sent} operations: {first}"))
    cut = any(reason.code is Code.CUT for reason in reasons)
    if trials and not (counts.done or cut or later):
        said = f"none of {counts.planned} operations was answered rightly"
        reasons.append(Reason(Code.FAULT if faulty else Code.NO_COMPLETIONS, said))
    else:
        reasons += [
            Reason(
                Code.FAULT if faulty else Code.STOPPED_ANSWERING,
                f"trial {t.number}: the last operations had no answer",
            )
            for t in trials
            if t.stopped_answering
        ]
    return reasons


def _generator_reasons(info: Mapping[str, Any], trials: Sequence[TrialResult]) -> list[Reason]:
    if info["load"]["model"] == "closed":
        return [
            Reason(
                Code.CLIENT_LIMITED,
                f"trial {t.number}: the client used {t.client_busy:.0%} of a processor",
            )
            for t in trials
            if t.client_busy > BUSY and info["has_server"]
        ]
    details = []
    for trial in trials:
        lag_ms, latency_ms = trial.send_lag_us.p99 / 1e3, trial.latency.p99
        if trial.client_busy > BUSY and trial.counts.dropped:
            said = f"the generator used {trial.client_busy:.0%} of its processor and dropped"
            details.append(f"trial {trial.number}: {said}")
        elif lag_ms > LAG_FLOOR_MS and lag_ms > LAG_SHARE * latency_ms:
            said = f"send lag p99 {lag_ms:.1f} ms of a latency p99 of {latency_ms:.1f} ms"
            details.append(f"trial {trial.number}: {said}")
    # The median over trials leaves a minority out.
    code = Code.GENERATOR_BOUND if 2 * len(details) >= len(trials) else Code.DISTURBED
    return [Reason(code, detail) for detail in details]


def _floor_reasons(trials: Sequence[TrialResult]) -> list[Reason]:
    """Where the receiving process alone would need as long as was seen."""
    details = []
    for trial in trials:
        floor, seen = trial.health.get("floor_us"), trial.watched
        if floor is None or seen is None or not np.isfinite(seen.last.p50):
            continue
        least_ms = floor["last_us"] / 1e3
        if least_ms > FLOOR_SHARE * seen.last.p50:
            said = f"{least_ms:.2f} ms of {seen.last.p50:.2f} ms to the last subscriber"
            details.append(f"trial {trial.number}: a bare epoll loop needs {said}")
    code = Code.GENERATOR_BOUND if 2 * len(details) >= len(trials) else Code.DISTURBED
    return [Reason(code, detail) for detail in details]


def _ledger_reasons(trials: Sequence[TrialResult], faulty: bool) -> list[Reason]:
    """What became of messages, trial by trial."""
    reasons = []
    for trial in trials:
        left = trial.seen.left
        if left != 0:
            what = "not known" if left is None else counted(left, "message")
            said = f"trial {trial.number}: left at the broker when the limit was reached: {what}"
            reasons.append(Reason(Code.UNDRAINED, said))
        kept = trial.ledger
        if kept is None:
            continue
        reasons += [Reason(Code.ACCOUNTS, f"trial {trial.number}: {w}") for w in kept.imbalances]
        told = f"trial {trial.number}: {'; '.join(kept.words)}"
        # What is, or may be, still at the broker is late and not lost.
        if left is not None and kept.lost_acknowledged > left:
            reasons.append(Reason(Code.LOST_BY_FAULT if faulty else Code.LOST, told))
        elif left is not None and kept.lost_unacknowledged > left:
            reasons.append(Reason(Code.LOST_UNACKNOWLEDGED, told))
        if kept.corrupted or kept.unexpected:
            reasons.append(Reason(Code.DAMAGED, told))
    return reasons


def _warm_up_reasons(trials: Sequence[TrialResult]) -> list[Reason]:
    """A cell is said to be cold where most of its trials are."""
    cold = [t for t in trials if t.warm_up is not None and not t.warm_up.enough]
    if not trials or 2 * len(cold) <= len(trials):
        return []
    first = cold[0].warm_up
    assert first is not None
    said = (
        f"{len(cold)} of {len(trials)} trials: at the median the first tenth of the window took"
        f" {first.start_ms:.2f} ms, the rest {first.rest_ms:.2f} ms"
    )
    return [Reason(Code.WARM_UP, said)]
