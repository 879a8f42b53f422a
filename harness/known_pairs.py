"""Pairs of runs that should have been the same, as they are kept for a machine and its workers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from harness.analysis.between import Between, Pair
from harness.analysis.sameness import machine_facts
from harness.machine import remember, remembered

PAIRS = "between_runs"
"""The name under which a machine's pairs are kept, of runs that sent their load themselves."""


def known_pairs(run: Mapping[str, Any]) -> Between:
    """What is known of the machine of a run (as run.json has it), and of workers like its own. What
    cannot be read is not."""
    try:
        known = remembered(run["environment"], _name(run)) or ()
        return Between(tuple(map(Pair.from_json, known)))
    except (LookupError, TypeError, ValueError):
        return Between()


def keep_pair(run: Mapping[str, Any], pair: Pair) -> bool:
    """Add a pair to what is known of runs like this one; returns whether it says anything new.
    Raises OSError where the cache cannot be written."""
    known = known_pairs(run)
    more = known.with_pair(pair)
    if more == known:
        return False
    remember(run["environment"], _name(run), [each.to_json() for each in more.pairs])
    return True


def _name(run: Mapping[str, Any]) -> str:
    # Over a network runs differ by more than over loopback.
    workers = machine_facts(run)["workers"]
    if workers is None:
        return PAIRS
    return f"{PAIRS}_{hashlib.sha256(json.dumps(workers).encode()).hexdigest()[:12]}"
