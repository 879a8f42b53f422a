"""What both sides of a broker agree on: its address, and the stamp of a message."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.redaction import redacted
from protos.arrivals import ROW, Arrivals
from protos.broker import BrokerAddress, Commit, Durability, read_broker
from protos.stamp import read_stamp, stamp

HOSTS = st.lists(
    st.tuples(st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True), st.integers(1, 65_535)).map(
        lambda both: f"{both[0]}:{both[1]}"
    ),
    min_size=1,
    max_size=3,
).map(tuple)
ADDRESSES = st.builds(
    BrokerAddress,
    scheme=st.sampled_from(["kafka", "kafkas", "amqp", "amqps"]),
    hosts=HOSTS,
    user=st.text(max_size=5).filter(bool),
    password=st.text(max_size=5),
    namespace=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,8}", fullmatch=True),
    durability=st.sampled_from(Durability),
    partitions=st.integers(1, 99),
    safe=st.booleans(),
    linger_ms=st.floats(0, 1e4),
    batch_bytes=st.integers(1, 2**23),
    prefetch=st.integers(1, 10_000),
    commit=st.sampled_from(Commit),
    replies=st.sampled_from(["queue", "direct"]),
    create=st.booleans(),
    mechanism=st.just("SCRAM-SHA-512"),
    ca=st.sampled_from(["", "a folder/ca.pem"]),
)


@given(ADDRESSES)
def test_an_address_can_be_written_down_and_read(address: BrokerAddress) -> None:
    assert read_broker(str(address)) == address


def test_what_is_usual_is_left_out() -> None:
    assert str(read_broker("kafka://127.0.0.1:9092")) == "kafka://127.0.0.1:9092/orderbench"
    read = read_broker("amqps://u@h:1/shop?durability=D&linger_ms=2.5")
    assert (read.kind, read.tls, read.user, read.password) == ("rabbitmq", True, "u", "")
    assert (read.durability, read.linger_ms, read.namespace) == ("D", 2.5, "shop")


def test_names_begin_with_the_namespace() -> None:
    address = read_broker("kafka://h:1/t1")
    names = [address.orders, address.replies_to, address.changes, address.group, address.queue(3)]
    assert names == ["t1.orders", "t1.replies", "t1.changes", "t1.workers", "t1.orders.3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h:1", "begins with one of kafka"),
        ("redis://h:1", "begins with one of kafka"),
        ("kafka://h", "'h' is not host:port"),
        ("kafka://h:0", "'h:0' is not host:port"),
        ("kafka://h:1,:2", "':2' is not host:port"),
        ("kafka://h:1/a b", "the namespace 'a b'"),
        ("kafka://h:1?durability=E", "durability=E: 'E' is not a valid Durability"),
        ("kafka://h:1?commit=never", "commit=never"),
        ("kafka://h:1?partitions=0", "partitions=0: at least 1"),
        ("kafka://h:1?linger_ms=nan", "linger_ms=nan: at least 0"),
        ("kafka://h:1?prefetch=many", "prefetch=many"),
        ("kafka://h:1?create=yes", "create=yes: 0 or 1"),
        ("kafka://h:1?replies=none", "one of queue, direct"),
        ("kafka://h:1?acks=1", "acks=1: unknown; there are: durability"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_broker(text)


def test_every_mistake_at_once_and_no_secret() -> None:
    with pytest.raises(ValueError, match="not host:port") as caught:
        read_broker("kafka://me:hunter2@h,g?partitions=0&acks=1")
    assert str(caught.value).count(";") >= 3
    assert "hunter2" not in str(caught.value)


def test_an_address_is_shown_without_its_secret() -> None:
    address = read_broker("kafka://me:hunter2@h:1,g:2/t?durability=C")
    assert redacted(str(address)) == "kafka://***@h:1,g:2/t?durability=***"


def test_classes_need_nodes() -> None:
    assert [each.nodes for each in Durability] == [1, 1, 3, 3]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_a_stamp_fits_its_message_alone(producer: int, sequence: int, body: bytes) -> None:
    read = read_stamp(stamp(producer, sequence, body))
    assert read is not None
    assert (read.producer, read.sequence) == (producer, sequence)
    assert read.fits(body)
    assert not read.fits(body + b"x")
    for at in range(0, len(body), 37):
        assert not read.fits(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])


@pytest.mark.parametrize("value", [b"", b"short", bytes(19), bytes(21)])
def test_what_is_no_stamp_is_none(value: bytes) -> None:
    assert read_stamp(value) is None


def test_a_row_has_its_size() -> None:
    assert ROW.size == 40
    rows = Arrivals(1)
    rows.add(1, 2, 3, 4, True)
    assert len(rows) == 1
