"""Work that waits in line: a few workers that take one order at a time each.

The line is virtual. Nobody sleeps for an order: when an order arrives, the instant at which it will
leave follows from the orders before it, departure = max(arrival, a worker is free) + service, and
an alarm on that absolute instant lets it go. What the process does besides (reading, writing) takes
none of a worker's time, so that the line behaves as queueing theory has it (Lindley, The theory of
queues with a single server, 1952).
"""

import asyncio
import heapq
import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from orders.alarm import Alarm, sharpest_alarm

STALL_EVERY = 1000
"""A line that stalls does so at each order whose number (from 1) is a multiple of this."""
NO_WORK_US = 1
"""The least that an order can say of its work, for 0 would leave it to the service."""
NO_WORK_NS = 1000 * NO_WORK_US

_LATENESS = re.compile(r"(\d+(?:\.\d+)?)(us|ms|%)")
_NS = {"us": 1_000, "ms": 1_000_000}


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much later than due an order leaves, on purpose, so that a measurement can be asked
    whether it sees it. No worker is kept by it."""

    by_ns: int = 0
    by_share: float = 0.0
    """Of the time that an order was there."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`100us`, `1ms` or `5%`. Raises ValueError."""
        read = _LATENESS.fullmatch(text)
        if read is None:
            raise ValueError(f"{text!r} is none of 100us, 1ms, 5%")
        number, unit = float(read[1]), read[2]
        return cls(by_share=number / 100) if unit == "%" else cls(round(number * _NS[unit]))

    def later(self, arrival_ns: int, departure_ns: int) -> int:
        """When an order leaves that is due at `departure_ns`."""
        return departure_ns + self.by_ns + round(self.by_share * (departure_ns - arrival_ns))


ON_TIME = Lateness()


def latenesses(text: str) -> tuple[Lateness, ...]:
    """The kinds of orders that a line with `100us,1ms` has: on time, and late by each of these; of
    nothing, on time. Raises ValueError."""
    return (ON_TIME, *(Lateness.parse(each) for each in text.split(",") if text))


def turn(number: int, kinds: int) -> int:
    """Which of so many kinds order `number` (from 0) is of: of `kinds` orders one is of each, in
    another sequence every time, so that no kind keeps step with anything that comes round. It is
    the sum of the number's digits to the base `kinds`, modulo `kinds` (Thue-Morse, generalized:
    Allouche and Shallit, The ubiquitous Prouhet-Thue-Morse sequence, 1999)."""
    total = 0
    while number and kinds > 1:
        number, digit = divmod(number, kinds)
        total += digit
    return total % kinds


class Line:
    """First come, first served, by `workers` workers; pure."""

    def __init__(self, workers: int, stall_ns: int = 0) -> None:
        """`stall_ns`: how much longer every order number STALL_EVERY takes."""
        self._free_at = [0] * workers
        self._stall_ns = stall_ns
        self._number = 0

    def departure(self, arrival_ns: int, service_ns: int) -> int:
        """When the order that arrives now will have been worked on; called once for each, in the
        order of their arrivals. One with no work to speak of neither waits nor is waited for."""
        if service_ns <= NO_WORK_NS:
            return arrival_ns + service_ns
        self._number += 1
        if self._number % STALL_EVERY == 0:
            service_ns += self._stall_ns
        departure = max(arrival_ns, self._free_at[0]) + service_ns
        heapq.heapreplace(self._free_at, departure)
        return departure


class Queue:
    """Lets each order go at the instant at which its line has it leave, never before."""

    def __init__(
        self,
        line: Line,
        kinds: Sequence[Lateness] = (ON_TIME,),
        clock: Callable[[], int] = time.monotonic_ns,
        alarm: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm] = sharpest_alarm,
    ) -> None:
        """Belongs to the running event loop. `kinds` of orders take turns. `clock` and the alarm's
        instants are nanoseconds."""
        self._line = line
        self._kinds = kinds
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._alarm = alarm(self._loop, self._due)
        self._arrivals = itertools.count()
        self._leaving: list[tuple[int, int, asyncio.Future[None]]] = []

    async def work(self, service_s: float) -> None:
        """Wait in line, and for work of `service_s` seconds to be done."""
        arrival = self._clock()
        departure = self._line.departure(arrival, round(service_s * 1e9))
        gone = self._loop.create_future()
        number = next(self._arrivals)
        kind = self._kinds[turn(number, len(self._kinds))]
        entry = (kind.later(arrival, departure), number, gone)
        heapq.heappush(self._leaving, entry)
        if self._leaving[0] is entry:
            self._alarm.arm(entry[0])
        await gone

    def _due(self) -> None:
        leaving, now = self._leaving, self._clock()
        while leaving and leaving[0][0] <= now:
            gone = heapq.heappop(leaving)[2]
            if not gone.done():
                gone.set_result(None)
        if leaving:
            self._alarm.arm(leaving[0][0])
        else:
            self._alarm.disarm()
