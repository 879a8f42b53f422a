"""What processes used and processors did in one trial, from the rows of its telemetry. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.results import Reading

_WINDOW = ("window_start", "window_end")
_COUNTS = ("count_start", "count_end")
_IDLE = ("idle_start", "idle_end")

Marks = Mapping[tuple[str, str], Mapping[str, Any]]
"""Rows of telemetry.parquet by role (`server.2`) and mark."""

Used = Sequence[tuple[int, int]]
"""(instant, CPU time in ns that a process had used by then), ascending."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the processes of a role used in a trial."""

    cpu_ns: int
    """Within the measured window."""
    system_share: float | None
    """The part of it that was the kernel's, as far as the system's accounting steps tell."""
    peak_bytes: int | None
    """The most memory that each had resident, added up."""
    voluntary: int | None
    """Context switches of all threads, between the counts just outside the window."""
    involuntary: int | None


@dataclass(frozen=True, slots=True)
class Idle:
    """What was used while connections stood and nothing was sent."""

    busy: Mapping[str, float]
    """By role, in processors: 0.01 is 10 ms of CPU time a second."""
    other_busy: float | None
    """See other_busy."""


def spent_by_role(marks: Marks) -> dict[str, Spent]:
    """What each role used; those that were not seen at both ends of the window are absent."""
    processes: dict[str, list[str]] = {}
    for role, mark in marks:
        if mark == "window_start" and (role, "window_end") in marks:
            processes.setdefault(_group(role), []).append(role)
    return {role: _spent(marks, names) for role, names in processes.items()}


def busiest_ns(marks: Marks, role: str, places: Sequence[int]) -> int | None:
    """The CPU time within the window of a role's processes on the processor where it is most.
    `places`: the processor that each has. None where none was seen at both ends."""
    on_each: dict[int, int] = {}
    for name in (name for name, mark in marks if mark == _WINDOW[0] and _group(name) == role):
        used = _used(marks, [name], _WINDOW, "cpu_ns")
        if used is not None:
            place = places[int(name.partition(".")[2] or 1) - 1]
            on_each[place] = on_each.get(place, 0) + used
    return max(on_each.values(), default=None)


def used_over_time(readings: Iterable[Reading]) -> dict[str, list[Used]]:
    """The CPU time of each process of a role, in all that was read in a trial."""
    processes: dict[str, list[tuple[int, int]]] = {}
    for role, at, cpu_ns in readings:
        processes.setdefault(role, []).append((at, cpu_ns))
    by_role: dict[str, list[Used]] = {}
    for name, seen in processes.items():
        by_role.setdefault(_group(name), []).append(sorted(seen))
    return by_role


def counted_between(marks: Marks) -> tuple[int, int] | None:
    """The instants between which context switches were counted; None where they were not."""
    at = [[row["at"] for (_, m), row in marks.items() if m == mark] for mark in _COUNTS]
    return (min(at[0]), min(at[1])) if all(at) else None


def _spent(marks: Marks, names: Sequence[str]) -> Spent:
    user = _used(marks, names, _WINDOW, "user_ns")
    system = _used(marks, names, _WINDOW, "system_ns")
    peaks = [marks.get((name, "count_end"), {}).get("peak_bytes") for name in names]
    known = user is not None and system is not None and user + system > 0
    return Spent(
        cpu_ns=_used(marks, names, _WINDOW, "cpu_ns") or 0,
        system_share=(system or 0) / ((user or 0) + (system or 0)) if known else None,
        peak_bytes=sum(p for p in peaks if p is not None) if any(peaks) else None,
        voluntary=_used(marks, names, _COUNTS, "voluntary"),
        involuntary=_used(marks, names, _COUNTS, "involuntary"),
    )


def _used(marks: Marks, names: Iterable[str], between: tuple[str, str], column: str) -> int | None:
    """How much a column grew between two marks, over several processes; None where one of them was
    not read at both."""
    total = 0
    for name in names:
        first, last = (marks.get((name, mark), {}).get(column) for mark in between)
        if first is None or last is None:
            return None
        # Threads that have ended take their switches with them.
        total += max(last - first, 0)
    return total


def _group(role: str) -> str:
    return role.partition(".")[0]


def idle(marks: Marks, events: Iterable[Mapping[str, Any]]) -> Idle | None:
    """What a trial used at rest; None if it was not seen at rest."""
    busy: dict[str, float] = {}
    for role, mark in marks:
        if mark != _IDLE[0] or (role, _IDLE[1]) not in marks:
            continue
        first, last = marks[role, _IDLE[0]], marks[role, _IDLE[1]]
        share = (last["cpu_ns"] - first["cpu_ns"]) / (last["at"] - first["at"])
        busy[_group(role)] = busy.get(_group(role), 0.0) + share
    return Idle(busy, other_busy(marks, events, _IDLE)) if busy else None


def other_busy(
    marks: Marks, events: Iterable[Mapping[str, Any]], between: tuple[str, str] = _WINDOW
) -> float | None:
    """How many processors were busy with what no process of the run did: others, the kernel's own
    threads, interrupts, and what the hypervisor took; of several machines, on the one where it is
    most. None where it was not seen.

    A processor is busy while it is not idle: that is measured, whereas what it was busy with is
    sampled at timer interrupts, which what wakes by a timer escapes.
    """
    said = [json.loads(e["detail"]) for e in events if e["kind"] == "processors"]
    by_machine: dict[str, list[dict[str, Any]]] = {}
    for each in said:
        by_machine.setdefault(each.get("machine", ""), []).append(each)
    seen = [
        each
        for read in by_machine.values()
        if (each := _other_busy_of(read, marks, between)) is not None
    ]
    return max(seen, default=None)


def _other_busy_of(
    read: Iterable[Mapping[str, Any]], marks: Marks, between: tuple[str, str]
) -> float | None:
    """See other_busy, of one machine, whoever of its parties read it: the run, or a worker. Each
    knows the roles of its own processes only."""
    first, last = ([r for r in read if r["mark"] == mark] for mark in between)
    if not first or not last:
        return None
    everyone = {role for role, mark in marks if mark == between[0]}
    ours = {role for each in first for role in each.get("roles", everyone)} & everyone
    used_s = sum(_used(marks, [name], between, "cpu_ns") or 0 for name in ours) / 1e9
    span_s = (last[0]["at"] - first[0]["at"]) / 1e9
    rest_s = _idle_s(last[0]["processors"]) - _idle_s(first[0]["processors"])
    return float(len(last[0]["processors"]) - (rest_s + used_s) / span_s)


def _idle_s(processors: Iterable[Mapping[str, float]]) -> float:
    return sum(each["idle"] + each.get("iowait", 0.0) for each in processors)
