"""S5 `rest-poll` and S6 `sse`: what their servers say, and that no result is lost on the way."""

import asyncio
import base64
import contextlib
import json
import logging
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Poll, Watches, Wire
from clients.event_stream import Event, EventParser
from clients.rest_poll import RestPoll
from clients.sse import Sse
from harness.load.lanes import Lanes
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from orders.model import Order, Status, Update
from orders.pricing import total_cents
from orders.service import OrderService
from orders.store import MemoryStore
from protos.codec import Codec
from protos.codecs import CODECS, JSON
from protos.context import Context
from protos.http import PROBLEM_JSON, REQUEST_ID, STREAM
from servers import fanout, mailbox, rest_poll, sse
from servers.base import Bind, Desk, Listening
from tests.conformance.test_places import NEVER_MS, key
from tests.support import LIMIT_S, ListSink, Run, Serve, order, until

MS = 1000
NEVER_US = 60_000_000
BOTH = ["rest-poll", "sse"]
Answer = tuple[int, dict[str, str], bytes]
"""Status, headers by their small names, body."""
POLICIES = [Poll("fixed", 0.05), Poll("backoff", 0.02, 0.1), Poll("long", 0.05, 2.0)]


def working(work_us: int, **fields: Any) -> Order:
    """An order that is worked on for so long."""
    return replace(order(key(), **fields), work_us=work_us)


class Web:
    """A client without a driver. An underscore in a header's name is a dash."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address
        self.session = session

    async def ask(self, method: str, path: str, **headers: str) -> Answer:
        """Any request without a body."""
        return await self._ask(method, path, None, headers)

    async def post(self, wanted: Order, codec: Codec = JSON, stream: str | None = None) -> Answer:
        """Place an order."""
        headers = {"Content-Type": codec.media_type}
        if stream is not None:
            headers[STREAM] = stream
        return await self._ask("POST", "/orders", codec.encode_order(wanted), headers)

    async def placed(self, wanted: Order, stream: str | None = None) -> Update:
        """The receipt of an order."""
        status, _, body = await self.post(wanted, stream=stream)
        assert status == 202
        return JSON.decode_update(body)

    async def confirmed(self, stream: str | None = None) -> str:
        """The id of an order whose work has ended."""
        receipt = await self.placed(working(1), stream)
        _, _, body = await self.ask("GET", f"/orders/{receipt.order_id}", Prefer="wait=30")
        assert JSON.decode_update(body).final
        return receipt.order_id

    async def problem(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """Status and code of the problem that a request must end in."""
        return problem_in(*await self.ask(method, path, **headers))

    @asynccontextmanager
    async def events(self, path: str, **headers: str) -> AsyncIterator["Heard"]:
        """An event stream."""
        async with self.session.get(self.address + path, headers=dashed(headers)) as answer:
            assert answer.status == 200, await answer.read()
            assert answer.content_type == "text/event-stream"
            assert answer.headers["cache-control"] == "no-store"
            yield Heard(answer.content)

    async def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        async with self.session.request(
            method, self.address + path, data=body, headers=dashed(headers)
        ) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, found, await answer.read()


def dashed(headers: dict[str, str]) -> dict[str, str]:
    """Headers by the names that they have in HTTP."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


class Heard:
    """What comes over an event stream."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self.content = content
        self.parser = EventParser()
        self.waiting: list[Event] = []

    async def next(self) -> Event:
        """The next event."""
        async with asyncio.timeout(LIMIT_S):
            while not self.waiting:
                chunk = await self.content.readany()
                assert chunk, "the stream has ended"
                self.waiting = self.parser.feed(chunk)
        return self.waiting.pop(0)

    async def results(self, count: int) -> list[Event]:
        """The next events that are results."""
        found: list[Event] = []
        while len(found) < count:
            event = await self.next()
            if event.name == "result":
                found.append(event)
        return found


def problem_in(status: int, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    """Status and code of an answer that must be a problem."""
    assert headers["content-type"] == PROBLEM_JSON
    fields = json.loads(body)
    assert fields["status"] == status
    return status, fields["code"]


@asynccontextmanager
async def browsing(address: str) -> AsyncIterator[Web]:
    """A client."""
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Web(address, session)


@asynccontextmanager
async def here(
    start: Callable[[Desk, Bind], Awaitable[Listening]], service: OrderService | None = None
) -> AsyncIterator[Listening]:
    """A server in this process, whose bounds a test has drawn tighter."""
    listening = await start(Desk(service or OrderService(MemoryStore())), Bind())
    try:
        yield listening
    finally:
        async with asyncio.timeout(LIMIT_S):
            await listening.stop()


Driven = RestPoll | Sse


@asynccontextmanager
async def driving(
    style: str, address: str, sink: ListSink | None = None, lanes: int = 1, wire: Wire = PLAIN
) -> AsyncIterator[Driven]:
    """A style's driver that is open, and leaves no task behind."""
    driver: Driven = RestPoll() if style == "rest-poll" else Sse()
    try:
        async with asyncio.timeout(LIMIT_S):
            await driver.open(address, lanes, sink if sink is not None else ListSink(), wire)
        yield driver
    finally:
        await driver.close()
        assert not [task for task in asyncio.all_tasks() if "/clients/" in repr(task)]


