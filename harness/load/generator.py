"""Sends one trial's operations: open loop from planned instants, or a closed loop of users."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from clients.base import DriverError, Failure
from harness.load.lanes import Hold, Lanes
from harness.load.recorder import Recorder
from harness.load.sweep import Sweep
from orders.alarm import Alarm, sharpest_alarm

log = logging.getLogger(__name__)

STUCK_S = 10.0

Perform = Callable[[int, Hold], Awaitable[int]]
"""(operation, its lane) -> the server's `processed` instant, or DriverError."""


class Generator:
    """The in-flight window, its timeouts and its record; `open_loop` and `closed_loop` drive it.
    It goes by the recorder's rows; what performs an operation is told its number in the whole.

    A timeout counts from `sent`. One sweep over the window looks for operations that are past it,
    so an operation costs no timer; whether an answer came in time is judged by its own instant,
    not by the sweep's.
    """

    def __init__(
        self, perform: Perform, lanes: Lanes, recorder: Recorder, in_flight: int, timeout_s: float
    ) -> None:
        self._perform = perform
        self._lanes = lanes
        self._recorder = recorder
        self._number = recorder.share.number
        self._in_flight = in_flight
        self._timeout_ns = round(timeout_s * 1e9)
        self._open: dict[int, asyncio.Task[None]] = {}
        self._expired: set[int] = set()
        self.sweep = Sweep(self._expire)
        self.pacer_name = ""
        self._pacer: Alarm | None = None
        self._until_ns = 0
        self._users: list[asyncio.Task[None]] = []

    async def open_loop(self) -> None:
        """Send every operation at its planned instant; returns when all have ended.

        An operation whose instant finds the window full is dropped, never queued.
        """
        loop = asyncio.get_running_loop()
        recorder, window, limit = self._recorder, self._open, self._in_flight
        planned = recorder.planned
        clock, create_task, operate = time.monotonic_ns, loop.create_task, self._operate
        call_soon = loop.call_soon
        following = 0
        all_sent = loop.create_future()
        pacer: Alarm

        def due() -> None:
            nonlocal following
            now = clock()
            row, count = following, recorder.count
            while row < count and planned[row] <= now:
                if len(window) >= limit:
                    recorder.drop(row)
                else:
                    window[row] = create_task(operate(row))
                row += 1
            following = row
            if row < count:
                # Behind the tasks: what is due is sent before the next is thought of.
                call_soon(pacer.arm, planned[row])
            elif not all_sent.done():
                self._pacer = None
                pacer.close()
                all_sent.set_result(None)

        pacer = self._pacer = sharpest_alarm(loop, due)
        self.pacer_name = pacer.name
        self.sweep.start()
        try:
            pacer.arm(planned[0] if recorder.count else clock())
            await all_sent
            await self._drain()
        finally:
            self.sweep.stop()

    async def closed_loop(self, users: int, think_s: float, until_ns: int) -> None:
        """Let `users` place one operation after the other until an instant; returns when all have
        ended. `planned` is the instant at which a user became ready."""
        self.pacer_name = "closed loop"
        self._until_ns = until_ns
        self.sweep.start()
        try:
            async with asyncio.TaskGroup() as group:
                self._users += [group.create_task(self._user(think_s)) for _ in range(users)]
        finally:
            self.sweep.stop()

    def stop(self, at_ns: int) -> None:
        """Plan nothing from an instant on, which should be one to come; what was sent is awaited,
        as at the end."""
        self._recorder.cut(at_ns)
        self._until_ns = min(self._until_ns, at_ns)
        loop = asyncio.get_running_loop()
        if self._pacer is not None:
            # Behind what is armed already, to see whether anything is left to be sent.
            loop.call_soon(self._pacer.arm, time.monotonic_ns())
        loop.call_later(max(0.0, (at_ns - time.monotonic_ns()) / 1e9), self._wake_users)

    def _wake_users(self) -> None:
        """Let those who think leave."""
        asking = set(self._open.values())
        for user in self._users:
            if user not in asking:
                user.cancel()

    async def _user(self, think_s: float) -> None:
        clock, add, window = time.monotonic_ns, self._recorder.add, self._open
        task = asyncio.current_task()
        assert task is not None
        while (ready := clock()) < self._until_ns:
            row = add(ready)
            window[row] = task
            before = task.cancelling()
            await self._operate(row)
            while task.cancelling() > before:
                task.uncancel()
            # An operation that ended without waiting would otherwise keep the loop to itself.
            await asyncio.sleep(think_s if clock() < self._until_ns else 0)

    async def _operate(self, row: int) -> None:
        recorder = self._recorder
        hold = self._lanes.hold()
        recorder.lane[row] = hold.lane
        recorder.sent[row] = sent = time.monotonic_ns()
        try:
            processed = await self._perform(self._number(row), hold)
            done = time.monotonic_ns()
            if done - sent > self._timeout_ns:
                recorder.time_out(row, done)
            else:
                recorder.finish(row, processed, done)
        except asyncio.CancelledError:
            recorder.time_out(row)
            if row not in self._expired:
                raise
            self._expired.remove(row)
        except DriverError as error:
            recorder.fail(row, error)
        except Exception as error:
            log.exception("driver failed in an unforeseen way")
            recorder.fail(row, DriverError(Failure.PROTOCOL, f"{type(error).__name__}: {error}"))
        finally:
            hold.release()
            del self._open[row]

    def _expire(self, now: int) -> None:
        oldest = now - self._timeout_ns
        sent, expired = self._recorder.sent, self._expired
        for row, task in self._open.items():
            if sent[row] > oldest:
                break
            # 0: its task has not run yet, so it has not been sent.
            if sent[row] and row not in expired:
                expired.add(row)
                task.cancel()

    async def _drain(self) -> None:
        if not self._open:
            return
        limit = self._timeout_ns / 1e9 + STUCK_S
        _, stuck = await asyncio.wait(list(self._open.values()), timeout=limit)
        if stuck:
            raise RuntimeError(
                f"{len(stuck)} operations did not end {STUCK_S:g} s after they were cancelled"
            )
