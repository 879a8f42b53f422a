"""Where a closed loop bends. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

RISING = 0.05
"""A throughput that grew by more than this share with the last users may grow with more."""


@dataclass(frozen=True, slots=True)
class Knee:
    """Where the two asymptotes of a closed loop's throughput meet."""

    users: float
    per_s: float
    """The highest throughput that was seen."""
    rising: bool
    """Whether throughput still grew with the most users, so that the knee may lie further on."""


def knee(per_s: Mapping[float, float]) -> Knee | None:
    """Of throughputs by number of users; None for fewer than two numbers, or without throughput.

    As long as nobody waits for another, N users have N times the throughput of one; no number has
    more than the most that the system can do. The two bounds meet at N* = X_max R, where R is the
    time that a user alone takes for a turn: from there on users must wait for each other (Denning
    and Buzen, The Operational Analysis of Queueing Network Models, 1978, section 7).
    """
    users = sorted(per_s)
    if len(users) < 2 or per_s[users[0]] <= 0:
        return None
    most = max(per_s.values())
    turn_s = users[0] / per_s[users[0]]
    rising = per_s[users[-1]] > (1 + RISING) * max(per_s[n] for n in users[:-1])
    return Knee(most * turn_s, most, rising)