def acked(sink: ListSink) -> list[int]:
    """The operations that were acknowledged."""
    return [o for o, milestone, *_ in sink.arrivals if milestone is Milestone.ACKED]


def done(sink: ListSink) -> list[int]:
    """The operations of late and of repeated results."""
    return [o for o, milestone, *_ in sink.arrivals if milestone is Milestone.DONE]


# Receipts and states


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_receipt_says_where_the_order_is_found(serve: Serve, run: Run, codec: Codec) -> None:
    server = serve("rest-poll")

    async def case() -> None:
        async with browsing(server.address) as client:
            wanted = working(300 * MS, items=3)
            status, headers, body = await client.post(wanted, codec)
            receipt = codec.decode_update(body)
            assert status == 202
            assert headers["content-type"] == codec.media_type
            assert receipt.status is Status.RECEIVED
            assert receipt.idempotency_key == wanted.idempotency_key
            assert headers["location"] == f"/orders/{receipt.order_id}"
            status, headers, body = await client.ask(
                "GET", headers["location"], Accept=codec.media_type, Prefer="wait=30"
            )
            final = codec.decode_update(body)
            assert status == 200
            assert headers["content-type"] == codec.media_type
            assert headers["cache-control"] == "no-store"
            assert headers["preference-applied"] == "wait=30"
            assert (final.status, final.progress) == (Status.CONFIRMED, 100)
            assert final.total_cents == total_cents(wanted)
            assert final.at_ns - receipt.at_ns >= 299 * 10**6

    run(case())


def test_progress_can_be_asked_for(serve: Serve, run: Run) -> None:
    server = serve("rest-poll")

    async def case() -> None:
        async with browsing(server.address) as client:
            receipt = await client.placed(working(30_000 * MS))
            async with asyncio.timeout(LIMIT_S):
                while True:
                    _, _, body = await client.ask("GET", f"/orders/{receipt.order_id}")
                    update = JSON.decode_update(body)
                    if update.progress:
                        break
                    await asyncio.sleep(0.05)
            assert update.status is Status.WORKING
            assert update.at_ns - receipt.at_ns >= 499 * 10**6

    run(case())


@pytest.mark.parametrize(
    ("service_time_ms", "work_us", "seconds"),
    [(0.0, 0, "1"), (0.0, 400 * MS, "1"), (0.0, 2_400 * MS, "3"), (1500.0, 0, "2")],
)
def test_retry_after_is_how_long_the_work_takes(
    serve: Serve, run: Run, service_time_ms: float, work_us: int, seconds: str
) -> None:
    server = serve("rest-poll", service_time_ms)

    async def case() -> None:
        async with browsing(server.address) as client:
            _, headers, _ = await client.post(working(work_us))
            assert headers["retry-after"] == seconds

    run(case())


