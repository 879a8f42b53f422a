"""Both ends of a callback: how often it is tried and where it may go; and what is made of it."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from clients.base import Milestone
from clients.webhook import Inbox, Remembered
from orders.model import Status, Update
from orders.service import Notify
from protos.codecs import JSON, PROTOBUF
from protos.problems import Refusal
from protos.signature import Stamp, message_id, signed, verified
from servers.callbacks import (
    AT_ONCE,
    BACKLOG,
    DEAD_LIMIT,
    RECEIVERS,
    UPDATES_LIMIT,
    Backoff,
    Callbacks,
    Receiver,
    Undelivered,
)
from servers.webhook import callback_url, reachable_for
from tests.support import ListSink, Run, until

ADDRESS = URL("http://127.0.0.1:9/")
SECRET = b"a secret that nobody else has"

seconds = st.floats(0.001, 100.0)
draws = st.floats(0.0, 1.0)


@given(seconds, seconds, seconds, st.integers(0, 10_000), draws)
def test_a_wait_is_between_nothing_and_its_ceiling(
    base: float, cap: float, lasting: float, retry: int, draw: float
) -> None:
    delay = Backoff(base, cap, lasting).delay_s(retry, 0.0, lambda: draw)
    assert delay is not None
    assert 0 <= delay <= cap
    if retry < 64:
        assert delay <= base * 2**retry


@given(seconds, seconds, seconds, st.integers(0, 100))
def test_the_whole_of_a_wait_is_drawn(base: float, cap: float, lasting: float, retry: int) -> None:
    backoff = Backoff(base, cap, lasting)
    ceiling = min(cap, base * 2.0 ** min(retry, 64))
    assert backoff.delay_s(retry, 0.0, lambda: 0.0) == 0.0
    assert backoff.delay_s(retry, 0.0, lambda: 1.0) == ceiling


@given(seconds, st.integers(0, 100), draws)
def test_it_is_given_up_by_age_alone(lasting: float, retry: int, draw: float) -> None:
    backoff = Backoff(lasting_s=lasting)
    assert backoff.delay_s(retry, lasting, lambda: draw) is None
    assert backoff.delay_s(retry, lasting * 0.99, lambda: draw) is not None


class Post:
    """A receiver that answers what it is told, and remembers."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = itertools.chain(statuses, itertools.repeat(200))
        self.calls: list[tuple[URL, bytes, Mapping[str, str]]] = []

    async def __call__(self, url: URL, body: bytes, headers: Mapping[str, str]) -> int:
        self.calls.append((url, body, headers))
        status = next(self._statuses)
        if status == 0:
            raise Undelivered("nobody there")
        return status

    @property
    def stamps(self) -> list[tuple[str, int]]:
        """Message and attempt of each call, whose signatures must be right."""
        found = [verified(SECRET, head, body, time.time()) for _, body, head in self.calls]
        return [(stamp.id, stamp.attempt) for stamp in found]


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, length_s: float) -> None:
        """Let time pass."""
        self.slept.append(length_s)
        self.now_s += length_s
        await asyncio.sleep(0)


def by(
    post: Callable[[URL, bytes, Mapping[str, str]], Awaitable[int]],
    clock: Clock | None = None,
    draw: Callable[[], float] = lambda: 1.0,
) -> tuple[Callbacks, Receiver]:
    """Callbacks over a fake receiver that is registered as r."""
    clock = clock or Clock()
    made = Callbacks(post, draw=draw, sleep=clock.sleep, clock=clock)
    made.register("r", ADDRESS, SECRET)
    return made, made.receiver("r")


def promised(made: Callbacks, receiver: Receiver, order_id: str) -> Notify:
    """The way to tell the receiver of an order, in JSON."""
    notify = made.promise(receiver, order_id, JSON.encode_update, {"Content-Type": "text/x"})
    assert notify is not None
    return notify


def end(order_id: str, key: str = "k") -> Update:
    return Update(order_id, key, Status.CONFIRMED, 100, 7, 500)


def progress(order_id: str, percent: int) -> Update:
    return Update(order_id, "k", Status.WORKING, percent, 7)


def test_an_end_is_told_once_that_is_taken(run: Run) -> None:
    async def case() -> None:
        post = Post(201)
        made, receiver = by(post)
        promised(made, receiver, "o-1")(end("o-1"))
        await until("it is told", lambda: not receiver.deliveries)
        assert post.stamps == [("o-1", 1)]
        (url, body, headers), *_ = post.calls
        assert (url, headers["Content-Type"]) == (ADDRESS, "text/x")
        assert JSON.decode_update(body) == end("o-1")
        assert made.dead() == []
        await made.close()

    run(case())


