"""What the brokers' own tools print, and what they are told."""

from pathlib import Path

import pytest

from benchmarks import native
from benchmarks.brokers import BYTES, mean_size, order_file, parsed
from benchmarks.native import (
    confirms,
    perf_test,
    producer_performance,
    producer_settings,
    rates,
    whole_rate,
)
from benchmarks.rounds import Line, Need
from harness.rig.broker import Source
from orders.samples import orders_from_file
from protos.broker import BrokerAddress, Durability

SUMMARY = (
    "900000 records sent, 62942.564910 records/sec (18.01 MB/sec), 593.30 ms avg latency,"
    " 982.00 ms max latency, 592 ms 50th, 946 ms 95th, 964 ms 99th, 977 ms 99.9th."
)
SECONDS = "".join(
    f"{rate} records sent, {rate}.5 records/sec (10.94 MB/sec), 226.1 ms avg latency,"
    " 548.0 ms max latency.\n"
    for rate in (100, 300, 500)
)
KAFKA = Source("kafka", "cache", "4.3.1", "", {"java": "/j/bin/java", "libs": "/l"})
TO_KAFKA = BrokerAddress(
    "kafka", ("h:1", "h:2"), namespace="n", linger_ms=5.0, batch_bytes=131_072, partitions=1
)
TO_RABBITMQ = BrokerAddress("amqp", ("h:1",), "guest", "secret", namespace="n", partitions=1)


def interval(at: float, confirmed: int, p50: int = 500, returned: int = 0, nacked: int = 0) -> str:
    return (
        f"id: test-1, time {at:.3f} s, sent: {confirmed + 7} msg/s, returned: {returned} msg/s,"
        f" confirmed: {confirmed} msg/s, nacked: {nacked} msg/s,"
        f" min/median/75th/95th/99th confirm latency: 3/{p50}/800/1300/16725 µs"
    )


def said(*intervals: str) -> str:
    summary = "id: test-1, confirm latency min/median/75th/95th/99th 1/2/3/4/5 µs"
    return "\n".join(["id: test-1, starting producer #0", *intervals, "test stopped", summary])


def test_seconds_of_the_warm_up_do_not_count_nor_does_the_summary() -> None:
    assert rates(f"{SECONDS}{SUMMARY}\n", 0) == [100.5, 300.5, 500.5]
    assert rates(f"{SECONDS}{SUMMARY}\n", 1) == [300.5, 500.5]


def test_the_tools_own_figure_is_the_one_in_its_last_line() -> None:
    assert whole_rate(f"{SECONDS}{SUMMARY}\n") == 62942.56491
    with pytest.raises(RuntimeError, match="did not end"):
        whole_rate(SECONDS)


@pytest.mark.parametrize("words", ["", SUMMARY, SECONDS])
def test_a_tool_that_ends_too_soon_is_an_error_with_its_words(words: str) -> None:
    with pytest.raises(RuntimeError, match="within 4 s") as raised:
        rates(words, 3)
    assert words in str(raised.value)


def test_intervals_of_the_warm_up_do_not_count() -> None:
    found = confirms(
        said(
            interval(1.002, 100, 9000),
            interval(2.001, 200, 400),
            interval(4.001, 500, 600),
            interval(4.5, 100, 500),
        ),
        1.0,
    )
    assert found.per_s == pytest.approx((200 * 0.999 + 500 * 2.0 + 100 * 0.499) / 3.498)
    assert found.p50_us == 500


def test_an_interval_that_ends_early_is_still_warm_up() -> None:
    lines = said(interval(0.998, 100), interval(1.997, 300), interval(2.998, 500))
    assert confirms(lines, 1.0).per_s == pytest.approx(400, rel=0.01)
    assert confirms(lines, 2.0).per_s == pytest.approx(500)


@pytest.mark.parametrize("wrong", [{"returned": 1}, {"nacked": 1}])
def test_messages_that_were_not_taken_are_an_error(wrong: dict[str, int]) -> None:
    with pytest.raises(RuntimeError, match="lost"):
        confirms(said(interval(1.0, 5, **wrong), interval(2.0, 5)), 1.0)