@pytest.mark.parametrize("style", BOTH)
def test_a_repeat_of_what_is_done_is_answered_at_once(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        async with browsing(server.address) as client, driving(style, server.address) as driver:
            wanted = order(key())
            first = await driver.place(0, wanted, Call(0))
            async with client.events("/events?stream=repeats") if style == "sse" else nothing():
                status, headers, body = await client.post(wanted, stream="repeats")
            assert status == 200
            assert not {"location", "retry-after"} & set(headers)
            assert JSON.decode_update(body).confirmation() == first

    run(case())


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """Nothing."""
    yield


@pytest.mark.parametrize("style", BOTH)
def test_an_order_that_is_not_there(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        async with browsing(server.address) as client:
            assert await client.problem("GET", "/orders/o-0") == (404, "unknown_order")
            assert await client.problem("GET", "/orders/o-0", Prefer="wait=5") == (
                404,
                "unknown_order",
            )
            assert await client.problem("DELETE", "/orders/o-0") == (405, "not_allowed")
            assert await client.problem("GET", "/nowhere") == (404, "not_found")

    run(case())


@pytest.mark.parametrize("style", BOTH)
def test_what_is_no_order(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        async with browsing(server.address) as client:
            found = await client.problem("POST", "/orders", Content_Type=JSON.media_type)
            assert found == (400, "malformed")
            found = await client.problem("POST", "/orders", Content_Type="text/plain")
            assert found == (415, "unsupported_type")

    run(case())


@pytest.mark.parametrize("style", BOTH)
def test_a_request_id_is_answered_once(serve: Serve, run: Run, style: str) -> None:
    server = serve(style, remember="requests")

    async def case() -> None:
        async with driving(style, server.address) as driver:
            wanted, context = working(50 * MS), Context(request_id=key())
            first = await driver.place(0, wanted, Call(0, context))
            assert await driver.place(0, wanted, Call(1, context)) == first
            with pytest.raises(DriverError) as caught:
                await driver.place(0, order(key()), Call(2, context))
            assert caught.value.code == "key_conflict"

    assert REQUEST_ID == "X-Request-ID"
    run(case())


# Answers that are held back


def test_a_long_poll_ends_with_the_work_and_not_before(serve: Serve, run: Run) -> None:
    server = serve("rest-poll")

    async def case() -> None:
        async with browsing(server.address) as client:
            receipt = await client.placed(working(700 * MS))
            _, headers, body = await client.ask(
                "GET", f"/orders/{receipt.order_id}", Prefer="wait=30"
            )
            answered_ns = time.monotonic_ns()
            update = JSON.decode_update(body)
            assert update.final
            assert answered_ns > update.at_ns >= receipt.at_ns + 699 * 10**6
            assert headers["preference-applied"] == "wait=30"

    run(case())


def test_a_long_poll_ends_when_its_time_is_over(serve: Serve, run: Run) -> None:
    server = serve("rest-poll")

    async def case() -> None:
        async with browsing(server.address) as client:
            receipt = await client.placed(working(NEVER_US))
            asked = time.monotonic()
            _, headers, body = await client.ask(
                "GET", f"/orders/{receipt.order_id}", Prefer="wait=1"
            )
            # A timer may be a millisecond early.
            assert time.monotonic() - asked >= 0.998
            assert not JSON.decode_update(body).final
            assert headers["preference-applied"] == "wait=1"

    run(case())


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=3", "wait=3"),
        ("Wait = 3", "wait=3"),
        ('respond-async, wait="3"', "wait=3"),
        ("wait=3; foo=bar, x=y", "wait=3"),
        ("wait=3, wait=9", "wait=3"),
        ("wait=0", "wait=0"),
        ("wait=100", "wait=30"),
        ("wait=999999999", "wait=30"),
        ("wait=99999999999999999999", None),
        ("wait", None),
        ("wait=x", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("await=3", None),
        ("handling=strict", None),
    ],
)
def test_how_waiting_is_preferred(serve: Serve, run: Run, prefer: str, applied: str | None) -> None:
    server = serve("rest-poll")

    async def case() -> None:
        async with browsing(server.address) as client:
            order_id = await client.confirmed()
            _, headers, _ = await client.ask("GET", f"/orders/{order_id}", Prefer=prefer)
            assert headers.get("preference-applied") == applied

    run(case())


def test_only_so_many_answers_are_held_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_poll, "HELD_LIMIT", 1)

    async def case() -> None:
        async with here(rest_poll.start) as server, browsing(server.address) as client:
            receipt = await client.placed(working(NEVER_US))
            path = f"/orders/{receipt.order_id}"
            first, second = (
                asyncio.create_task(client.ask("GET", path, Prefer="wait=30")) for _ in range(2)
            )
            ended, _ = await asyncio.wait({first, second}, return_when="FIRST_COMPLETED")
            (answer,) = ended
            assert "preference-applied" not in (await answer)[1]
            held = first if answer is second else second
            assert not held.done()
            # To stop lets the other go, too, with what there is.
            async with asyncio.timeout(LIMIT_S):
                await server.stop()
                status, headers, body = await held
            assert status == 200
            assert "preference-applied" not in headers
            assert not JSON.decode_update(body).final

    run(case())


@pytest.mark.parametrize("style", BOTH)
def test_a_server_with_open_answers_ends_cleanly(rig: Rig, run: Run, style: str) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving(style, NEVER_MS))
        async with browsing(server.address) as client:
            if style == "sse":
                async with client.events("/events?stream=open") as heard:
                    receipt = await client.placed(order(key()), stream="open")
                    assert await rig.stop(server.process) == 0
                    # It ends as an answer does that is whole.
                    rest = EventParser().feed(await heard.content.read())
                    assert "result" not in {event.name for event in rest}
            else:
                receipt = await client.placed(order(key()))
                polls = [
                    asyncio.create_task(
                        client.ask("GET", f"/orders/{receipt.order_id}", Prefer="wait=30")
                    )
                    for _ in range(3)
                ]
                await client.ask("GET", f"/orders/{receipt.order_id}")
                assert await rig.stop(server.process) == 0
                for poll in polls:
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        assert not JSON.decode_update((await poll)[2]).final

    run(case())


# The driver of `rest-poll`


@pytest.mark.parametrize("poll", POLICIES, ids=lambda poll: poll.policy)
def test_milestones_and_polls(serve: Serve, run: Run, poll: Poll) -> None:
    server = serve("rest-poll")
    sink = ListSink()

    async def case() -> None:
        async with driving("rest-poll", server.address, sink, wire=Wire(poll=poll)) as driver:
            sent_ns = time.monotonic_ns()
            got = await driver.place(0, working(200 * MS), Call(0))
            done_ns = time.monotonic_ns()
            ((operation, milestone, acked_ns, _),) = sink.arrivals
            assert (operation, milestone) == (0, Milestone.ACKED)
            assert sent_ns < acked_ns < got.processed_ns < done_ns
            assert got.processed_ns - sent_ns >= 199 * 10**6
            assert sink.notes[0, "polls"] == sink.notes[0, "empty_polls"] + 1

    run(case())


