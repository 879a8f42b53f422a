"""Every operation is accounted for: planned = sent + dropped; sent = done + failed + timed out."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from harness.results import DONE, DROPPED, FAILURES, OUTCOMES, TIMEOUT, Samples, clock_error_ns


@dataclass(frozen=True, slots=True)
class Counts:
    """Operations of the measured window by what became of them."""

    planned: int = 0
    sent: int = 0
    dropped: int = 0
    done: int = 0
    failed: int = 0
    timed_out: int = 0
    late: int = 0
    """Timed out, and answered after that."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{k: v + getattr(other, k) for k, v in asdict(self).items()})

    @property
    def imbalances(self) -> list[str]:
        """What does not add up, in words."""
        wrong = []
        if self.planned != self.sent + self.dropped:
            wrong.append(f"planned {self.planned} is not sent {self.sent} + dropped {self.dropped}")
        if self.sent != self.done + self.failed + self.timed_out:
            wrong.append(
                f"sent {self.sent} is not done {self.done} + failed {self.failed}"
                f" + timed out {self.timed_out}"
            )
        return wrong


def count(samples: Samples) -> Counts:
    """The accounts of one trial's measured window, each side counted on its own.

    `sent` counts rows with a sent instant, the others count outcomes, so that the two sides of an
    account come from different columns.
    """
    measured = samples.measured
    by_outcome = np.bincount(samples.outcome[measured], minlength=len(OUTCOMES))
    late = measured & (samples.outcome == TIMEOUT) & (samples.done != 0)
    return Counts(
        planned=int(measured.sum()),
        sent=int((samples.sent[measured] != 0).sum()),
        dropped=int(by_outcome[DROPPED]),
        done=int(by_outcome[DONE]),
        failed=int(by_outcome[OUTCOMES.index(FAILURES[0]) :].sum()),
        timed_out=int(by_outcome[TIMEOUT]),
        late=int(late.sum()),
    )


def failures(samples: Samples) -> dict[str, int]:
    """How often each kind of failure occurred in the measured window; kinds that did not are left
    out."""
    by_outcome = np.bincount(samples.outcome[samples.measured], minlength=len(OUTCOMES))
    return {
        w: int(by_outcome[OUTCOMES.index(w)]) for w in FAILURES if by_outcome[OUTCOMES.index(w)]
    }


def silent_at_the_end(samples: Samples, timeout_s: float) -> bool:
    """Whether nothing that was planned in the window's last `timeout_s` seconds (half of a shorter
    window) was answered, be it with a refusal or a receipt: the service had stopped, or was
    buried."""
    start, end = samples.meta["window"]
    span = min(round(timeout_s * 1e9), (end - start) // 2)
    tail = samples.measured & (samples.planned >= end - span)
    silent = np.isin(samples.outcome[tail], (TIMEOUT, DROPPED)) & (samples.acked[tail] == 0)
    return len(silent) > 0 and bool(silent.all())


def sent_within(samples: Samples) -> int:
    """Operations that were sent within the measured window, whenever they were planned."""
    start, end = samples.meta["window"]
    return int(((samples.sent >= start) & (samples.sent < end)).sum())


def implausible(samples: Samples) -> list[str]:
    """Orders of instants that cannot be, in words."""
    sent, acked = samples.sent != 0, samples.acked != 0
    done = samples.outcome == DONE
    wrong = {
        "sent before they were planned": sent & (samples.sent < samples.planned),
        "acknowledged before they were sent": acked & (samples.acked < samples.sent),
        "done before they were sent": done & (samples.done <= samples.sent),
    }
    return [f"{cases.sum()} operations {what}" for what, cases in wrong.items() if cases.any()]


def processed_elsewhen(samples: Samples) -> int:
    """Operations whose work the server ended before they were sent or after they were done: what
    cannot be where its clock is the run's. Between machines, by more than clocks are known to."""
    told = (samples.outcome == DONE) & (samples.processed != 0)
    off = clock_error_ns(samples.meta) or 0
    outside = (samples.processed < samples.sent - off) | (samples.processed > samples.done + off)
    return int((told & outside).sum())


def quickest_ms(samples: Samples) -> float:
    """The shortest time from sent to done; +infinity where nothing was done."""
    done = samples.outcome == DONE
    took = samples.done[done] - samples.sent[done]
    return float(took.min() / 1e6) if len(took) else math.inf
