"""What travels."""

import json
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.errors import InvalidOrder, KeyConflict, MalformedOrder
from orders.model import Confirmation, Item, Order, Status
from protos import codec, frames, problems
from protos.generate import ROOT, generate

texts = st.text(max_size=20)
whole = st.integers(-(2**63), 2**63 - 1)
orders = st.builds(Order, texts, texts, st.lists(st.builds(Item, texts, whole, whole), max_size=4))
confirmations = st.builds(Confirmation, texts, texts, st.sampled_from(Status), whole, whole)
refusals = st.builds(problems.Problem, st.sampled_from(sorted(problems.TABLE)), texts)


def test_generated_modules_are_those_of_the_proto_file(tmp_path: Path) -> None:
    generate(tmp_path)
    made = sorted((tmp_path / "protos").iterdir())
    assert len(made) == 3
    for path in made:
        assert path.read_text() == (ROOT / "protos" / path.name).read_text(), path.name


@given(orders)
def test_an_order_survives_both_codecs(order: Order) -> None:
    assert codec.order_from_json(codec.order_to_json(order)) == order
    message = codec.order_to_pb(order)
    assert codec.order_from_pb(type(message).FromString(message.SerializeToString())) == order


@given(confirmations)
def test_a_confirmation_survives_both_codecs(confirmation: Confirmation) -> None:
    assert codec.confirmation_from_json(codec.confirmation_to_json(confirmation)) == confirmation
    assert codec.confirmation_from_pb(codec.confirmation_to_pb(confirmation)) == confirmation


@given(st.integers(0, 2**53), orders, confirmations | refusals)
def test_frames_keep_id_and_content(number: int, order: Order, result: frames.Result) -> None:
    assert frames.request_from_json(frames.request_to_json(number, order)) == (number, order)
    assert frames.reply_from_json(frames.reply_to_json(number, result)) == (number, result)
    assert frames.reply_from_pb(frames.reply_to_pb(number, result)) == (number, result)


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
    ],
)
def test_what_is_no_order_is_malformed(body: bytes, words: str) -> None:
    with pytest.raises(MalformedOrder, match=words):
        codec.order_from_json(body)


def test_absent_fields_are_empty_in_both_codecs() -> None:
    assert codec.order_from_json(b"{}") == Order("", "", [])
    assert codec.order_from_json(b'{"items": [{}]}') == Order("", "", [Item("", 0, 0)])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"order_id": "o"}', b"null", b'{"total_cents": "1"}']
)
def test_what_is_no_confirmation_is_malformed(body: bytes) -> None:
    with pytest.raises(codec.MalformedReply):
        codec.confirmation_from_json(body)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": -1}', '{"id": "1"}', '{"id": null}'])
def test_a_frame_without_an_id_is_malformed(text: str) -> None:
    with pytest.raises(MalformedOrder):
        frames.request_from_json(text)


def test_a_frame_with_a_bad_order_keeps_its_id() -> None:
    number, order = frames.request_from_json('{"id": 4, "order": 3}')
    assert number == 4
    assert isinstance(order, MalformedOrder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', '{"id": "x", "problem": {}}'])
def test_what_is_no_reply_is_malformed(text: str) -> None:
    with pytest.raises(codec.MalformedReply):
        frames.reply_from_json(text)


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