@pytest.mark.parametrize("poll", [POLICIES[0], POLICIES[2]], ids=lambda poll: poll.policy)
def test_progress_is_seen_by_polls(serve: Serve, run: Run, poll: Poll) -> None:
    server = serve("rest-poll")
    sink = ListSink()

    async def case() -> None:
        wire = Wire(poll=replace(poll, longest_s=1.0))
        async with driving("rest-poll", server.address, sink, wire=wire) as driver:
            wanted = working(30_000 * MS)
            asking = asyncio.create_task(driver.place(0, wanted, Call(0)))
            await until("progress is seen", lambda: len(sink.sightings) >= 2)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            progress = [update.progress for update, *_ in sink.sightings]
            assert progress == sorted(set(progress))
            assert set(progress) <= {round(100 * step / 60) for step in range(1, 60)}
            keys = {update.idempotency_key for update, *_ in sink.sightings}
            assert keys == {wanted.idempotency_key}

    run(case())


@pytest.mark.parametrize("style", BOTH)
def test_a_lane_is_given_back_while_the_operation_waits(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)

    async def case() -> None:
        async with driving(style, server.address) as driver:
            lanes = Lanes(1, multiplexes=False)
            # Each is placed when the one before it waits, on the one lane that there is.
            holds, tasks = [], []
            for number in range(5):
                hold = lanes.hold()
                holds.append(hold)
                call = Call(number, held=hold)
                tasks.append(asyncio.create_task(driver.place(hold.lane, working(NEVER_US), call)))
                await until("it waits", lambda hold=hold: hold.lane < 0)  # type: ignore[misc]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for hold in holds:
                hold.release()
            assert lanes.opened == 1 or style == "rest-poll"

    run(case())


# Who watches


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("style", "poll"), [("rest-poll", POLICIES[0]), ("rest-poll", POLICIES[2]), ("sse", Poll())]
)
def test_all_who_watch_see_every_change_once_and_in_order(
    serve: Serve, run: Run, style: str, poll: Poll, codec: str
) -> None:
    server = serve(style)
    sink = ListSink()

    async def case() -> None:
        async with driving(
            style, server.address, sink, lanes=2, wire=Wire(codec=codec, poll=poll)
        ) as driver:
            assert isinstance(driver, Watches)
            for lane in range(10, 15):
                await driver.watch(lane)
            await driver.watch(15, reads=False)
            placed = [replace(order(key()), attachment=key().encode()) for _ in range(20)]
            for number, wanted in enumerate(placed):
                await driver.place(number % 2, wanted, Call(number))
            wanted_keys = [wanted.idempotency_key for wanted in placed]

            def seen(lane: int) -> list[Update]:
                return [u for u, at, _ in sink.sightings if at == lane and u.final]

            await until(
                "all have seen all", lambda: all(len(seen(lane)) >= 20 for lane in range(10, 15))
            )
            for lane in range(10, 15):
                assert [u.idempotency_key for u in seen(lane)] == wanted_keys
                assert [u.attachment for u in seen(lane)] == [o.attachment for o in placed]
                assert [u.total_cents for u in seen(lane)] == [total_cents(o) for o in placed]
            assert not seen(15)
            assert all(u.at_ns < instant for u, _, instant in sink.sightings)
            # One that leaves is not missed by the others.
            await driver.drop(10)
            last = order(key())
            await driver.place(0, last, Call(20))
            await until("the others see it", lambda: all(len(seen(n)) == 21 for n in range(11, 15)))
            assert len(seen(10)) == 20

    run(case())


@pytest.mark.parametrize("style", BOTH)
def test_nobody_to_watch(serve: Serve, run: Run, style: str) -> None:
    server = serve(style)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def case() -> None:
        async with driving(style, server.address) as driver:
            for reads in (True, False):
                await driver.watch(7, reads)
                await driver.drop(7)
        driver = RestPoll() if style == "rest-poll" else Sse()
        await driver.open(f"http://127.0.0.1:{port}", 0, ListSink())
        with pytest.raises(DriverError) as caught:
            await driver.watch(0)
        assert caught.value.failure is Failure.DISCONNECTED
        await driver.close()

    run(case())


def test_changes_are_numbered_from_when_they_are_first_asked_for(run: Run) -> None:
    async def case() -> None:
        async with here(rest_poll.start) as server, browsing(server.address) as client:

            async def changes(query: str) -> tuple[int, list[str]]:
                status, _, body = await client.ask("GET", "/changes" + query)
                assert status == 200
                last, updates = JSON.decode_changes(body)
                return last, [update.order_id for update in updates]

            await client.confirmed()
            assert await changes("") == (0, [])
            ids = [await client.confirmed() for _ in range(3)]
            assert await changes("") == (3, [])
            for after in range(4):
                assert await changes(f"?after={after}") == (3, ids[after:])
            for wrong in ("4", "-1", "x", "", "1.5"):
                found = await client.problem("GET", f"/changes?after={wrong}")
                assert found == (400, "bad_event_id")
            waiting = asyncio.create_task(client.ask("GET", "/changes?after=3", Prefer="wait=30"))
            fourth = await client.confirmed()
            _, headers, body = await waiting
            last, updates = JSON.decode_changes(body)
            assert (last, [update.order_id for update in updates]) == (4, [fourth])
            assert headers["preference-applied"] == "wait=30"

    run(case())


