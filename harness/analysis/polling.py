"""How much later a client that polls sees a result than it was there: in theory.

The grid of polls begins with the receipt, so a question reaches the server half a round trip later
than the grid has it, and its answer takes the other half. All functions take any one unit.
"""

import math
from collections.abc import Mapping
from typing import Any


def fixed_excess(work: float, interval: float, round_trip: float = 0.0) -> float:
    """For work of one length S: i ceil(S / i) - S, and a round trip."""
    shift = round_trip / 2
    # Rounded first: 0.3 / 0.1 is 2.9999999999999996 in floating point.
    polls = max(1, math.ceil(round((work - shift) / interval, 9)))
    return interval * polls + round_trip - work


def exponential_excess(mean: float, interval: float, round_trip: float = 0.0) -> float:
    """The mean for exponential work of mean m: i / (1 - exp(-i / m)) - m, and a round trip, whose
    first half lets some orders be done in time for an earlier question.

    Without a round trip the number of polls is geometric with success probability 1 - exp(-i / m).
    """
    shift = round_trip / 2
    missed = math.exp(-(interval + shift) / mean) / -math.expm1(-interval / mean)
    return interval * (1 + missed) + round_trip - mean


def expected_excess_ms(condition: Mapping[str, Any], round_trip_ms: float = 0.0) -> float | None:
    """The mean excess of a cell; None where its way of polling or its work has no formula here.
    `condition` is that of run.json."""
    poll = condition.get("poll")
    if not poll or poll["policy"] != "fixed":
        return None
    if not condition["work_mean_ms"] or condition.get("work_between"):
        return None
    formula = {"fixed": fixed_excess, "exponential": exponential_excess}.get(condition["work_time"])
    if formula is None:
        return None
    return formula(condition["work_mean_ms"], poll["interval_ms"], round_trip_ms)
