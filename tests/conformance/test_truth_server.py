"""The truth server (issue 6.8): over every style, a queue's answers leave no sooner than its
arithmetic has them leave, in the order of arrival, each once."""

import asyncio
import time

import pytest

from clients import catalog
from clients.base import Call, DriverError
from harness.rig.process import Rig, RigError
from harness.rig.server import Serving, start_server
from orders.pricing import total_cents
from tests.conformance.test_places import key, opened
from tests.support import LIMIT_S, Run, Serve, order

MS = 1_000_000
STYLES = ["rest", "grpc-unary", "grpc-stream", "websocket", "zeromq"]
"""Those that answer as soon as the work is done."""


async def at_once(style: str, target: str, count: int, work_us: int) -> tuple[int, list[int]]:
    """Place orders at one instant; returns that instant, and when each was done, in their order."""
    async with opened(catalog.find(style), target, lanes=count) as driver:
        prefix = key()
        orders = [order(f"{prefix}-{n}") for n in range(count)]
        for each in orders:
            each.work_us = work_us
        began = time.monotonic_ns()
        async with asyncio.timeout(LIMIT_S):
            answers = await asyncio.gather(
                *(driver.place(n, each, Call(n)) for n, each in enumerate(orders))
            )
        assert [a.idempotency_key for a in answers] == [o.idempotency_key for o in orders]
        assert [a.total_cents for a in answers] == [total_cents(o) for o in orders]
        return began, [answer.processed_ns for answer in answers]


@pytest.mark.parametrize("style", STYLES)
def test_one_worker_does_one_order_after_the_other(style: str, serve: Serve, run: Run) -> None:
    server = serve(style, queue=1)
    began, done = run(at_once(style, server.address, 8, 5_000))
    for place, instant in enumerate(sorted(done), 1):
        assert instant - began >= place * 5 * MS


@pytest.mark.parametrize("style", STYLES)
def test_two_workers_do_two(style: str, serve: Serve, run: Run) -> None:
    server = serve(style, queue=2)
    began, done = run(at_once(style, server.address, 8, 5_000))
    for place, instant in enumerate(sorted(done), 1):
        assert instant - began >= -(-place // 2) * 5 * MS


@pytest.mark.parametrize(("late", "added_ms"), [("20ms", 20), ("500%", 25)])
def test_what_is_added_on_purpose_is_there(
    late: str, added_ms: int, serve: Serve, run: Run
) -> None:
    server = serve("websocket", queue=1, late=late)
    # Of two orders, one is on time.
    began, done = run(at_once("websocket", server.address, 2, 5_000))
    assert max(done) - began >= (5 + added_ms) * MS


def test_a_lateness_that_cannot_be_read_ends_the_server(rig: Rig, run: Run) -> None:
    with pytest.raises(RigError, match="ended with code 2 before it was ready"):
        run(start_server(rig, Serving("rest", queue=1, late="soon")))


@pytest.mark.parametrize("style", STYLES)
def test_a_queue_refuses_what_the_service_refuses(style: str, serve: Serve, run: Run) -> None:
    server = serve(style, queue=1)

    async def case() -> None:
        async with opened(catalog.find(style), server.address) as driver:
            with pytest.raises(DriverError, match="quantity"):
                await driver.place(0, order(key(), quantity=0), Call(0))

    run(case())
