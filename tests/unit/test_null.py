"""What a protocol alone costs: as many bytes as an order has, and nothing done (issue 6.7)."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import catalog
from clients.base import Call, DriverError, Failure
from harness.load.contexts import Contexts
from harness.load.lanes import Lanes
from harness.load.messages import OrderSpec
from harness.load.operations.place import Place, Retry
from harness.load.orders import OrderBook
from orders.errors import MalformedOrder
from orders.model import Confirmation, Order, Status
from orders.service import OrderService
from orders.store import MemoryStore
from protos.codec import Codec, MalformedReply
from protos.codecs import CODECS, JSON, PROTOBUF
from protos.frames import Reply, Request
from protos.null_codec import NullCodec, nothing_done
from servers.null import NullDesk
from tests.support import ListSink, order

BOTH = pytest.mark.parametrize("own", CODECS.values(), ids=list(CODECS))


@BOTH
@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=60))
def test_a_key_comes_back_in_as_many_bytes_as_its_order_takes(own: Codec, key: str) -> None:
    null = NullCodec(own)
    wanted = order(key, items=3)
    body = null.encode_order(wanted)
    assert len(body) == len(own.encode_order(wanted))
    read = null.decode_order(body)
    assert read == Order(key, "", [])
    answer = null.encode_confirmation(nothing_done(read.idempotency_key))
    assert null.decode_confirmation(answer) == Confirmation("null", key, Status.RECEIVED, 0, 0)


@BOTH
def test_it_is_as_long_for_each_kind_of_order(own: Codec) -> None:
    null = NullCodec(own)
    for items in (1, 100, 1, 3):
        for attachment in (b"", bytes(1000), b""):
            for key in ("a", "a-longer-key", "b"):
                wanted = order(key, items=items)
                wanted.attachment = attachment
                assert len(null.encode_order(wanted)) == len(own.encode_order(wanted))
                frame = Request(7, wanted)
                whole = null.encode_request(frame)
                assert len(whole) == len(own.encode_request(frame))
                read = null.decode_request(whole)
                assert (read.id, read.ask) == (7, Order(key, "", []))
                reply = null.encode_reply(Reply(7, nothing_done(key)))
                assert null.decode_reply(reply) == Reply(7, nothing_done(key))


@given(st.binary(max_size=30))
def test_what_has_no_key_is_refused(data: bytes) -> None:
    null = NullCodec(JSON)
    for decode, error in (
        (null.decode_order, MalformedOrder),
        (null.decode_request, MalformedOrder),
        (null.decode_confirmation, MalformedReply),
        (null.decode_reply, MalformedReply),
    ):
        with contextlib.suppress(error):
            decode(data)


def test_nothing_is_done_about_an_order() -> None:
    service = OrderService(MemoryStore())
    bad = order("k", quantity=0)
    assert asyncio.run(NullDesk(service).place(bad)) == nothing_done("k")
    assert service.placed == 0


def test_null_is_no_codec_of_a_service_and_no_library_that_stands_for_a_style() -> None:
    assert "null" not in CODECS
    null = [entry for entry in catalog.ENTRIES if entry.null]
    assert {entry.style for entry in null} == {"rest", "grpc-unary", "websocket"}
    for entry in null:
        assert entry.client == entry.server == "null"
        assert not catalog.find(entry.style).null
        assert {"json", "protobuf", "compression"} <= set(entry.lacks)
        # A real driver never finds itself at a null server, nor the other way round.
        assert [e for e in catalog.ENTRIES if e.talks_to == entry.talks_to] == [entry]
        assert [e for e in catalog.ENTRIES if e.driver == entry.driver] == [entry]


@pytest.mark.parametrize(
    ("priced", "key", "total", "failure"),
    [
        (True, "", 0, Failure.WRONG_REPLY),
        (False, "", 0, None),
        (False, "another", 0, Failure.WRONG_REPLY),
    ],
)
def test_of_an_answer_without_a_price_the_key_is_checked(
    priced: bool, key: str, total: int, failure: Failure | None
) -> None:
    async def ask(lane: int, wanted: Order, call: Call) -> Confirmation:
        return Confirmation("null", key or wanted.idempotency_key, Status.RECEIVED, total, 0)

    async def case() -> None:
        book = OrderBook(OrderSpec(), "k-", 1, 0)
        contexts = Contexts.fresh(False, False)
        place = Place(ask, book, contexts, ListSink(), Retry(), priced)
        hold = Lanes(1, multiplexes=True).hold()
        if failure is None:
            assert await place.perform(0, hold) == 0
            return
        with pytest.raises(DriverError) as caught:
            await place.perform(0, hold)
        assert caught.value.failure is failure

    asyncio.run(case())


def test_protobuf_is_as_long_as_protobuf() -> None:
    wanted = order("k" * 13)
    assert len(NullCodec(PROTOBUF).encode_order(wanted)) < len(NullCodec(JSON).encode_order(wanted))
