"""What may be concluded from a cell's trials. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis.accounts import Counts
from harness.analysis.agreement import disagreements
from harness.analysis.instrument import BUSY, impossible, late_generator, rate_missed
from harness.analysis.stationarity import drift
from harness.analysis.trial import TrialResult, whole
from harness.analysis.verdicts import Code, Reason, Verdict
from harness.condition import counted
from harness.results import FAILURES, Run

FLOOR_SHARE = 0.5
RIVAL = 0.1
"""Of a processor, that others may take. One that they have for a tenth of the time can have kept
every tenth operation waiting: what is read from the 90th percentile on may then be theirs."""


def judge(
    run: Run, info: Mapping[str, Any], trials: Sequence[TrialResult], counts: Counts
) -> Verdict:
    """A cell's verdict, with every reason for it. `info` is the cell as run.json has it."""
    events = [e for e in run.events if e["cell"] == info["id"]]
    reasons = [
        Reason(code, f"trial {event['trial']}: {event['detail']}")
        for code in (Code.TRIAL_FAILED, Code.WORKER_LOST, Code.SERVER_DIED)
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
    stopped = any(event["kind"] == "trial_stopped" for event in events)
    if stopped and not counts.planned and not reasons:
        said = "the run was stopped before the measured window of its first trial"
        lost = _ledger_reasons(trials, run.info["scenario"].get("fault") is not None)
        return Verdict((Reason(Code.NOT_RUN, said), *lost))
    if info.get("null"):
        reasons.append(Reason(Code.NULL, "no order is read, and nothing is done about it"))
    scenario = run.info["scenario"]
    faulty = scenario.get("fault") is not None
    reasons += _failure_reasons(scenario, info, trials, counts)
    given = info["style"] in run.info.get("targets", {})
    reasons += [
        Reason(Code.IMPLAUSIBLE, f"trial {trial.number}: {words}")
        for trial in whole(trials)
        for words in impossible(info, trial, info["has_server"] and not given)
    ]
    spoilt = _generator_reasons(info, whole(trials), info["has_server"] or given)
    reasons += spoilt
    reasons += _floor_reasons(trials)
    reasons += [
        Reason(
            Code.TWO_CLOCKS,
            f"trial {trial.number}: a message is sent by one machine's clock and processed by"
            f" another's, which are off by up to {off:.2f} ms",
        )
        for trial in trials
        if trial.ledger is not None and (off := trial.clock_error_ms) is not None
    ]
    if faulty and trials:
        reasons.append(Reason(Code.FAULT, "a node of the broker was killed in every trial"))
    reasons += _ledger_reasons(trials, faulty)
    reasons += _steadiness_reasons(trials) if steady(scenario, info) else []
    if not any(reason.code is Code.UNSTABLE for reason in spoilt):
        reasons += [Reason(Code.UNSTABLE, words) for words in disagreements(trials)]
    reasons += _rival_reasons(run, trials, given)
    generators = any(reason.code is Code.GENERATOR_BOUND for reason in reasons)
    if counts.done and counts.dropped + counts.timed_out and not generators:
        reasons.append(
            Reason(
                Code.OVERLOADED,
                f"{counts.dropped} of {counts.planned} operations were dropped because"
                f" {info['condition']['in_flight']} were in flight, {counts.timed_out} timed out",
            )
        )
    planned_trials = run.info["scenario"]["repeats"]
    if 0 < len(trials) < planned_trials and not scenario.get("capacity"):
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
    # A search goes on until a service is buried.
    buried = scenario.get("capacity") and info["load"]["rate"] > scenario["load"][0]["rate"][0]
    expected = Code.FAULT if faulty else Code.OVERLOADED if buried else None
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
        reasons.append(Reason(expected or Code.NO_COMPLETIONS, said))
    else:
        reasons += [
            Reason(
                expected or Code.STOPPED_ANSWERING,
                f"trial {t.number}: the last operations had no answer",
            )
            for t in trials
            if t.stopped_answering
        ]
    return reasons


def steady(scenario: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
    """Whether a cell's load is the same throughout, and nothing is broken on purpose. Both as
    run.json has them."""
    same = info["load"]["model"] in ("constant", "poisson")
    return same and scenario.get("fault") is None


def _generator_reasons(
    info: Mapping[str, Any], trials: Sequence[TrialResult], serves: bool
) -> list[Reason]:
    """Without a service the generator is what is measured, until it drops."""
    limited, late, missed = [], [], []
    for trial in trials:
        at = f"trial {trial.number}: "
        if info["load"]["model"] == "closed" and trial.client_busy > BUSY:
            limited.append(f"{at}the client used {trial.client_busy:.0%} of a processor")
        elif said := late_generator(trial) if serves or trial.counts.dropped else "":
            late.append(at + said)
        if said := rate_missed(info["load"], trial):
            missed.append(at + said)
    reasons = [Reason(Code.CLIENT_LIMITED, said) for said in limited if serves]
    reasons += _of_most(Code.GENERATOR_BOUND, late, trials)
    return reasons + _of_most(Code.RATE_NOT_REACHED, missed, trials)


def _of_most(code: Code, details: Sequence[str], trials: Sequence[TrialResult]) -> list[Reason]:
    """What is so in half of the trials or more; the median over trials leaves a minority out."""
    code = code if 2 * len(details) >= len(trials) else Code.UNSTABLE
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
    return _of_most(Code.GENERATOR_BOUND, details, trials)


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


def _steadiness_reasons(trials: Sequence[TrialResult]) -> list[Reason]:
    """Whether latency was still settling, or drifted. A cell that was cold in most of its trials is
    said to be that, and nothing more."""
    cold = [t for t in trials if t.warm_up is not None and not t.warm_up.enough]
    if trials and 2 * len(cold) > len(trials):
        first = cold[0].warm_up
        assert first is not None
        said = (
            f"{len(cold)} of {len(trials)} trials: at the median the first tenth of the window took"
            f" {first.start_ms:.2f} ms, the rest {first.rest_ms:.2f} ms"
        )
        return [Reason(Code.WARM_UP, said)]
    medians = [t.latency_batches["p50"] for t in trials if "p50" in t.latency_batches]
    found = drift(medians)
    if found is None or not found.found:
        return []
    said = (
        f"the median latency at the window's end is {found.ratio:.2f} times that at its start, in"
        f" {counted(len(medians), 'trial')} (by chance: {max(found.chance, 1e-6):.2g} or less)"
    )
    return [Reason(Code.NOT_STATIONARY, said)]


def _rival_reasons(run: Run, trials: Sequence[TrialResult], given: bool) -> list[Reason]:
    """What others took of the processors, and brokers that should have stood still. Where a service
    or a broker runs by itself, it is not known from others."""
    parts = run.info.get("parts", {}).values()
    if given or any(part.get("origin") == "address" for part in parts):
        return []
    taken = {}
    for trial in trials:
        rivals = trial.seen.cpu_ns.get("rival", 0) / 1e9 / trial.window_s
        taken[trial.number] = rivals + (trial.seen.other_busy or 0.0)
    busy = [number for number, share in taken.items() if share > RIVAL]
    if not trials or 2 * len(busy) < len(trials):
        return []
    most = max(taken.values())
    said = (
        f"{len(busy)} of {counted(len(trials), 'trial')}: others took up to {most:.2f} processors"
    )
    return [Reason(Code.RIVAL_BUSY, said)]
