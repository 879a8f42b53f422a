"""S7: receivers that are away, callbacks that are not the service's, and where it does not call."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web

from clients.base import PLAIN, Call, DriverError, Failure, Milestone, Wire
from clients.http import Answer, HttpLanes
from clients.webhook import Inbox, Webhook
from harness.rig.authority import make_authority
from harness.rig.process import Rig
from harness.rig.server import Serving, start_gateway, start_server
from orders.model import Order, Status, Update
from orders.pricing import total_cents
from protos.codecs import BY_MEDIA_TYPE, JSON
from protos.context import Context
from protos.http import CALLBACK, CALLBACKS_PATH, ORDERS_PATH, TRACEPARENT
from protos.problems import from_http
from protos.signature import MAX_CALLBACK_BYTES, TOLERANCE_S, Stamp, message_id, signed, verified
from tests.support import LIMIT_S, ListSink, Run, Serve, order, until
from tests.unit.test_callbacks import FORBIDDEN

AWAY_S = 3.0
NEVER_MS = 600_000.0
SECRET = "a-secret-that-nobody-else-has"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def key() -> str:
    """A key that no other order of the session has."""
    return uuid.uuid4().hex


@asynccontextmanager
async def opened(
    target: str, sink: ListSink | None = None, wire: Wire = PLAIN
) -> AsyncIterator[Webhook]:
    """A driver that is open."""
    driver = Webhook()
    try:
        await driver.open(target, 2, sink if sink is not None else ListSink(), wire)
        yield driver
    finally:
        await driver.close()


@dataclass
class Heard:
    """One callback as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def stamp(self) -> Stamp:
        """What it was signed with, which must be right."""
        return verified(SECRET.encode(), self.headers, self.body, time.time())

    @property
    def update(self) -> Update:
        """What it tells."""
        return BY_MEDIA_TYPE[self.headers["Content-Type"]].decode_update(self.body)


@dataclass
class Listener:
    """Somebody who is called back and answers what a test says."""

    answer: Callable[[Heard], Awaitable[web.Response]]
    heard: list[Heard] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Listener"]:
        """Listen on loopback while inside."""

        async def take(request: web.BaseRequest) -> web.Response:
            heard = Heard(request.path, request.headers.copy(), await request.read())
            self.heard.append(heard)
            return await self.answer(heard)

        connections = web.Server(take, access_log=None)
        server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callbacks"
        try:
            yield self
        finally:
            server.close()
            connections.pre_shutdown()
            await connections.shutdown(1.0)


def answering(*statuses: int) -> Listener:
    """A listener that answers these, and then 200."""
    left = list(statuses)

    async def answer(heard: Heard) -> web.Response:
        return web.Response(status=left.pop(0) if left else 200)

    return Listener(answer)


@asynccontextmanager
async def asking(target: str, wire: Wire = PLAIN) -> AsyncIterator[HttpLanes]:
    """HTTP to a server, by hand."""
    http = HttpLanes(target, wire)
    try:
        yield http
    finally:
        await http.close()


async def register(
    http: HttpLanes, url: object, callback: str | None = None, secret: object = SECRET
) -> tuple[str, Answer]:
    """Try to register a callback; its id, and what the service says."""
    callback = callback or uuid.uuid4().hex
    body = orjson.dumps({"url": url, "secret": secret})
    return callback, await http.ask(0, "PUT", f"{CALLBACKS_PATH}/{callback}", body)


async def registered(http: HttpLanes, url: str) -> str:
    """The id of a callback that is registered."""
    callback, answer = await register(http, url)
    assert (answer.status, answer.body) == (204, b"")
    return callback


