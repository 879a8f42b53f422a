"""Whether the figures of a trial say more about the instrument than about what it measured. Pure.

Each rule answers in words, which are empty where nothing speaks against the trial.
"""

import math
from collections.abc import Mapping
from typing import Any

from harness.analysis.trial import TrialResult

BUSY = 0.85
OWN_SHARE = 0.5
"""So much of a percentile may be the generator's own. Beyond it the figure says more of the
generator than of the service: what it adds to all styles alike narrows every ratio between them,
and where it is as long as what it is added to, a true 10% reads 5%."""
SHORT = 0.01
"""Where a queue is at work for nine tenths of the time, a rate that falls short by a hundredth
shortens the mean time in it by a tenth (M/M/1): the smallest effect that a run is asked to find."""
ODDS = 5.0
"""Standard deviations that a number of Poisson arrivals may be from its mean."""
TIMER_MS = 2.0
"""By how much a server's timer may be early: its clock and its timer count whole milliseconds."""


def late_generator(trial: TrialResult) -> str:
    """Why a trial says more about the generator than about the service.

    Either it dropped while its processor was more than BUSY at work. Or more than OWN_SHARE of a
    percentile that is ranked is its own. Of the median that is what it adds to a usual operation,
    in sending and in seeing the answer (harness.analysis.delay). Of the 99th percentile it is the
    send lag alone: a stall that is rare is met once, by what was due meanwhile. Of either it is the
    lag of its loop, which is all there is where a user sends as soon as he is ready. Where a
    percentile falls among operations that were not done, it is that of the others: by Little's law
    a full window is as long as they took, and a lag of as much fills it.
    """
    if trial.client_busy > BUSY and trial.counts.dropped:
        return f"the generator used {trial.client_busy:.0%} of its processor and dropped"
    loop_us = trial.health.get("loop_lag_us") or {}
    usual = trial.own_delay.p50 if trial.own_delay else 0.0
    own = {
        "p50": {"added by the generator": usual},
        "p99": {"send lag": trial.send_lag_us.p99 / 1e3},
    }
    for name, delays in own.items():
        latency = _of_the_done(trial, name)
        delays["lag of its loop"] = loop_us.get(name, 0.0) / 1e3
        for what, delay in delays.items():
            if delay > OWN_SHARE * latency:
                return f"{name} of the latency {latency:.1f} ms, {what} {delay:.1f} ms"
    return ""


def _of_the_done(trial: TrialResult, name: str) -> float:
    """A percentile of the latency, of completed operations alone where it is not finite; NaN where
    it is not resolvable."""
    value: float = getattr(trial.latency, name)
    return trial.latency_of_done.get(name, value) if math.isinf(value) else value


def rate_missed(load: Mapping[str, Any], trial: TrialResult) -> str:
    """How an open loop did not put the load on the service that was asked for. `load` as run.json
    has it.

    Either the schedule itself has another number of operations in the window than the rate asks
    for; or of those that were due in it and not dropped, more than SHORT were not sent in it.
    """
    planned, due = trial.counts.planned, trial.counts.planned - trial.counts.dropped
    asked = _asked(load, trial.window_s)
    if asked is not None and abs(planned - asked[0]) > asked[1]:
        return f"{planned} operations were planned where the rate asks for {asked[0]:.0f}"
    if load["model"] != "closed" and trial.sent_in_window < due - max(1.0, SHORT * due):
        return f"{trial.sent_in_window} of {due} operations were sent within the window"
    return ""


def _asked(load: Mapping[str, Any], window_s: float) -> tuple[float, float] | None:
    """How many operations a load asks for in a window, and how far from that its schedule may be;
    None for loads whose rate is not one number."""
    match load["model"]:
        case "constant":
            return load["rate"] * window_s, 1.0
        case "poisson":
            mean = load["rate"] * window_s
            return mean, 1.0 + ODDS * math.sqrt(mean)
        case "burst":
            bursts = load["burst_size"] * window_s / load["every_s"]
            return load["rate"] * window_s + bursts, 1.0 + load["burst_size"]
    return None


def impossible(info: Mapping[str, Any], trial: TrialResult, ours: bool) -> list[str]:
    """What of a trial cannot be. `info` is the cell as run.json has it; `ours`: the service was
    started by the run, on this machine."""
    condition = info["condition"]
    said = list(trial.implausible)
    if ours and trial.processed_elsewhen:
        said.append(
            f"{trial.processed_elsewhen} operations processed before they were sent or after they"
            " were done"
        )
    alike = condition.get("work_time") == "fixed" and not condition.get("work_between")
    least_ms = condition["work_mean_ms"] if alike else 0.0
    if ours and not info.get("null") and trial.quickest_ms < least_ms - TIMER_MS:
        said.append(
            f"{trial.quickest_ms:.2f} ms from sent to done where the work alone takes {least_ms:g}"
        )
    if condition.get("kept", True):
        said += _lanes(info, trial, ours)
    return said


def _lanes(info: Mapping[str, Any], trial: TrialResult, ours: bool) -> list[str]:
    """Lanes that are not as asked, or not what the kernel saw."""
    condition, opened = info["condition"], trial.health["lanes_opened"]
    at_once = info["load"].get("users") or condition["in_flight"]
    least = min(condition.get("connections", 1), condition["in_flight"])
    if not least <= opened <= max(least, at_once):
        return [f"{opened} lanes were opened where {least} to {max(least, at_once)} were asked for"]
    undisturbed = not (trial.counts.failed or trial.counts.timed_out or condition.get("cut_idle_s"))
    # A client of a broker has connections of its own kind.
    if ours and undisturbed and trial.seen.wire and "broker" not in trial.seen.cpu_ns:
        held = trial.seen.wire["connections"]
        wanted = least * info.get("connections_a_lane", 1)
        if held < wanted:
            return [f"the kernel saw {held} connections where {wanted} were asked for"]
    return []
