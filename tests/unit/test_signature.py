"""What a signed callback may not be changed in, and when it is stale."""

import hashlib
import hmac

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orders.model import Status, Update
from protos.problems import Refusal
from protos.signature import (
    TOLERANCE_S,
    WEBHOOK_ATTEMPT,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    Stamp,
    message_id,
    signed,
    verified,
)

SECRET = b"a secret that nobody else has"
NOW = 1_800_000_000
ids = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True)
stamps = st.builds(
    Stamp, ids, st.integers(1, 999_999), st.integers(NOW - TOLERANCE_S, NOW + TOLERANCE_S)
)
bodies = st.binary(max_size=60)


def refusal(headers: dict[str, str], body: bytes, now_s: float = NOW) -> str:
    """The code that a callback is refused with."""
    with pytest.raises(Refusal) as caught:
        verified(SECRET, headers, body, now_s)
    return caught.value.problem.code


@given(stamp=stamps, body=bodies)
def test_what_was_signed_is_verified(stamp: Stamp, body: bytes) -> None:
    assert verified(SECRET, signed(SECRET, stamp, body), body, NOW) == stamp


def test_the_text_that_is_signed() -> None:
    headers = signed(SECRET, Stamp("o-7.50", 3, NOW), b'{"order_id":"o-7"}')
    text = b'o-7.50.3.1800000000.{"order_id":"o-7"}'
    assert headers == {
        "Webhook-Id": "o-7.50",
        "Webhook-Attempt": "3",
        "Webhook-Timestamp": "1800000000",
        "Webhook-Signature": "v1=" + hmac.new(SECRET, text, hashlib.sha256).hexdigest(),
    }


@given(stamp=stamps, body=bodies, other=stamps, further=bodies)
def test_nothing_signed_can_be_changed(
    stamp: Stamp, body: bytes, other: Stamp, further: bytes
) -> None:
    headers = signed(SECRET, stamp, body)
    for name, value in signed(SECRET, other, body).items():
        if name != WEBHOOK_SIGNATURE and headers[name] != value:
            assert refusal({**headers, name: value}, body) == "bad_signature"
    if further != body:
        assert refusal(headers, further) == "bad_signature"


@given(stamp=stamps, body=st.from_regex(rb"[0-9.]{0,24}", fullmatch=True))
def test_a_signed_text_can_be_split_in_one_way_only(stamp: Stamp, body: bytes) -> None:
    headers = signed(SECRET, stamp, body)
    text = f"{stamp.id}.{stamp.attempt}.{stamp.timestamp}.{body.decode()}"
    parts = text.split(".")
    taken = set()
    for start in range(1, len(parts) - 2):
        split = {
            WEBHOOK_ID: ".".join(parts[:start]),
            WEBHOOK_ATTEMPT: parts[start],
            WEBHOOK_TIMESTAMP: parts[start + 1],
            WEBHOOK_SIGNATURE: headers[WEBHOOK_SIGNATURE],
        }
        try:
            taken.add(verified(SECRET, split, ".".join(parts[start + 2 :]).encode(), NOW))
        except Refusal as refused:
            assert refused.problem.code in ("malformed", "bad_signature")
    assert taken == {stamp}


@given(stamp=stamps, body=bodies, other=st.binary(min_size=1, max_size=40))
def test_another_secret_signs_otherwise(stamp: Stamp, body: bytes, other: bytes) -> None:
    # HMAC fills a short key up with zeros (RFC 2104, section 2).
    assume(other.rstrip(b"\0") != SECRET)
    assert refusal(signed(other, stamp, body), body) == "bad_signature"


@pytest.mark.parametrize("off", [-TOLERANCE_S - 1, TOLERANCE_S + 1, -86_400])
def test_a_callback_of_another_time_is_stale(off: int) -> None:
    headers = signed(SECRET, Stamp("o-1", 1, NOW + off), b"{}")
    assert refusal(headers, b"{}") == "bad_signature"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (WEBHOOK_ID, ""),
        (WEBHOOK_ID, "o 1"),
        (WEBHOOK_ID, "o" * 129),
        (WEBHOOK_ID, "o-1\n"),
        (WEBHOOK_ATTEMPT, "0"),
        (WEBHOOK_ATTEMPT, "-1"),
        (WEBHOOK_ATTEMPT, "01"),
        (WEBHOOK_ATTEMPT, "1000000"),
        (WEBHOOK_ATTEMPT, "١"),
        (WEBHOOK_TIMESTAMP, "1e9"),
        (WEBHOOK_TIMESTAMP, "999999999"),
        (WEBHOOK_TIMESTAMP, f"{NOW}.0"),
    ],
)
def test_headers_that_are_not_well_formed(name: str, value: str) -> None:
    headers = signed(SECRET, Stamp("o-1", 1, NOW), b"{}")
    assert refusal({**headers, name: value}, b"{}") == "malformed"


@pytest.mark.parametrize("name", [WEBHOOK_ID, WEBHOOK_ATTEMPT, WEBHOOK_TIMESTAMP])
def test_headers_that_are_absent(name: str) -> None:
    headers = signed(SECRET, Stamp("o-1", 1, NOW), b"{}")
    del headers[name]
    assert refusal(headers, b"{}") == "malformed"


@pytest.mark.parametrize("value", ["", "v1=", "v2=" + "0" * 64, "v1=" + "é" * 64, "\udcff"])
def test_signatures_that_are_none(value: str) -> None:
    headers = signed(SECRET, Stamp("o-1", 1, NOW), b"{}")
    assert refusal({**headers, WEBHOOK_SIGNATURE: value}, b"{}") == "bad_signature"


def test_every_update_of_an_order_has_an_id_of_its_own() -> None:
    half = Update("o-1", "k", Status.WORKING, 50, 0)
    assert message_id(half) == "o-1.50"
    assert message_id(Update("o-1", "k", Status.CONFIRMED, 100, 0)) == "o-1"
