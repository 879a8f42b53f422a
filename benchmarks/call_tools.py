"""The native load tools of HTTP and gRPC: how they are started, and the figures in what they print.

oha and ghz are built by their languages' own clients (`cargo install oha --locked`, `go install
github.com/bojand/ghz/cmd/ghz@latest`, `go install go.k6.io/k6@latest`), wrk and h2load come with
the system (wrk, nghttp2-client), Locust is in the project's environment. A folder may be given in
which they are looked for first. All but Locust place one and the same order, at a service that
forgets; Locust places the generator's, each under a key of its own.
"""

import json
import math
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.native import said_by
from harness.rig.placement import this_machine
from orders.pricing import total_cents
from orders.samples import sample_orders
from protos.codecs import JSON, PROTOBUF
from protos.http import ORDERS_PATH
from protos.rpc import framed, method_in

PROTO = Path(__file__).parent.parent / "protos" / "orders.proto"
ORDERS = sample_orders(3, 1)
"""The generator's, of three lines and the usual seed."""
ORDER = ORDERS[0]
BODY = JSON.encode_order(ORDER)
_KEY = "<key>"
BODIES = [
    JSON.encode_order(replace(order, idempotency_key=_KEY)).decode().split(_KEY) for order in ORDERS
]
"""What comes before the key of each order, and after it."""
TOTALS = [total_cents(order) for order in ORDERS]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a tool saw. What it does not tell is None."""

    per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us_per_op: float | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """Where tools are, and a folder for what they read."""

    scratch: Path
    folder: Path | None = None

    def find(self, name: str) -> str | None:
        """The program of a name; None if it is not there."""
        own = None if self.folder is None else shutil.which(name, path=str(self.folder))
        return own or shutil.which(name)

    async def oha(self, address: str, rate: float, seconds: float, most: int) -> Figures:
        """Open loop: `rate` a second over `most` connections, latency from the plan on."""
        argv = [self._program("oha"), "-q", f"{rate:g}", "-z", f"{seconds:g}s", "-c", str(most)]
        argv += ["--latency-correction", "--no-tui", "--output-format", "json", "-m", "POST"]
        argv += ["-T", JSON.media_type, "-d", BODY.decode(), address + ORDERS_PATH]
        return oha_figures(await self._said(argv, seconds))

    async def k6(self, address: str, rate: float, seconds: float, most: int) -> Figures:
        """Open loop by `most` virtual users, over HTTP or, to an address without a scheme, gRPC."""
        script = self.scratch / "k6.js"
        script.write_text(k6_script(address, rate, WARM_UP_S, seconds, most))
        argv = [self._program("k6"), "run", "--quiet", "--no-usage-report", str(script)]
        return k6_figures(await self._said(argv, WARM_UP_S + seconds))

    async def ghz(
        self, address: str, seconds: float, workers: int, channels: int, rate: float | None = None
    ) -> Figures:
        """Closed loop of `workers`; with `rate` open loop, by --async."""
        argv = [self._program("ghz"), "--insecure", "--proto", str(PROTO), "-O", "json"]
        argv += ["--call", method_in(PROTOBUF, "Place").strip("/"), "-d", BODY.decode()]
        argv += ["-z", f"{WARM_UP_S + seconds:g}s", "--duration-stop", "wait"]
        argv += ["-c", str(workers), "--connections", str(channels)]
        if rate is not None:
            argv += ["--rps", f"{rate:g}", "--async", "--skipFirst", str(round(rate * WARM_UP_S))]
        return ghz_figures(await self._said([*argv, address], WARM_UP_S + seconds))

    async def h2load(self, address: str, seconds: float, connections: int, streams: int) -> Figures:
        """Closed loop of gRPC calls by so many connections of so many streams."""
        body = self.scratch / "order.grpc"
        body.write_bytes(framed(PROTOBUF.encode_order(ORDER)))
        argv = [self._program("h2load"), "-t", "1", "-c", str(connections), "-m", str(streams)]
        argv += ["-D", f"{seconds:g}", "--warm-up-time", f"{WARM_UP_S:g}", "-d", str(body)]
        argv += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        argv += [f"http://{address}{method_in(PROTOBUF, 'Place')}"]
        return h2load_figures(await self._said(argv, seconds))

    async def locust(
        self, address: str, users: int, seconds: float, checks: bool = False
    ) -> Figures:
        """Closed loop of `users` of FastHttpUser, in one process. With `checks` it does what the
        generator does: encodes each order, decodes each answer, and holds it against its order;
        without, it sends what was encoded before, and looks at the status alone."""
        script, bodies = self.scratch / "fast_locustfile.py", self.scratch / "bodies.json"
        script.write_text(LOCUST_FILE)
        bodies.write_text(json.dumps([[*b, t] for b, t in zip(BODIES, TOTALS, strict=True)]))
        argv = [sys.executable, "-P", "-m", "locust", "-f", str(script), "--headless"]
        argv += ["--host", address, "-u", str(users), "-r", str(users)]
        argv += ["--loglevel", "ERROR", "--only-summary"]
        argv += ["--orders-path", ORDERS_PATH, "--bodies", str(bodies)]
        argv += ["--warm-up", f"{WARM_UP_S:g}", "--seconds", f"{seconds:g}"]
        argv += ["--checks"] if checks else []
        return locust_figures(await self._said(argv, WARM_UP_S + seconds))

    def _program(self, name: str) -> str:
        found = self.find(name)
        if found is None:
            raise RuntimeError(f"{name} is not there; see benchmarks/call_tools.py")
        return found

    async def _said(self, argv: Sequence[str], seconds: float) -> str:
        return await said_by(argv, this_machine().generator, seconds)


WARM_UP_S = 1.0
"""What of a tool's run is thrown away, where it can."""


