"""What travels."""

import json
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import InvalidOrder, KeyConflict, MalformedOrder
from orders.model import Confirmation, Item, Order, Status, Update
from protos import frames, problems
from protos.codec import Codec, MalformedReply
from protos.codecs import CODECS, JSON
from protos.context import NOTHING, Context
from protos.generate import ROOT, generate

texts = st.text(max_size=20)
whole = st.integers(-(2**63), 2**63 - 1)
documents = st.binary(max_size=40)
items = st.lists(st.builds(Item, texts, whole, whole), max_size=4)
orders = st.builds(Order, texts, texts, items, documents, whole)
confirmations = st.builds(Confirmation, texts, texts, st.sampled_from(Status), whole, whole)
updates = st.builds(
    Update,
    texts,
    texts,
    st.sampled_from(Status),
    st.integers(0, 100),
    whole,
    whole,
    documents,
)
refusals = st.builds(problems.Problem, st.sampled_from(sorted(problems.TABLE)), texts)
contexts = st.builds(Context, texts, texts)
frame_ids = st.integers(0, 2**53)
every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def test_generated_modules_are_those_of_the_proto_file(tmp_path: Path) -> None:
    generate(tmp_path)
    made = sorted((tmp_path / "protos").iterdir())
    assert len(made) == 3
    for path in made:
        assert path.read_text() == (ROOT / "protos" / path.name).read_text(), path.name


@every_codec
@given(order=orders, confirmation=confirmations, update=updates)
def test_everything_survives_every_codec(
    codec: Codec, order: Order, confirmation: Confirmation, update: Update
) -> None:
    assert codec.decode_order(codec.encode_order(order)) == order
    assert codec.decode_confirmation(codec.encode_confirmation(confirmation)) == confirmation
    assert codec.decode_update(codec.encode_update(update)) == update
    assert codec.decode_changes(codec.encode_changes(7, [update] * 2)) == (7, [update] * 2)


@every_codec
@given(frame_id=frame_ids, ask=orders | st.just(frames.Watch()), context=contexts)
def test_requests_keep_id_content_and_context(
    codec: Codec, frame_id: int, ask: Order | frames.Watch, context: Context
) -> None:
    request = frames.Request(frame_id, ask, context)
    assert codec.decode_request(codec.encode_request(request)) == request
    bare = frames.Request(frame_id, ask)
    assert codec.decode_request(codec.encode_request(bare)) == bare
    assert codec.decode_request(codec.encode_request(bare)).context is NOTHING


@every_codec
@given(frame_id=frame_ids, result=confirmations | refusals | updates)
def test_replies_keep_id_and_content(codec: Codec, frame_id: int, result: frames.Result) -> None:
    reply = frames.Reply(frame_id, result)
    assert codec.decode_reply(codec.encode_reply(reply)) == reply


@every_codec
def test_what_is_not_sent_takes_no_room(codec: Codec) -> None:
    order = Order("k", "c", [Item("s", 1, 1)])
    frame = codec.encode_request(frames.Request(1, order))
    for word in (b"attachment", b"work_us", b"request_id", b"traceparent"):
        assert word not in frame


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "the order is not an object"),
        (b'{"items": 3}', "items is not a list"),
        (b'{"items": [3]}', r"items\[0\] is not an object"),
        (b'{"items": [{"quantity": "1"}]}', r"items\[0\].sku|quantity is not a whole number"),
        (b'{"items": [{"quantity": 1.5}]}', r"items\[0\].quantity is not a whole number"),
        (b'{"items": [{"quantity": true}]}', r"items\[0\].quantity is not a whole number"),
        (b'{"customer_id": 5}', "customer_id is not a text"),
        (b'{"attachment": "no base64!"}', "attachment is not base64"),
        (b'{"work_us": "1"}', "work_us is not a whole number"),
    ],
)
def test_what_is_no_order_is_malformed(body: bytes, words: str) -> None:
    with pytest.raises(MalformedOrder, match=words):
        JSON.decode_order(body)


@every_codec
def test_absent_fields_are_empty(codec: Codec) -> None:
    empty = {"json": b"{}", "protobuf": b""}[codec.name]
    assert codec.decode_order(empty) == Order("", "", [])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"order_id": "o"}', b"null", b'{"total_cents": "1"}']
)
def test_what_is_no_answer_is_malformed(body: bytes) -> None:
    for decode in (JSON.decode_confirmation, JSON.decode_update, JSON.decode_changes):
        with pytest.raises(MalformedReply):
            decode(body)


@every_codec
def test_bytes_at_random_are_malformed(codec: Codec) -> None:
    garbage = b"\xff\xfe this is nothing"
    for decode in (codec.decode_order, codec.decode_request):
        with pytest.raises(MalformedOrder):
            decode(garbage)
    for answer in (
        codec.decode_confirmation,
        codec.decode_update,
        codec.decode_changes,
        codec.decode_reply,
    ):
        with pytest.raises(MalformedReply):
            answer(garbage)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": -1}', '{"id": "1"}', '{"id": null}'])
def test_a_frame_without_an_id_is_malformed(text: str) -> None:
    with pytest.raises(MalformedOrder):
        JSON.decode_request(text)


@pytest.mark.parametrize(
    "text", ['{"id": 4, "order": 3}', '{"id": 4, "order": {}, "request_id": 5}', '{"id": 4}']
)
def test_a_frame_with_a_bad_order_keeps_its_id(text: str) -> None:
    request = JSON.decode_request(text)
    assert request.id == 4
    assert isinstance(request.ask, MalformedOrder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', '{"id": "x", "problem": {}}'])
def test_what_is_no_reply_is_malformed(text: str) -> None:
    with pytest.raises(MalformedReply):
        JSON.decode_reply(text)


def test_every_problem_has_its_form_in_every_protocol() -> None:
    for code, rendering in problems.TABLE.items():
        assert 400 <= rendering.http < 600
        assert grpc.StatusCode[rendering.grpc] is not grpc.StatusCode.OK
        assert 1000 <= rendering.close < 5000
        problem = problems.Problem(code, "because")
        status, body = problems.to_http(problem)
        assert problems.from_http(status, body) == problem
        assert json.loads(body)["status"] == status
    for error in (MalformedOrder("m"), InvalidOrder("i"), KeyConflict("k")):
        assert problems.problem_of(error) == problems.Problem(error.code, error.detail)


def test_an_error_of_the_service_itself_tells_nothing_of_itself() -> None:
    problem = problems.problem_of(RuntimeError("password=hunter2"))
    assert problem.code == "internal"
    assert "hunter2" not in problem.detail


def test_foreign_http_errors_are_understood() -> None:
    assert problems.from_http(503, b"busy").code == "overloaded"
    assert problems.from_http(500, b'{"code": "nonsense", "detail": ""}').code == "internal"
    assert problems.from_http(404, b"[]").code == "internal"
