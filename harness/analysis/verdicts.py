"""What may be concluded from a cell: a closed list of reasons, each with its remedy."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """From best to worst; a cell has the worst that one of its reasons gives."""

    VALID = "valid"
    QUALIFIED = "qualified"
    INVALID = "invalid"
    FAILED = "failed"
    SKIPPED = "skipped"


class Code(StrEnum):
    """Every reason there is."""

    SHARED_CORE = "shared_core"
    UNDER_SAMPLED = "under_sampled"
    UNSTABLE = "unstable"
    NOT_STATIONARY = "not_stationary"
    RIVAL_BUSY = "rival_busy"
    FEWER_TRIALS = "fewer_trials"
    TWO_CLOCKS = "two_clocks"
    OVERLOADED = "overloaded"
    CLIENT_LIMITED = "client_limited"
    GENERATOR_BOUND = "generator_bound"
    ACCOUNTS = "accounts"
    IMPLAUSIBLE = "implausible"
    RATE_NOT_REACHED = "rate_not_reached"
    TRIAL_FAILED = "trial_failed"
    WORKER_LOST = "worker_lost"
    SERVER_DIED = "server_died"
    REJECTED = "rejected"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    WRONG_REPLY = "wrong_reply"
    NO_COMPLETIONS = "no_completions"
    STOPPED_ANSWERING = "stopped_answering"
    CUT = "cut"
    LOST = "lost"
    DAMAGED = "damaged"
    LOST_BY_FAULT = "lost_by_fault"
    LOST_UNACKNOWLEDGED = "lost_unacknowledged"
    FAULT = "fault"
    UNDRAINED = "undrained"
    WARM_UP = "warm_up"
    NULL = "null"
    NOT_RUN = "not_run"
    NOT_OFFERED = "not_offered"
    UNAVAILABLE = "unavailable"


RULES: dict[Code, tuple[Status, str]] = {
    Code.SHARED_CORE: (
        Status.QUALIFIED,
        "run on two processors or more, so that server and generator have their own",
    ),
    Code.UNDER_SAMPLED: (Status.QUALIFIED, "a longer --duration or a higher --rate"),
    Code.UNSTABLE: (
        Status.QUALIFIED,
        "more --repeats, a longer --duration, or a quieter machine; the median leaves a few out",
    ),
    Code.NOT_STATIONARY: (
        Status.QUALIFIED,
        "where it grows, a lower --rate, or see what grows in it; where it falls, more warm_up_s",
    ),
    Code.RIVAL_BUSY: (
        Status.QUALIFIED,
        "stop what else runs on this machine, or measure on a quieter one",
    ),
    Code.FEWER_TRIALS: (Status.QUALIFIED, "run again and let it finish"),
    Code.TWO_CLOCKS: (
        Status.QUALIFIED,
        "read its times to within that, or run it without workers on other machines",
    ),
    Code.OVERLOADED: (
        Status.QUALIFIED,
        "a lower --rate shows what the style does when it keeps up",
    ),
    Code.CLIENT_LIMITED: (
        Status.QUALIFIED,
        "read this throughput as the client library's; the service might carry more",
    ),
    Code.GENERATOR_BOUND: (
        Status.INVALID,
        "a lower --rate, or a machine with more or quieter processors",
    ),
    Code.ACCOUNTS: (Status.INVALID, "report this as a defect of orderbench, with the run's folder"),
    Code.IMPLAUSIBLE: (
        Status.INVALID,
        "report this as a defect of orderbench, with the run's folder",
    ),
    Code.RATE_NOT_REACHED: (
        Status.INVALID,
        "a lower --rate, or a machine with more or quieter processors",
    ),
    Code.TRIAL_FAILED: (
        Status.FAILED,
        "mend what the reason names (an address, a login, a topic); the run's logs/ have the rest",
    ),
    Code.WORKER_LOST: (
        Status.FAILED,
        "see why it went, and run it again: what is here was sent by the others, until then",
    ),
    Code.SERVER_DIED: (Status.FAILED, "see the run's logs/"),
    Code.REJECTED: (
        Status.FAILED,
        "the service must accept the orders of the scenario, and a broker messages of their size",
    ),
    Code.DISCONNECTED: (Status.FAILED, "see whether the service restarted or refused connections"),
    Code.PROTOCOL: (Status.FAILED, "the service must answer as its style does; see the details"),
    Code.WRONG_REPLY: (
        Status.FAILED,
        "correct the service: it answered with another order's result",
    ),
    Code.NO_COMPLETIONS: (Status.FAILED, "see whether the service answers at all"),
    Code.STOPPED_ANSWERING: (
        Status.FAILED,
        "see whether the service, or its broker, still runs; if the load buried it, a lower --rate",
    ),
    Code.CUT: (
        Status.QUALIFIED,
        "something must move on the connection more often, or the style must hold none",
    ),
    Code.LOST: (
        Status.FAILED,
        "acknowledged is not safe here: see the broker's log, and what its durability promises",
    ),
    Code.DAMAGED: (
        Status.FAILED,
        "see what lies between producer and consumer; the trial's arrivals name the messages",
    ),
    Code.LOST_BY_FAULT: (
        Status.QUALIFIED,
        "durability C or D survives the death of one node; this one promises less",
    ),
    Code.LOST_UNACKNOWLEDGED: (
        Status.QUALIFIED,
        "a producer that is told of no acknowledgement must send again, which may repeat",
    ),
    Code.FAULT: (
        Status.QUALIFIED,
        "the scenario killed a node; without [fault] the figures are those of a healthy broker",
    ),
    Code.UNDRAINED: (
        Status.QUALIFIED,
        "a lower --rate, more workers or a longer ingest.drain_limit_s; what was left is not lost",
    ),
    Code.WARM_UP: (Status.QUALIFIED, "a longer warm_up_s, and broker.warm_up_s for brokers"),
    Code.NULL: (
        Status.INVALID,
        "none is needed: it stands for what the protocol alone costs, in the stack of its style",
    ),
    Code.UNAVAILABLE: (Status.SKIPPED, "python3 bench.py doctor says what is missing"),
    Code.NOT_OFFERED: (Status.SKIPPED, "another style, or the condition left out"),
    Code.NOT_RUN: (Status.SKIPPED, "run again and let it finish"),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is."""

    code: Code
    detail: str

    def to_json(self) -> dict[str, str]:
        """As in summary.json."""
        return {"code": self.code.value, "detail": self.detail, "remedy": RULES[self.code][1]}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cell's status and all reasons for it."""

    reasons: tuple[Reason, ...] = ()

    @property
    def status(self) -> Status:
        """The worst status that a reason gives; valid without any."""
        order = list(Status)
        return max((RULES[r.code][0] for r in self.reasons), key=order.index, default=Status.VALID)

    def to_json(self) -> dict[str, object]:
        """As in summary.json."""
        return {"status": self.status.value, "reasons": [r.to_json() for r in self.reasons]}
