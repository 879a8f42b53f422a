"""P1: answers are remembered by request id, so that a repeat is answered and not redone."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from orders.errors import KeyConflict

EXPIRY_S = 600.0
T = TypeVar("T")


class Answers(Protocol):
    """Answers by request id, for a time. Contents are told apart by digests of theirs."""

    async def claim(self, request_id: str, content: bytes) -> Any | None:
        """The answer that is remembered; None gives the caller the work, to `keep` or `release`.

        Waits while another has the work. Raises KeyConflict when the id belongs to other content.
        """

    async def keep(self, request_id: str, answer: Any) -> None:
        """The work is done: remember its answer, and tell all who wait."""

    async def release(self, request_id: str) -> None:
        """The work came to nothing: the next who asks may try."""


class MemoryAnswers:
    """Answers that live as long as their process, and `expiry_s` seconds at most."""

    def __init__(
        self, expiry_s: float = EXPIRY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._expiry_s = expiry_s
        self._clock = clock
        # In the order of their expiry, since all live equally long.
        self._kept: dict[str, tuple[float, bytes, Any]] = {}
        self._under_way: dict[str, tuple[bytes, asyncio.Future[None]]] = {}

    async def claim(self, request_id: str, content: bytes) -> Any | None:
        """See Answers.claim."""
        while True:
            self._expire()
            kept = self._kept.get(request_id)
            if kept is not None:
                require_same(request_id, kept[1], content)
                return kept[2]
            waiting = self._under_way.get(request_id)
            if waiting is None:
                future = asyncio.get_running_loop().create_future()
                self._under_way[request_id] = (content, future)
                return None
            require_same(request_id, waiting[0], content)
            await asyncio.wait([waiting[1]])

    async def keep(self, request_id: str, answer: Any) -> None:
        """See Answers.keep."""
        content, future = self._under_way.pop(request_id)
        self._kept[request_id] = (self._clock() + self._expiry_s, content, answer)
        future.set_result(None)

    async def release(self, request_id: str) -> None:
        """See Answers.release."""
        _, future = self._under_way.pop(request_id)
        future.set_result(None)

    def __len__(self) -> int:
        self._expire()
        return len(self._kept)

    def _expire(self) -> None:
        now = self._clock()
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest][0] > now:
                return
            del self._kept[oldest]


async def answered_once(
    answers: Answers, request_id: str, content: bytes, work: Callable[[], Awaitable[T]]
) -> T:
    """The answer remembered for a request id, or that of `work`, which is then remembered.

    The work goes on when who asked has left. What it raises is told to who asked, and forgotten.
    Raises KeyConflict when the id belongs to other content.
    """
    known: T | None = await answers.claim(request_id, content)
    if known is not None:
        return known

    async def do() -> T:
        try:
            answer = await work()
        except BaseException:
            await answers.release(request_id)
            raise
        await answers.keep(request_id, answer)
        return answer

    working = asyncio.create_task(do())
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        working.add_done_callback(_looked_at)
        raise


def _looked_at(task: asyncio.Task[Any]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()


def require_same(request_id: str, known: bytes, content: bytes) -> None:
    """Raise KeyConflict unless a request's content is what is known under its id."""
    if known != content:
        raise KeyConflict(f"request id {request_id!r} belongs to a different request")
