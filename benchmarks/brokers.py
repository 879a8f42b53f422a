"""The harness's ingest beside the brokers' own tools and the bare libraries, on the same brokers.

The harness's side is what a run does: a real generator child, a closed loop of `ingest` whose
window is what the tool may have in flight, orders of 300 bytes, one partition or queue, every
message recorded, and then taken by a worker that stood still during the load, as nobody consumes
from the tools either. What is printed is acknowledgements a second within the measured window; a
ledger that is not clean ends the benchmark.

All producers run on the generator's processor, as in a run, and the brokers on any: so each side
has the same, whatever threads it has (librdkafka and the tools' JVMs have some, asyncio has none).
With --unpinned all run on any processor, so that threads run beside each other where there is room.

Each figure is of the same seconds of its process's life: those after the first, which is
everybody's warm-up. --seconds says how many. A JVM goes on getting faster for longer than that, so
Kafka's side has a second comparison, `from its start`: the rate in ProducerPerformance's own last
line, for as many records as the harness sent just before, beside the harness's from the first
message sent to the last one acknowledged. That is what who starts either tool for so many messages
reads off it, and what issue 5's figures of the tool (98k to 144k/s) are of.

    python -m benchmarks.brokers --rounds 5 --seconds 4 [--only kafka] [--batch 16384] [--requests]
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from benchmarks.bare import purge
from benchmarks.native import (
    confirms,
    perf_test,
    perf_test_libs,
    producer_performance,
    producer_settings,
    rates,
    said_by,
    whole_rate,
)
from benchmarks.rounds import Line, Measure, Need, interleaved
from benchmarks.trial import SPEC, one_trial
from clients import catalog
from harness.analysis.trial import TrialResult, summarize_trial
from harness.load.messages import OrderSpec
from harness.load.orders import OrderBook
from harness.results import Samples, arrivals_path, read_arrivals
from harness.rig.broker import Source
from harness.rig.parts import BROKERS, start
from harness.rig.placement import Placement, this_machine
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_server
from orders.samples import sample_orders
from protos.broker import BrokerAddress, read_broker
from protos.codecs import JSON

BYTES = 300
WARM_UP_S = 1.0
KAFKA_WINDOW = 50_000
"""Messages in flight: the tool's 32 MiB of buffer hold about as many batches."""
FIRST_RECORDS = 1_000_000
KEY_PREFIX = "0123456789ab-"
"""As long as that of a trial."""


REQUESTS = {
    ("kafka", "aiokafka"): {1: 5.2, 16: 4.5},
    ("kafka", "confluent"): {1: 1.1, 16: 3.3},
    ("rabbitmq", "aio-pika"): {1: 1.0, 16: 9.4},
}
"""By (style, client): by messages in flight, the p50 in milliseconds that was once measured."""


@dataclass(slots=True)
class Bench:
    """One broker, and what is measured at it."""

    rig: Rig
    folder: Path
    place: Placement
    address: BrokerAddress
    """Of the broker, with the settings of all sides."""
    seconds: float
    orders: OrderSpec
    _names: Iterator[int] = field(default_factory=itertools.count)

    async def worker(self, entry: catalog.Entry, paused: bool, address: BrokerAddress) -> Server:
        """A worker, which makes the topics and queues of its address."""
        style = entry.talks_to
        serving = Serving(style, broker=str(address), paused=paused)
        return await start_server(self.rig, serving, self.place.server)

    async def trial(
        self, entry: catalog.Entry, operation: str, in_flight: int, address: BrokerAddress
    ) -> tuple[TrialResult, Samples]:
        """One trial at topics and queues of its own. Raises RuntimeError for one that failed."""
        ingests = operation == "ingest"
        own = replace(address, namespace=f"bench-{next(self._names)}")
        worker = await self.worker(entry, ingests, own)
        spec = replace(
            SPEC,
            operation=operation,
            driver=entry.driver,
            target=worker.address,
            load=replace(SPEC.load, model="closed", users=in_flight),
            warm_up_s=WARM_UP_S,
            duration_s=self.seconds,
            timeout_s=30.0,
            in_flight=in_flight,
            connections=1,
            order=self.orders,
        )
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            folder = Path(scratch)
            try:
                samples = await one_trial(
                    self.rig, spec, folder, None, self.place.generator, [worker] if ingests else []
                )
            finally:
                await self.rig.stop(worker.process)
            paths = [path for path in folder.glob("*.parquet") if path.stem.isalnum()]
            arrivals = read_arrivals(arrivals_path(paths[0]))
        result = summarize_trial(samples, 1, spec.timeout_s, arrivals=arrivals)
        name = f"{entry.style}:{entry.client}"
        if result.counts.done != result.counts.planned:
            raise RuntimeError(f"{name}: {result.counts}, {result.failures}")
        if ingests:
            kept = result.ledger
            if kept is None or not kept.clean or kept.imbalances:
                raise RuntimeError(f"{name}: not every message is accounted for: {kept}")
            print(f"  {name}: {'; '.join(kept.words)}")
        return result, samples

    async def alone(self, client: str, window: int, address: BrokerAddress) -> dict[str, float]:
        """What benchmarks.bare says. Raises RuntimeError if it failed."""
        words = [client, str(address), str(BYTES), str(window), str(WARM_UP_S), str(self.seconds)]
        argv = [sys.executable, "-m", "benchmarks.bare", *words]
        process = await self.rig.spawn("bare", argv, self.place.generator)
        said = await process.hear()
        await self.rig.stop(process)
        if said is None:
            raise RuntimeError(f"{client} alone failed: {self.rig.last_words('bare')}")
        return said

    async def prepared(self, entry: catalog.Entry) -> BrokerAddress:
        """An address whose topic and queue are there, for what records nothing."""
        own = replace(self.address, namespace="unrecorded")
        worker = await self.worker(entry, True, own)
        await self.rig.stop(worker.process)
        return own


