"""S5 `rest-poll`: POST /orders is answered with a receipt, and GET /orders/{id} says where the
order stands. GET /changes?after=N tells who watches what was confirmed since.

`Prefer: wait=N` (RFC 7240, section 4.3) holds either answer back until there is something to tell.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

from orders.model import Update
from orders.service import OrderService
from protos.http import CHANGES_PATH, ORDERS_PATH
from servers.base import Bind, Desk, Listening
from servers.http import Web, codec_wanted, context_of, listen, order_in
from servers.mailbox import Numbered

LONGEST_WAIT_S = 30
HELD_LIMIT = 10_000
"""Answers that are held back at a time; a preference is one that a server need not follow."""
CHANGE_LIMIT = 10_000
CHANGE_BYTES = 64 * 2**20
ANSWER_BYTES = 4 * 2**20
"""Documents in one answer about changes, after the first: it stays below MAX_FRAME_BYTES."""
UPDATE_BYTES = 400
"""What an update counts for, beside its document."""

_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*(?:([0-9]{1,9})|"([0-9]{1,9})")\s*(?=[,;]|$)', re.I)


def order_path(order_id: str) -> str:
    """Where the state of an order is found."""
    return f"{ORDERS_PATH}/{order_id}"


def wait_preferred(request: Request) -> int | None:
    """How many seconds the client would wait for its answer, as many as the server allows; None if
    it does not say."""
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(int(found[1] or found[2]), LONGEST_WAIT_S) if found is not None else None


class Held:
    """The answers that are held back."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._released = False

    async def hold(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Hold an answer back for as long as `wait` takes; false if it shall go out before."""
        task = asyncio.current_task()
        assert task is not None
        if self._released or len(self._tasks) >= HELD_LIMIT:
            return False
        self._tasks.add(task)
        try:
            await wait()
        except asyncio.CancelledError:
            if not self._released:
                raise
            task.uncancel()
            return False
        finally:
            self._tasks.discard(task)
        return True

    def release(self) -> None:
        """Let all go out as things stand, and hold none any more."""
        self._released = True
        for task in list(self._tasks):
            task.cancel()


class Changes:
    """The latest orders that were confirmed, numbered, from when somebody first asks for them."""

    def __init__(self, service: OrderService) -> None:
        self._service = service
        self._kept: Numbered[Update] = Numbered(CHANGE_LIMIT, CHANGE_BYTES)
        self._keeps = False
        self._grown: asyncio.Future[None] | None = None

    def position(self, after: str | None) -> int:
        """The number to go on from: the last one without `after`. Raises Refusal."""
        if not self._keeps:
            self._service.watchers.append(self._keep)
            self._keeps = True
        return self._kept.last if after is None else self._kept.resumed(after)

    async def beyond(self, position: int, limit_s: float) -> None:
        """Wait for a change after `position`, for `limit_s` seconds at most."""
        if self._kept.last > position:
            return
        if self._grown is None:
            self._grown = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._grown], timeout=limit_s)

    def since(self, position: int) -> tuple[int, list[Update]]:
        """Changes after `position`, and the number of the last of them. Raises Refusal if they are
        no longer kept."""
        self._kept.resumed(str(position))
        updates: list[Update] = []
        documents = 0
        for size, update in self._kept.after(position, CHANGE_LIMIT):
            documents += size - UPDATE_BYTES
            if updates and documents > ANSWER_BYTES:
                break
            updates.append(update)
        return position + len(updates), updates

    def _keep(self, update: Update) -> None:
        self._kept.add(update, UPDATE_BYTES + len(update.attachment))
        if self._grown is not None:
            self._grown.set_result(None)
            self._grown = None


def add_states(web: Web, service: OrderService, held: Held) -> None:
    """Let GET on an order's path say where it stands."""

    async def state(request: Request) -> Response:
        order_id = request.path_params["order_id"]
        wait_s = wait_preferred(request)
        waited = wait_s is not None and await held.hold(lambda: service.settled(order_id, wait_s))
        codec = codec_wanted(request)
        body = codec.encode_update(service.state(order_id))
        return web.reply(request, 200, body, codec.media_type, _headers(waited, wait_s))

    web.route("GET", order_path("{order_id}"), state)


def app(desk: Desk, bind: Bind, held: Held) -> FastAPI:
    """The web application over the order service."""
    web = Web(bind)
    changes = Changes(desk.service)

    async def place(request: Request) -> Response:
        order, codec = await order_in(request)
        receipt = await desk.accept(order, context_of(request))
        body = codec.encode_update(receipt)
        if receipt.final:
            # A repeat of an order that is done: nothing is pending.
            return web.reply(request, 200, body, codec.media_type)
        headers = {
            "location": order_path(receipt.order_id),
            "retry-after": str(max(1, math.ceil(desk.service.length_s(order)))),
        }
        return web.reply(request, 202, body, codec.media_type, headers)

    async def changed(request: Request) -> Response:
        after = request.query_params.get("after")
        wait_s = wait_preferred(request)
        position = changes.position(after)
        waited = (
            wait_s is not None
            and after is not None
            and await held.hold(lambda: changes.beyond(position, wait_s))
        )
        codec = codec_wanted(request)
        body = codec.encode_changes(*changes.since(position))
        return web.reply(request, 200, body, codec.media_type, _headers(waited, wait_s))

    web.route("POST", ORDERS_PATH, place)
    web.route("GET", CHANGES_PATH, changed)
    add_states(web, desk.service, held)
    return web.app


def _headers(waited: bool, wait_s: int | None) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if waited:
        headers["preference-applied"] = f"wait={wait_s}"
    return headers


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    held = Held()
    listening = await listen(app(desk, bind, held), bind)

    async def stop() -> None:
        held.release()
        await listening.stop()

    return Listening(listening.address, stop)
