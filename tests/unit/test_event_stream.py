"""Event streams (WHATWG HTML, section 9.2) as they are written and read, in whatever pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.event_stream import Event, EventParser
from protos.codec import MalformedReply
from protos.frames import MAX_FRAME_BYTES
from servers.event_stream import HEARTBEAT, written


def parsed(*pieces: bytes) -> list[Event]:
    """The events in a stream that comes in pieces."""
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        # The examples of the specification.
        (
            b"data: YHOO\ndata: +2\ndata: 10\n\n",
            [Event("", "message", b"YHOO\n+2\n10")],
        ),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  3rd\n\n",
            [
                Event("1", "message", b"first event"),
                Event("", "message", b"second event"),
                Event("", "message", b" 3rd"),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [Event("", "message", b""), Event("", "message", b"\n")]),
        (b"data:test\n\ndata: test\n\n", [Event("", "message", b"test")] * 2),
        # A name without data is forgotten, an id is not.
        (b"event: a\nid: 7\n\ndata: x\n\n", [Event("7", "message", b"x")]),
        (b"event: a\ndata: x\n\ndata: y\n\n", [Event("", "a", b"x"), Event("", "message", b"y")]),
        (b"id: 1\0\ndata: x\n\n", [Event("", "message", b"x")]),
        (b"retry: 10\nunheard: of\ndata: x\n\n", [Event("", "message", b"x")]),
        (b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n", [Event("", "message", b"x")]),
        (b"data: x\rdata: y\r\ndata: z\n\r\n", [Event("", "message", b"x\ny\nz")]),
        (b"data: x\n", []),
        (b"", []),
    ],
)
def test_what_a_stream_says(stream: bytes, events: list[Event]) -> None:
    assert parsed(stream) == events
    assert parsed(*(stream[n : n + 1] for n in range(len(stream)))) == events
    for at in range(len(stream)):
        assert parsed(stream[:at], stream[at:]) == events
        assert parsed(stream[:at], b"", stream[at:]) == events


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: e", b"id: 1", b"id", b": c", b"", b"", b"x", b":"]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(STREAMS, st.lists(st.integers(0, 200), max_size=12))
def test_pieces_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(at)]
    assert parsed(*pieces) == parsed(stream)


@given(STREAMS)
def test_ends_of_lines_make_no_difference(stream: bytes) -> None:
    plain = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert parsed(stream) == parsed(plain) == parsed(plain.replace(b"\n", b"\r\n"))


@given(st.lists(st.tuples(st.sampled_from(["result", "progress"]), st.text("ab:{} ", min_size=1))))
def test_what_is_written_is_read(events: list[tuple[str, str]]) -> None:
    stream = HEARTBEAT.join(
        written(name, data, number) for number, (name, data) in enumerate(events)
    )
    assert parsed(stream) == [
        Event(str(number), name, data.encode()) for number, (name, data) in enumerate(events)
    ]
    assert written("change", "x") == b"event: change\ndata: x\n\n"


def test_an_event_has_a_largest_size() -> None:
    most = MAX_FRAME_BYTES - len(b"data:")
    largest = b"data:" + b"x" * most
    assert parsed(largest + b"\n\n", largest, b"\n\n") == [Event("", "message", b"x" * most)] * 2
    with pytest.raises(MalformedReply):
        parsed(largest, b"x")
    with pytest.raises(MalformedReply):
        parsed(largest[: most // 2], b"\n", largest[: most // 2], b"\n" + b"x" * 100)


def test_a_long_stream_of_events_that_straddle_its_pieces_is_not_one_event() -> None:
    parser = EventParser()
    piece = b"data: " + b"y" * 1000 + b"\n\ndata: " + b"x" * 1000 + b"\n"
    count = 2 * MAX_FRAME_BYTES // len(piece)
    assert sum(len(parser.feed(piece if n == 0 else b"\n" + piece)) for n in range(count)) == (
        2 * count - 1
    )


def test_a_resumed_stream_goes_on_from_its_last_id() -> None:
    assert EventParser("7").feed(b"data: x\n\n") == [Event("7", "message", b"x")]