async def kafka(bench: Bench, source: Source, rounds: int) -> None:
    """Messages a second of every Kafka client."""
    entries = [catalog.find("kafka", "confluent"), catalog.find("kafka", "aiokafka")]
    own = await bench.prepared(entries[0])
    records, seconds = FIRST_RECORDS, max(1, round(bench.seconds))
    after_s = round(WARM_UP_S)
    from_start: dict[str, list[float]] = {}

    async def said(count: int) -> str:
        argv = producer_performance(source, own, BYTES, count)
        return await said_by(argv, bench.place.generator, bench.seconds)

    async def tool() -> float:
        nonlocal records
        found = rates(await said(records), after_s)
        # Enough for the same seconds next time, whatever is faster then.
        records = round((seconds + 2 * after_s) * max(found))
        return fmean(found[:seconds])

    def recorded(entry: catalog.Entry) -> Measure:
        name = f"{entry.style}:{entry.client}"

        async def measure() -> float:
            result, samples = await bench.trial(entry, "ingest", KAFKA_WINDOW, bench.address)
            acked = samples.acked[samples.acked != 0]
            took_s = (acked.max() - samples.sent.min()) / 1e9
            from_start.setdefault(name, []).append(len(acked) / took_s)
            asked = whole_rate(await said(len(acked)))
            from_start.setdefault(f"ProducerPerformance beside {name}", []).append(asked)
            return result.acked_per_s

        return measure

    def alone(client: str) -> Measure:
        async def measure() -> float:
            return (await bench.alone(client, KAFKA_WINDOW, own))["per_s"]

        return measure

    print(
        f"\nKafka {source.version}: {BYTES} B, {', '.join(producer_settings(own))},"
        f" one partition, {KAFKA_WINDOW:,} in flight"
    )
    measures: dict[str, Measure] = {"ProducerPerformance": tool}
    for entry in entries:
        name = f"kafka:{entry.client}"
        measures |= {name: recorded(entry), f"{entry.client} alone": alone(name)}
    await tool()
    lines = await interleaved(measures, rounds)
    _print(lines, "messages/s", 0)
    for name, least in (("kafka:confluent", 0.7), ("kafka:aiokafka", 0.5)):
        print(Need(name, "ProducerPerformance", least).words(lines))
    print("\nfrom its start to its last acknowledgement, as many messages each")
    lines = {name: Line(tuple(values)) for name, values in from_start.items()}
    _print(lines, "messages/s", 0)
    for name, least in (("kafka:confluent", 0.7), ("kafka:aiokafka", 0.5)):
        print(Need(name, f"ProducerPerformance beside {name}", least).words(lines))


async def rabbitmq(bench: Bench, source: Source, rounds: int) -> None:
    """Confirmed messages a second of every RabbitMQ client, 100 in flight; and the median time to
    a confirm, one in flight."""
    libs = await asyncio.to_thread(perf_test_libs)
    entries = [catalog.find("rabbitmq", "aio-pika"), catalog.find("rabbitmq", "asyncio")]
    own = await bench.prepared(entries[0])
    total_s = round(WARM_UP_S + bench.seconds)

    def tool(in_flight: int) -> Measure:
        async def measure() -> float:
            argv = perf_test(libs, own, BYTES, in_flight, total_s)
            try:
                found = confirms(await said_by(argv, bench.place.generator, total_s), WARM_UP_S)
            finally:
                await purge(own)
            return found.per_s if in_flight > 1 else found.p50_us

        return measure

    def recorded(entry: catalog.Entry, in_flight: int) -> Measure:
        async def measure() -> float:
            result, _ = await bench.trial(entry, "ingest", in_flight, bench.address)
            assert result.ack is not None
            return result.acked_per_s if in_flight > 1 else result.ack.p50 * 1e3

        return measure

    def alone(client: str, in_flight: int) -> Measure:
        async def measure() -> float:
            try:
                said = await bench.alone(client, in_flight, own)
            finally:
                await purge(own)
            return said["per_s" if in_flight > 1 else "p50_us"]

        return measure

    await tool(100)()
    for in_flight, unit in ((100, "messages/s"), (1, "µs to a confirm, p50")):
        print(
            f"\nRabbitMQ {source.version}: {BYTES} B, persistent, mandatory, confirmed, one durable"
            f" classic queue, {in_flight} in flight"
        )
        measures = {"PerfTest": tool(in_flight)}
        for entry in entries:
            name = f"rabbitmq:{entry.client}"
            measures[name] = recorded(entry, in_flight)
            measures[f"{entry.client} alone"] = alone(name, in_flight)
        lines = await interleaved(measures, rounds)
        _print(lines, unit, 0)
        if in_flight > 1:
            needs = [
                Need("rabbitmq:aio-pika", "PerfTest", least=0.45),
                Need("rabbitmq:asyncio", "PerfTest", least=0.7),
            ]
        else:
            needs = [Need(f"rabbitmq:{e.client}", "PerfTest", most=1.6) for e in entries]
        for need in needs:
            print(need.words(lines))