def test_only_so_many_changes_are_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_poll, "CHANGE_LIMIT", 5)
    monkeypatch.setattr(rest_poll, "CHANGE_BYTES", 3 * 10**6)
    monkeypatch.setattr(rest_poll, "ANSWER_BYTES", 10**6)
    service = OrderService(MemoryStore())

    async def case() -> None:
        async with (
            here(rest_poll.start, service) as server,
            browsing(server.address) as client,
        ):
            await client.ask("GET", "/changes")
            for _ in range(8):
                await service.place(order(key()))
            found = await client.problem("GET", "/changes?after=2")
            assert found == (400, "bad_event_id")
            _, _, body = await client.ask("GET", "/changes?after=3")
            assert len(JSON.decode_changes(body)[1]) == 5
            # Documents come in pieces, one at least, and bound what is kept.
            for size in (2 * 10**6, 6 * 10**5, 6 * 10**5):
                await service.place(replace(order(key()), attachment=bytes(size)))
            found = await client.problem("GET", "/changes?after=8")
            assert found == (400, "bad_event_id")
            for after in (9, 10):
                _, _, body = await client.ask("GET", f"/changes?after={after}")
                last, (update,) = JSON.decode_changes(body)
                assert last == after + 1
                assert len(update.attachment) == 6 * 10**5

    run(case())


# Event streams


def read_data(event: Event, codec: Codec) -> Update:
    """The update in an event."""
    return codec.decode_update(event.data if codec.text else base64.b64decode(event.data))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_results_are_pushed_on_the_stream_that_the_order_names(
    serve: Serve, run: Run, codec: Codec
) -> None:
    server = serve("sse")

    async def case() -> None:
        async with browsing(server.address) as client:
            mine, other = key(), key()
            async with (
                client.events(f"/events?stream={mine}") as heard,
                client.events(f"/events?stream={other}") as elsewhere,
            ):
                wanted = working(1_200 * MS)
                status, headers, body = await client.post(wanted, codec, mine)
                receipt = codec.decode_update(body)
                assert status == 202
                assert headers["location"] == f"/orders/{receipt.order_id}"
                events = [await heard.next() for _ in range(3)]
                assert [event.id for event in events] == ["1", "2", "3"]
                assert [event.name for event in events] == ["progress", "progress", "result"]
                updates = [read_data(event, codec) for event in events]
                assert [update.progress for update in updates] == [42, 83, 100]
                assert {update.order_id for update in updates} == {receipt.order_id}
                assert updates[-1].total_cents == total_cents(wanted)
                assert updates[-1].at_ns - receipt.at_ns >= 1_199 * 10**6
                _, _, body = await client.ask("GET", headers["location"], Accept=codec.media_type)
                assert codec.decode_update(body) == updates[-1]
                await client.placed(working(1), other)
                assert (await elsewhere.next()).id == "1"

    run(case())


def test_a_stream_that_is_not_there(serve: Serve, run: Run) -> None:
    server = serve("sse")

    async def case() -> None:
        async with browsing(server.address) as client:
            for stream in (None, "", key()):
                answer = await client.post(order(key()), stream=stream)
                assert problem_in(*answer) == (404, "not_found")
            for query in ("", "?stream=", "?stream=a%20b", "?stream=" + "x" * 65):
                assert await client.problem("GET", f"/events{query}") == (404, "not_found")
            for last in ("0", "5", "x"):
                found = await client.problem("GET", f"/events?stream={key()}", Last_Event_ID=last)
                assert found == (400, "bad_event_id")

    run(case())


def test_a_stream_is_resumed_without_loss(serve: Serve, run: Run) -> None:
    server = serve("sse")

    async def case() -> None:
        async with browsing(server.address) as client:
            name, ids = key(), []
            path = f"/events?stream={name}"

            async with client.events(path) as heard:
                ids += [await client.confirmed(name) for _ in range(3)]
                await heard.results(3)
            # Nobody listens, and nothing is lost.
            ids += [await client.confirmed(name) for _ in range(3)]
            for after in range(7):
                async with client.events(path, Last_Event_ID=str(after)) as heard:
                    events = await heard.results(6 - after)
                    assert [event.id for event in events] == [str(n) for n in range(after + 1, 7)]
                    assert [read_data(event, JSON).order_id for event in events] == ids[after:]
            # Without an id it begins at its first event.
            async with client.events(path) as heard:
                assert [event.id for event in await heard.results(6)] == list("123456")
            for last in ("7", "-1", "x", "1.5", "9" * 30):
                found = await client.problem("GET", path, Last_Event_ID=last)
                assert found == (400, "bad_event_id")

    run(case())


