"""P1: a gateway that remembers, in front of a service that forgets."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from clients import catalog
from clients.base import Call, DriverError, Failure, Places, Wire
from clients.catalog import Entry
from clients.rest_aiohttp import RestAiohttp
from harness.load.__main__ import driver_named
from harness.rig.authority import make_authority
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_gateway, start_server
from orders.pricing import total_cents
from protos.codecs import JSON, PROTOBUF
from protos.context import Context
from protos.frames import MAX_FRAME_BYTES
from protos.http import EVENTS_PATH, ORDERS_PATH, PROBLEM_JSON, REQUEST_ID
from servers.gateway import REPLAYED
from tests.conformance.test_places import key
from tests.support import LIMIT_S, ListSink, Run, order

WORK_US = 600_000
FORGETS = Serving("rest", remember="nothing")


@dataclass
class Said:
    """The status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def replayed(self) -> bool:
        """Whether the gateway remembered it."""
        return self.headers.get(REPLAYED.lower()) == "true"

    @property
    def code(self) -> str:
        """The code of the problem that it is."""
        assert self.headers["content-type"] == PROBLEM_JSON
        return str(json.loads(self.body)["code"])


@dataclass
class Stand:
    """A service, what stands in front of it, and a client of that."""

    rig: Rig
    server: Server
    gateway: Server
    http: aiohttp.ClientSession

    async def send(
        self, body: bytes, request_id: str = "", path: str = ORDERS_PATH, **headers: str
    ) -> Said:
        """POST something."""
        sent = {"Content-Type": JSON.media_type, **headers}
        if request_id:
            sent[REQUEST_ID] = request_id
        url = self.gateway.address + path
        async with self.http.post(url, data=io.BytesIO(body), headers=sent) as answer:
            got = {name.lower(): value for name, value in answer.headers.items()}
            return Said(answer.status, got, await answer.read())

    async def stopped(self, server: Server) -> dict[str, Any]:
        """What a server says at its end."""
        assert await self.rig.stop(server.process) == 0
        said = await server.process.hear()
        assert said is not None
        assert said["event"] == "stopped"
        return said

    async def worked(self) -> int:
        """How often the service has worked on an order, one for this question included: one that
        forgets numbers its work."""
        body, types = JSON.encode_order(order(key())), {"Content-Type": JSON.media_type}
        url = self.server.address + ORDERS_PATH
        async with self.http.post(url, data=body, headers=types) as answer:
            order_id = JSON.decode_confirmation(await answer.read()).order_id
        return int(order_id.removeprefix("o-"))


@asynccontextmanager
async def standing(rig: Rig, serving: Serving = FORGETS) -> AsyncIterator[Stand]:
    """A service and the gateway before it."""
    server = await start_server(rig, serving)
    gateway = await start_gateway(rig, server.address)
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http:
        yield Stand(rig, server, gateway, http)
    for process in (gateway.process, server.process):
        await rig.stop(process)


@pytest.fixture(scope="module")
def stand(rig: Rig, runner: asyncio.Runner) -> Iterator[Stand]:
    """One for all tests that stop nothing."""
    context = standing(rig)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


async def ask_again(address: str) -> int:
    """Place an order, give up when it is surely worked on, and ask again with the same request id
    for the same order; returns how many other orders this took."""
    driver = RestAiohttp()
    await driver.open(address, 3, ListSink())
    slow = replace(order(key(), price=77), work_us=WORK_US)
    context = Context(request_id=key())
    given_up = asyncio.create_task(driver.place(0, slow, Call(0, context)))
    await asyncio.sleep(0)
    # What is sent later is answered later than what was sent before is read.
    probes = 3
    for number in range(probes):
        await driver.place(1, order(key()), Call(1 + number, Context(request_id=key())))
    assert not given_up.done()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await driver.drop(0)
    async with asyncio.timeout(LIMIT_S):
        got = await driver.place(2, slow, Call(0, context))
    assert got.idempotency_key == slow.idempotency_key
    assert got.total_cents == total_cents(slow)
    await driver.close()
    return probes


def test_a_retry_after_a_timeout_gets_the_answer_of_the_first(rig: Rig, run: Run) -> None:
    async def case() -> None:
        async with standing(rig) as stand:
            others = await ask_again(stand.gateway.address)
            assert (await stand.stopped(stand.gateway))["replayed"] == 1
            assert (await stand.stopped(stand.server))["orders_worked"] == others + 1

    run(case())


def test_without_a_gateway_the_work_is_done_twice(rig: Rig, run: Run) -> None:
    async def case() -> None:
        async with standing(rig) as stand:
            others = await ask_again(stand.server.address)
            assert (await stand.stopped(stand.server))["orders_worked"] == others + 2

    run(case())


