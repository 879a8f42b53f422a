"""What an operation costs beside its latency, by role: CPU, memory, context switches, bytes and
segments; and what all of it costs at rest. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.analysis.stats import middle
from harness.analysis.trial import TrialResult, whole
from harness.analysis.usage import Idle

CLIENT = "generator"
ORDER = (CLIENT, "relay", "gateway", "server", "broker", "store", "outside")
"""Roles from the client on."""
SHOWN = {CLIENT: "client"}
"""What a role is called outside of the program, where that is something else."""


@dataclass(frozen=True, slots=True)
class RoleCost:
    """What a role costs a completed operation, and at rest."""

    cpu_us: float
    user_us: float | None
    system_us: float | None
    peak_bytes: int | None
    voluntary: float | None
    """Context switches of all threads."""
    involuntary: float | None
    idle_ms_per_s: float | None


@dataclass(frozen=True, slots=True)
class Passage:
    """What went between two roles for a completed operation, there and back: the first of `between`
    is nearer to the client."""

    between: tuple[str, str]
    bytes: tuple[float, float]
    segments: tuple[float, float]
    data_segments: tuple[float, float]
    """Those that carry payload."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a cell's operations cost."""

    roles: Mapping[str, RoleCost] = field(default_factory=dict)
    passages: Sequence[Passage] = ()
    other_busy: float | None = None
    """Processors busy with what was not of the run, in the middle of the trials."""
    idle_other_busy: float | None = None
    """Likewise at rest."""
    cost_per_million: Mapping[str, float] | None = None
    """By role, of `traffic`, and in `total`; None without a price."""

    def to_json(self) -> dict[str, Any]:
        """As in summary.json."""
        return {
            "roles": {
                SHOWN.get(role, role): {k: _rounded(v) for k, v in asdict(cost).items()}
                for role, cost in self.roles.items()
            },
            "wire": [
                {
                    "between": [SHOWN.get(role, role) for role in passage.between],
                    **{
                        name: [_rounded(value) for value in getattr(passage, name)]
                        for name in ("bytes", "segments", "data_segments")
                    },
                }
                for passage in self.passages
            ],
            "other_busy": _rounded(self.other_busy),
            "idle_other_busy": _rounded(self.idle_other_busy),
            "cost_per_million": self.cost_per_million
            and {SHOWN.get(role, role): round(c, 6) for role, c in self.cost_per_million.items()},
        }


def overhead(
    trials: Sequence[TrialResult],
    rest: Idle | None = None,
    price: Mapping[str, float] | None = None,
) -> Overhead:
    """Of a cell's whole trials; `rest`: what its variant used at rest under its condition; `price`:
    see harness.sections.Price."""
    trials = whole(trials)
    roles = {role: cost for role in ORDER if (cost := _role_cost(trials, role, rest)) is not None}
    moved = _passages(trials)
    throughput = middle([t.throughput_per_s for t in trials]) if trials else 0.0
    others = [t.seen.other_busy for t in trials if t.seen.other_busy is not None]
    return Overhead(
        roles,
        moved,
        middle(others) if others else None,
        rest.other_busy if rest else None,
        _cost_per_million(price, roles, moved, throughput) if price and roles else None,
    )


def _role_cost(trials: Sequence[TrialResult], role: str, rest: Idle | None) -> RoleCost | None:
    seen = [(t, t.seen.spent[role]) for t in trials if role in t.seen.spent]
    completed = sum(t.completed_in_window for t, _ in seen)
    if not completed:
        return None
    cpu_us = sum(spent.cpu_ns for _, spent in seen) / 1e3 / completed
    split = [
        (spent.cpu_ns, share) for _, spent in seen if (share := spent.system_share) is not None
    ]
    whole = sum(cpu for cpu, _ in split)
    system_us = cpu_us * sum(cpu * share for cpu, share in split) / whole if whole else None
    switched = [(t.done_while_counted, s) for t, s in seen if t.seen.counted]
    switched = [(then, s) for then, s in switched if s.voluntary is not None]
    then = sum(completed for completed, _ in switched)
    at_rest = rest.busy.get(role) if rest else None
    return RoleCost(
        cpu_us,
        None if system_us is None else cpu_us - system_us,
        system_us,
        max((s.peak_bytes for _, s in seen if s.peak_bytes is not None), default=None),
        sum(s.voluntary or 0 for _, s in switched) / then if then else None,
        sum(s.involuntary or 0 for _, s in switched) / then if then else None,
        None if at_rest is None else at_rest * 1e3,
    )


