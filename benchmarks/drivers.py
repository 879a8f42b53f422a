"""Closed loop, 16 in flight: every driver, and wrk on the same REST server in the same minute.

The first client of each style in clients/catalog.py stands for the style; this is how it was
chosen. wrk comes from the system's packages.
"""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import orjson

from benchmarks.rounds import Measure, interleaved, ratio
from benchmarks.trial import SPEC, one_trial
from clients import catalog
from harness.analysis.trial import summarize_trial
from harness.rig.placement import this_machine
from harness.rig.process import Rig
from harness.rig.server import Server, Serving, start_server
from harness.variant import Variant
from orders.samples import sample_orders
from protos.http import ORDERS_PATH

IN_FLIGHT = 16
WRK = "wrk, 16 connections"


def wrk_script() -> str:
    """Orders for wrk: the generator's own samples, each under a key of its own."""
    bodies = ",\n".join(
        f"[==[{orjson.dumps(replace(order, idempotency_key='KEY')).decode()}]==]"
        for order in sample_orders(3, 1)
    )
    return f"""
local bodies = {{ {bodies} }}
local heads, tails = {{}}, {{}}
for i, body in ipairs(bodies) do
  heads[i], tails[i] = body:match("^(.*)KEY(.*)$")
end
local run, count = tostring(os.time()) .. tostring(math.random(1e9)), 0
local headers = {{ ["Content-Type"] = "application/json" }}
function init(args) math.randomseed(os.time() + tonumber(args[1])); run = run .. args[1] end
function request()
  count = count + 1
  local i = count % #heads + 1
  return wrk.format("POST", nil, headers, heads[i] .. run .. "-" .. count .. tails[i])
end
function done(summary, latency, requests)
  local errors = summary.errors
  print("FAILED " .. errors.connect + errors.read + errors.write + errors.status + errors.timeout)
end
"""


async def wrk(address: str, script: Path, seconds: float, number: int) -> float:
    """Requests a second. Raises RuntimeError if one failed."""
    cpus = this_machine().generator
    pinned = ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []
    process = await asyncio.create_subprocess_exec(
        *pinned, "wrk", "-t1", f"-c{IN_FLIGHT}", f"-d{seconds:.0f}s", "-s", str(script),
        address + ORDERS_PATH, "--", str(number),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = (await process.communicate())[0].decode()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if process.returncode or rate is None or "FAILED 0" not in said:
        raise RuntimeError(f"wrk failed:\n{said}")
    return float(rate[1])


async def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", help="styles, by comma")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else catalog.styles()
    entries = [e for e in catalog.ENTRIES if e.server and not e.null and e.style in wanted]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "orders.lua")
        script.write_text(wrk_script())
        async with Rig(Path(folder)) as rig:
            servers: dict[str, Server] = {}
            for entry in entries:
                if entry.talks_to not in servers:
                    servers[entry.talks_to] = await start_server(
                        rig, Serving(entry.talks_to), this_machine().server
                    )

            def driver(entry: catalog.Entry) -> Measure:
                spec = replace(
                    SPEC,
                    driver=entry.driver,
                    target=servers[entry.talks_to].address,
                    load=replace(SPEC.load, model="closed", users=IN_FLIGHT),
                    duration_s=options.seconds,
                )

                async def measure() -> float:
                    samples = await one_trial(rig, spec, Path(folder))
                    return summarize_trial(samples, 1, SPEC.timeout_s).throughput_per_s

                return measure

            measures = {Variant(entry).name: driver(entry) for entry in entries}
            count = 0

            async def with_wrk() -> float:
                nonlocal count
                count += 1
                return await wrk(servers["rest"].address, script, options.seconds, count)

            if "rest" in servers and shutil.which("wrk"):
                measures[WRK] = with_wrk
            lines = await interleaved(measures, options.rounds)
    for name, line in lines.items():
        print(f"{name:<24} {line.words('orders/s')}")
    if WRK in lines:
        for name in (n for n in lines if n.startswith("rest:")):
            print(f"{name} / wrk: {ratio(lines[name], lines[WRK]).words('', 3)}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
