"""A cell's condition: its part of the id, its words, and what of it is left unsaid."""

import json
import re
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from harness.condition import DURABILITY, BrokerWay, Condition, PollWay, counted, duration, size
from protos.broker import BrokerAddress, Durability, read_broker

FIXED = PollWay("fixed", 20.0, 2000.0)

# One other value than the default for every field: a new field must be added here, and then shows
# in the id and in words.
OTHERS: dict[str, dict[str, Any]] = {
    "items": {"items": 10},
    "attachment_bytes": {"attachment_bytes": 65_536},
    "work_time": {"work_time": "exponential", "work_mean_ms": 2.5},
    "work_mean_ms": {"work_time": "fixed", "work_mean_ms": 2000.0},
    "queue": {"queue": 1},
    "late": {"queue": 1, "late": "5%"},
    "sharp": {"queue": 1, "sharp": True},
    "work_between": {"work_time": "fixed", "work_mean_ms": 2.0, "work_between": 9},
    "stall_ms": {"queue": 1, "stall_ms": 300.0},
    "subscribers": {"subscribers": 20},
    "stalled": {"subscribers": 20, "stalled": 1},
    "codec": {"codec": "protobuf"},
    "tls": {"tls": True},
    "compression": {"compression": True},
    "kept": {"kept": False},
    "poll": {"poll": FIXED},
    "cut_idle_s": {"cut_idle_s": 1.5},
    "remember": {"remember": "gateway"},
    "broker": {"broker": BrokerWay(durability="C", workers=2)},
    "store": {"store": "postgres"},
}


def test_what_is_usual_stands_in_no_name() -> None:
    assert Condition().slugs == ["items-3"]
    assert Condition().asked == ["3 items"]
    assert Condition().how == []


def test_orders_of_a_file_have_no_number_of_items() -> None:
    assert Condition(items=None).slugs == ["items-file"]
    assert Condition(items=None).asked == ["orders of the file"]


@pytest.mark.parametrize(
    ("changes", "slug", "asked", "how"),
    [
        ({"attachment_bytes": 65_536}, "attachment-65536", "64 KiB attached", None),
        ({"work_time": "fixed", "work_mean_ms": 2000.0}, "work-2000ms", "2 s work", None),
        (OTHERS["work_time"], "work-exp-2.5ms", "2.5 ms mean work", None),
        ({"queue": 2}, "queue-2", "in line for 2 workers", None),
        ({"late": "100us"}, "late-100us", "some answered 100us late", None),
        ({"late": "5%"}, "late-5pc", "some answered 5% late", None),
        ({"late": "1ms,5%"}, "late-1ms-5pc", "some answered 1ms, 5% late", None),
        ({"stall_ms": 300.0}, "stall-300ms", "stalls of 300 ms", None),
        ({"subscribers": 1000}, "subscribers-1000", "1,000 subscribers", None),
        ({"stalled": 1}, "stalled-1", "1 of them stalled", None),
        ({"codec": "json"}, "json", None, "JSON"),
        ({"codec": "protobuf"}, "protobuf", None, "protobuf"),
        ({"tls": True}, "tls", None, "TLS"),
        ({"compression": True}, "compressed", None, "compressed"),
        ({"kept": False}, "new-connections", None, "new connections"),
        (
            {"cut_idle_s": 1.5},
            "cut-idle-1.5s",
            "through a gateway that cuts after 1.5 s idle",
            None,
        ),
        ({"remember": "nothing"}, "remember-nothing", None, "forgets"),
        ({"remember": "requests"}, "remember-requests", None, "remembers"),
        ({"remember": "gateway"}, "remember-gateway", None, "gateway remembers"),
        ({"remember": "redis"}, "remember-redis", None, "Redis remembers"),
        ({"store": "postgres"}, "store-postgres", None, "PostgreSQL"),
        ({"poll": FIXED}, "poll-fixed-20ms", None, "every 20 ms"),
        (
            {"poll": PollWay("backoff", 20.0, 2000.0)},
            "poll-backoff-20ms",
            None,
            "backoff 20 ms",
        ),
        ({"poll": PollWay("long", 0.0, 2000.0)}, "poll-long-2000ms", None, "long polls"),
    ],
)  # fmt: skip
def test_what_is_not_usual_is_in_the_id_and_in_words(
    changes: dict[str, Any], slug: str, asked: str | None, how: str | None
) -> None:
    condition = replace(Condition(), **changes)
    assert condition.slugs == ["items-3", slug]
    assert condition.asked == ["3 items", *([asked] if asked else [])]
    assert condition.how == ([how] if how else [])