def _passages(trials: Sequence[TrialResult]) -> list[Passage]:
    """Counted from just before the window to just after it, by what was completed then; none where
    something went by uncounted."""
    counted = [(w, t) for t in trials if (w := t.seen.wire) is not None and "flows" in w]
    completed = sum(t.done_on_wire for _, t in counted)
    if not completed or any(wire["uncounted"] for wire, _ in counted):
        return []
    return passages([wire["flows"] for wire, _ in counted], completed)


def bytes_per_op(moved: Sequence[Passage]) -> tuple[float, float] | None:
    """To and from the broker, where there is one, else from and to the client; None where nothing
    was counted."""
    return _both_ways([p.bytes for p in _at_the_hub(moved)])


def segments_per_op(moved: Sequence[Passage]) -> tuple[float, float] | None:
    """As bytes_per_op, those without payload included."""
    return _both_ways([p.segments for p in _at_the_hub(moved)])


def _at_the_hub(moved: Sequence[Passage]) -> list[Passage]:
    """What went to and from the broker or, without one, the client."""
    hub = "broker" if any("broker" in p.between for p in moved) else CLIENT
    return [p for p in moved if hub in p.between and p.between[0] != p.between[1]]


def _both_ways(each: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    return (sum(to for to, _ in each), sum(back for _, back in each)) if each else None


def passages(flows: Sequence[Sequence[Mapping[str, Any]]], completed: int) -> list[Passage]:
    """What went between each two roles an operation, of the flows of several trials (see
    harness.observe.wire.Flow) in which so many operations were completed."""
    total: dict[tuple[str, str], dict[str, int]] = {}
    for trial in flows:
        for flow in trial:
            if not flow["segments"]:
                continue
            way = total.setdefault((flow["sender"], flow["receiver"]), {})
            for name in ("bytes", "segments", "data_segments"):
                way[name] = way.get(name, 0) + flow[name]
    found = []
    for near, far in sorted({_ordered(*way) for way in total}, key=lambda p: [*map(_place, p)]):
        there = total.get((near, far), {})
        # Between nodes of one role there is no back.
        back = total.get((far, near), {}) if near != far else {}

        def each(
            name: str, there: Mapping[str, int] = there, back: Mapping[str, int] = back
        ) -> tuple[float, float]:
            return there.get(name, 0) / completed, back.get(name, 0) / completed

        found.append(Passage((near, far), each("bytes"), each("segments"), each("data_segments")))
    return found


def _place(role: str) -> int:
    return ORDER.index(role) if role in ORDER else len(ORDER)


def _ordered(one: str, other: str) -> tuple[str, str]:
    return (one, other) if _place(one) <= _place(other) else (other, one)


HOUR_S = 3600.0
MILLION = 1e6


def _cost_per_million(
    price: Mapping[str, float],
    roles: Mapping[str, RoleCost],
    moved: Sequence[Passage],
    throughput_per_s: float,
) -> dict[str, float]:
    """Memory is paid for as long as a million operations take at this load."""
    hours = MILLION / throughput_per_s / HOUR_S if throughput_per_s else 0.0
    cost = {
        role: each.cpu_us / HOUR_S * price["core_hour"]
        + (each.peak_bytes or 0) / 2**30 * hours * price["gib_hour"]
        for role, each in roles.items()
    }
    if price["gb"]:
        cost["traffic"] = sum(sum(each.bytes) for each in moved) * MILLION / 1e9 * price["gb"]
    return {**cost, "total": sum(cost.values())}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