def test_of_two_who_listen_to_a_stream_the_later_is_told(serve: Serve, run: Run) -> None:
    server = serve("sse")

    async def case() -> None:
        async with browsing(server.address) as client:
            name = key()
            async with (
                client.events(f"/events?stream={name}") as first,
                client.events(f"/events?stream={name}") as second,
            ):
                with pytest.raises(aiohttp.ClientError):
                    while await first.content.readany():
                        pass
                await client.placed(working(1), name)
                assert (await second.next()).id == "1"

    run(case())


@pytest.mark.parametrize("path", ["/events?stream=idle", "/changes"])
def test_an_idle_stream_has_a_heartbeat(serve: Serve, run: Run, path: str) -> None:
    server = serve("sse")

    async def case() -> None:
        async with browsing(server.address) as client, client.events(path) as heard:
            began = time.monotonic()
            beats = b""
            while len(beats) < 9:
                beats += await heard.content.readany()
            assert beats == b":\n\n" * 3
            assert time.monotonic() - began >= 1.0

    run(case())


class StalledReader:
    """A client that asks for something and takes as little of the answer as it can."""

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((host, int(port)))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self.socket.setblocking(False)

    async def head(self) -> None:
        """Take the answer's beginning."""
        loop = asyncio.get_running_loop()
        assert b" 200 OK" in await loop.sock_recv(self.socket, 15)

    async def until_cut(self) -> int:
        """Take the rest, until the server has cut the connection off; how many bytes came."""
        loop = asyncio.get_running_loop()
        size, end = 0, b""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(LIMIT_S):
                while chunk := await loop.sock_recv(self.socket, 2**20):
                    size += len(chunk)
                    end = (end + chunk)[-5:]
        self.socket.close()
        assert end != b"0\r\n\r\n", "it came to an end as if it were whole"
        return size


def test_who_does_not_read_is_cut_off_and_harms_nobody(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "QUEUE_BYTES", 8 * 2**20)
    service = OrderService(MemoryStore())
    size, count = 2**20, 40

    async def case() -> None:
        sink = ListSink()
        async with (
            here(sse.start, service) as server,
            driving("sse", server.address, sink) as driver,
        ):
            await driver.watch(1)
            stalled = StalledReader(server.address, "/changes")
            await stalled.head()
            assert len(service.watchers) == 1
            for number in range(count):
                await service.place(replace(order(key()), attachment=bytes(size)))
                await until("who reads has seen it", lambda n=number: len(sink.sightings) > n)  # type: ignore[misc]
            assert await stalled.until_cut() < count * size

    run(case())


def test_a_stream_whose_client_does_not_read_is_cut_off_and_keeps_no_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 2000
    monkeypatch.setattr(mailbox, "EVENT_LIMIT", limit)
    boxes: list[mailbox.Mailboxes] = []

    class Seen(mailbox.Mailboxes):
        """Mailboxes that a test can look into."""

        def __init__(self) -> None:
            super().__init__()
            boxes.append(self)

    monkeypatch.setattr(sse, "Mailboxes", Seen)

    async def case() -> None:
        async with here(sse.start) as server, browsing(server.address) as client:
            stalled = StalledReader(server.address, "/events?stream=stalled")
            await stalled.head()
            (all_boxes,) = boxes
            box = all_boxes.find("stalled")
            line = b"data: " + b"x" * 10_000 + b"\n\n"
            sent = 0
            while box.reader is not None:
                all_boxes.put(box, lambda _: line)
                sent += 1
                if sent % 100 == 0:
                    await asyncio.sleep(0)
            assert len(box.events) == limit
            assert await stalled.until_cut() < sent * len(line)
            found = await client.problem("GET", "/events?stream=stalled", Last_Event_ID="1")
            assert found == (400, "bad_event_id")

    with caplog.at_level(logging.WARNING):
        run(case())
    assert not caplog.records


@pytest.mark.parametrize("stalls", [False, True])
def test_to_stop_ends_streams(run: Run, stalls: bool, caplog: pytest.LogCaptureFixture) -> None:
    service = OrderService(MemoryStore())

    async def case() -> None:
        async with here(sse.start, service) as server, browsing(server.address) as client:
            if stalls:
                stalled = StalledReader(server.address, "/changes")
                await stalled.head()
                for _ in range(10):
                    await service.place(replace(order(key()), attachment=bytes(2**20)))
                    await asyncio.sleep(0)
            async with client.events("/events?stream=a") as heard, client.events("/changes"):
                async with asyncio.timeout(LIMIT_S):
                    rest, _ = await asyncio.gather(heard.content.read(), server.stop())
                assert not EventParser().feed(rest)
            if stalls:
                await stalled.until_cut()
            assert not service.watchers

    with caplog.at_level(logging.WARNING):
        run(case())
    assert not caplog.records


# The driver of `sse`