@pytest.mark.parametrize("words", ["", said(), said(interval(1.0, 5))])
def test_no_interval_after_the_warm_up_is_an_error(words: str) -> None:
    with pytest.raises(RuntimeError, match="nothing after 1 s"):
        confirms(words, 1.0)


def test_kafkas_tool_is_told_the_drivers_settings() -> None:
    words = producer_performance(KAFKA, TO_KAFKA, 300, 5000)
    assert words[:4] == [
        "/j/bin/java", "-cp", "/l/*", "org.apache.kafka.tools.ProducerPerformance"
    ]  # fmt: skip
    told = dict(zip(words[4:16:2], words[5:16:2], strict=True))
    assert told == {
        "--bootstrap-server": "h:1,h:2",
        "--topic": "n.orders",
        "--num-records": "5000",
        "--reporting-interval": "1000",
        "--record-size": "300",
        "--throughput": "-1",
    }
    assert words[16:] == ["--command-property", *producer_settings(TO_KAFKA)]
    assert words[-2:] == ["linger.ms=5", "batch.size=131072"]


@pytest.mark.parametrize(
    ("durability", "acks", "idempotent"),
    [(Durability.NONE, "0", "false"), (Durability.REPLICATED, "all", "true")],
)
def test_a_producer_is_as_safe_as_its_class(
    durability: Durability, acks: str, idempotent: str
) -> None:
    settings = producer_settings(TO_KAFKA.with_options(durability=durability))
    assert settings[:2] == [f"acks={acks}", f"enable.idempotence={idempotent}"]


def test_perf_test_is_told_the_drivers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "find_java", lambda: {"java": "/j/bin/java"})
    words = perf_test(Path("/p"), TO_RABBITMQ, 300, 100, 5)
    assert words[:4] == ["/j/bin/java", "-cp", "/p/*", "com.rabbitmq.perf.PerfTest"]
    told = list(zip(words[4::2], words[5::2], strict=True))
    assert ("-h", "amqp://guest:secret@h:1") in told
    assert [value for name, value in told if name == "-f"] == ["persistent", "mandatory"]
    assert {("-x", "1"), ("-y", "0"), ("-c", "100"), ("-s", "300"), ("-z", "5")} <= set(told)
    assert {("-u", "n.orders.0"), ("-ad", "false"), ("-qa", "x-queue-type=classic")} <= set(told)


def test_a_message_is_as_long_as_the_tools_records(tmp_path: Path) -> None:
    orders = order_file(tmp_path / "orders.jsonl", BYTES)
    assert len(orders_from_file(tmp_path / "orders.jsonl")) > 1
    assert mean_size(orders, 10) == BYTES - 4
    assert abs(mean_size(orders, 100_000) - BYTES) < 0.5


@pytest.mark.parametrize(
    ("need", "met"),
    [
        (Need("a", "b", least=0.5), True),
        (Need("a", "b", least=0.51), False),
        (Need("b", "a", most=2.0), True),
        (Need("b", "a", most=1.9), False),
    ],
)
def test_a_requirement_is_met_or_missed_by_the_median_ratio(need: Need, met: bool) -> None:
    lines = {"a": Line((1.0, 5.0, 9.0)), "b": Line((4.0, 10.0, 10.0))}
    said = need.words(lines)
    assert ("MISSED" in said) != met
    assert f"{need.least or need.most:g}" in said


def test_arguments() -> None:
    usual = parsed([])
    assert (usual.rounds, usual.batch, usual.only) == (5, 131_072, ["kafka", "rabbitmq"])
    assert not usual.unpinned
    told = parsed(["--only", "rabbitmq", "--batch", "16384", "--requests", "--unpinned"])
    assert (told.only, told.batch, told.requests, told.unpinned) == (
        ["rabbitmq"],
        16_384,
        True,
        True,
    )


def test_a_broker_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(["--only", "kafka,redis"])
    assert ended.value.code == 2
    assert "unknown: redis" in capsys.readouterr().err
