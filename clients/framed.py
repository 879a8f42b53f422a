"""Drivers whose connections carry many operations at a time, as frames matched by id."""

import asyncio
import time
from typing import Protocol

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire, refused
from orders.model import Confirmation, Order, Update
from protos.frames import Reply, Request, Result, Watch
from protos.problems import Problem

WATCH_ID = 2**48
"""The id of the frame that subscribes; no operation's number comes near it."""


class Replies:
    """What waits on one connection. A frame's id is its operation's number."""

    def __init__(self, sink: Sink, lane: int) -> None:
        self._sink = sink
        self._lane = lane
        self._waiting: dict[int, asyncio.Future[Result | DriverError]] = {}

    def expect(self, frame_id: int) -> asyncio.Future[Result | DriverError]:
        """Announce a frame before it is sent."""
        future: asyncio.Future[Result | DriverError] = asyncio.get_running_loop().create_future()
        self._waiting[frame_id] = future
        return future

    def forget(self, frame_id: int) -> None:
        """No longer wait for a reply; should it come, it is late."""
        self._waiting.pop(frame_id, None)

    def settle(self, reply: Reply) -> None:
        """Take a reply. One that nobody waits for is a watched change, or late: the sink's."""
        future = self._waiting.get(reply.id)
        if future is not None and not future.done():
            future.set_result(reply.result)
        elif isinstance(reply.result, Update):
            self._sink.saw(reply.result, self._lane, time.monotonic_ns())
        else:
            self._sink.arrived(reply.id, Milestone.DONE, time.monotonic_ns())

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

    async def send(self, request: Request) -> None:
        """Send a frame. Raises DriverError."""

    async def stop_reading(self) -> None:
        """Take nothing more from the connection, and keep it."""

    async def close(self) -> None:
        """Give the connection back."""


class MakeLane(Protocol):
    """How a driver comes by its lanes."""

    def __call__(self, target: str, wire: Wire, replies: Replies) -> FramedLane:
        """A lane that is not connected yet."""


class FramedDriver:
    """A driver over lanes that `make_lane` builds."""

    multiplexes = True

    def __init__(self, make_lane: MakeLane) -> None:
        self._make_lane = make_lane
        self._lanes: dict[int, FramedLane] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open."""
        self._target, self._sink, self._wire = target, sink, wire
        await asyncio.gather(*(self._lane(lane).connect() for lane in range(lanes)))

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        if lane in self._lanes:
            await self._lanes.pop(lane).close()

    async def close(self) -> None:
        """See Driver.close."""
        await asyncio.gather(*(self.drop(lane) for lane in list(self._lanes)))

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place."""
        result = await self._ask(lane, Request(call.operation, order, call.context))
        if isinstance(result, Update):
            raise DriverError(Failure.PROTOCOL, "an update is no answer to an order")
        return result

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch."""
        await self._ask(lane, Request(WATCH_ID, Watch()))
        if not reads:
            await self._lane(lane).stop_reading()

    async def _ask(self, number: int, request: Request) -> Confirmation | Update:
        lane = self._lane(number)
        await lane.connect()
        future = lane.replies.expect(request.id)
        try:
            await lane.send(request)
            result = await future
        finally:
            lane.replies.forget(request.id)
        if isinstance(result, DriverError):
            raise result
        if isinstance(result, Problem):
            raise refused(result)
        return result

    def _lane(self, number: int) -> FramedLane:
        lane = self._lanes.get(number)
        if lane is None:
            replies = Replies(self._sink, number)
            lane = self._lanes[number] = self._make_lane(self._target, self._wire, replies)
        return lane
