"""How much later a client that polls sees a result than it was there: in theory."""

import math
from collections.abc import Mapping
from typing import Any


def fixed_excess(work: float, interval: float) -> float:
    """For work of one length, polled on a grid from its start: i ceil(S / i) - S. Any unit."""
    # Rounded first: 0.3 / 0.1 is 2.9999999999999996 in floating point.
    return interval * math.ceil(round(work / interval, 9)) - work


def exponential_excess(mean: float, interval: float) -> float:
    """The mean for exponential work: i / (1 - exp(-i / m)) - m. Any unit.

    The number of polls is geometric with success probability 1 - exp(-i / m).
    """
    return interval / -math.expm1(-interval / mean) - mean


def expected_excess_ms(condition: Mapping[str, Any]) -> float | None:
    """The mean excess of a cell, without the round trip of the last poll; None where its way of
    polling or its work has no formula here. `condition` is that of run.json."""
    poll = condition.get("poll")
    if not poll or poll["policy"] != "fixed" or not condition["work_mean_ms"]:
        return None
    formula = {"fixed": fixed_excess, "exponential": exponential_excess}.get(condition["work_time"])
    return formula(condition["work_mean_ms"], poll["interval_ms"]) if formula else None
