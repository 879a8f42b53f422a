"""What every style's server module offers: `async def start(service, host, port) -> Listening`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orders.errors import MalformedOrder
from orders.model import Order
from orders.service import OrderService
from protos.frames import Result
from protos.problems import problem_of


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that accepts: its address as drivers take it, which ends in `:port`, and how to stop
    it, open connections included."""

    address: str
    stop: Callable[[], Awaitable[None]]


async def answer(service: OrderService, order: Order | MalformedOrder) -> Result:
    """The service's result, refusals included, for styles that answer in frames."""
    try:
        if isinstance(order, MalformedOrder):
            raise order
        return await service.place(order)
    except Exception as error:
        return problem_of(error)