def test_every_failure_but_gone_is_tried_again(run: Run) -> None:
    async def case() -> None:
        post, clock = Post(0, 500, 404, 302, 409, 204), Clock()
        made, receiver = by(post, clock)
        promised(made, receiver, "o-1")(end("o-1"))
        await until("it is told", lambda: not receiver.deliveries)
        assert post.stamps == [("o-1", n) for n in range(1, 7)]
        assert clock.slept == [0.05, 0.1, 0.2, 0.4, 0.8]
        await made.close()

    run(case())


@given(st.lists(st.floats(0.01, 1.0), min_size=1), st.floats(0.0, 7.9))
def test_who_is_away_for_less_than_it_lasts_is_reached(drawn: list[float], away_s: float) -> None:
    async def case() -> None:
        clock = Clock()

        async def post(url: URL, body: bytes, headers: Mapping[str, str]) -> int:
            if clock() < away_s:
                raise Undelivered("away")
            return 200

        made, receiver = by(post, clock, itertools.cycle(drawn).__next__)
        promised(made, receiver, "o-1")(end("o-1"))
        while receiver.deliveries:
            await asyncio.sleep(0)
        assert made.dead() == []
        await made.close()

    asyncio.run(case())


def test_gone_ends_it_at_once_and_a_replay_goes_on_counting(run: Run) -> None:
    async def case() -> None:
        post = Post(500, 410, 410)
        made, receiver = by(post)
        promised(made, receiver, "o-1")(end("o-1"))
        await until("it is dead", lambda: len(made.dead()) == 1)
        assert made.dead() == [
            {
                "id": "o-1",
                "order_id": "o-1",
                "callback": "r",
                "attempts": 2,
                "last_error": "HTTP 410",
            }
        ]
        assert receiver.deliveries == {}
        assert made.replay() == 1
        assert made.dead() == []
        await until("it is dead again", lambda: len(made.dead()) == 1)
        assert made.replay() == 1
        await until("it is told", lambda: not receiver.deliveries)
        assert post.stamps == [("o-1", n) for n in range(1, 5)]
        assert (made.dead(), made.replay()) == ([], 0)
        await made.close()

    run(case())


def test_who_never_comes_back_is_given_up(run: Run) -> None:
    async def case() -> None:
        clock = Clock()
        made, receiver = by(Post(*[0] * 1000), clock)
        promised(made, receiver, "o-1")(end("o-1"))
        await until("it is dead", lambda: len(made.dead()) == 1)
        assert made.dead()[0]["last_error"] == "nobody there"
        assert clock.now_s >= 8.0
        assert clock.now_s - clock.slept[-1] < 8.0
        await made.close()

    run(case())


def test_the_list_of_the_dead_is_bounded(run: Run) -> None:
    async def case() -> None:
        made, receiver = by(Post(*[410] * (DEAD_LIMIT + 5)))
        for number in range(DEAD_LIMIT + 5):
            promised(made, receiver, f"o-{number}")(end(f"o-{number}"))
        await until("all are dead", lambda: not receiver.deliveries)
        assert [dead["id"] for dead in made.dead()] == [f"o-{n}" for n in range(5, DEAD_LIMIT + 5)]
        await made.close()

    run(case())


def test_progress_is_told_once_and_before_the_end(run: Run) -> None:
    async def case() -> None:
        post = Post(500)
        made, receiver = by(post)
        notify = promised(made, receiver, "o-1")
        for percent in (0, 0, 40, 80):
            notify(progress("o-1", percent))
            count = len(post.calls)
            await until("it is told", lambda: receiver.deliveries["o-1"].task is None)
            assert len(post.calls) - count <= 1
        notify(end("o-1"))
        await until("the end is told", lambda: not receiver.deliveries)
        assert post.stamps == [("o-1.0", 1), ("o-1.40", 1), ("o-1.80", 1), ("o-1", 1)]
        await made.close()

    run(case())