@pytest.mark.parametrize("codec", [JSON, PROTOBUF], ids=["json", "protobuf"])
def test_a_repeat_is_the_first_answer_and_says_so(stand: Stand, run: Run, codec: Any) -> None:
    async def case() -> None:
        name = key()
        before = await stand.worked()
        body = codec.encode_order(order(key()))
        types = {"Content-Type": codec.media_type}
        first, second, third = [await stand.send(body, name, **types) for _ in range(3)]
        assert (first.status, first.replayed) == (201, False)
        assert codec.decode_confirmation(first.body).total_cents == 500
        assert first.headers["content-type"] == codec.media_type
        for again in (second, third):
            assert again.replayed
            assert (again.status, again.body) == (first.status, first.body)
            assert again.headers["content-type"] == codec.media_type
        assert await stand.worked() - before == 1 + 1

    run(case())


def test_two_at_once_are_passed_on_once(stand: Stand, run: Run) -> None:
    async def case() -> None:
        name = key()
        before = await stand.worked()
        slow = JSON.encode_order(replace(order(key()), work_us=WORK_US))
        said = await asyncio.gather(*(stand.send(slow, name) for _ in range(8)))
        assert [answer.status for answer in said] == [201] * 8
        assert len({answer.body for answer in said}) == 1
        assert sorted(answer.replayed for answer in said) == [False] + [True] * 7
        assert await stand.worked() - before == 1 + 1

    run(case())


def test_an_id_with_another_content_is_a_conflict(stand: Stand, run: Run) -> None:
    async def case() -> None:
        name, other_name = key(), key()
        before = await stand.worked()
        wanted, other = (JSON.encode_order(order(key(), price=p)) for p in (1, 2))
        first = await stand.send(wanted, name)
        for answer in (
            await stand.send(other, name),
            await stand.send(wanted, name, path="/elsewhere"),
            await stand.send(wanted, name, path=f"{ORDERS_PATH}?x=1"),
        ):
            assert (answer.status, answer.code, answer.replayed) == (409, "key_conflict", False)
        assert (await stand.send(wanted, name)).body == first.body
        assert (await stand.send(other, other_name)).status == 201
        assert await stand.worked() - before == 2 + 1

    run(case())


def test_an_id_under_way_with_another_content_is_a_conflict_too(stand: Stand, run: Run) -> None:
    async def case() -> None:
        name = key()
        before = await stand.worked()
        slow, other = (JSON.encode_order(replace(order(key()), work_us=WORK_US)) for _ in range(2))
        both = await asyncio.gather(stand.send(slow, name), stand.send(other, name))
        assert sorted(answer.status for answer in both) == [201, 409]
        assert await stand.worked() - before == 1 + 1

    run(case())


def test_a_refusal_is_remembered_as_well(stand: Stand, run: Run) -> None:
    async def case() -> None:
        name = key()
        bad = JSON.encode_order(order(key(), quantity=0))
        first, second = [await stand.send(bad, name) for _ in range(2)]
        assert (first.status, first.code, first.replayed) == (422, "invalid_order", False)
        assert (second.status, second.body, second.replayed) == (422, first.body, True)

    run(case())


def test_without_an_id_all_is_passed_on(stand: Stand, run: Run) -> None:
    async def case() -> None:
        before = await stand.worked()
        body = JSON.encode_order(order(key()))
        said = [await stand.send(body) for _ in range(2)]
        assert [answer.status for answer in said] == [201, 201]
        assert not any(answer.replayed for answer in said)
        assert await stand.worked() - before == 2 + 1

    run(case())


def test_a_service_that_is_away_is_told_of_and_not_remembered(rig: Rig, run: Run) -> None:
    async def case() -> None:
        async with standing(rig) as stand:
            port = int(stand.server.address.rsplit(":", 1)[1])
            body = JSON.encode_order(order(key()))
            slow = JSON.encode_order(replace(order(key()), work_us=60_000_000))
            asking = asyncio.create_task(stand.send(slow, "r-slow"))
            assert (await stand.send(JSON.encode_order(order(key())))).status == 201
            await rig.kill(stand.server.process)
            broken_off = await asking
            away = await stand.send(body, "r-1")
            for answer in (broken_off, away):
                assert (answer.status, answer.code, answer.replayed) == (500, "internal", False)
            stand.server = await start_server(rig, replace(FORGETS, port=port))
            again = await stand.send(body, "r-1")
            assert (again.status, again.replayed) == (201, False)
            assert (await stand.send(body, "r-1")).replayed
            # An id whose work came to nothing is free.
            assert (await stand.send(body, "r-slow")).status == 201
            assert await stand.worked() == 2 + 1

    run(case())


def test_how_a_body_was_packed_makes_no_other_request(rig: Rig, run: Run) -> None:
    async def case() -> None:
        async with standing(rig, replace(FORGETS, compression=True)) as stand:
            body = JSON.encode_order(order(key(), items=100))
            how = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
            said = [await stand.send(gzip.compress(body, mtime=m), "r-1", **how) for m in (0, 1, 2)]
            assert [answer.replayed for answer in said] == [False, True, True]
            for answer in said:
                assert answer.status == 201
                assert answer.headers["content-encoding"] == "gzip"
                assert JSON.decode_confirmation(gzip.decompress(answer.body)).total_cents == 50_000

    run(case())