def oha_figures(said: str) -> Figures:
    """From its JSON. Raises RuntimeError if an order was not confirmed."""
    found = json.loads(said)
    summary, marks = found["summary"], found["latencyPercentiles"]
    # Those under way when the time is over are cut off.
    wrong = {k: n for k, n in found["errorDistribution"].items() if "deadline" not in k}
    if wrong or set(found["statusCodeDistribution"]) != {"201"}:
        raise RuntimeError(f"oha: {found['statusCodeDistribution']}, {wrong}")
    return Figures(summary["requestsPerSec"], marks["p50"] * 1e3, marks["p99"] * 1e3)


_K6_REST = """
import http from 'k6/http';
const call = () =>
  http.post(given.address + given.path, given.text, given.parameters).status === 201;
"""
_K6_GRPC = """
import grpc from 'k6/net/grpc';
const client = new grpc.Client();
client.load([given.folder], given.file);
const body = JSON.parse(given.text);
let connected = false;
const call = () => {
  if (!connected) {
    client.connect(given.address, {plaintext: true});
    connected = true;
  }
  return client.invoke(given.method, body).status === grpc.StatusOK;
};
"""
_K6_EACH = """
import {check} from 'k6';
export const options = given.options;
export default function () {
  check(call(), {good: (good) => good});
}
export function handleSummary(data) {
  const seen = data.metrics[given.metric + '{scenario:main}'].values;
  const dropped = data.metrics['dropped_iterations{scenario:main}'];
  return {stdout: JSON.stringify({
    p50_ms: seen.med, p99_ms: seen['p(99)'], count: seen.count, seconds: given.seconds,
    good: data.metrics.checks.values.rate, dropped: dropped ? dropped.values.count : 0,
  }) + '\\n'};
}
"""


def k6_script(address: str, rate: float, warm_up_s: float, seconds: float, most: int) -> str:
    """Open loop, whose summary of what came after the warm-up is one JSON line."""
    rest = "://" in address
    metric = "http_req_duration" if rest else "grpc_req_duration"
    common = {
        "executor": "constant-arrival-rate",
        "rate": rate,
        "timeUnit": "1s",
        "preAllocatedVUs": most,
        "maxVUs": 4 * most,
    }
    given = {
        "address": address,
        "path": ORDERS_PATH,
        "parameters": {"headers": {"Content-Type": JSON.media_type}},
        "folder": str(PROTO.parent),
        "file": PROTO.name,
        "method": method_in(PROTOBUF, "Place").strip("/"),
        "text": BODY.decode(),
        "metric": metric,
        "seconds": seconds,
        "options": {
            "scenarios": {
                "before": {**common, "duration": f"{warm_up_s:g}s"},
                "main": {**common, "duration": f"{seconds:g}s", "startTime": f"{warm_up_s:g}s"},
            },
            "summaryTrendStats": ["med", "p(99)", "count"],
            # Of one scenario alone there are figures where something is asked of them.
            "thresholds": {
                f"{metric}{{scenario:main}}": ["max>=0"],
                "dropped_iterations{scenario:main}": ["count>=0"],
            },
        },
    }
    return f"const given = {json.dumps(given)};\n{_K6_REST if rest else _K6_GRPC}{_K6_EACH}"