async def place(
    http: HttpLanes, wanted: Order, callback: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Hand an order in."""
    body = http.codec.encode_order(wanted)
    return await http.ask(0, "POST", ORDERS_PATH, body, {CALLBACK: callback, **(headers or {})})


def code(answer: Answer) -> str:
    """The problem that an answer tells of."""
    return from_http(answer.status, answer.body).code


def test_results_reach_a_receiver_that_was_away(rig: Rig, run: Run) -> None:
    count = 100
    sink = ListSink()

    async def case() -> None:
        server = await start_server(rig, Serving("webhook"))
        async with opened(server.address, sink) as driver:
            await driver.receiver.pause()
            wanted = [order(key(), price=100 + number) for number in range(count)]

            async def one(number: int) -> None:
                got = await driver.place(number, wanted[number], Call(number))
                assert got.idempotency_key == wanted[number].idempotency_key
                assert got.total_cents == total_cents(wanted[number])

            placing = [asyncio.create_task(one(number)) for number in range(count)]
            await asyncio.sleep(AWAY_S)
            await driver.receiver.resume()
            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(*placing)
        await rig.stop(server.process)
        stopped = await server.process.hear()
        assert stopped is not None
        assert stopped["orders_worked"] == count

    run(case())
    assert {(o, m) for o, m, *_ in sink.arrivals} == {(n, Milestone.ACKED) for n in range(count)}
    assert set(sink.notes) == {(number, "attempts") for number in range(count)}
    assert max(sink.notes.values()) > 1


def test_an_answer_that_is_lost_costs_a_repeat(serve: Serve, run: Run) -> None:
    server = serve("webhook")
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink) as driver, asking(server.address) as http:
            inbox = driver._inbox

            async def pass_on(heard: Heard) -> web.Response:
                with_secret = signed(inbox.secret.encode(), heard.stamp, heard.body)
                headers = {"Content-Type": heard.headers["Content-Type"], **with_secret}
                status = await call_back(driver, inbox, headers, heard.body)
                # The first answer gets lost on its way to the service.
                return web.Response(status=502 if heard.stamp.attempt == 1 else status)

            async with Listener(pass_on).open() as between:
                callback = await registered(http, between.url)
                wanted = order(key())
                awaited = inbox.expect(wanted.idempotency_key, 7, 0)
                await place(http, wanted, callback)
                update, attempt = await awaited.ended
                awaited.taken = True
                inbox.leave(awaited)
                assert (update.total_cents, attempt) == (total_cents(wanted), 1)
                await until("the second attempt came", lambda: len(sink.arrivals) == 1)
                assert [heard.stamp.attempt for heard in between.heard] == [1, 2]

    run(case())
    assert [(o, m) for o, m, *_ in sink.arrivals] == [(7, Milestone.DONE)]


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not said before it comes."""
    for start in range(0, len(body), 4096):
        yield body[start : start + 4096]


async def call_back(
    driver: Webhook,
    inbox: Inbox,
    headers: Mapping[str, str],
    body: bytes | AsyncIterator[bytes],
    method: str = "POST",
) -> int:
    """Send a callback to a driver's receiver; the status that it answers."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, driver.receiver.url(inbox), data=body, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


def test_a_receiver_takes_what_the_service_signed_and_nothing_else(serve: Serve, run: Run) -> None:
    server = serve("webhook")
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink) as driver:
            inbox = driver._inbox
            secret = inbox.secret.encode()
            end = Update("o-1", "k", Status.CONFIRMED, 100, 7, 500)
            body = JSON.encode_update(end)
            now = int(time.time())
            awaited = inbox.expect("k", 0, 0)

            async def status(stamp: Stamp, content: bytes, by: bytes = secret) -> int:
                headers = {"Content-Type": JSON.media_type, **signed(by, stamp, content)}
                return await call_back(driver, inbox, headers, content)

            def stamp(attempt: int = 1, at: int = now) -> Stamp:
                return Stamp(message_id(end), attempt, at)

            assert await status(stamp(), body, SECRET.encode()) == 401
            headers = {"Content-Type": JSON.media_type, **signed(secret, stamp(), body)}
            assert await call_back(driver, inbox, headers, body + b" ") == 401
            assert await status(stamp(at=now - TOLERANCE_S - 60), body) == 401
            assert await status(stamp(at=now + TOLERANCE_S + 60), body) == 401
            large = b" " * (MAX_CALLBACK_BYTES + 1)
            assert await status(stamp(), large) == 413
            assert await call_back(driver, inbox, headers, pieces(large)) == 413
            assert await status(stamp(), b"{") == 400
            assert await call_back(driver, inbox, {}, body) == 400
            assert await call_back(driver, inbox, headers, body, method="PUT") == 405
            assert await call_back(driver, Inbox(sink), headers, body) == 404
            assert not awaited.ended.done()
            assert await call_back(driver, inbox, headers, body) == 200
            assert await awaited.ended == (end, 1)
            awaited.taken = True
            inbox.leave(awaited)
            assert await call_back(driver, inbox, headers, body) == 409
            assert sink.arrivals == []
            assert await status(stamp(2), body) == 200

    run(case())
    assert [(o, m) for o, m, *_ in sink.arrivals] == [(0, Milestone.DONE)]


def test_the_service_calls_loopback_only(serve: Serve, run: Run) -> None:
    server = serve("webhook")

    async def case() -> None:
        async with asking(server.address) as http:
            for url in FORBIDDEN:
                callback, answer = await register(http, url)
                assert (answer.status, code(answer)) == (403, "bad_callback"), url
                assert code(await place(http, order(key()), callback)) == "bad_callback"

    run(case())


def test_a_registration_has_its_form(serve: Serve, run: Run) -> None:
    server = serve("webhook")
    url = "http://127.0.0.1:1/"

    async def case() -> None:
        async with asking(server.address) as http:
            for wrong in (None, 7, ["x"]):
                assert code((await register(http, wrong))[1]) == "malformed"
                assert code((await register(http, url, secret=wrong))[1]) == "malformed"
            for short in ("", "short", "a secret with a line\nbreak", "x" * 129):
                assert code((await register(http, url, secret=short))[1]) == "bad_callback"
            for callback in ("a" * 65, "a_b", "a%20b"):
                assert code((await register(http, url, callback))[1]) == "malformed"
            for body in (b"", b"{", b"[]", b"7"):
                answer = await http.ask(0, "PUT", f"{CALLBACKS_PATH}/x", body)
                assert code(answer) == "malformed"
            callback = await registered(http, url)
            assert (await register(http, url, callback))[1].status == 204
            other = (await register(http, url, callback, "the-secret-of-somebody-else"))[1]
            assert code(other) == "bad_callback"
            for unknown in (uuid.uuid4().hex, "", "../x"):
                answer = await place(http, order(key()), unknown)
                assert (answer.status, code(answer)) == (403, "bad_callback")

    run(case())


@pytest.mark.parametrize("codec", ["json", "protobuf"])
def test_what_is_called_back(serve: Serve, run: Run, codec: str) -> None:
    server = serve("webhook")

    async def case() -> None:
        async with (
            asking(server.address, Wire(codec)) as http,
            answering().open() as listener,
        ):
            callback = await registered(http, listener.url)
            wanted = order(key())
            wanted.work_us = 700_000
            answer = await place(http, wanted, callback, {TRACEPARENT: TRACE})
            assert answer.status == 202
            assert "Location" not in answer.headers
            receipt = http.codec.decode_update(answer.body)
            assert (receipt.status, receipt.final) == (Status.RECEIVED, False)
            await until("the end is told", lambda: len(listener.heard) == 2)
            half, end = listener.heard
            assert half.stamp.id == f"{receipt.order_id}.{half.update.progress}"
            assert half.update.status is Status.WORKING
            assert end.stamp.id == end.update.order_id == receipt.order_id
            assert end.update.confirmation().total_cents == total_cents(wanted)
            for heard in listener.heard:
                assert heard.path == "/callbacks"
                assert heard.stamp.attempt == 1
                assert heard.headers["Content-Type"] == http.codec.media_type
                assert heard.headers[TRACEPARENT] == TRACE
            # A repeat is answered with the end, and not called back.
            again = await place(http, wanted, callback)
            assert (again.status, http.codec.decode_update(again.body)) == (200, end.update)
            untraced = order(key())
            await place(http, untraced, callback)
            await until("the next is told", lambda: len(listener.heard) == 3)
            assert listener.heard[2].update.idempotency_key == untraced.idempotency_key
            assert TRACEPARENT not in listener.heard[2].headers

    run(case())


def test_what_nobody_takes_is_listed_and_told_again_on_demand(rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving("webhook"))
        async with asking(server.address) as http, answering(500, 410, 410).open() as listener:
            dead_path = f"{CALLBACKS_PATH}/dead"

            async def dead() -> list[dict[str, object]]:
                found: list[dict[str, object]] = orjson.loads(
                    (await http.ask(0, "GET", dead_path)).body
                )
                return found

            async def replay() -> object:
                return orjson.loads((await http.ask(0, "POST", f"{dead_path}/replay")).body)

            assert (await dead(), await replay()) == ([], {"replayed": 0})
            callback = await registered(http, listener.url)
            receipt = JSON.decode_update((await place(http, order(key()), callback)).body)
            entry = {
                "id": receipt.order_id,
                "order_id": receipt.order_id,
                "callback": callback,
                "last_error": "HTTP 410",
            }
            async with asyncio.timeout(LIMIT_S):
                while await dead() != [{**entry, "attempts": 2}]:
                    await asyncio.sleep(0.01)
                assert await replay() == {"replayed": 1}
                while await dead() != [{**entry, "attempts": 3}]:
                    await asyncio.sleep(0.01)
                assert await replay() == {"replayed": 1}
            await until("it is told", lambda: len(listener.heard) == 4)
            assert [heard.stamp.attempt for heard in listener.heard] == [1, 2, 3, 4]
            assert {heard.update.order_id for heard in listener.heard} == {receipt.order_id}
            assert await dead() == []
        await rig.stop(server.process)

    run(case())


def test_redirects_are_not_followed(serve: Serve, run: Run) -> None:
    server = serve("webhook")

    async def case() -> None:
        async with asking(server.address) as http, answering().open() as elsewhere:

            async def send_away(heard: Heard) -> web.Response:
                statuses = [301, 302, 303, 307, 308, 410]
                status = statuses[heard.stamp.attempt - 1]
                return web.Response(status=status, headers={"Location": elsewhere.url})

            async with Listener(send_away).open() as listener:
                callback = await registered(http, listener.url)
                await place(http, order(key()), callback)
                await until(
                    "it is given up", lambda: 6 in {h.stamp.attempt for h in listener.heard}
                )
                assert elsewhere.heard == []
                # What was sent elsewhere would be there before this.
                callback = await registered(http, elsewhere.url)
                wanted = order(key())
                await place(http, wanted, callback)
                await until("the next is told", lambda: len(elsewhere.heard) > 0)
                assert [h.update.idempotency_key for h in elsewhere.heard] == [
                    wanted.idempotency_key
                ]

    run(case())


def test_a_server_stops_while_nobody_takes_its_callbacks(rig: Rig, run: Run) -> None:
    async def case() -> None:
        server = await start_server(rig, Serving("webhook"))
        never = asyncio.Event()

        async def hang(heard: Heard) -> web.Response:
            await never.wait()
            return web.Response()

        async with (
            asking(server.address) as http,
            answering(*[500] * 1000).open() as failing,
            Listener(hang).open() as hanging,
        ):
            for listener in (failing, hanging):
                callback = await registered(http, listener.url)
                for _ in range(3):
                    assert (await place(http, order(key()), callback)).status == 202
            await until("some are tried again", lambda: len(failing.heard) > 3)
            await until("some are under way", lambda: len(hanging.heard) == 3)
            assert await rig.stop(server.process) == 0
            never.set()

    run(case())


def test_a_job_tells_how_far_it_is(serve: Serve, run: Run) -> None:
    server = serve("webhook")
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink) as driver:
            wanted = order(key())
            wanted.work_us = 1_200_000
            await driver.place(1, wanted, Call(0))

    run(case())
    # Progress is tried once, so each may be missed, and hardly both.
    seen = [(update.progress, lane) for update, lane, _ in sink.sightings]
    assert seen in ([(42, 1), (83, 1)], [(42, 1)], [(83, 1)])
    assert sink.notes == {(0, "attempts"): 1}


class Hold:
    """A lane that is given back by resting."""

    lane = 1

    def rest(self) -> None:
        """See Held.rest."""
        self.lane = -1

    def resume(self) -> int:
        """See Held.resume."""
        raise AssertionError("a callback needs no lane")


def test_what_only_waits_has_no_lane(serve: Serve, run: Run) -> None:
    server = serve("webhook", NEVER_MS)
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink) as driver:
            holds = [Hold() for _ in range(20)]
            for number, hold in enumerate(holds):
                asking = asyncio.create_task(driver.place(0, order(key()), Call(number, held=hold)))
                await until("it only waits", partial(lambda held: held.lane < 0, hold))
                assert not asking.done()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    run(case())
    assert [(o, m) for o, m, *_ in sink.arrivals] == [(n, Milestone.ACKED) for n in range(20)]


def test_a_result_after_the_timeout_is_late(serve: Serve, run: Run) -> None:
    server = serve("webhook")
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink) as driver:
            wanted = order(key())
            wanted.work_us = 400_000
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await driver.place(0, wanted, Call(0))
            await until(
                "its end is told all the same",
                lambda: (0, Milestone.DONE) in [(o, m) for o, m, *_ in sink.arrivals],
            )

    run(case())


@pytest.mark.parametrize("remember", ["nothing", "keys", "requests"])
def test_who_asks_again_while_it_is_worked_on_is_told(
    serve: Serve, run: Run, remember: str
) -> None:
    server = serve("webhook", remember=remember)

    async def case() -> None:
        async with opened(server.address) as driver:
            wanted = order(key())
            wanted.work_us = 600_000
            call = Call(0, Context(request_id=key()))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await driver.place(0, wanted, call)
            async with asyncio.timeout(LIMIT_S):
                got = await driver.place(0, wanted, call)
                assert got.idempotency_key == wanted.idempotency_key
                again = await driver.place(0, wanted, call)
            if remember != "nothing":
                assert again == got

    run(case())


def test_a_receipt_that_a_gateway_remembers_is_enough(rig: Rig, run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        server = await start_server(rig, Serving("webhook"))
        gateway = await start_gateway(rig, server.address)
        async with opened(gateway.address, sink) as driver:
            wanted = order(key())
            wanted.work_us = 400_000
            call = Call(0, Context(request_id=key()))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await driver.place(0, wanted, call)
            await until(
                "its end is told", lambda: Milestone.DONE in [m for _, m, *_ in sink.arrivals]
            )
            # This time nothing is called back: the service does not hear of it.
            async with asyncio.timeout(LIMIT_S):
                got = await driver.place(0, wanted, call)
            assert got.idempotency_key == wanted.idempotency_key
        await rig.stop(gateway.process)
        await rig.stop(server.process)

    run(case())


def test_a_service_that_forgot_the_callback_is_told_of_one_again(serve: Serve, run: Run) -> None:
    server = serve("webhook")

    async def case() -> None:
        async with opened(server.address) as driver:
            forgotten = driver._inbox
            forgotten.id = uuid.uuid4().hex
            with pytest.raises(DriverError) as caught:
                await driver.place(0, order(key()), Call(0))
            assert (caught.value.failure, caught.value.code) == (Failure.REJECTED, "bad_callback")
            await asyncio.gather(*(driver.place(n, order(key()), Call(n)) for n in range(1, 9)))
            assert driver._inbox is not forgotten

    run(case())


@pytest.mark.parametrize("codec", ["json", "protobuf"])
def test_over_tls_and_compressed(serve: Serve, run: Run, tmp_path: Path, codec: str) -> None:
    made = make_authority(tmp_path / "tls")
    server = serve("webhook", compression=True, certificate=made.certificate, key=made.key)
    sink = ListSink()

    async def case() -> None:
        async with opened(server.address, sink, Wire(codec, str(made.ca), True)) as driver:
            wanted = order(key(), items=50)
            wanted.work_us = 600_000
            got = await driver.place(0, wanted, Call(0))
            assert got.total_cents == total_cents(wanted)

    run(case())
    assert server.address.startswith("https://")
    assert {update.progress for update, *_ in sink.sightings} <= {83}


def test_a_callback_is_packed_where_its_order_was(serve: Serve, run: Run) -> None:
    server = serve("webhook", compression=True)

    async def case() -> None:
        async with (
            asking(server.address, Wire(compression=True)) as packing,
            asking(server.address) as plain,
            answering().open() as listener,
        ):
            callback = await registered(packing, listener.url)
            for http, encoding in ((packing, "gzip"), (plain, None)):
                listener.heard.clear()
                await place(http, order(key()), callback)
                await until("it is told", lambda: len(listener.heard) == 1)
                assert listener.heard[0].headers.get("Content-Encoding") == encoding

    run(case())
