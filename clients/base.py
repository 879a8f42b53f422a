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

from orders.model import Confirmation, Order, Update
from protos.codec import Codec
from protos.codecs import CODECS
from protos.context import NOTHING, Context
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


@dataclass(frozen=True, slots=True)
class Poll:
    """How a client asks again for a result that it does not have yet.

    `fixed`: every `interval_s` seconds from the receipt. `backoff`: after `interval_s`, then after
    twice as long each time, up to `longest_s`. `long`: at once, and the server holds the answer
    back until there is a result, up to `longest_s` (Prefer: wait, RFC 7240).
    """

    policy: str = "fixed"
    interval_s: float = 0.1
    longest_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Wire:
    """How a driver shall talk, where its style leaves a choice.

    `codec` is a name of protos.codecs, empty for the style's own. `ca` is a PEM file to trust, None
    for the system's; whether to encrypt is in the target's scheme. `compression` is the protocol's
    own, both ways. `part` tells generators apart that share a trial, from 0.
    """

    codec: str = ""
    ca: str | None = None
    compression: bool = False
    poll: Poll = Poll()
    part: int = 0

    def codec_or(self, own: Codec) -> Codec:
        """The codec to use by a style whose own is `own`."""
        return CODECS[self.codec] if self.codec else own


PLAIN = Wire()


class Held(Protocol):
    """The lane that an operation holds, which others may use while it only waits."""

    lane: int
    """Negative while it rests."""

    def rest(self) -> None:
        """Give the lane back: nothing of the operation is under way on it."""

    def resume(self) -> int:
        """A lane again: never one that is waited for, a further one if all are busy."""


@dataclass(slots=True)
class Call:
    """One use of an operation: its number in the plan, unique within a generator, and what goes
    with it."""

    operation: int
    context: Context = NOTHING
    held: Held | None = None
    key: str = ""
    """What a message is about, where many are about one: a broker keeps those of a key in order.
    Empty: the order's own idempotency key."""

    def rest(self) -> None:
        """See Held.rest; a call that came without `held` keeps its lane."""
        if self.held is not None:
            self.held.rest()

    def resume(self, lane: int) -> int:
        """See Held.resume; `lane` is the one that the call had."""
        return lane if self.held is None else self.held.resume()


class Sink(Protocol):
    """Where goes what no awaited call returns: acknowledgements, events, late replies, notes."""

    def arrived(
        self, operation: int, milestone: Milestone, instant_ns: int, origin: str = ""
    ) -> None:
        """Note that `operation` reached `milestone` at `instant_ns` (CLOCK_MONOTONIC).

        Late and repeated arrivals are welcome: they feed the ledger. `origin` names the process or
        subscriber that saw it where that is not the driver itself.
        """

    def failed(self, operation: int, error: DriverError) -> None:
        """Note that an operation that was submitted failed. May be called by any thread, as
        `arrived` may."""

    def noted(self, operation: int, name: str, by: int = 1) -> None:
        """Count a step that belongs to a style: `polls`, `empty_polls`, `attempts`..."""

    def saw(self, update: Update, subscriber: int, instant_ns: int) -> None:
        """Note that `subscriber` (its lane) had an update in its hands at `instant_ns`."""


@runtime_checkable
class Driver(Protocol):
    """What every driver does."""

    multiplexes: bool
    """Whether a lane carries many operations at a time."""

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """Connect lanes 0 to `lanes` - 1 to the server at `target`, talking as `wire` says.

        Raises DriverError if one cannot be had.
        """

    async def drop(self, lane: int) -> None:
        """Give back a lane's connection. Harmless on a lane that has none; the lane may be used
        again."""

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

    producer: int
    """The number in the stamp of every message (protos.stamp), 1 to 2**63 - 1, unlike that of any
    other producer; the sequence beside it is the operation's number."""

    async def submit(self, batch: Sequence[tuple[Order, Call]]) -> None:
        """Hand over messages, in this order; not called again before it returns.

        It may return before they are acknowledged. What becomes of each goes to the sink, once:
        `arrived` with ACKED, or with SENT (the instant it left this process's hands) where nobody
        acknowledges; or `failed`. May wait for room in the library's own buffers.
        """


@runtime_checkable
class Works(Driver, Protocol):
    """A driver that tells a long piece of work from a short one (O4)."""

    async def work(self, lane: int, order: Order, call: Call) -> Confirmation:
        """As Places.place, by the way that the style has for long work; progress goes to the
        sink's `saw`."""


@runtime_checkable
class Watches(Driver, Protocol):
    """A driver that can subscribe to status changes (O3)."""

    async def watch(self, lane: int, reads: bool = True) -> None:
        """Subscribe on a lane of its own, returning once the subscription stands.

        Every change goes to the sink's `saw` with the lane as subscriber. With `reads` false the
        lane subscribes and then takes nothing from its connection: a subscriber that hangs. Raises
        DriverError.
        """
