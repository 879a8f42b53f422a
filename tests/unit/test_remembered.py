"""P1: what is remembered of a request id, for how long, and for whom."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orders.errors import KeyConflict
from orders.model import Confirmation, Status, Update
from patterns.remembered import EXPIRY_S, MemoryAnswers, answered_once
from patterns.remembered_redis import OrderAnswers
from tests.support import Run

CONTENT, OTHER = b"content", b"other content"


class Clock:
    """Stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Now, in seconds."""
        return self.now_s


class Work:
    """Counts how often it is begun, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> str:
        """Its answer tells how many times it was begun before."""
        self.begun += 1
        answer = f"answer {self.begun}"
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return answer


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def at_once(answer: str) -> Callable[[], Awaitable[str]]:
    """Work that is done at once."""

    async def work() -> str:
        return answer

    return work


def test_a_first_claim_gives_the_work_and_a_later_one_the_answer(run: Run) -> None:
    async def case() -> None:
        answers = MemoryAnswers()
        assert await answers.claim("r", CONTENT) is None
        await answers.keep("r", "done")
        assert await answers.claim("r", CONTENT) == "done"
        assert await answers.claim("s", CONTENT) is None
        assert len(answers) == 1

    run(case())


def test_answers_expire_from_when_they_were_kept(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        answers = MemoryAnswers(10.0, clock)
        await answers.claim("slow", CONTENT)
        clock.now_s = 50.0
        await answers.keep("slow", "kept at 50")
        clock.now_s = 55.0
        await answers.claim("quick", CONTENT)
        await answers.keep("quick", "kept at 55")
        clock.now_s = 59.9
        # An answer that is asked for does not live longer.
        assert await answers.claim("slow", CONTENT) == "kept at 50"
        assert len(answers) == 2
        clock.now_s = 60.0
        assert len(answers) == 1
        assert await answers.claim("quick", CONTENT) == "kept at 55"
        assert await answers.claim("slow", OTHER) is None
        await answers.keep("slow", "again")
        clock.now_s = 69.9
        assert await answers.claim("slow", OTHER) == "again"
        assert len(answers) == 1
        clock.now_s = 70.0
        assert len(answers) == 0

    run(case())


def test_they_live_as_long_as_is_said(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        answers = MemoryAnswers(clock=clock)
        assert await answered_once(answers, "r", CONTENT, at_once("first")) == "first"
        clock.now_s = EXPIRY_S - 1
        assert await answered_once(answers, "r", CONTENT, at_once("second")) == "first"
        clock.now_s = EXPIRY_S
        assert await answered_once(answers, "r", CONTENT, at_once("second")) == "second"

    run(case())


def test_an_id_belongs_to_its_content(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        answers = MemoryAnswers(10.0, clock)
        await answers.claim("r", CONTENT)
        with pytest.raises(KeyConflict, match="'r'"):  # while the work is under way
            await answers.claim("r", OTHER)
        await answers.keep("r", "done")
        with pytest.raises(KeyConflict, match="'r'"):
            await answers.claim("r", OTHER)
        assert await answers.claim("r", CONTENT) == "done"
        clock.now_s = 10.0
        assert await answers.claim("r", OTHER) is None

    run(case())


def test_an_id_whose_work_came_to_nothing_is_free(run: Run) -> None:
    async def case() -> None:
        answers = MemoryAnswers()
        await answers.claim("r", CONTENT)
        await answers.release("r")
        assert len(answers) == 0
        assert await answers.claim("r", OTHER) is None

    run(case())


def test_all_who_come_meanwhile_get_the_one_answer(run: Run) -> None:
    async def case() -> None:
        answers, work = MemoryAnswers(), Work()
        asking = [asyncio.create_task(answered_once(answers, "r", CONTENT, work)) for _ in range(8)]
        other = asyncio.create_task(answered_once(answers, "s", CONTENT, at_once("other")))
        await settled()
        assert work.begun == 1
        assert not any(task.done() for task in asking)
        assert other.result() == "other"
        work.may_end.set()
        assert await asyncio.gather(*asking) == ["answer 1"] * 8
        assert work.begun == 1

    run(case())


def test_what_an_expiry_takes_away_while_one_waits_is_asked_for_again(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        answers = MemoryAnswers(0.0, clock)
        await answers.claim("r", CONTENT)
        waiting = asyncio.create_task(answers.claim("r", CONTENT))
        await settled()
        await answers.keep("r", "expires at once")
        assert await waiting is None

    run(case())


def test_after_a_failure_one_of_those_who_wait_tries(run: Run) -> None:
    async def case() -> None:
        answers, failing, working = MemoryAnswers(), Work(), Work()
        failing.error = ValueError("came to nothing")
        first = asyncio.create_task(answered_once(answers, "r", CONTENT, failing))
        await settled()
        waiting = [
            asyncio.create_task(answered_once(answers, "r", CONTENT, working)) for _ in range(3)
        ]
        await settled()
        assert working.begun == 0
        failing.may_end.set()
        with pytest.raises(ValueError, match="came to nothing"):
            await first
        await settled()
        assert working.begun == 1
        working.may_end.set()
        assert await asyncio.gather(*waiting) == ["answer 1"] * 3
        assert await answered_once(answers, "r", CONTENT, failing) == "answer 1"
        assert (failing.begun, working.begun) == (1, 1)

    run(case())


def test_work_goes_on_when_who_asked_has_left(run: Run) -> None:
    async def case() -> None:
        answers, work = MemoryAnswers(), Work()
        first = asyncio.create_task(answered_once(answers, "r", CONTENT, work))
        await settled()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        again = asyncio.create_task(answered_once(answers, "r", CONTENT, work))
        await settled()
        assert not again.done()
        work.may_end.set()
        assert await again == "answer 1"
        assert work.begun == 1

    run(case())


def test_who_waits_can_leave_without_harm(run: Run) -> None:
    async def case() -> None:
        answers, work = MemoryAnswers(), Work()
        first, second = (
            asyncio.create_task(answered_once(answers, "r", CONTENT, work)) for _ in range(2)
        )
        await settled()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        work.may_end.set()
        assert await first == "answer 1"
        assert await answers.claim("r", CONTENT) == "answer 1"

    run(case())


def test_a_failure_that_nobody_waits_for_frees_the_id_all_the_same(run: Run) -> None:
    async def case() -> None:
        answers, work = MemoryAnswers(), Work()
        work.error = ValueError("came to nothing")
        first = asyncio.create_task(answered_once(answers, "r", CONTENT, work))
        await settled()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        work.may_end.set()
        await settled()
        assert await answers.claim("r", OTHER) is None

    run(case())


@pytest.mark.parametrize(
    "answer",
    [
        Confirmation("o-1", "k", Status.CONFIRMED, 500, 2**62),
        Update("o-1", "k", Status.RECEIVED, 0, 7),
        Update("o-1", "k", Status.CONFIRMED, 100, 7, 500),
    ],
)
def test_answers_are_written_and_read(answer: Confirmation | Update) -> None:
    codec = OrderAnswers()
    assert codec.decode(codec.encode(answer)) == answer
