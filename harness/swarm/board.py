"""What a run has said so far, for the tables and charts beside Locust's own. Pure."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT = 1200
"""Points of a line, the latest."""

TABLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "hosts": (
        "Hosts",
        {
            "worker": "Worker",
            "host": "Host",
            "pid": "Pid",
            "processors": "Processors",
            "offset_us": "Clock from the run's µs",
            "error_us": "± µs",
            "state": "State",
        },
    ),
    "overhead": (
        "Overhead",
        {
            "name": "Trial",
            "load": "Load",
            "client": "Client µs/op",
            "server": "Server µs/op",
            "broker": "Broker µs/op",
            "out": "Bytes/op out",
            "back": "Bytes/op back",
        },
    ),
    "generator": (
        "Generator",
        {
            "name": "Trial",
            "load": "Load",
            "lag_p50": "Send lag p50 µs",
            "lag_p99": "Send lag p99 µs",
            "lag_max": "Send lag max µs",
            "loop": "Loop lag p99 µs",
            "busy": "Busy %",
            "lanes": "Lanes",
            "pacer": "Pacer",
        },
    ),
    "ledger": (
        "Ledger",
        {
            "name": "Trial",
            "load": "Load",
            "planned": "Planned",
            "sent": "Sent",
            "done": "Done",
            "failed": "Failed",
            "timed_out": "Timed out",
            "dropped": "Dropped",
            "late": "Late",
            "lost": "Acknowledged and lost",
            "duplicated": "Duplicated",
            "reordered": "Reordered",
            "wrong": "Balances",
        },
    ),
}
"""By key: the tab's title, and the columns in order."""


SLOT_S = 0.4
"""What a point spans at least: a little less than the time from one batch of a generator to its
next, so that those of several are in it together."""
Point = tuple[float, float | None, float | None, float | None]
"""Seconds, operations a second, p50 and p99 in ms; None where a line is broken."""


@dataclass(slots=True)
class _Slot:
    """What has come of a line since its last point, of all generators."""

    since_s: float
    count: int = 0
    times: Counter[float] = field(default_factory=Counter)


class Board:
    """Of one start. CPU, bytes, lags and accounts are of the measured windows."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {key: [] for key in TABLES}
        self.lines: dict[str, deque[Point]] = {}
        """By variant, operation and milestone."""
        self.problems: list[str] = []
        self._now: dict[str, str] = {}
        self._slots: dict[str, dict[str, _Slot]] = {}

    @property
    def now(self) -> str:
        """What goes on, in words."""
        return "; ".join(dict.fromkeys(self._now.values()))

    def hear(self, message: Mapping[str, Any], at_s: float, run: str = "") -> None:
        """Take in a line of harness.report.lines, which came at an instant, of one of the runs that
        go on together."""
        match message["event"]:
            case "said":
                self._now[run] = message["words"]
            case "hosts":
                self.rows["hosts"] = [dict(row) for row in message["rows"]]
            case "trial":
                self._now[run] = f"{_name(message)} at {message['load']}"
                subject = " ".join(message["subject"])
                for milestone in self._slots.pop(subject, {}):
                    # None goes across two trials.
                    self._line(f"{subject} [{milestone}]").append((at_s, None, None, None))
            case "figures":
                for row in message["rows"]:
                    self._point(message["subject"], row, at_s)
            case "trial_ended":
                self._end(message)
            case "trial_failed":
                self.problems.append(f"{_name(message)}: {message['reason']}")
            case "end":
                self._now[run] = "the report is written"

    def _point(self, subject: Sequence[str], row: Mapping[str, Any], at_s: float) -> None:
        slots = self._slots.setdefault(" ".join(subject), {})
        slot = slots.get(row["milestone"])
        if slot is None:
            # How long the first took to come together is not known.
            slots[row["milestone"]] = _Slot(at_s)
            return
        slot.count += row["count"]
        slot.times.update(dict(row["times"]))
        if (span := at_s - slot.since_s) < SLOT_S:
            return
        times = sorted(slot.times.items())
        p50, p99 = (percentile(times, share) for share in (0.5, 0.99))
        name = f"{' '.join(subject)} [{row['milestone']}]"
        self._line(name).append((round(at_s, 2), round(slot.count / span, 1), p50, p99))
        slots[row["milestone"]] = _Slot(at_s)

    def _line(self, name: str) -> deque[Point]:
        return self.lines.setdefault(name, deque(maxlen=KEPT))

    def _end(self, message: Mapping[str, Any]) -> None:
        about = {"name": _name(message), "load": message["load"]}
        cpu, moved = message["overhead"]["cpu_us"], message["overhead"]["bytes"] or ("–", "–")
        self.rows["overhead"].append(
            {
                **about,
                "client": cpu.get("generator", "–"),
                "server": cpu.get("server", "–"),
                "broker": cpu.get("broker", "–"),
                "out": moved[0],
                "back": moved[1],
            }
        )
        health = message["generator"]
        lags = ("–" if lag is None else lag for lag in health["send_lag_us"])
        self.rows["generator"].append(
            {
                **about,
                **dict(zip(("lag_p50", "lag_p99", "lag_max"), lags, strict=True)),
                "loop": "–" if health["loop_lag_p99_us"] is None else health["loop_lag_p99_us"],
                "busy": round(100 * health["busy"], 1),
                "lanes": health["lanes"],
                "pacer": health["pacer"],
            }
        )
        counts = message["ledger"]
        messages = counts.get("messages", {})
        self.rows["ledger"].append(
            {
                **about,
                **{
                    key: counts[key]
                    for key in ("planned", "sent", "done", "failed", "timed_out", "dropped", "late")
                },
                "lost": messages.get("lost_acknowledged", "–"),
                "duplicated": messages.get("duplicated", "–"),
                "reordered": messages.get("reordered", "–"),
                "wrong": "; ".join(counts["wrong"]) or "yes",
            }
        )


def percentile(times: Sequence[Sequence[float]], share: float) -> float | None:
    """In ms, of buckets (us, how many) in order; None of none."""
    left = share * sum(count for _, count in times)
    for us, count in times:
        left -= count
        if left <= 0:
            return us / 1e3
    return None


def _name(message: Mapping[str, Any]) -> str:
    return f"{message['number']} {' '.join(message['subject'])}"