def test_nothing_that_differs_is_left_out_of_id_or_words() -> None:
    assert set(OTHERS) == {field.name for field in fields(Condition)}
    made = [Condition(), *(replace(Condition(), **changes) for changes in OTHERS.values())]
    assert len({".".join(each.slugs) for each in made}) == len(made)
    assert len({(*each.asked, *each.how) for each in made}) == len(made)


# The same, for what a broker's users choose.
OTHER_WAYS: dict[str, tuple[Any, str, str]] = {
    "partitions": (1, "partitions-1", "1 partition"),
    "workers": (2, "workers-2", "2 workers"),
    "prefetch": (1, "prefetch-1", "prefetch 1"),
    "commit": ("auto", "commit-auto", "commit auto"),
    "safe": (False, "unsafe", "unsafe producer"),
    "linger_ms": (2.5, "linger-2.5ms", "linger 2.5 ms"),
    "batch_bytes": (131_072, "batch-131072", "batches of 128 KiB"),
    "replies": ("direct", "replies-direct", "direct replies"),
}


def test_a_brokers_way_is_in_the_id_with_its_durability_always() -> None:
    assert {field.name for field in fields(BrokerWay)} == {"durability", *OTHER_WAYS}
    assert Condition(broker=BrokerWay()).slugs == ["items-3", "class-b"]
    assert Condition(broker=BrokerWay()).how == []
    for name, (value, slug, words) in OTHER_WAYS.items():
        condition = Condition(broker=replace(BrokerWay(), **{name: value}))
        assert condition.slugs == ["items-3", "class-b", slug]
        assert condition.how == [words]


def test_a_way_has_the_options_of_an_address() -> None:
    way = BrokerWay(durability="D", partitions=2, safe=False, workers=3)
    address = BrokerAddress("kafka", ("127.0.0.1:9092",), **way.options)
    assert (address.durability, address.partitions, address.safe) == ("D", 2, False)
    assert read_broker(str(address)) == address
    usual = asdict(BrokerAddress("kafka", ("h:1",)))
    assert BrokerWay().options == {name: usual[name] for name in BrokerWay().options}


def test_every_condition_has_a_durability_in_words() -> None:
    assert Condition().durability == "A"
    assert Condition(store="postgres").durability == "flushed"
    assert {Condition(broker=BrokerWay(durability=d)).durability for d in "ABCD"} == set("ABCD")
    assert {*"ABCD", "flushed"} == set(DURABILITY)
    assert set("ABCD") == {each.value for each in Durability}


def test_everything_at_once_is_a_folder_name_and_json() -> None:
    everything: dict[str, Any] = {}
    for changes in OTHERS.values():
        everything |= changes
    condition = replace(Condition(), **everything)
    assert re.fullmatch(r"[a-z0-9.-]+", ".".join(condition.slugs))
    shown = json.loads(json.dumps(condition.to_json(), allow_nan=False))
    assert shown["asked"] == condition.asked
    assert shown["how"] == condition.how
    assert shown["poll"] == {"policy": "fixed", "interval_ms": 20.0, "longest_ms": 2000.0}
    assert set(OTHERS) <= set(shown)


def test_numbers_in_words() -> None:
    assert [counted(n, "item") for n in (0, 1, 2, 10_000)] == [
        "0 items", "1 item", "2 items", "10,000 items",
    ]  # fmt: skip
    assert [size(n) for n in (0, 1023, 1024, 1536, 2**20, 3 * 2**20)] == [
        "0 B", "1023 B", "1 KiB", "1.5 KiB", "1 MiB", "3 MiB",
    ]  # fmt: skip
    assert [duration(ms) for ms in (0.5, 50.0, 999.0, 1000.0, 2500.0)] == [
        "0.5 ms", "50 ms", "999 ms", "1 s", "2.5 s",
    ]  # fmt: skip
