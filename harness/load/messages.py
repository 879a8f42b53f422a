"""What the harness and the generator child say to each other, as JSON lines.

The trial on line 1; the child answers `ready` when its lanes are open, or `failed`; then `start`
with an instant; the child sends `progress` (and, where the trial is `live`, `figures`: see
harness.load.live) and, once all operations have ended, `drained`; `stop` with an instant ends the
load before its time: nothing is planned from then on, and the window ends there. The child keeps
its connections until it is told to `close`, with the files of arrivals that workers have written by
then (protos.arrivals), and says `end` when its samples are on disk.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """See harness.plan.LoadPoint."""

    model: str
    rate: float | None
    users: int | None
    think_s: float
    burst_size: int
    every_s: float
    rates: Sequence[float] = ()
    file: str | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class OrderSpec:
    """The orders to place: `items` lines each, or those of a file; a document with each; and the
    time that the work on each takes."""

    items: int | None = 3
    file: str | None = None
    attachment_bytes: int = 0
    work_time: str = "none"
    """`none`, `fixed` or `exponential`, of `work_mean_ms`."""
    work_mean_ms: float = 0.0
    work_between: int = 0
    """So many orders with none to speak of (orders.line.NO_WORK_US) come between two with work."""


@dataclass(frozen=True, slots=True)
class WireSpec:
    """See clients.base.Wire and Poll; and whether lanes are kept after an operation."""

    codec: str = ""
    ca: str | None = None
    compression: bool = False
    poll_policy: str = "fixed"
    poll_interval_s: float = 0.1
    poll_longest_s: float = 2.0
    kept: bool = True


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """All that a generator needs to know."""

    cell: str
    trial: int
    block: int
    operation: str
    driver: str
    """`module:Class`, or `path/file.py:Class`"""
    target: str
    load: LoadSpec
    seed: int
    warm_up_s: float
    duration_s: float
    timeout_s: float
    in_flight: int
    connections: int
    key_prefix: str
    """Makes the idempotency keys of this trial unlike any other's."""
    samples_path: str
    order: OrderSpec = field(default_factory=OrderSpec)
    wire: WireSpec = field(default_factory=WireSpec)
    subscribers: int = 0
    stalled: int = 0
    """Of the subscribers, how many take nothing from their connections."""
    request_ids: bool = False
    attempts: int = 1
    """An operation's, each but the last of `attempt_timeout_s`."""
    attempt_timeout_s: float = 1.0
    keys: int = 1
    """What `ingest` has messages about: message n is about key n % keys."""
    acknowledges: bool = True
    """Whether messages of `ingest` are acknowledged; not in durability class A."""
    priced: bool = True
    """Whether answers hold the order's price, which is checked; not those of a null server."""
    trace: str | None = None
    """Where spans go: a file or an OTLP address."""
    part: int = 0
    """Which of `parts` generators this one is, from 0. All else here is of the whole trial, and
    each takes its share of it (harness.load.dealing)."""
    parts: int = 1
    live: bool = False
    """Whether somebody wants `figures`."""

    def to_line(self) -> str:
        """As one JSON line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """Read to_line()'s form."""
        fields: dict[str, Any] = json.loads(line)
        for name, kind in (("load", LoadSpec), ("order", OrderSpec), ("wire", WireSpec)):
            fields[name] = kind(**fields[name])
        return cls(**fields)
