"""`python -m servers STYLE`: one server, until its standard input ends or a signal stops it.

Says what it does as JSON lines on standard output: `ready` with its address once it is bound,
`stopped` with what its garbage collector cost when it ends.
"""

import argparse
import importlib

from orders.service import OrderService
from orders.store import ForgetfulStore, MemoryStore
from patterns.remembered import MemoryAnswers
from servers.base import Bind, Desk
from servers.lines import GcPauses, add_bind, bind_of, end_wanted, run, say


async def serve(style: str, bind: Bind, options: argparse.Namespace) -> None:
    """Run one style's server until standard input ends, SIGTERM or SIGINT."""
    module = importlib.import_module(f"servers.{style.replace('-', '_')}")
    pauses = GcPauses()
    forgets = options.remember == "nothing"
    service = OrderService(
        ForgetfulStore() if forgets else MemoryStore(), options.service_time_ms / 1e3
    )
    answers = MemoryAnswers() if options.remember == "requests" else None
    tracer = None
    if options.trace is not None:
        from servers.tracing import Tracer

        tracer = Tracer(style, options.trace)
    listening = await module.start(Desk(service, answers, tracer), bind)
    ended = end_wanted()
    say("ready", style=style, address=listening.address)
    await ended.wait()
    await listening.stop()
    say("stopped", orders_worked=service.placed, **pauses.fields)
    if tracer is not None:
        tracer.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m servers")
    parser.add_argument("style")
    add_bind(parser)
    parser.add_argument("--compression", action="store_true", help="the protocol's own")
    parser.add_argument("--service-time-ms", type=float, default=0.0)
    parser.add_argument(
        "--remember",
        choices=("nothing", "keys", "requests"),
        default="keys",
        help="what a repeat is known by: its idempotency key, and also its request id",
    )
    parser.add_argument(
        "--trace",
        metavar="DEST",
        help="append spans to this file, or send them to http://host:4318",
    )
    options = parser.parse_args()
    run(serve(options.style, bind_of(options, options.compression), options))


if __name__ == "__main__":
    main()
