"""P1's gateway against a service of the test's own: what is bounded, and what is passed on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from aiohttp import web

from patterns.remembered import MemoryAnswers
from protos.http import REQUEST_ID, TRACEPARENT
from servers import gateway
from servers.base import Bind
from servers.gateway import REPLAYED, Gateway, Upstream
from tests.support import LIMIT_S, Run, until

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """Answers as it is told to, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        assert isinstance(request, web.BaseRequest)
        self.bodies.append(await request.read())
        self.asked.append(request)  # type: ignore[arg-type]
        return await self._answer(request)  # type: ignore[arg-type]


class Stand(AsyncExitStack):
    """A service, and a client of the gateway before it."""

    def __init__(self, answer: Answer, expiry_s: float = 600.0) -> None:
        super().__init__()
        self.service = Service(answer)
        self.answers = MemoryAnswers(expiry_s)
        self.client: httpx.AsyncClient

    async def __aenter__(self) -> "Stand":
        runner = web.ServerRunner(web.Server(self.service.handle), shutdown_timeout=0.1)
        await runner.setup()
        self.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream = Upstream(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        self.push_async_callback(upstream.close)
        self.gateway = Gateway(upstream, self.answers)
        app = gateway.app(self.gateway, Bind())
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://client.view", timeout=LIMIT_S
        )
        await self.enter_async_context(self.client)
        return self

    async def post(self, request_id: str = "", body: bytes = b"{}", **headers: str) -> Any:
        """POST something."""
        named = {REQUEST_ID: request_id} if request_id else {}
        return await self.client.post("/orders", content=body, headers={**named, **headers})


async def created(request: web.Request) -> web.Response:
    """An answer that is remembered."""
    return web.Response(status=201, text=f"made by {request.method}")


def code_of(answer: Any) -> tuple[int, str]:
    """The status of an answer that is a problem, and its code."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_headers_go_through_and_those_of_a_connection_do_not(run: Run) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"X-Kept": "yes", "Keep-Alive": "timeout=5", "Retry-After": "3"}
        return web.Response(status=202, body=b"\0\xff", headers=headers)

    async def case() -> None:
        async with Stand(answer) as stand:
            got = await stand.post(
                "r-1",
                b"\1\2",
                **{
                    TRACEPARENT: "00-1",
                    "X-Callback": "c-1",
                    "Content-Type": "application/x-protobuf",
                    "X-Forwarded-For": "10.1.2.3",
                    "TE": "trailers",
                    "X-Of-Connection": "1",
                    "Connection": "X-Of-Connection",
                },
            )
            assert (got.status_code, got.content) == (202, b"\0\xff")
            assert (got.headers["x-kept"], got.headers["retry-after"]) == ("yes", "3")
            assert "keep-alive" not in got.headers
            (asked,) = stand.service.asked
            assert stand.service.bodies == [b"\1\2"]
            assert asked.headers[REQUEST_ID] == "r-1"
            assert asked.headers[TRACEPARENT] == "00-1"
            assert asked.headers["X-Callback"] == "c-1"
            assert asked.headers["Content-Type"] == "application/x-protobuf"
            assert asked.headers["Host"] == "client.view"
            assert "orderbench" in asked.headers["Via"]
            assert asked.headers.getall("X-Forwarded-For") == ["127.0.0.1"]
            assert not {"TE", "X-Of-Connection"} & set(asked.headers)

    run(case())


def test_paths_are_not_rewritten(run: Run) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.raw_path)

    async def case() -> None:
        async with Stand(answer) as stand:
            for target in ("/", "/orders/a%2Fb?after=%20&x=", "//elsewhere/", "/%E2%82%AC"):
                got = await stand.client.get(httpx.URL("http://client.view" + target))
                assert got.text == target

    run(case())


def test_failures_of_the_service_are_not_remembered(run: Run) -> None:
    statuses = [500, 503, 404]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=statuses.pop(0), text="as it is")

    async def case() -> None:
        async with Stand(answer) as stand:
            said = [await stand.post("r-1") for _ in range(4)]
            assert [a.status_code for a in said] == [500, 503, 404, 404]
            assert [REPLAYED in a.headers for a in said] == [False, False, False, True]
            assert {a.text for a in said} == {"as it is"}
            assert (stand.gateway.forwarded, stand.gateway.replayed) == (3, 1)

    run(case())


def test_one_of_those_who_wait_tries_after_a_failure(run: Run) -> None:
    statuses = [500, 201]
    going = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await going.wait()
        return web.Response(status=statuses.pop(0))

    async def case() -> None:
        async with Stand(answer) as stand:
            asking = [asyncio.create_task(stand.post("r-1")) for _ in range(4)]
            await until("one is passed on", lambda: len(stand.service.asked) == 1)
            going.set()
            said = await asyncio.gather(*asking)
            assert sorted(a.status_code for a in said) == [201, 201, 201, 500]
            assert sum(REPLAYED in a.headers for a in said) == 2
            assert len(stand.service.asked) == 2

    run(case())


def test_what_is_expired_is_passed_on_again(run: Run) -> None:
    async def case() -> None:
        async with Stand(created, expiry_s=0.0) as stand:
            for _ in range(2):
                assert REPLAYED not in (await stand.post("r-1")).headers
            assert len(stand.service.asked) == 2

    run(case())


def test_more_than_is_bearable_is_overloaded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "CONNECTIONS_LIMIT", 2)
    monkeypatch.setattr(gateway, "REMEMBERED_LIMIT", 3)
    going = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await going.wait()
        return web.Response(status=201)

    async def case() -> None:
        async with Stand(answer) as stand:
            asking = [asyncio.create_task(stand.post(f"r-{n}")) for n in range(2)]
            await until("two are under way", lambda: len(stand.service.asked) == 2)
            for request_id in ("", "r-2"):
                assert code_of(await stand.post(request_id)) == (503, "overloaded")
            going.set()
            assert {a.status_code for a in await asyncio.gather(*asking)} == {201}
            assert (await stand.post("r-2")).status_code == 201
            assert code_of(await stand.post("r-3")) == (503, "overloaded")
            # What is remembered is told all the same, and what needs no memory passed on.
            assert (await stand.post("r-2")).headers[REPLAYED] == "true"
            assert (await stand.post()).status_code == 201

    run(case())


def test_no_answer_in_time_is_overloaded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "ANSWER_LIMIT_S", 0.05)

    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def case() -> None:
        async with Stand(answer) as stand:
            assert code_of(await stand.post("r-1")) == (503, "overloaded")
            assert len(stand.answers) == 0

    run(case())


def test_an_answer_that_is_too_long_is_broken_off(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "MAX_FRAME_BYTES", 1000)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1 + len(await request.read()) // 100):
            await response.write(bytes(500))
        return response

    async def case() -> None:
        async with Stand(answer) as stand:
            assert len((await stand.post("r-1", bytes(100))).content) == 1000
            assert code_of(await stand.post("r-2", bytes(200))) == (500, "internal")

    run(case())