async def requests(bench: Bench, rounds: int) -> None:
    """The p50 of request and reply, in milliseconds: one partition, else the usual settings."""
    given = bench.address
    usual = BrokerAddress(given.scheme, given.hosts, given.user, given.password, partitions=1)

    def asked(entry: catalog.Entry, in_flight: int) -> Measure:
        async def measure() -> float:
            result, _ = await bench.trial(entry, "place", in_flight, usual)
            return result.latency.p50

        return measure

    wanted = {
        f"{style}:{client}, {in_flight} in flight": (style, client, in_flight, once)
        for (style, client), by_in_flight in REQUESTS.items()
        if style == bench.address.kind
        for in_flight, once in by_in_flight.items()
    }
    print("\nrequest and reply")
    lines = await interleaved(
        {name: asked(catalog.find(s, c), n) for name, (s, c, n, _) in wanted.items()}, rounds
    )
    for name, (*_, once) in wanted.items():
        met = "met" if lines[name].median <= once else "MISSED"
        print(f"{name:<32} {lines[name].words(f'ms p50 (at most {once:g}: {met})', 2)}")


def _print(lines: Mapping[str, Line], unit: str, digits: int) -> None:
    for name, line in lines.items():
        print(f"{name:<32} {line.words(unit, digits)}")


def order_file(path: Path, size: int) -> OrderSpec:
    """Orders that are `size` bytes long as JSON when their number has five digits; a digit more or
    less makes them a byte longer or shorter."""
    lines = []
    for order in sample_orders(3, 1):
        order = replace(order, idempotency_key=f"{KEY_PREFIX}00000")
        missing = size - len(JSON.encode_order(order))
        lines.append(
            JSON.encode_order(replace(order, customer_id=order.customer_id + "x" * missing))
        )
    path.write_bytes(b"\n".join(lines))
    return OrderSpec(items=None, file=str(path))


def mean_size(orders: OrderSpec, count: int) -> float:
    """Of the first `count` orders of a trial, as JSON."""
    book = OrderBook(orders, KEY_PREFIX, SPEC.seed, SPEC.block)
    return fmean(len(JSON.encode_order(book.order(number))) for number in range(count))


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured, of each trial")
    parser.add_argument("--only", default=",".join(BROKERS), help="brokers, by comma")
    parser.add_argument("--batch", type=int, default=131_072, help="Kafka's batch.size, in bytes")
    parser.add_argument("--linger", type=float, default=5.0, help="Kafka's linger.ms")
    parser.add_argument("--requests", action="store_true", help="request and reply as well")
    parser.add_argument("--unpinned", action="store_true", help="let all run on any processor")
    options = parser.parse_args(words)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(BROKERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(BROKERS)}")
    return options


async def main() -> int:
    """Measure and print."""
    options = parsed()
    place = Placement(None, None) if options.unpinned else this_machine()
    pinned = "any processor" if place.generator is None else f"processor {place.generator[0]}"
    print(f"all producers on {pinned}, the brokers on any")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        orders = order_file(folder / "orders.jsonl", BYTES)
        print(f"a message of the harness: {mean_size(orders, 300_000):.1f} B on average")
        async with Rig(folder / "logs") as rig:
            for part in options.only:
                broker = await start(part, rig)
                try:
                    address = replace(
                        read_broker(broker.address),
                        partitions=1,
                        linger_ms=options.linger,
                        batch_bytes=options.batch,
                        prefetch=500,
                    )
                    bench = Bench(rig, folder, place, address, options.seconds, orders)
                    measure = kafka if part == "kafka" else rabbitmq
                    await measure(bench, broker.source, options.rounds)
                    if options.requests:
                        await requests(bench, options.rounds)
                finally:
                    await broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
