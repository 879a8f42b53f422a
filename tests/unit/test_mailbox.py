"""What a server keeps for who comes back: exactly the latest, within bounds."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.problems import Refusal
from servers import mailbox
from servers.mailbox import Mailboxes, Numbered, Reader
from tests.support import LIMIT_S, Run, until


def nobody() -> None:
    """Cuts off nobody."""


def numbered(number: int) -> bytes:
    """An event that is its number."""
    return b"%d\n" % number


def refused(call: Callable[[], object]) -> str:
    """The code of the problem that a call must end in."""
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.problem.code


async def taken(reader: Reader, count: int) -> list[int]:
    """The next events of a reader."""
    found: list[int] = []
    async with asyncio.timeout(LIMIT_S):
        while len(found) < count:
            found += map(int, (await reader.next()).splitlines())
    return found


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 20), st.integers(1, 100))
def test_the_latest_are_kept(sizes: list[int], limit: int, byte_limit: int) -> None:
    kept: Numbered[int] = Numbered(limit, byte_limit)
    for number, size in enumerate(sizes, 1):
        kept.add(number, size)
        assert kept.last == number
        assert len(kept) <= limit
        assert kept.bytes <= byte_limit
        assert kept.bytes == sum(sizes[kept.first - 1 : number])
    for number in range(kept.first - 1, kept.last + 1):
        assert kept.resumed(str(number)) == number
        assert [value for _, value in kept.after(number, 5)] == list(
            range(number + 1, min(number + 6, kept.last + 1))
        )
    # No more is forgotten than must be.
    if kept.first > 1:
        assert len(kept) == limit or kept.bytes + sizes[kept.first - 2] > byte_limit


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", " 1", "+1", "٣", "9" * 19, "9" * 5000])
def test_what_is_no_number_of_an_event(text: str) -> None:
    kept: Numbered[int] = Numbered(10, 10)
    assert refused(lambda: kept.resumed(text)) == "bad_event_id"


def test_what_is_not_there_yet_or_no_longer() -> None:
    kept: Numbered[int] = Numbered(3, 100)
    assert kept.resumed("0") == 0
    assert refused(lambda: kept.resumed("1")) == "bad_event_id"
    for number in range(1, 6):
        kept.add(number, 1)
    assert kept.resumed("2") == 2
    assert refused(lambda: kept.resumed("1")) == "bad_event_id"
    assert refused(lambda: kept.resumed("6")) == "bad_event_id"


def test_a_reader_resumes_where_it_was(run: Run) -> None:
    async def case() -> None:
        boxes = Mailboxes()
        reader = boxes.listen("s", None, nobody)
        box = boxes.find("s")
        for _ in range(5):
            boxes.put(box, numbered)
        assert await taken(reader, 5) == [1, 2, 3, 4, 5]
        boxes.leave(reader)
        for _ in range(5):
            boxes.put(box, numbered)
        assert await taken(boxes.listen("s", "3", nobody), 7) == list(range(4, 11))
        assert await taken(boxes.listen("s", None, nobody), 10) == list(range(1, 11))
        boxes.close()

    run(case())


def test_a_reader_waits_for_the_next(run: Run) -> None:
    async def case() -> None:
        boxes = Mailboxes()
        reader = boxes.listen("s", None, nobody)
        waiting = asyncio.create_task(reader.next())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        boxes.put(boxes.find("s"), numbered)
        assert await waiting == b"1\n"
        boxes.close()

    run(case())


def test_a_reader_is_handed_a_bounded_piece(run: Run) -> None:
    async def case() -> None:
        boxes = Mailboxes()
        reader = boxes.listen("s", None, nobody)
        count = 3 * mailbox.AT_A_TIME // 2
        for _ in range(count):
            boxes.put(boxes.find("s"), numbered)
        assert len((await reader.next()).splitlines()) == mailbox.AT_A_TIME
        assert (await taken(reader, 1))[-1] == count
        boxes.close()

    run(case())


def test_the_latest_who_listens_is_told(run: Run) -> None:
    async def case() -> None:
        boxes = Mailboxes()
        cut: list[str] = []
        first = boxes.listen("s", None, lambda: cut.append("first"))
        second = boxes.listen("s", "0", lambda: cut.append("second"))
        assert cut == ["first"]
        boxes.leave(first)
        boxes.put(boxes.find("s"), numbered)
        assert await taken(second, 1) == [1]
        boxes.close()

    run(case())


def test_who_does_not_take_what_is_no_longer_kept_is_cut_off(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "EVENT_LIMIT", 10)

    async def case() -> None:
        boxes = Mailboxes()
        cut: list[int] = []
        reader = boxes.listen("s", None, lambda: cut.append(1))
        for _ in range(10):
            boxes.put(boxes.find("s"), numbered)
        assert not cut
        boxes.put(boxes.find("s"), numbered)
        assert cut == [1]
        boxes.leave(reader)
        assert refused(lambda: boxes.listen("s", "0", nobody)) == "bad_event_id"
        assert refused(lambda: boxes.listen("s", None, nobody)) == "bad_event_id"
        assert await taken(boxes.listen("s", "1", nobody), 10) == list(range(2, 12))
        boxes.close()

    run(case())


def test_who_hoards_most_loses_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "TOTAL_BYTES", 1000)

    async def case() -> None:
        boxes = Mailboxes()
        for name in ("modest", "hoarder"):
            boxes.leave(boxes.listen(name, None, nobody))
        for _ in range(10):
            boxes.put(boxes.find("modest"), lambda _: bytes(10))
        for _ in range(1000):
            boxes.put(boxes.find("hoarder"), lambda _: bytes(10))
            assert boxes.bytes <= 1000
            assert boxes.bytes == sum(
                boxes.find(name).events.bytes for name in ("modest", "hoarder")
            )
        assert boxes.find("modest").events.first == 1
        assert boxes.find("hoarder").events.last == 1000
        boxes.close()
        assert boxes.bytes == 0

    run(case())


def test_there_are_only_so_many_streams(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "STREAM_LIMIT", 3)

    async def case() -> None:
        boxes = Mailboxes()
        readers = [boxes.listen(f"s{n}", None, nobody) for n in range(3)]
        assert refused(lambda: boxes.listen("s3", None, nobody)) == "overloaded"
        boxes.leave(readers[1])
        boxes.leave(readers[0])
        # The one that was left first makes room.
        lost = boxes.find("s1")
        boxes.listen("s3", None, nobody)
        assert len(boxes) == 3
        assert refused(lambda: boxes.find("s1")) == "not_found"
        assert refused(lambda: boxes.listen("s1", "0", nobody)) == "bad_event_id"
        # Work that is still to be told to it is told to nobody.
        boxes.put(lost, numbered)
        assert boxes.bytes == 0
        boxes.find("s0")
        boxes.close()

    run(case())


def test_what_nobody_listens_to_is_given_up_in_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "UNREAD_S", 0.01)

    async def case() -> None:
        boxes = Mailboxes()
        left = boxes.listen("left", None, nobody)
        boxes.listen("heard", None, nobody)
        boxes.put(boxes.find("left"), numbered)
        boxes.leave(left)
        await until("the mailbox is given up", lambda: len(boxes) == 1)
        assert boxes.bytes == 0
        boxes.find("heard")
        boxes.close()

    run(case())


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "ä", "a/b", "a\n"])
def test_names_that_are_none(run: Run, name: str) -> None:
    async def case() -> None:
        boxes = Mailboxes()
        assert refused(lambda: boxes.listen(name, None, nobody)) == "not_found"
        assert refused(lambda: boxes.find(name)) == "not_found"
        assert len(boxes) == 0

    run(case())