def k6_figures(said: str) -> Figures:
    """From the line that is JSON; iterations that it dropped rank last, as ours do. Raises
    RuntimeError if an order was not confirmed."""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    found = json.loads(lines[0]) if lines else {}
    if found.get("good") != 1:
        raise RuntimeError(f"k6:\n{said}")
    count, dropped = found["count"], found["dropped"]
    p50, p99 = (
        found[name] if dropped <= share * (count + dropped) else math.inf
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.01))
    )
    return Figures(count / found["seconds"], p50, p99)


def ghz_figures(said: str) -> Figures:
    """From its JSON. Raises RuntimeError if an order was not confirmed."""
    found = json.loads(said)
    if set(found["statusCodeDistribution"]) != {"OK"}:
        raise RuntimeError(f"ghz: {found['statusCodeDistribution']}, {found['errorDistribution']}")
    marks = {each["percentage"]: each["latency"] / 1e6 for each in found["latencyDistribution"]}
    return Figures(found["rps"], marks[50], marks[99])


_H2LOAD_RATE = re.compile(r"finished in .*, ([\d.]+) req/s")
_H2LOAD_FAILED = re.compile(r"(\d+) failed, (\d+) errored, (\d+) timeout")


def h2load_figures(said: str) -> Figures:
    """From its words. Raises RuntimeError if a request failed. Of gRPC's status, which trails the
    answer, it knows nothing."""
    rate, failed = _H2LOAD_RATE.search(said), _H2LOAD_FAILED.search(said)
    if rate is None or failed is None or set(failed.groups()) != {"0"}:
        raise RuntimeError(f"h2load:\n{said}")
    return Figures(float(rate[1]))


LOCUST_FILE = """
import itertools, json, secrets, time
from pathlib import Path
import gevent, orjson
from locust import FastHttpUser, constant, events, task

@events.init_command_line_parser.add_listener
def arguments(parser):
    for name in ("orders-path", "bodies"):
        parser.add_argument("--" + name)
    for name in ("warm-up", "seconds"):
        parser.add_argument("--" + name, type=float)
    parser.add_argument("--checks", action="store_true")

@events.init.add_listener
def prepare(environment, **_):
    options = environment.parsed_options
    Caller.path = options.orders_path
    Caller.bodies = json.loads(Path(options.bodies).read_text())
    Caller.orders = [(json.loads(b + a), total) for b, a, total in Caller.bodies]
    Caller.tasks = [Caller.check if options.checks else Caller.place]

class Caller(FastHttpUser):
    wait_time = constant(0)
    prefix = secrets.token_hex(6) + "-"
    numbers = itertools.count()
    headers = {"Content-Type": "application/json"}

    @task
    def place(self):
        number = next(self.numbers)
        before, after, _ = self.bodies[number % len(self.bodies)]
        body = f"{before}{self.prefix}{number}{after}"
        self.client.post(self.path, data=body, headers=self.headers)

    def check(self):
        number = next(self.numbers)
        order, total = self.orders[number % len(self.orders)]
        key = f"{self.prefix}{number}"
        body = orjson.dumps({**order, "idempotency_key": key})
        with self.client.post(
            self.path, data=body, headers=self.headers, catch_response=True
        ) as answer:
            if answer.status_code != 201:
                answer.failure(str(answer.status_code))
                return
            found = orjson.loads(answer.content)
            if found["idempotency_key"] != key or found["total_cents"] != total:
                answer.failure("another order's answer")

@events.test_start.add_listener
def begin(environment, **_):
    options, total = environment.parsed_options, environment.stats.total

    def measure():
        gevent.sleep(options.warm_up)
        began, cpu, count = time.monotonic(), time.process_time(), total.num_requests
        gevent.sleep(options.seconds)
        done = total.num_requests - count
        print(json.dumps({
            "cpu_us": (time.process_time() - cpu) / max(done, 1) * 1e6,
            "per_s": done / (time.monotonic() - began),
            "failed": total.num_failures,
        }), flush=True)
        environment.runner.quit()

    gevent.spawn(measure)
"""


def locust_figures(said: str) -> Figures:
    """From the line of JSON. Raises RuntimeError if an order was not confirmed."""
    lines = [line for line in said.splitlines() if line.startswith('{"cpu_us"')]
    found: Mapping[str, float] = json.loads(lines[-1]) if lines else {"failed": 1}
    if found["failed"]:
        raise RuntimeError(f"locust:\n{said}")
    return Figures(found["per_s"], cpu_us_per_op=found["cpu_us"])
