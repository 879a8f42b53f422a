"""A server as a process: JSON lines on standard output, and an end when standard input has one.

It says `ready` with its address once it is bound, and `stopped` with what it did and what its
garbage collector cost when it ends. SIGTERM and SIGINT end it too.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import uvloop

from servers.base import Bind


class GcPauses:
    """Counts the pauses that Python's garbage collector makes, and their length."""

    def __init__(self) -> None:
        self._count = 0
        self._total_ns = 0
        self._longest_ns = 0
        self._began = 0
        gc.callbacks.append(self._note)

    @property
    def fields(self) -> dict[str, float]:
        """What it came to so far, for `stopped`."""
        return {
            "gc_pauses": self._count,
            "gc_total_ms": self._total_ns / 1e6,
            "gc_longest_ms": self._longest_ns / 1e6,
        }

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.monotonic_ns()
            return
        pause = time.monotonic_ns() - self._began
        self._count += 1
        self._total_ns += pause
        self._longest_ns = max(self._longest_ns, pause)


def say(event: str, **fields: object) -> None:
    """Write one JSON line to standard output."""
    with contextlib.suppress(BrokenPipeError):  # whoever listened may be gone
        print(json.dumps({"event": event, **fields}), flush=True)


def say_ready(**fields: object) -> None:
    """Say that the server is bound, once the garbage collector passes over all that is there by
    now, which stays until the end.

    A collection looks at every object: with the modules of a web framework it takes tens of
    milliseconds, in which nobody is answered, and a style would be charged for what its libraries
    define. What comes later is collected as ever, and its pauses are counted.
    """
    gc.collect()
    gc.freeze()
    say("ready", **fields)


def end_wanted(told: Callable[[dict[str, Any]], None] = lambda _: None) -> asyncio.Event:
    """Set once standard input ends, or SIGTERM or SIGINT comes; `told` gets each JSON line of the
    input."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def watch_stdin() -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(told, json.loads(line))
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch_stdin, daemon=True).start()
    return ended


def add_bind(parser: argparse.ArgumentParser) -> None:
    """The options that say where and how a server listens."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", metavar="PEM", help="encrypt; needs --key")
    parser.add_argument("--key", metavar="PEM")


def bind_of(options: argparse.Namespace, compression: bool = False) -> Bind:
    """What `add_bind`'s options say."""
    return Bind(options.host, options.port, options.certificate, options.key, compression)


def run(serving: Coroutine[object, object, None]) -> NoReturn:
    """Run a server as this process, with as many open files as it may have, until it returns."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    uvloop.run(serving)
    # The thread that watches standard input may still be blocked in its read.
    sys.stdout.flush()
    os._exit(0)
