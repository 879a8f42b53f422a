"""A run's live figures as Locust's statistics: a row for each variant and milestone."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from locust.stats import RequestStats, StatsEntry, StatsError

TOTAL = "done"
"""The milestone that is counted in the total: every operation has it, once."""


def merge(stats: RequestStats, subject: Sequence[str], row: Mapping[str, Any]) -> None:
    """Add a batch (harness.load.live.Figures) to the row of its subject and milestone."""
    method, what = subject
    name = f"{what} [{row['milestone']}]"
    batch = _entry(stats, name, method, row)
    stats.entries[name, method].extend(batch)
    if row["milestone"] == TOTAL:
        stats.total.extend(batch)
    for outcome, count in row["failed"].items():
        key = StatsError.create_key(method, name, outcome)
        error = stats.errors.setdefault(key, StatsError(method, name, outcome))
        error.occurred()
        error.occurrences += count - 1


def _entry(stats: RequestStats, name: str, method: str, row: Mapping[str, Any]) -> StatsEntry:
    entry = StatsEntry(stats, name, method)
    failed = sum(row["failed"].values())
    now = time.time()
    entry.num_requests = row["count"]
    entry.num_failures = failed
    entry.num_none_requests = failed
    entry.num_reqs_per_sec[int(now)] = row["count"]
    entry.last_request_timestamp = now
    if failed:
        entry.num_fail_per_sec[int(now)] = failed
    if row["times"]:
        # Locust's are milliseconds, whole ones where it makes them itself.
        times: dict[Any, int] = entry.response_times
        times.update({us / 1e3: count for us, count in row["times"]})
        entry.total_response_time = row["sum_us"] / 1e3
        entry.min_response_time = row["min_us"] / 1e3
        entry.max_response_time = row["max_us"] / 1e3
    return entry
