"""What every style's server module offers: `async def start(desk, bind) -> Listening`."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orders.errors import MalformedOrder
from orders.model import Confirmation, Order, Update
from orders.service import Notify, OrderService
from orders.validation import validate
from patterns.remembered import Answers, answered_once
from protos.codecs import PROTOBUF
from protos.context import NOTHING, Context
from protos.frames import Result
from protos.problems import Problem, problem_of
from protos.traceparent import Traceparent

if TYPE_CHECKING:
    from servers.tracing import Tracer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bind:
    """Where and how a server listens. `certificate` and `key` are PEM files; without them it does
    not encrypt."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: str | None = None
    key: str | None = None
    compression: bool = False
    broker: str = ""
    """The broker from which a style that has one takes its orders (protos.broker)."""
    worker: int = 0
    workers: int = 1
    """Which of how many processes that share the orders this is."""
    paused: bool = False
    """Whether a worker takes nothing before it is told to drain."""

    @property
    def shown_host(self) -> str:
        """The host as it stands in an address."""
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that accepts: its address as drivers take it, which ends in `:port`, and how to stop
    it, open connections included."""

    address: str
    stop: Callable[[], Awaitable[None]]
    drain: "Callable[[Drain], Awaitable[Drained]] | None" = None
    """Of a worker at a broker: take what is left."""


@dataclass(frozen=True, slots=True)
class Drain:
    """What a worker is to do when no more will be sent."""

    limit_s: float
    """How long it may take until nothing is left."""
    arrivals: str
    """The file that gets the rows of protos.arrivals."""
    read_again: bool = False
    """Whether to try to read this worker's share of all messages once more, as a new consumer."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How a worker left its broker."""

    received: int
    """Messages with a stamp, or damaged, that it was done with."""
    left: int | None
    """Messages that the broker still held for the workers when the limit was reached; 0 where all
    is consumed, None where the broker did not say."""
    read_again: int | None = None
    """Messages of this worker's share that a new consumer could read from the beginning, after all
    were consumed."""
    lag: Sequence[tuple[int, int]] = ()
    """(instant, messages that this worker was behind), some times a second."""


class Desk:
    """Where every style's server hands in what it has read.

    Behind it is the order service, and what a deployment puts in front of that: a memory of request
    ids (P1), traces (P2). Without them nothing is between.
    """

    def __init__(
        self,
        service: OrderService,
        answers: Answers | None = None,
        tracer: "Tracer | None" = None,
    ) -> None:
        self.service = service
        self._answers = answers
        self.tracer = tracer

    async def place(self, order: Order, context: Context = NOTHING) -> Confirmation:
        """See OrderService.place. Raises OrderError."""
        if self.tracer is not None:
            with self.tracer.span("place", context.traceparent):
                return await self._place(order, context)
        return await self._place(order, context)

    async def _place(self, order: Order, context: Context) -> Confirmation:
        if self._answers is None or not context.request_id:
            return await self.service.place(order)
        validate(order)
        return await answered_once(
            self._answers, context.request_id, digest(order), lambda: self.service.place(order)
        )

    async def accept(
        self, order: Order, context: Context = NOTHING, notify: Notify | None = None
    ) -> Update:
        """See OrderService.receive, and follow for `notify`. Raises OrderError."""
        if self.tracer is not None:
            with self.tracer.span("accept", context.traceparent) as accepted:
                receipt = await self._accept(order, context, notify)
                if not self.service.state(receipt.order_id).final:
                    ended = self.tracer.work(receipt.order_id, accepted)
                    if ended is not None:
                        self.service.follow(receipt.order_id, ended)
                return receipt
        return await self._accept(order, context, notify)

    def traceparent_for(self, order_id: str, context: Context) -> str:
        """What shall accompany a callback about an order, to be asked as soon as it is accepted:
        the span of the work on it where the server traces, else the client's; empty where there is
        neither."""
        of_work = self.tracer.traceparent_of(order_id) if self.tracer is not None else None
        return of_work or str(Traceparent.parse(context.traceparent) or "")

    async def _accept(self, order: Order, context: Context, notify: Notify | None) -> Update:
        if self._answers is None or not context.request_id:
            receipt = await self.service.receive(order)
        else:
            validate(order)
            receipt = await answered_once(
                self._answers,
                context.request_id,
                digest(order),
                lambda: self.service.receive(order),
            )
        if notify is not None:
            self.service.follow(receipt.order_id, notify)
        return receipt


def digest(order: Order) -> bytes:
    """What tells the contents of two requests apart."""
    return hashlib.blake2b(PROTOBUF.encode_order(order), digest_size=16).digest()


async def answer(desk: Desk, order: Order | MalformedOrder, context: Context = NOTHING) -> Result:
    """The service's result, refusals included, for styles that answer in frames."""
    try:
        if isinstance(order, MalformedOrder):
            raise order
        return await desk.place(order, context)
    except Exception as error:
        return refusal(error)


def refusal(error: Exception) -> Problem:
    """The problem to answer with; the service's own failures are logged."""
    problem = problem_of(error)
    if problem.code == "internal":
        log.error("order failed", exc_info=error)
    return problem
