"""What the harness and the generator child say to each other, as JSON lines.

The trial on line 1; the child answers `ready` when its lanes are open, or `failed`; then `start`
with an instant; the child sends `progress` and, once its samples are on disk, `end`.
"""

import json
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """All that a generator needs to know."""

    cell: str
    trial: int
    block: int
    operation: str
    driver: str
    """`module:Class`"""
    target: str
    load: LoadSpec
    seed: int
    warm_up_s: float
    duration_s: float
    timeout_s: float
    in_flight: int
    connections: int
    items: int | None
    orders_file: str | None
    key_prefix: str
    """Makes the idempotency keys of this trial unlike any other's."""
    samples_path: str

    def to_line(self) -> str:
        """As one JSON line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """Read to_line()'s form."""
        fields: dict[str, Any] = json.loads(line)
        fields["load"] = LoadSpec(**fields["load"])
        return cls(**fields)
