"""`python -m servers.gateway --upstream URL`: P1's HTTP gateway, in front of a service.

It passes requests on and answers back, each as a whole: there is no way for an answer without an
end. A POST with an X-Request-ID is passed on once: a repeat, be it while the first is under way,
gets the answer that is remembered, with `Idempotent-Replayed: true`, and the same id with a
different path or body is a conflict. What a repeat accepts is taken to be what the first accepted.
Answers from 500 on are not remembered, so that the next repeat may try again.

A service that cannot be reached or breaks off is `internal` here and not `overloaded`: that word is
for a service that says it itself, and for what comes while CONNECTIONS_LIMIT requests wait for it,
is not answered within ANSWER_LIMIT_S, or finds REMEMBERED_LIMIT answers remembered.

It ends when its standard input does, and says the JSON lines that servers say.
"""

import argparse
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from fastapi import FastAPI, Request, Response
from multidict import CIMultiDict
from yarl import URL

from patterns.remembered import MemoryAnswers, answered_once
from protos.frames import MAX_FRAME_BYTES
from protos.http import EVENT_STREAM, PROBLEM_JSON, REQUEST_ID
from protos.problems import Problem, Refusal, to_http
from servers.base import Bind
from servers.http import KEEP_ALIVE_S, Web, body_of, listen
from servers.lines import GcPauses, add_bind, bind_of, end_wanted, run, say, say_ready

REPLAYED = "Idempotent-Replayed"
FORWARDED_FOR = "x-forwarded-for"
CONNECTIONS_LIMIT = 4096
ANSWER_LIMIT_S = 60.0
CONNECT_LIMIT_S = 5.0
REMEMBERED_LIMIT = 2**20
REQUEST_ID_LIMIT = 200
"""Characters."""
LARGE_BODY_BYTES = 2**20
"""Beyond it aiohttp asks for a file, which it writes piece by piece."""

METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""RFC 9110, section 7.6.1."""
_NOT_PASSED_ON = {*_HOP_BY_HOP, "content-length", "content-encoding", "expect", FORWARDED_FOR}
"""The body is passed on unpacked: packed, a repeat's could differ. The client's Host is passed on,
so that what the service says of itself leads here."""
_NOT_PASSED_BACK = {*_HOP_BY_HOP, "content-length", "date", "server"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unkept(Exception):
    """Carries an answer that is not to be remembered."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def own(code: str, detail: str) -> Answer:
    """The gateway's own word, as a problem (RFC 9457)."""
    status, body = to_http(Problem(code, detail))
    return Answer(status, {"content-type": PROBLEM_JSON}, body)


