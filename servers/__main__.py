"""`python -m servers STYLE`: one server, until its standard input ends or a signal stops it.

Says what it does as JSON lines on standard output: `ready` with its address once it is bound,
`stopped` with what its garbage collector cost when it ends. A style that takes its orders from a
broker finds the broker's address in the environment, ORDERBENCH_BROKER, since it may hold a secret;
it is told to `drain` (servers.base.Drain) by a line of standard input, and says `drained`. Where it
keeps orders and answers: servers.remembering; how it works on orders: servers.working.
"""

import argparse
import asyncio
import importlib
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from servers.base import Bind, Desk, Drain, Listening
from servers.lines import GcPauses, add_bind, bind_of, end_wanted, run, say, say_ready
from servers.remembering import add_remembering, answers_of, service_of
from servers.working import add_working


async def serve(style: str, bind: Bind, options: argparse.Namespace) -> None:
    """Run one style's server until standard input ends, SIGTERM or SIGINT."""
    module = importlib.import_module(f"servers.{style.replace('-', '_')}")
    pauses = GcPauses()
    tracer = None
    if options.trace is not None:
        from servers.tracing import Tracer

        tracer = Tracer(style, options.trace)
    async with service_of(options) as service, answers_of(options) as answers:
        listening = await module.start(Desk(service, answers, tracer), bind)
        ended = end_wanted(drainer(listening))
        say_ready(style=style, address=listening.address)
        await ended.wait()
        await listening.stop()
    say("stopped", orders_worked=service.placed, **pauses.fields)
    if tracer is not None:
        tracer.close()


def drainer(listening: Listening) -> Callable[[dict[str, Any]], None]:
    """What to do when told to drain."""
    draining: set[asyncio.Task[None]] = set()

    async def drain(how: Drain) -> None:
        assert listening.drain is not None
        say("drained", **asdict(await listening.drain(how)))

    def told(message: dict[str, Any]) -> None:
        if message.pop("event") == "drain":
            draining.add(asyncio.create_task(drain(Drain(**message))))

    return told


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m servers")
    parser.add_argument("style")
    add_bind(parser)
    parser.add_argument("--compression", action="store_true", help="the protocol's own")
    add_working(parser)
    add_remembering(parser)
    parser.add_argument(
        "--trace",
        metavar="DEST",
        help="append spans to this file, or send them to http://host:4318",
    )
    parser.add_argument("--worker", type=int, default=0, help="of a broker's, which one this is")
    parser.add_argument("--workers", type=int, default=1, help="how many there are")
    parser.add_argument("--paused", action="store_true", help="take nothing until told to drain")
    options = parser.parse_args()
    bind = replace(
        bind_of(options, options.compression),
        broker=os.environ.get("ORDERBENCH_BROKER", ""),
        worker=options.worker,
        workers=options.workers,
        paused=options.paused,
    )
    run(serve(options.style, bind, options))


if __name__ == "__main__":
    main()
