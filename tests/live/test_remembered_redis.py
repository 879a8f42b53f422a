"""P1's answers in a real Redis: remembered for all who share it, whatever ends."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from clients.base import Call, DriverError
from clients.rest_aiohttp import RestAiohttp
from harness.rig.parts import Part, start, variable
from harness.rig.process import Rig
from harness.rig.server import Serving, start_server
from orders.errors import KeyConflict
from orders.model import Confirmation, Order, Status
from patterns import remembered_redis
from patterns.remembered import answered_once
from patterns.remembered_redis import OrderAnswers, RedisAnswers
from protos.context import Context
from protos.problems import Refusal
from tests.live.door import Stands, door_before
from tests.support import LIMIT_S, ListSink, Run, order

CONTENT, OTHER = b"content", b"other content"


def answer(number: int) -> Confirmation:
    """One of several answers."""
    return Confirmation(f"o-{number}", "k", Status.CONFIRMED, 100 * number, number)


def work(
    number: int, may_end: asyncio.Event | None = None
) -> Callable[[], Awaitable[Confirmation]]:
    """Work that comes to an answer, once it may."""

    async def do() -> Confirmation:
        if may_end is not None:
            await may_end.wait()
        return answer(number)

    return do


async def nothing() -> Confirmation:
    """Work that must not be begun."""
    raise AssertionError("the work was done again")


@pytest.fixture(scope="module")
def address(runner: asyncio.Runner, rig: Rig) -> Iterator[str]:
    """Where Redis is."""
    part: Part = runner.run(start("redis", rig, address=os.environ.get(variable("redis"))))
    yield part.address
    runner.run(part.stop())


@asynccontextmanager
async def two(address: str, **times: float) -> AsyncIterator[tuple[RedisAnswers, RedisAnswers]]:
    """What two processes have that share their answers."""
    namespace = f"t-{secrets.token_hex(6)}"
    both = [RedisAnswers(address, namespace, OrderAnswers(), **times) for _ in range(2)]
    try:
        yield both[0], both[1]
    finally:
        for answers in both:
            await answers.close()


def test_one_does_the_work_and_the_other_gets_the_answer(address: str, run: Run) -> None:
    async def case() -> None:
        async with two(address) as (here, there):
            may_end = asyncio.Event()
            first = asyncio.create_task(answered_once(here, "r", CONTENT, work(1, may_end)))
            while "r" not in here._claims:
                await asyncio.sleep(0.001)
            waiting = [
                asyncio.create_task(answered_once(answers, "r", CONTENT, nothing))
                for answers in (here, there) * 3
            ]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in (first, *waiting))
            may_end.set()
            async with asyncio.timeout(LIMIT_S):
                assert await asyncio.gather(first, *waiting) == [answer(1)] * 7
            assert await answered_once(there, "r", CONTENT, nothing) == answer(1)
            assert await answered_once(there, "s", CONTENT, work(2)) == answer(2)
            assert await answered_once(here, "s", CONTENT, nothing) == answer(2)

    run(case())


def test_an_id_belongs_to_its_content(address: str, run: Run) -> None:
    async def case() -> None:
        async with two(address) as (here, there):
            assert await here.claim("r", CONTENT) is None
            for answers in (here, there):
                with pytest.raises(KeyConflict, match="'r'"):  # while the work is under way
                    await answers.claim("r", OTHER)
            await here.keep("r", answer(1))
            for answers in (here, there):
                with pytest.raises(KeyConflict, match="'r'"):
                    await answers.claim("r", OTHER)
                assert await answers.claim("r", CONTENT) == answer(1)

    run(case())


def test_an_id_whose_work_came_to_nothing_is_free(address: str, run: Run) -> None:
    async def failing() -> Confirmation:
        raise ValueError("came to nothing")

    async def case() -> None:
        async with two(address) as (here, there):
            with pytest.raises(ValueError, match="came to nothing"):
                await answered_once(here, "r", CONTENT, failing)
            assert await answered_once(there, "r", OTHER, work(2)) == answer(2)

    run(case())


def test_the_claim_of_who_died_goes_with_its_time(address: str, run: Run) -> None:
    claim_s = 0.3

    async def case() -> None:
        async with two(address, claim_s=claim_s) as (dead, other):
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await dead.claim("r", CONTENT) is None
            await dead.close()
            async with asyncio.timeout(LIMIT_S):
                assert await answered_once(other, "r", CONTENT, work(2)) == answer(2)
            assert loop.time() - began >= claim_s - 0.01  # Redis counts in milliseconds

    run(case())


def test_who_lost_its_claim_changes_nothing(address: str, run: Run) -> None:
    async def case() -> None:
        async with two(address) as (slow, quick):
            slow._claim_ms = 50
            for request_id in ("kept", "released"):
                assert await slow.claim(request_id, CONTENT) is None
                async with asyncio.timeout(LIMIT_S):
                    assert await quick.claim(request_id, CONTENT) is None
            await slow.keep("kept", answer(1))
            await slow.release("released")
            for request_id in ("kept", "released"):
                stands = await slow._redis.get(slow._key(request_id))
                assert stands == quick._claims[request_id]
                await quick.keep(request_id, answer(2))
                assert await slow.claim(request_id, CONTENT) == answer(2)

    run(case())


def test_one_that_works_long_is_not_given_the_work_twice(address: str, run: Run) -> None:
    async def case() -> None:
        async with two(address, claim_s=0.02) as (here, _):
            assert await here.claim("r", CONTENT) is None
            again = asyncio.create_task(here.claim("r", CONTENT))
            while await here._redis.get(here._key("r")) is not None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(2 * remembered_redis.POLLS_S[1])
            assert not again.done()
            await here.keep("r", answer(1))
            async with asyncio.timeout(LIMIT_S):
                assert await again == answer(1)

    run(case())


def test_answers_expire(address: str, run: Run) -> None:
    async def case() -> None:
        async with two(address, expiry_s=0.1) as (here, there):
            await here.claim("r", CONTENT)
            await here.keep("r", answer(1))
            async with asyncio.timeout(LIMIT_S):
                while await there._redis.get(there._key("r")) is not None:
                    await asyncio.sleep(0.01)
            assert await there.claim("r", OTHER) is None

    run(case())


def test_who_leaves_before_it_has_its_claim_leaves_none(address: str, run: Run) -> None:
    async def case() -> None:
        async with two(address) as (here, there):
            await here.check()  # so that there is a connection
            for turns in range(40):
                leaving = asyncio.create_task(here.claim("r", CONTENT))
                for _ in range(turns):
                    await asyncio.sleep(0)
                leaving.cancel()
                await asyncio.wait([leaving])
                if not leaving.cancelled():  # it was quicker
                    await here.release("r")
            while here._undoing:
                await asyncio.sleep(0.01)
            assert here._claims == {}
            async with asyncio.timeout(LIMIT_S):
                assert await there.claim("r", OTHER) is None

    run(case())


@pytest.mark.parametrize(
    ("stands", "code"), [(Stands.SHUT, "internal"), (Stands.STUCK, "overloaded")]
)
def test_without_redis_work_is_refused_and_what_was_done_is_answered(
    address: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stands: Stands,
    code: str,
) -> None:
    if stands is Stands.STUCK:
        monkeypatch.setattr(remembered_redis, "LIMIT_S", 1.0)

    async def case() -> None:
        async with door_before(address) as (door, through), two(through) as (here, there):
            may_end = asyncio.Event()
            under_way = asyncio.create_task(answered_once(here, "r", CONTENT, work(1, may_end)))
            while "r" not in here._claims:
                await asyncio.sleep(0.001)
            door.set(stands)
            for answers in (here, there):
                with pytest.raises(Refusal) as caught:
                    await answered_once(answers, "s", CONTENT, nothing)
                assert caught.value.problem.code == code
            may_end.set()
            assert await under_way == answer(1)
            assert "was not remembered" in caplog.text
            door.set(Stands.OPEN)
            assert await answered_once(there, "t", CONTENT, work(3)) == answer(3)

    run(case())


async def placed(address: str, wanted: Order, request_id: str) -> Any:
    """The answer of a server, by REST."""
    driver = RestAiohttp()
    await driver.open(address, 1, ListSink())
    try:
        async with asyncio.timeout(LIMIT_S):
            return await driver.place(0, wanted, Call(0, Context(request_id=request_id)))
    finally:
        await driver.close()


def test_servers_that_know_each_other_by_redis_alone(address: str, run: Run, rig: Rig) -> None:
    how = Serving("rest", remember="redis", stores={variable("redis"): address})
    name = secrets.token_hex(6)

    async def case() -> None:
        server, other = await start_server(rig, how), await start_server(rig, how)
        wanted = replace(order("k"), work_us=50_000)
        first, meanwhile = await asyncio.gather(
            *(placed(each.address, wanted, name) for each in (server, other))
        )
        assert first == meanwhile
        await rig.kill(server.process)
        again = await start_server(rig, how)
        for each in (again, other):
            assert await placed(each.address, wanted, name) == first
            with pytest.raises(DriverError) as caught:
                await placed(each.address, order("k", price=1), name)
            assert caught.value.code == "key_conflict"
        # Under another request id it is an order that a new process does not know.
        assert (await placed(again.address, wanted, f"{name}-2")).order_id != first.order_id
        for each in (again, other):
            await rig.stop(each.process)

    run(case())