def test_milestones_of_a_pushed_result(serve: Serve, run: Run) -> None:
    server = serve("sse")
    sink = ListSink()

    async def case() -> None:
        async with driving("sse", server.address, sink) as driver:
            sent_ns = time.monotonic_ns()
            got = await driver.place(0, working(200 * MS), Call(0))
            ((_, milestone, acked_ns, _),) = sink.arrivals
            assert milestone is Milestone.ACKED
            assert sent_ns < acked_ns < got.processed_ns < time.monotonic_ns()
            assert got.processed_ns - sent_ns >= 199 * 10**6
            assert not sink.notes

    run(case())


def test_progress_is_seen_on_the_stream(serve: Serve, run: Run) -> None:
    server = serve("sse")
    sink = ListSink()

    async def case() -> None:
        async with driving("sse", server.address, sink) as driver:
            await driver.place(0, working(1_800 * MS), Call(0))
            assert [update.progress for update, *_ in sink.sightings] == [28, 56, 83]
            assert {lane for _, lane, _ in sink.sightings} == {0}

    run(case())


def test_late_and_repeated_results_go_to_the_sink(serve: Serve, run: Run) -> None:
    server = serve("sse")
    sink = ListSink()

    async def case() -> None:
        async with driving("sse", server.address, sink) as driver:

            async def given_up(wanted: Order, number: int) -> None:
                asking = asyncio.create_task(driver.place(0, wanted, Call(number)))
                await until("it is accepted", lambda: number in acked(sink))
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking

            await given_up(working(300 * MS), 0)
            await until("its result comes late", lambda: done(sink) == [0])
            again = working(300 * MS)
            await given_up(again, 1)
            got = await driver.place(0, again, Call(1))
            assert got.idempotency_key == again.idempotency_key
            # Two receipts, two results: one was waited for.
            await until("the other is a repeat", lambda: done(sink) == [0, 1])

    run(case())


class Relay:
    """TCP in between, in which event streams can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: list[Passage] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            begin = await reader.read(2**16)
            behind = await asyncio.open_connection("127.0.0.1", self.port)
            passage = Passage(writer, behind[1])
            if begin.startswith(b"GET /events"):
                self.streams.append(passage)
            behind[1].write(begin)
            async with asyncio.TaskGroup() as both:
                both.create_task(passage.pump(reader, behind[1]))
                both.create_task(passage.pump(behind[0], writer, passage.told))
        except* OSError:
            pass
        finally:
            writer.transport.abort()
            self.tasks.discard(task)


class Passage:
    """A connection through the relay."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.told = bytearray()

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        note: bytearray | None = None,
    ) -> None:
        """Pass on what comes."""
        while chunk := await reader.read(2**16):
            if note is not None:
                note += chunk
            writer.write(chunk)
            await writer.drain()
        self.cut()

    def cut(self) -> None:
        """Abort both sides."""
        for writer in self.writers:
            writer.transport.abort()

    def keys(self) -> set[str]:
        """The orders of which something has passed."""
        return {found.decode() for found in re.findall(rb'"idempotency_key":"(\w+)"', self.told)}


