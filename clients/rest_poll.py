"""`rest-poll:aiohttp`: a receipt, then polls until the order is final; one connection a lane, which
others may use between the polls."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace

from yarl import URL

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Sink, Wire
from clients.http import HttpLanes
from clients.polling import Clock, RealClock, polled, preference
from clients.rest import context_headers, require_success, update_in
from orders.model import Confirmation, Order, Update
from protos.codec import MalformedReply
from protos.http import CHANGES_PATH, ORDERS_PATH


class RestPoll:
    """One exchange to place an order, and one for each poll."""

    multiplexes = False

    def __init__(self, clock: Clock | None = None) -> None:
        """`clock` is what polls wait by; the real one if there is none."""
        self._clock = clock if clock is not None else RealClock()
        self._http = HttpLanes("", PLAIN)
        self._poll = PLAIN.poll
        self._watching: dict[int, asyncio.Task[None]] = {}

    async def open(self, target: str, lanes: int, sink: Sink, wire: Wire = PLAIN) -> None:
        """See Driver.open. Any answer shows that a lane is connected."""
        self._sink, self._poll = sink, wire.poll
        self._http = HttpLanes(target, wire)
        await asyncio.gather(
            *(self._http.ask(lane, "OPTIONS", ORDERS_PATH) for lane in range(lanes))
        )

    async def drop(self, lane: int) -> None:
        """See Driver.drop."""
        watching = self._watching.pop(lane, None)
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self._http.drop(lane)

    async def close(self) -> None:
        """See Driver.close."""
        await asyncio.gather(*(self.drop(lane) for lane in list(self._watching)))
        await self._http.close()

    async def place(self, lane: int, order: Order, call: Call) -> Confirmation:
        """See Places.place. The lane is given back whenever the operation only waits."""
        http, sink, operation = self._http, self._sink, call.operation
        body = http.codec.encode_order(order)
        answer = await http.ask(lane, "POST", ORDERS_PATH, body, context_headers(call))
        update = update_in(answer.status, answer.body, http.codec)
        sink.arrived(operation, Milestone.ACKED, time.monotonic_ns())
        if update.final:
            return update.confirmation()
        path = _path_in(answer.headers)
        prefer = preference(self._poll)

        async def ask() -> Update | None:
            nonlocal lane, update
            lane = call.resume(lane)
            sink.noted(operation, "polls")
            answer = await http.ask(lane, "GET", path, headers=prefer)
            seen_ns = time.monotonic_ns()
            before, update = update, update_in(answer.status, answer.body, http.codec)
            if update.final:
                return update
            sink.noted(operation, "empty_polls")
            if update.progress > 0 and update.at_ns != before.at_ns:
                sink.saw(update, lane, seen_ns)
            call.rest()
            return None

        call.rest()
        final = await polled(self._poll, self._clock, ask)
        return final.confirmation()

    async def watch(self, lane: int, reads: bool = True) -> None:
        """See Watches.watch: `long` where the polls are, else on the grid of their interval."""
        position, _ = await self._changes(lane, "")
        if reads:
            self._watching[lane] = asyncio.create_task(self._follow(lane, position))

    async def _follow(self, lane: int, position: int) -> None:
        poll = self._poll if self._poll.policy == "long" else replace(self._poll, policy="fixed")
        prefer = preference(poll)

        async def ask() -> Update | None:
            nonlocal position
            try:
                position, updates = await self._changes(lane, f"?after={position}", prefer)
            except DriverError as error:
                # Its place in the list is not lost with the connection; the next poll goes on.
                if error.failure is not Failure.DISCONNECTED:
                    raise
                return None
            seen_ns = time.monotonic_ns()
            for update in updates:
                self._sink.saw(update, lane, seen_ns)
            return None

        with contextlib.suppress(DriverError):
            await polled(poll, self._clock, ask)

    async def _changes(
        self, lane: int, query: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, list[Update]]:
        answer = await self._http.ask(lane, "GET", CHANGES_PATH + query, headers=headers)
        require_success(answer.status, answer.body)
        try:
            return self._http.codec.decode_changes(answer.body)
        except MalformedReply as error:
            raise DriverError(Failure.PROTOCOL, str(error)) from None


def _path_in(headers: Mapping[str, str]) -> str:
    """Where a receipt says that the order is found, on the server that gave it."""
    location = headers.get("Location", "")
    if location.startswith("/"):
        return location
    if not location:
        raise DriverError(Failure.PROTOCOL, "the receipt does not say where the order is")
    try:
        return URL(ORDERS_PATH).join(URL(location)).raw_path_qs
    except ValueError as error:
        raise DriverError(Failure.PROTOCOL, f"Location {location[:80]!r}: {error}") from None
