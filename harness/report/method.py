"""What a number means and how it was taken, as far as it is data: thresholds, and the rules by
which a cell is judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from harness.analysis import (
    agreement,
    calibration,
    effects,
    floors,
    instrument,
    judgement,
    stationarity,
    stats,
    warm_up,
)
from harness.analysis.verdicts import RULES, Code, Status
from harness.report import words


def _share(value: float) -> str:
    return f"{100 * value:g} %"


WHEN: Mapping[Code, str] = {
    Code.SHARED_CORE: "server and generator share a processor",
    Code.UNDER_SAMPLED: "a trial does not resolve its 99th percentile",
    Code.UNSTABLE: (
        f"more than {_share(agreement.FEW)} of the trials have a median or a 99th percentile of"
        f" {agreement.APART:g} times the cell's, or of 1/{agreement.APART:g} of it, and surely so;"
        " or fewer than half of the trials are generator bound, or missed their rate"
    ),
    Code.NOT_STATIONARY: (
        "constant and Poisson load without faults: over all trials the median latency has a trend"
        f" (Mann and Kendall, {_share(stationarity.CHANCE)}), and the window ends at"
        f" {stationarity.MATERIAL:g} times its start, or at 1/{stationarity.MATERIAL:g} of it"
    ),
    Code.RIVAL_BUSY: (
        "in half of the trials or more, what is not of the run took over"
        f" {_share(judgement.RIVAL)} of a processor"
    ),
    Code.TWO_CLOCKS: (
        "messages are sent on one machine and processed on another, each with a clock of its own"
    ),
    Code.FEWER_TRIALS: "fewer trials were finished than were planned",
    Code.OVERLOADED: (
        "operations were dropped, timed out, or were refused as too many, and the generator was"
        " not late: a result"
    ),
    Code.CLIENT_LIMITED: (
        f"closed loop: the client used over {_share(instrument.BUSY)} of its processor"
    ),
    Code.GENERATOR_BOUND: (
        "in half of the trials or more the generator dropped while it used over"
        f" {_share(instrument.BUSY)} of its processor; or over {_share(instrument.OWN_SHARE)} of"
        " the median was what it added by being late to send and to see the answer, or of the 99th"
        " percentile its send lag, or of either the lag of its loop; or a bare loop needs over"
        f" {_share(judgement.FLOOR_SHARE)} of what the last subscriber waited"
    ),
    Code.ACCOUNTS: (
        "planned = sent + dropped, sent = done + failed + timed out, or the ledger of messages,"
        " does not add up"
    ),
    Code.IMPLAUSIBLE: (
        "instants come in an order that cannot be, an answer before its fixed work can be done, or"
        " other connections than were asked for"
    ),
    Code.RATE_NOT_REACHED: (
        "in half of the trials or more the schedule has another number of operations than the rate"
        f" asks for, or over {_share(instrument.SHORT)} of those that were due were not sent within"
        " the window"
    ),
    Code.WORKER_LOST: "a worker on another machine died, hung or left in a trial",
    Code.TRIAL_FAILED: "a trial could not be run to its end",
    Code.SERVER_DIED: "the server ended in the middle of a trial",
    Code.REJECTED: "the service, or the broker, refused orders",
    Code.DISCONNECTED: "connections were lost or could not be made",
    Code.PROTOCOL: "an answer was not as the style's protocol has it",
    Code.WRONG_REPLY: "an answer was another order's, or had another total",
    Code.NO_COMPLETIONS: "no operation was answered rightly",
    Code.STOPPED_ANSWERING: "the last operations of a trial had no answer",
    Code.CUT: "the gateway in between cut connections that were idle",
    Code.LOST: "messages were acknowledged, and never arrived",
    Code.DAMAGED: "messages arrived damaged, or were none of the trial's",
    Code.LOST_BY_FAULT: (
        "messages were acknowledged and never arrived, where the scenario had killed a node"
    ),
    Code.LOST_UNACKNOWLEDGED: "messages were sent, never acknowledged, and never arrived",
    Code.FAULT: "the scenario killed a node",
    Code.UNDRAINED: "the broker still held messages when the workers' time was over",
    Code.WARM_UP: (
        "constant and Poisson load without faults: in most trials the first tenth of the window is"
        f" slower than the others let expect ({_share(warm_up.CHANCE)}), by"
        f" {_share(warm_up.MATERIAL - 1)} or more"
    ),
    Code.NULL: "the server answers without reading the order",
    Code.NOT_RUN: "the run ended before the cell's first trial",
    Code.NOT_OFFERED: "the style cannot do what the scenario asks for",
    Code.UNAVAILABLE: "what the style needs could not be had",
}
"""When each reason is given."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason that a cell may have."""

    status: str
    what: str
    when: str
    remedy: str


def verdict_rules() -> list[Rule]:
    """All that there are, from the mildest on."""
    return [
        Rule(status.value, code.value.replace("_", " "), WHEN[code], remedy)
        for status in Status
        for code, (given, remedy) in RULES.items()
        if given is status
    ]


def thresholds() -> SimpleNamespace:
    """Numbers of the analysis, as the page says them."""
    return SimpleNamespace(
        level=_share(effects.LEVEL),
        least_pairs=effects.LEAST_PAIRS,
        bootstrap_pairs=effects.BOOTSTRAP_PAIRS,
        resamples=f"{effects.RESAMPLES:,}",
        sought=_share(floors.SOUGHT - 1),
        power=_share(floors.POWER),
        batches=stats.BATCHES,
        percentiles=", ".join(words.percent(p) for p in stats.PERCENTILES.values()),
        error_us=f"{1e3 * calibration.ERROR_MS:g} µs",
        added_us=f"{calibration.ADDED_US:g} µs",
        theory=f"{calibration.THEORY_PERCENT:g} %",
    )
