"""The brokers' own load tools: how they are started, and the figures in what they print.

Kafka's ProducerPerformance is among Kafka's jars. RabbitMQ's PerfTest is brought into the harness's
cache by its Maven coordinates.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from harness.rig.broker import Source
from harness.rig.cache import filled
from harness.rig.jars import bring_jars
from harness.rig.kafka_source import find_java, kafka_command
from protos.broker import BrokerAddress
from protos.kafka import confluent_producer

PERF_TEST = "com.rabbitmq:perf-test:2.22.1"
END_LIMIT_S = 120.0
"""For a tool to end, on top of the time that it shall run."""

_SECOND = re.compile(r"^\d+ records sent, ([\d.]+) records/sec .* max latency\.$", re.MULTILINE)
_WHOLE = re.compile(r"^\d+ records sent, ([\d.]+) records/sec .* 99th, .*$", re.MULTILINE)
_INTERVAL = re.compile(
    r"time ([\d.]+) s,.* returned: (\d+) msg/s, confirmed: (\d+) msg/s, nacked: (\d+) msg/s,"
    r" min/median/75th/95th/99th confirm latency: \d+/(\d+)/"
)


@dataclass(frozen=True, slots=True)
class Confirms:
    """What PerfTest saw after its warm-up."""

    per_s: float
    p50_us: float
    """The middle of its intervals' medians."""


def producer_performance(
    kafka: Source, address: BrokerAddress, size: int, records: int
) -> list[str]:
    """The command line: `records` of `size` bytes, with the settings that the drivers take from an
    address, and a line a second."""
    return kafka_command(
        kafka,
        "org.apache.kafka.tools.ProducerPerformance",
        *("--bootstrap-server", ",".join(address.hosts), "--topic", address.orders),
        *("--num-records", str(records), "--reporting-interval", "1000"),
        *("--record-size", str(size), "--throughput", "-1"),
        *("--command-property", *producer_settings(address)),
    )


def producer_settings(address: BrokerAddress) -> list[str]:
    """What a producer's rate depends on, as Kafka's properties: `acks=all`..."""
    options = confluent_producer(address, False, 0)
    return [
        f"acks={options['acks']}",
        f"enable.idempotence={str(options['enable.idempotence']).lower()}",
        f"linger.ms={options['linger.ms']:.0f}",
        f"batch.size={options['batch.size']}",
    ]


def rates(said: str, after_s: int) -> list[float]:
    """ProducerPerformance's records a second in each whole second, but the first `after_s`.

    Raises RuntimeError where there is none.
    """
    found = [float(rate) for rate in _SECOND.findall(said)][after_s:]
    if not found:
        raise RuntimeError(f"ProducerPerformance ended within {after_s + 1} s:\n{said}")
    return found


def whole_rate(said: str) -> float:
    """ProducerPerformance's own figure: records a second from its start to its end.

    Raises RuntimeError where there is none.
    """
    found = _WHOLE.search(said)
    if found is None:
        raise RuntimeError(f"ProducerPerformance did not end:\n{said}")
    return float(found[1])


def perf_test(
    libs: Path, address: BrokerAddress, size: int, in_flight: int, seconds: int
) -> list[str]:
    """The command line: one producer of persistent messages of `size` bytes that must reach the
    durable classic queue of partition 0, `in_flight` unconfirmed at most; nobody consumes."""
    uri = f"amqp://{address.user}:{address.password}@{address.hosts[0]}"
    return [
        *(find_java()["java"], "-cp", f"{libs}/*", "com.rabbitmq.perf.PerfTest", "-h", uri),
        *("-x", "1", "-y", "0", "-c", str(in_flight), "-s", str(size)),
        *("-f", "persistent", "-f", "mandatory", "-i", "1", "-z", str(seconds)),
        *("-u", address.queue(0), "-ad", "false", "-qa", "x-queue-type=classic"),
    ]


def confirms(said: str, warm_up_s: float) -> Confirms:
    """From the lines of the intervals that began after `warm_up_s` seconds.

    Raises RuntimeError where there is none, and if a message was returned or not taken.
    """
    began, spans, rates, medians = 0.0, [], [], []
    for at, returned, confirmed, nacked, p50 in _INTERVAL.findall(said):
        if int(returned) or int(nacked):
            raise RuntimeError(f"PerfTest lost messages:\n{said}")
        # It is some milliseconds late at the end of each interval.
        if began > warm_up_s - 0.5:
            spans.append(float(at) - began)
            rates.append(int(confirmed))
            medians.append(int(p50))
        began = float(at)
    if not spans:
        raise RuntimeError(f"PerfTest confirms nothing after {warm_up_s:g} s:\n{said}")
    total = sum(rate * span for rate, span in zip(rates, spans, strict=True))
    return Confirms(total / sum(spans), median(medians))


async def said_by(argv: Sequence[str], cpus: Sequence[int] | None, limit_s: float) -> str:
    """What a tool prints until it ends, run on `cpus` only where given. Raises RuntimeError if it
    fails, or has not ended END_LIMIT_S after `limit_s` seconds."""
    pinned = ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []
    process = await asyncio.create_subprocess_exec(
        *pinned,
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(limit_s + END_LIMIT_S):
            said = (await process.communicate())[0].decode(errors="replace")
    except TimeoutError:
        raise RuntimeError(f"{argv[0]} did not end") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"{argv[0]} ended with code {process.returncode}:\n{said}")
    return said


def perf_test_libs() -> Path:
    """The folder of PerfTest's jars, installed into the cache first where that is needed. Blocks.
    Raises what jgo raises, and OSError."""
    name = PERF_TEST.partition(":")[2].replace(":", "-")
    return filled(name, partial(bring_jars, [PERF_TEST]))