class Hanging:
    """A receiver that answers when it is told to."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.ids: list[str] = []
        self.under_way = 0
        self.most = 0

    async def __call__(self, url: URL, body: bytes, headers: Mapping[str, str]) -> int:
        self.ids.append(headers["Webhook-Id"])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.answers.wait()
        self.under_way -= 1
        return 200


def test_the_updates_that_wait_for_a_slow_receiver_are_bounded(run: Run) -> None:
    async def case() -> None:
        post = Hanging()
        made, receiver = by(post)
        notify = promised(made, receiver, "o-1")
        notify(progress("o-1", 0))
        await until("the first is under way", lambda: post.under_way == 1)
        for percent in range(1, UPDATES_LIMIT + 3):
            notify(progress("o-1", percent))
        notify(end("o-1"))
        post.answers.set()
        await until("the end is told", lambda: not receiver.deliveries)
        later = [f"o-1.{percent}" for percent in range(4, UPDATES_LIMIT + 3)]
        assert post.ids == ["o-1.0", *later, "o-1"]
        assert len(later) == UPDATES_LIMIT - 1
        await made.close()

    run(case())


def test_attempts_at_a_time_are_bounded_for_each_receiver(run: Run) -> None:
    async def case() -> None:
        post = Hanging()
        made, receiver = by(post)
        for number in range(AT_ONCE + 9):
            promised(made, receiver, f"o-{number}")(end(f"o-{number}"))
        await until("as many as may be are under way", lambda: post.under_way == AT_ONCE)
        made.register("other", ADDRESS, SECRET)
        promised(made, made.receiver("other"), "x-1")(end("x-1"))
        await until("another's goes past them", lambda: "x-1" in post.ids)
        assert post.most == AT_ONCE + 1
        post.answers.set()
        await until("all are told", lambda: not receiver.deliveries)
        assert len(post.ids) == AT_ONCE + 10
        await made.close()

    run(case())


def test_a_full_backlog_takes_no_order(run: Run) -> None:
    async def case() -> None:
        made, receiver = by(Hanging())
        for number in range(BACKLOG - 1):
            promised(made, receiver, f"o-{number}")
        with receiver.room():
            with pytest.raises(Refusal) as caught, receiver.room():
                pass
            assert caught.value.problem.code == "overloaded"
        with receiver.room():
            pass
        await made.close()

    run(case())


def test_an_order_is_promised_once_at_a_time(run: Run) -> None:
    async def case() -> None:
        post = Post()
        made, receiver = by(post)
        notify = promised(made, receiver, "o-1")
        assert made.promise(receiver, "o-1", JSON.encode_update, {}) is None
        notify(end("o-1"))
        await until("it is told", lambda: not receiver.deliveries)
        assert post.stamps == [("o-1", 1)]
        await made.close()

    run(case())


def test_a_receiver_is_changed_by_who_has_its_secret(run: Run) -> None:
    async def case() -> None:
        post = Post()
        made, receiver = by(post)
        with pytest.raises(Refusal) as caught:
            made.register("r", URL("http://127.0.0.1:10/"), b"some other secret, of another")
        assert caught.value.problem.code == "bad_callback"
        moved = URL("http://127.0.0.1:11/")
        made.register("r", moved, SECRET)
        promised(made, receiver, "o-1")(end("o-1"))
        await until("it is told", lambda: not receiver.deliveries)
        assert post.calls[0][0] == moved
        await made.close()

    run(case())


def test_receivers_are_bounded_and_the_idle_make_room(run: Run) -> None:
    def unknown(made: Callbacks, receiver_id: str) -> bool:
        try:
            made.receiver(receiver_id)
        except Refusal as refused:
            assert refused.problem.code == "bad_callback"
            return True
        return False

    async def case() -> None:
        made = Callbacks(Hanging())
        for number in range(RECEIVERS):
            made.register(f"r{number}", ADDRESS, SECRET)
        promised(made, made.receiver("r0"), "o-0")
        made.receiver("r1")
        made.register("new", ADDRESS, SECRET)
        assert [n for n in range(RECEIVERS) if unknown(made, f"r{n}")] == [2]
        for receiver_id in ("new", *(f"r{n}" for n in range(RECEIVERS) if n not in (0, 2))):
            promised(made, made.receiver(receiver_id), "o-1")
        with pytest.raises(Refusal) as caught:
            made.register("newer", ADDRESS, SECRET)
        assert caught.value.problem.code == "overloaded"
        await made.close()

    run(case())


def test_closing_ends_what_is_under_way(run: Run) -> None:
    async def case() -> None:
        post = Hanging()
        made, receiver = by(post)
        before = asyncio.all_tasks()
        promised(made, receiver, "o-1")(end("o-1"))
        await until("it is under way", lambda: post.under_way == 1)
        await made.close()
        assert asyncio.all_tasks() == before
        promised(made, receiver, "o-2")(end("o-2"))
        assert asyncio.all_tasks() == before

    run(case())


@pytest.mark.parametrize(
    ("text", "connects_to"),
    [
        ("http://127.0.0.1:80", "http://127.0.0.1:80/"),
        ("http://127.8.9.1:8080/a/b?c=%20d", "http://127.8.9.1:8080/a/b?c=%20d"),
        ("https://127.0.0.1:443/", "https://127.0.0.1:443/"),
        ("http://localhost:81/x", "http://127.0.0.1:81/x"),
        ("http://[::1]:82/x", "http://[::1]:82/x"),
        ("http://[::ffff:127.0.0.1]:83/", "http://127.0.0.1:83/"),
    ],
)
def test_callbacks_that_are_allowed(text: str, connects_to: str) -> None:
    assert callback_url(text) == URL(connects_to, encoded=True)


FORBIDDEN = [
    "http://10.0.0.1:80/",
    "http://169.254.169.254/",
    "http://169.254.169.254:80/latest/meta-data/",
    "http://[::ffff:10.0.0.1]:1/",
    "http://[::127.0.0.1]:1/",
    "http://[::]:1/",
    "http://[fe80::1%25lo]:1/",
    "http://0.0.0.0:1/",
    "http://0x7f000001:1",
    "http://2130706433:1/",
    "http://0177.0.0.1:1/",
    "http://127.1:1/",
    "http://127.0.0.1.:1/",
    "http://127.0.0.1。:1/",
    "http://localhost.evil.example:1/",
    "http://evil.example:1/",
    "http://LOCALHOST:1/",
    "ftp://127.0.0.1:1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:1/",
    "//127.0.0.1:1/",
    "127.0.0.1:1",
    "http://user@127.0.0.1:1/",
    "http://user:word@127.0.0.1:1/",
    "http://127.0.0.1:1@10.0.0.1:1/",
    "http://10.0.0.1:1\\@127.0.0.1:1/",
    "http://127.0.0.1",
    "http://127.0.0.1/",
    "http://127.0.0.1:/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:1/#fragment",
    "http://127.0.0.1:1/a b",
    "http://127.0.0.1:1/\r\nHost: evil.example",
    "http://127.0.0.1:1/\n",
    "http://127.0.0.1:1/é",
    "http://127.0.0.1:1?x",
    "https://93.184.216.34:443/",
    "https://evil.example:443/",
    "http://127.0.0.1:1/" + "a" * 2048,
    "",
]


@pytest.mark.parametrize("text", FORBIDDEN)
def test_callbacks_that_are_forbidden(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        callback_url(text)
    assert caught.value.problem.code == "bad_callback"


def test_a_server_may_allow_other_networks() -> None:
    allowed = [ip_network("10.1.0.0/16")]
    assert callback_url("http://10.1.2.3:80/", allowed) == URL("http://10.1.2.3:80/")
    assert callback_url("http://[::ffff:10.1.2.3]:80/", allowed).host == "10.1.2.3"
    for text in ("http://10.2.0.1:80/", "http://127.0.0.1:80/", "http://localhost:80/"):
        with pytest.raises(Refusal):
            callback_url(text, allowed)


@pytest.mark.parametrize(
    ("caller", "may", "may_not"),
    [
        ("127.0.0.1", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"], ["10.1.2.3", "0.0.0.0"]),
        ("::1", ["127.0.0.1", "[::1]"], ["[::2]"]),
        ("10.1.2.3", ["10.1.2.3", "[::ffff:10.1.2.3]"], ["10.1.2.4", "127.0.0.1", "localhost"]),
        ("fd00::1", ["[fd00::1]"], ["[fd00::2]", "[::1]", "10.1.2.3"]),
    ],
)
def test_who_asks_is_called_back_and_nobody_else(
    caller: str, may: list[str], may_not: list[str]
) -> None:
    allowed = reachable_for(caller)
    for host in may:
        assert callback_url(f"http://{host}:80/", allowed).port == 80
    for host in may_not:
        with pytest.raises(Refusal, match="not allowed"):
            callback_url(f"http://{host}:80/", allowed)


@pytest.mark.parametrize("caller", ["", "client.view", "10.0.0.0/8", "10.1.2.3, 127.0.0.1"])
def test_who_has_no_address_is_not_called_back(caller: str) -> None:
    with pytest.raises(Refusal) as caught:
        reachable_for(caller)
    assert caught.value.problem.code == "bad_callback"


def callback(
    inbox: Inbox, update: Update, attempt: int = 1, codec: str = "application/json"
) -> tuple[dict[str, str], bytes]:
    """Headers and body of an honest callback."""
    body = {"application/json": JSON, "application/x-protobuf": PROTOBUF}[codec].encode_update(
        update
    )
    stamp = Stamp(message_id(update), attempt, int(time.time()))
    return {"Content-Type": codec, **signed(inbox.secret.encode(), stamp, body)}, body


def arrivals(sink: ListSink) -> list[tuple[int, Milestone]]:
    return [(operation, milestone) for operation, milestone, *_ in sink.arrivals]


def test_a_callback_may_come_before_its_receipt(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        inbox = Inbox(sink)
        awaited = inbox.expect("k", 3, 0)
        inbox.take(*callback(inbox, end("o-1"), attempt=2))
        assert await awaited.ended == (end("o-1"), 2)
        awaited.taken = True
        inbox.leave(awaited)
        assert inbox.idle

    run(case())
    assert arrivals(sink) == []


def test_a_copy_is_refused_and_a_repeat_is_told_to_the_sink(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        inbox = Inbox(sink)
        awaited = inbox.expect("k", 3, 0)
        first = callback(inbox, end("o-1"))
        inbox.take(*first)
        await awaited.ended
        awaited.taken = True
        inbox.leave(awaited)
        with pytest.raises(Refusal) as caught:
            inbox.take(*first)
        assert caught.value.problem.code == "replayed"
        assert arrivals(sink) == []
        inbox.take(*callback(inbox, end("o-1"), attempt=2))
        assert arrivals(sink) == [(3, Milestone.DONE)]

    run(case())


def test_what_nobody_waits_for_any_more_is_late(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        inbox = Inbox(sink)
        inbox.leave(inbox.expect("left", 0, 5))
        inbox.take(*callback(inbox, end("o-1", "left")))
        cancelled = inbox.expect("cancelled", 1, 5)
        cancelled.ended.cancel()
        inbox.take(*callback(inbox, end("o-2", "cancelled")))
        inbox.leave(cancelled)
        untaken = inbox.expect("untaken", 2, 5)
        inbox.take(*callback(inbox, end("o-3", "untaken")))
        inbox.leave(untaken)
        inbox.take(*callback(inbox, end("o-4", "never asked")))
        inbox.take(*callback(inbox, Update("o-5", "left", Status.WORKING, 50, 7)))
        assert inbox.idle
        late = [inbox.untaken(f"o-{number}") for number in range(1, 5)]
        assert late == [
            (end("o-1", "left"), 1),
            (end("o-2", "cancelled"), 1),
            (end("o-3", "untaken"), 1),
            None,
        ]

    run(case())
    assert arrivals(sink) == [(n, Milestone.DONE) for n in range(3)]
    assert [(u.order_id, lane) for u, lane, _ in sink.sightings] == [("o-5", 5)]


def test_two_that_ask_for_one_order_are_both_told(run: Run) -> None:
    async def case() -> None:
        inbox = Inbox(ListSink())
        both = [inbox.expect("k", number, number) for number in range(2)]
        inbox.take(*callback(inbox, end("o-1")))
        assert [(await one.ended)[0].order_id for one in both] == ["o-1", "o-1"]

    run(case())


def test_progress_is_seen_by_the_lane_that_asked(run: Run) -> None:
    sink = ListSink()

    async def case() -> None:
        inbox = Inbox(sink)
        inbox.expect("k", 3, 7)
        for percent in (25, 50):
            inbox.take(*callback(inbox, progress("o-1", percent), codec="application/x-protobuf"))
        assert not inbox.idle

    run(case())
    assert [(u.progress, lane) for u, lane, _ in sink.sightings] == [(25, 7), (50, 7)]


def test_a_callback_that_lies_about_its_order_is_malformed(run: Run) -> None:
    async def case() -> None:
        inbox = Inbox(ListSink())
        body = JSON.encode_update(end("o-1"))
        for message, content, content_type in (
            ("o-2", body, JSON.media_type),
            ("o-1.100", body, JSON.media_type),
            ("o-1", b"{", JSON.media_type),
            ("o-1", json.dumps([]).encode(), JSON.media_type),
            ("o-1", b"\xff", PROTOBUF.media_type),
            ("o-1", body, "text/plain"),
        ):
            stamp = Stamp(message, 1, int(time.time()))
            headers = signed(inbox.secret.encode(), stamp, content)
            with pytest.raises(Refusal) as caught:
                inbox.take({**headers, "Content-Type": content_type}, content)
            assert caught.value.problem.code in ("malformed", "unsupported_type")
        # None of them stands for the honest one's first attempt.
        inbox.take(*callback(inbox, end("o-1")))

    run(case())


def test_what_is_remembered_is_bounded_in_time() -> None:
    known: Remembered[int] = Remembered()
    now = time.time()
    for number in range(5):
        known.put(f"past-{number}", number, now - 1)
    known.put("now", 1, now + 100)
    known.put("now", 2, now + 100)
    assert (known.get("now"), known.get("past-4"), len(known)) == (2, None, 1)
