"""When to ask again for a result that is not there yet."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Protocol, TypeVar

from clients.base import Poll

T = TypeVar("T")


class Clock(Protocol):
    """What waiting needs of time, in seconds."""

    def now(self) -> float:
        """The time since some beginning."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class RealClock:
    """CLOCK_MONOTONIC, and the event loop's timers."""

    def now(self) -> float:
        """See Clock.now."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See Clock.sleep."""
        await asyncio.sleep(seconds)


def instants(poll: Poll) -> Generator[float, float, None]:
    """When to ask, in seconds from the receipt; to be sent when the answer was there, each time.

    `fixed` keeps to the grid of its interval, and leaves out what it has missed. `backoff` counts
    from the last answer. `long` asks at once, unless the last question was asked less than an
    interval ago: that server does not hold answers back. Raises ValueError for other policies.
    """
    match poll.policy:
        case "fixed":
            number = 1
            while True:
                answered = yield number * poll.interval_s
                number = max(number + 1, math.ceil(answered / poll.interval_s))
        case "backoff":
            wait = min(poll.interval_s, poll.longest_s)
            answered = yield wait
            while True:
                wait = min(2 * wait, poll.longest_s)
                answered = yield answered + wait
        case "long":
            asked = 0.0
            while True:
                answered = yield asked
                asked = max(answered, asked + poll.interval_s)
        case other:
            raise ValueError(f"there is no way to poll called {other!r}")


def preference(poll: Poll) -> dict[str, str]:
    """What a question shall say about holding its answer back (RFC 7240, section 4.3): whole
    seconds, at least one."""
    return {"Prefer": f"wait={max(1, int(poll.longest_s))}"} if poll.policy == "long" else {}


async def polled(poll: Poll, clock: Clock, ask: Callable[[], Awaitable[T | None]]) -> T:
    """Ask as `poll` says, from now on, until there is something; returns that."""
    began = clock.now()
    when = instants(poll)
    due = next(when)
    while True:
        wait = began + due - clock.now()
        if wait > 0:
            await clock.sleep(wait)
        found = await ask()
        if found is not None:
            return found
        due = when.send(clock.now() - began)