@asynccontextmanager
async def relayed(address: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to a server, and its address."""
    relay = Relay(int(address.rsplit(":", 1)[1]))
    async with await asyncio.start_server(relay.pass_on, "127.0.0.1", 0) as server:
        try:
            yield relay, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for task in list(relay.tasks):
                task.cancel()
            await asyncio.gather(*relay.tasks, return_exceptions=True)


def test_no_result_is_lost_or_doubled_when_streams_are_cut(serve: Serve, run: Run) -> None:
    """300 orders or more, through a relay that cuts streams 20 times with results on their way.

    A stream is cut only after a result that came over it was seen: what is cut before its client
    knows that it stands is a stream that could not be resumed.
    """
    server = serve("sse")
    sink = ListSink()
    orders_wanted, cuts_wanted, at_a_time = 300, 20, 24

    async def case() -> None:
        seen: Counter[str] = Counter()
        cuts = orders = 0
        lanes = Lanes(3, multiplexes=False)

        async with (
            relayed(server.address) as (relay, address),
            driving("sse", address, sink, lanes=3) as driver,
        ):

            def cut() -> None:
                nonlocal cuts
                known = [one for one in relay.streams if one.keys() & set(seen)]
                for passage in known:
                    passage.cut()
                    relay.streams.remove(passage)
                cuts += bool(known)

            async def user() -> None:
                nonlocal orders
                while orders < orders_wanted or cuts < cuts_wanted:
                    number, orders = orders, orders + 1
                    hold = lanes.hold()
                    wanted = working((1 + number % 40) * MS, price=100 + number)
                    got = await driver.place(hold.lane, wanted, Call(number, held=hold))
                    hold.release()
                    assert got.idempotency_key == wanted.idempotency_key
                    assert got.total_cents == total_cents(wanted)
                    seen[got.idempotency_key] += 1
                    if len(seen) % 5 == 0 and cuts < cuts_wanted:
                        cut()

            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(*(user() for _ in range(at_a_time)))

        assert cuts == cuts_wanted
        assert len(seen) == orders
        assert set(seen.values()) == {1}
        assert sorted(acked(sink)) == list(range(orders))
        assert not done(sink)
        assert {name for _, name in sink.notes} == {"reconnects"}

    run(case())


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def faking(events: Handler, place: Handler) -> AsyncIterator[str]:
    """A server of two handlers, and its address."""
    app = web.Application()
    app.router.add_get("/events", events)
    app.router.add_post("/orders", place)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def result_of(body: bytes) -> tuple[bytes, bytes]:
    """The receipt of an order and the event of its result."""
    key = JSON.decode_order(body).idempotency_key
    receipt = Update("o-1", key, Status.RECEIVED, 0, 1)
    final = Update("o-1", key, Status.CONFIRMED, 100, 2, 500)
    event = b"id: 1\nevent: result\ndata: " + JSON.encode_update(final) + b"\n\n"
    return JSON.encode_update(receipt), event


async def streaming(request: web.Request) -> web.StreamResponse:
    """An event stream that has begun."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


def test_a_result_may_come_before_its_receipt(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        told, heard = asyncio.Queue[bytes](), asyncio.Event()

        async def events(request: web.Request) -> web.StreamResponse:
            response = await streaming(request)
            await response.write(await told.get())
            heard.set()
            await asyncio.Event().wait()
            return response

        async def place(request: web.Request) -> web.StreamResponse:
            receipt, event = result_of(await request.read())
            told.put_nowait(event)
            await heard.wait()
            await asyncio.sleep(0.05)
            return web.Response(status=202, body=receipt)

        async with faking(events, place) as address, driving("sse", address, sink) as driver:
            async with asyncio.timeout(LIMIT_S):
                got = await driver.place(0, order(key()), Call(0))
            assert (got.order_id, got.total_cents) == ("o-1", 500)

    run(case())
    assert acked(sink) == [0]
    assert not done(sink)


def test_what_waits_fails_when_the_stream_cannot_be_resumed(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        names: list[str] = []
        resumed: list[str | None] = []
        placed = asyncio.Event()

        async def events(request: web.Request) -> web.StreamResponse:
            names.append(request.query["stream"])
            resumed.append(request.headers.get("Last-Event-ID"))
            if len(names) == 2:
                return web.Response(
                    status=400, body=b'{"code": "bad_event_id", "detail": "no longer kept"}'
                )
            response = await streaming(request)
            await response.write(b":\n\n")
            await placed.wait()
            if len(names) == 3:
                await response.write(result_of(last[0])[1])
                await asyncio.Event().wait()
            return response

        last: list[bytes] = []

        async def place(request: web.Request) -> web.StreamResponse:
            last[:] = [await request.read()]
            placed.set()
            return web.Response(status=202, body=result_of(last[0])[0])

        async with faking(events, place) as address, driving("sse", address, sink) as driver:
            with pytest.raises(DriverError) as caught:
                async with asyncio.timeout(LIMIT_S):
                    await driver.place(0, order(key()), Call(0))
            assert caught.value.failure is Failure.DISCONNECTED
            assert "no longer kept" in caught.value.detail
            async with asyncio.timeout(LIMIT_S):
                placed.clear()
                await driver.place(0, order(key()), Call(1))
            # The next stream is another one.
            assert len(set(names)) == 2
            assert names[0] == names[1] != names[2]
            assert resumed == [None, "0", None]
        assert sink.notes[0, "reconnects"] == 1

    run(case())


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda: web.Response(status=503), Failure.OVERLOADED),
        (lambda: web.Response(status=404), Failure.REJECTED),
        (lambda: web.Response(body=b"{}", content_type="application/json"), Failure.PROTOCOL),
    ],
)
def test_what_is_no_event_stream(
    run: Run, answer: Callable[[], web.Response], failure: Failure
) -> None:
    async def events(_: web.Request) -> web.StreamResponse:
        return answer()

    async def case() -> None:
        async with faking(events, events) as address:
            driver = Sse()
            with pytest.raises(DriverError) as caught:
                async with asyncio.timeout(LIMIT_S):
                    await driver.open(address, 1, ListSink())
            assert caught.value.failure is failure
            await driver.close()

    run(case())


def test_an_event_that_is_none_is_an_error_of_protocol(run: Run) -> None:
    async def case() -> None:
        placed = asyncio.Event()

        async def events(request: web.Request) -> web.StreamResponse:
            response = await streaming(request)
            await placed.wait()
            await response.write(b"event: news\ndata: hello\n\nevent: result\ndata: {}\n\n")
            return response

        async def place(request: web.Request) -> web.StreamResponse:
            receipt, _ = result_of(await request.read())
            placed.set()
            return web.Response(status=202, body=receipt)

        async with faking(events, place) as address, driving("sse", address) as driver:
            with pytest.raises(DriverError) as caught:
                async with asyncio.timeout(LIMIT_S):
                    await driver.place(0, order(key()), Call(0))
            assert caught.value.failure is Failure.PROTOCOL

    run(case())
