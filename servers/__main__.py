"""`python -m servers STYLE`: one server, until its standard input ends or a signal stops it.

Says what it does as JSON lines on standard output: `ready` with its address once it is bound,
`stopped` with what its garbage collector cost when it ends.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time

import uvloop

from orders.service import OrderService
from orders.store import ForgetfulStore, MemoryStore
from patterns.remembered import MemoryAnswers
from servers.base import Bind, Desk


class GcPauses:
    """Counts the pauses that Python's garbage collector makes, and their length."""

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.longest_ns = 0
        self._began = 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.monotonic_ns()
            return
        pause = time.monotonic_ns() - self._began
        self.count += 1
        self.total_ns += pause
        self.longest_ns = max(self.longest_ns, pause)


def say(event: str, **fields: object) -> None:
    """Write one JSON line to standard output."""
    with contextlib.suppress(BrokenPipeError):  # whoever listened may be gone
        print(json.dumps({"event": event, **fields}), flush=True)


async def serve(style: str, bind: Bind, options: argparse.Namespace) -> None:
    """Run one style's server until standard input ends, SIGTERM or SIGINT."""
    module = importlib.import_module(f"servers.{style.replace('-', '_')}")
    pauses = GcPauses()
    forgets = options.remember == "nothing"
    service = OrderService(
        ForgetfulStore() if forgets else MemoryStore(), options.service_time_ms / 1e3
    )
    answers = MemoryAnswers() if options.remember == "requests" else None
    listening = await module.start(Desk(service, answers), bind)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def watch_stdin() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch_stdin, daemon=True).start()
    say("ready", style=style, address=listening.address)
    await ended.wait()
    await listening.stop()
    say(
        "stopped",
        orders_worked=service.placed,
        gc_pauses=pauses.count,
        gc_total_ms=pauses.total_ns / 1e6,
        gc_longest_ms=pauses.longest_ns / 1e6,
    )


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m servers")
    parser.add_argument("style")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", metavar="PEM", help="encrypt; needs --key")
    parser.add_argument("--key", metavar="PEM")
    parser.add_argument("--compression", action="store_true", help="the protocol's own")
    parser.add_argument("--service-time-ms", type=float, default=0.0)
    parser.add_argument(
        "--remember",
        choices=("nothing", "keys", "requests"),
        default="keys",
        help="what a repeat is known by: its idempotency key, and also its request id",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    bind = Bind(options.host, options.port, options.certificate, options.key, options.compression)
    uvloop.run(serve(options.style, bind, options))
    # The thread that watches standard input may still be blocked in its read.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
