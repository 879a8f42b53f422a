"""What the harness asks of a part that it starts beside the services: Kafka, RabbitMQ, Redis,
PostgreSQL.

Where a part comes from, in this order: an address that the user gives; a local installation; the
harness's cache; installed into the cache by the harness. `find` says which, without installing
anything; `obtain` installs; `start` starts it, below a folder of its own, on private ports of
127.0.0.1, through the warden.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Unavailable(Exception):
    """A part that cannot be had. `remedy` is a command that mends it, or what else to do."""

    def __init__(self, part: str, reason: str, remedy: str) -> None:
        super().__init__(f"{part}: {reason}; {remedy}")
        self.part = part
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Source:
    """Where a part comes from."""

    part: str
    origin: str
    """`address`, `local`, `cache`, or `install` (not there yet, and can be installed)."""
    version: str
    detail: str
    """The place, or how it would be installed, in words."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """What `start` needs to know, by names of the part's own."""


class Broker(Protocol):
    """A broker that is ready."""

    part: str
    """`kafka` or `rabbitmq`."""
    address: str
    """As protos.broker reads it, without a namespace; it may hold a secret."""
    source: Source
    settings: Mapping[str, Any]
    """What it was started with, as the report prints it: nodes, JVM options, broker's settings."""

    @property
    def pids(self) -> Mapping[str, int]:
        """The process of each node, by the node's name; empty where it is not ours."""

    async def leader(self, name: str) -> str:
        """The node that leads partition 0 of a topic, or a queue. Raises RigError."""

    async def kill(self, node: str, wipe: bool = False) -> None:
        """Kill a node at once (SIGKILL); with `wipe` remove its folder too."""

    async def restart(self, node: str) -> None:
        """Start a node again that was killed, and wait until it takes part. Raises RigError."""

    async def freeze(self) -> None:
        """Stop all nodes where they are (SIGSTOP)."""

    async def thaw(self) -> None:
        """Let frozen nodes go on, and wait until they answer. Raises RigError."""

    async def stop(self) -> None:
        """End it, with all that it started; its folder is removed."""