class Upstream:
    """The service behind, over connections that are kept."""

    def __init__(self, url: str) -> None:
        self._base = url.rstrip("/")
        self._under_way = 0
        self._session = aiohttp.ClientSession(
            # No more than CONNECTIONS_LIMIT are ever asked of it, so none waits in it. A connection
            # is given up before the service does, which would meet a request on its way.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=0.8 * KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S, sock_connect=CONNECT_LIMIT_S),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def ask(self, request: Request, body: bytes) -> Answer:
        """The service's answer to a request, or the gateway's own where there is none."""
        if self._under_way >= CONNECTIONS_LIMIT:
            return own("overloaded", f"{CONNECTIONS_LIMIT} requests are under way")
        self._under_way += 1
        try:
            return await self._exchange(request, body)
        except TimeoutError:
            return own("overloaded", f"the service did not answer within {ANSWER_LIMIT_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return own("internal", f"the service cannot be reached: {type(error).__name__}")
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Give all connections back."""
        await self._session.close()

    async def _exchange(self, request: Request, body: bytes) -> Answer:
        async with self._session.request(
            request.method,
            URL(self._base + _target(request), encoded=True),
            data=io.BytesIO(body) if len(body) > LARGE_BODY_BYTES else body or None,
            headers=_passed_on(request),
            allow_redirects=False,
        ) as response:
            if response.content_type == EVENT_STREAM:
                return own("not_allowed", "the gateway passes on no answer that has no end")
            chunks = []
            length = 0
            async for chunk in response.content.iter_any():
                length += len(chunk)
                if length > MAX_FRAME_BYTES:
                    return own("internal", f"the answer has more than {MAX_FRAME_BYTES} bytes")
                chunks.append(chunk)
            headers = {
                name.lower(): value
                for name, value in response.headers.items()
                if name.lower() not in _NOT_PASSED_BACK
            }
            return Answer(response.status, headers, b"".join(chunks))


class Gateway:
    """Passes on, and remembers."""

    def __init__(self, upstream: Upstream, answers: MemoryAnswers) -> None:
        self._upstream = upstream
        self._answers = answers
        self.forwarded = 0
        """Requests that were passed on."""
        self.replayed = 0
        """Repeats that were answered from memory."""

    async def handle(self, request: Request) -> Response:
        """Answer a request. Raises Refusal or KeyConflict."""
        body = await body_of(request)
        request_id = request.headers.get(REQUEST_ID, "")
        if len(request_id) > REQUEST_ID_LIMIT:
            raise Refusal("malformed", f"{REQUEST_ID} has at most {REQUEST_ID_LIMIT} characters")
        if request.method == "POST" and request_id:
            answer, replayed = await self._once(request_id, request, body)
        else:
            answer, replayed = await self._pass_on(request, body), False
        headers = {**answer.headers, REPLAYED: "true"} if replayed else answer.headers
        return Response(answer.body, answer.status, headers)

    async def _pass_on(self, request: Request, body: bytes) -> Answer:
        self.forwarded += 1
        return await self._upstream.ask(request, body)

    async def _once(self, request_id: str, request: Request, body: bytes) -> tuple[Answer, bool]:
        """An answer, and whether it was remembered. Raises KeyConflict."""
        first = False

        async def work() -> Answer:
            nonlocal first
            first = True
            if len(self._answers) >= REMEMBERED_LIMIT:
                raise Unkept(own("overloaded", f"{REMEMBERED_LIMIT} answers are remembered"))
            answer = await self._pass_on(request, body)
            if answer.status >= 500:
                raise Unkept(answer)
            return answer

        content = hashlib.blake2b(_target(request).encode() + b"\n" + body, digest_size=16).digest()
        try:
            answer = await answered_once(self._answers, request_id, content, work)
        except Unkept as unkept:
            return unkept.answer, False
        self.replayed += not first
        return answer, not first


def _target(request: Request) -> str:
    """Path and query as they came."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _passed_on(request: Request) -> CIMultiDict[str]:
    named = {word.strip() for word in request.headers.get("connection", "").lower().split(",")}
    left_out = _NOT_PASSED_ON | named
    headers = CIMultiDict(
        (name, value) for name, value in request.headers.items() if name not in left_out
    )
    headers.add("via", "1.1 orderbench")
    if request.client is not None:
        headers.add(FORWARDED_FOR, request.client.host)
    return headers


def app(gateway: Gateway, bind: Bind) -> FastAPI:
    """The web application over a gateway."""
    web = Web(bind)
    for method in METHODS:
        web.route(method, "/{path:path}", gateway.handle)
    return web.app


async def serve(upstream_url: str, bind: Bind) -> None:
    """Run the gateway until standard input ends, SIGTERM or SIGINT."""
    pauses = GcPauses()
    upstream = Upstream(upstream_url)
    gateway = Gateway(upstream, MemoryAnswers())
    listening = await listen(app(gateway, bind), bind)
    ended = end_wanted()
    say_ready(address=listening.address)
    await ended.wait()
    await listening.stop()
    await upstream.close()
    say("stopped", forwarded=gateway.forwarded, replayed=gateway.replayed, **pauses.fields)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m servers.gateway")
    parser.add_argument("--upstream", metavar="URL", required=True)
    add_bind(parser)
    options = parser.parse_args()
    run(serve(options.upstream, bind_of(options)))


if __name__ == "__main__":
    main()