def test_what_is_too_much_is_refused(stand: Stand, run: Run) -> None:
    async def case() -> None:
        name = key()
        before = await stand.worked()
        body = JSON.encode_order(order(key()))
        long_id = await stand.send(body, "r" * 201)
        assert (long_id.status, long_id.code) == (400, "malformed")
        bomb = gzip.compress(bytes(MAX_FRAME_BYTES + 1))
        for large, how in (
            (bytes(MAX_FRAME_BYTES + 1), {}),
            (bomb, {"Content-Encoding": "gzip"}),
        ):
            answer = await stand.send(large, name, **how)
            assert (answer.status, answer.code) == (413, "too_large")
        # It fits, and the id is free.
        document = replace(order(key()), attachment=bytes(MAX_FRAME_BYTES // 2))
        answer = await stand.send(JSON.encode_order(document), name)
        assert answer.status == 201
        assert await stand.worked() - before == 1 + 1

    run(case())


def test_an_answer_without_an_end_is_not_passed_on(rig: Rig, run: Run) -> None:
    async def case() -> None:
        async with standing(rig, Serving("sse")) as stand:
            for path in (EVENTS_PATH, "/changes"):
                url = stand.gateway.address + path
                async with stand.http.get(url, params={"stream": "s-1"}) as answer:
                    assert answer.status == 405
                    assert (await answer.json(content_type=PROBLEM_JSON))["code"] == "not_allowed"

    run(case())


def test_paths_and_answers_come_through_as_they_are(rig: Rig, run: Run) -> None:
    async def case() -> None:
        async with standing(rig, Serving("rest-poll")) as stand:
            slow = JSON.encode_order(replace(order(key()), work_us=WORK_US))
            accepted = await stand.send(slow, "r-1")
            assert accepted.status == 202
            where = accepted.headers["location"]
            assert int(accepted.headers["retry-after"]) >= 1
            url = stand.gateway.address + where
            async with stand.http.get(url, headers={"Prefer": "wait=20"}) as answer:
                assert answer.headers["Preference-Applied"] == "wait=20"
                update = JSON.decode_update(await answer.read())
            assert update.final
            again = await stand.send(slow, "r-1")
            assert (again.replayed, again.body) == (True, accepted.body)
            assert again.headers["location"] == where
            # What is no POST is asked anew, id or not.
            for _ in range(2):
                async with stand.http.get(url, headers={REQUEST_ID: "r-2"}) as answer:
                    assert REPLAYED not in answer.headers
                    assert JSON.decode_update(await answer.read()) == update
            # So does what the service says of itself.
            url = stand.gateway.address + "/changes/?after=%20"
            async with stand.http.get(url, allow_redirects=False) as answer:
                assert answer.status == 307
                assert answer.headers["location"] == stand.gateway.address + "/changes?after=%20"

    run(case())


def _name(entry: Entry) -> str:
    return f"{entry.style}:{entry.client}"


@pytest.mark.parametrize(
    "behind", [e for e in catalog.ENTRIES if e.server and "gateway" not in e.lacks], ids=_name
)
def test_drivers_work_through_it(rig: Rig, run: Run, behind: Entry) -> None:
    async def case() -> None:
        serving = Serving(behind.talks_to, remember="nothing")
        async with standing(rig, serving) as stand:
            driver = driver_named(behind.driver)
            assert isinstance(driver, Places)
            async with asyncio.timeout(LIMIT_S):
                await driver.open(stand.gateway.address, 2, ListSink())
                for number in range(6):
                    wanted = replace(order(key(), items=number + 1), work_us=1000)
                    call = Call(number, Context(request_id=key()))
                    got = await driver.place(number % 2, wanted, call)
                    assert got.total_cents == total_cents(wanted)
                with pytest.raises(DriverError) as caught:
                    await driver.place(0, order(key(), quantity=0), Call(6))
                assert caught.value.code == "invalid_order"
            await driver.close()
            assert (await stand.stopped(stand.server))["orders_worked"] == 6

    run(case())


def test_it_encrypts(rig: Rig, run: Run, tmp_path: Any) -> None:
    made = make_authority(tmp_path)

    async def case() -> None:
        server = await start_server(rig, FORGETS)
        gateway = await start_gateway(
            rig, server.address, certificate=made.certificate, key=made.key
        )
        assert gateway.address.startswith("https://")
        driver = RestAiohttp()
        await driver.open(gateway.address, 1, ListSink(), Wire(ca=str(made.ca)))
        wanted = order(key())
        assert (await driver.place(0, wanted, Call(0))).total_cents == total_cents(wanted)
        await driver.close()
        stranger = RestAiohttp()
        with pytest.raises(DriverError) as caught:
            await stranger.open(gateway.address, 1, ListSink())
        assert caught.value.failure is Failure.DISCONNECTED
        await stranger.close()
        for process in (gateway.process, server.process):
            assert await rig.stop(process) == 0

    run(case())
