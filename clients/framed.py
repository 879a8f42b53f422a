"""Drivers whose connections carry many operations at a time, as frames matched by id."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from clients.base import Call, DriverError, Milestone, Sink, refused
from orders.model import Confirmation, Order
from protos.frames import Result
from protos.problems import Problem


class Replies:
    """The operations that wait on one connection. A frame's id is its operation's number."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: dict[int, asyncio.Future[Result | DriverError]] = {}

    def expect(self, operation: int) -> asyncio.Future[Result | DriverError]:
        """Announce an operation, before its frame is sent."""
        future: asyncio.Future[Result | DriverError] = asyncio.get_running_loop().create_future()
        self._waiting[operation] = future
        return future

    def forget(self, operation: int) -> None:
        """No longer wait for an operation; its reply, should it come, is late."""
        self._waiting.pop(operation, None)

    def settle(self, operation: int, result: Result) -> None:
        """Take a reply; one that nobody waits for goes to the sink."""
        future = self._waiting.get(operation)
        if future is None or future.done():
            self._sink.arrived(operation, Milestone.DONE, time.monotonic_ns())
        else:
            future.set_result(result)

    def fail(self, error: DriverError) -> None:
        """Fail everything that waits."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_result(error)


class FramedLane(Protocol):
    """One connection of a framed style.

    What falls on a lane: a task that reads, hands each reply to `replies.settle` and, when the
    connection ends, the rest to `replies.fail`; a lock, so that many operations that find the
    connection gone open one; and no task left behind by `close`. clients/websocket.py is one.
    """

    replies: Replies

    async def connect(self) -> None:
        """Make sure that the connection stands. Raises DriverError."""

    async def send(self, operation: int, order: Order) -> None:
        """Send an order in a frame whose id is `operation`. Raises DriverError."""

    async def close(self) -> None:
        """Give the connection back."""


class FramedDriver:
    """A driver over lanes that `make_lane` builds from a target and a sink."""

    multiplexes = True

    def __init__(self, make_lane: Callable[[str, Sink], FramedLane]) -> None:
        self._make_lane = make_lane
        self._lanes: dict[int, FramedLane] = {}

    async def open(self, target: str, lanes: int, sink: Sink) -> None:
        """See Driver.open."""
        self._target, self._sink = target, sink
        await asyncio.gather(*(self._lane(lane).connect() for lane in range(lanes)))

    async def close(self) -> None:
        """See Driver.close."""
        while self._lanes:
            _, lane = self._lanes.popitem()
            await lane.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        shared = self._lane(lane)
        await shared.connect()
        future = shared.replies.expect(call.operation)
        try:
            await shared.send(call.operation, order)
            result = await future
        finally:
            shared.replies.forget(call.operation)
        if isinstance(result, DriverError):
            raise result
        if isinstance(result, Problem):
            raise refused(result)
        return result

    def _lane(self, number: int) -> FramedLane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = self._make_lane(self._target, self._sink)
        return lane
