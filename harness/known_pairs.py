"""Pairs of runs that should have been the same, as they are kept for a machine."""

from collections.abc import Mapping
from typing import Any

from harness.analysis.between import Between, Pair
from harness.machine import remember, remembered

PAIRS = "between_runs"
"""The name under which a machine's pairs are kept."""


def known_pairs(environment: Mapping[str, Any]) -> Between:
    """What is known of the machine that a run's environment is of. What cannot be read is not."""
    try:
        return Between(tuple(map(Pair.from_json, remembered(environment, PAIRS) or ())))
    except (LookupError, TypeError, ValueError):
        return Between()


def keep_pair(environment: Mapping[str, Any], pair: Pair) -> bool:
    """Add a pair to what is known; returns whether it says anything new. Raises OSError where the
    cache cannot be written."""
    known = known_pairs(environment)
    more = known.with_pair(pair)
    if more == known:
        return False
    remember(environment, PAIRS, [each.to_json() for each in more.pairs])
    return True
