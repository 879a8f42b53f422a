"""The contract between the generator and a style's client side.

A driver is one object for a style in a generator process. What it can do is which protocol below it
implements. It encodes (that is part of a style's cost); it never paces, never works out a latency
and never retries on its own account. The generator owns the timeout and cancels; a driver and its
lanes survive cancellation at any await. No pool or queue may hide in the path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol, runtime_checkable

from orders.model import Confirmation, Order
from protos.problems import Problem


class Milestone(IntEnum):
    """Instants in an operation's life, in the order in which they can happen."""

    PLANNED = 0
    SENT = 1
    ACKED = 2
    PROCESSED = 3
    DONE = 4


class Failure(StrEnum):
    """Why an operation failed: a closed set."""

    REJECTED = "rejected"
    DISCONNECTED = "disconnected"
    OVERLOADED = "overloaded"
    PROTOCOL = "protocol"
    WRONG_REPLY = "wrong_reply"


class DriverError(Exception):
    """An operation that failed; `code` is the service's own word for it where it gave one."""

    def __init__(self, failure: Failure, detail: str, code: str | None = None) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail
        self.code = code


def refused(problem: Problem) -> DriverError:
    """The failure that a service's own problem amounts to."""
    failure = Failure.OVERLOADED if problem.code == "overloaded" else Failure.REJECTED
    return DriverError(failure, problem.detail, problem.code)


@dataclass(slots=True)
class Call:
    """One use of an operation: its number in the plan, unique within a generator."""

    operation: int


class Sink(Protocol):
    """Where instants go that no awaited call returns: acknowledgements, events, late replies."""

    def arrived(
        self, operation: int, milestone: Milestone, instant_ns: int, origin: str = ""
    ) -> None:
        """Note that `operation` reached `milestone` at `instant_ns` (CLOCK_MONOTONIC).

        Late and repeated arrivals are welcome: they feed the ledger. `origin` names the process or
        subscriber that saw it where that is not the driver itself.
        """


@runtime_checkable
class Driver(Protocol):
    """What every driver does."""

    multiplexes: bool
    """Whether a lane carries many operations at a time."""

    async def open(self, target: str, lanes: int, sink: Sink) -> None:
        """Connect lanes 0 to `lanes` - 1 to the server at `target`.

        Raises DriverError if one cannot be had.
        """

    async def close(self) -> None:
        """Give back all connections and tasks. Harmless when nothing is open."""


@runtime_checkable
class Places(Driver, Protocol):
    """A driver that can ask for one order and see its final result (O1)."""

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """Place `order` on a lane and return the service's answer.

        A lane that was never opened, or lost its connection, is connected first: that time belongs
        to the operation. Raises DriverError.
        """


@runtime_checkable
class Ingests(Driver, Protocol):
    """A driver that can fire orders as a producer (O2)."""

    async def submit(self, batch: Sequence[tuple[Order, Call]]) -> None:
        """Hand over a batch; every acknowledgement and completion comes through the sink."""


@runtime_checkable
class Watches(Driver, Protocol):
    """A driver that can subscribe to status changes (O3)."""

    async def watch(self, lane: int) -> None:
        """Subscribe on a lane; every event comes through the sink, `origin` naming the lane."""
