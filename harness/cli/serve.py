"""`bench.py serve STYLE`"""

import argparse
import asyncio
import contextlib
import signal
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clients import catalog
from harness.cli.addresses import add_addresses, given_addresses
from harness.rig.broker import Unavailable
from harness.rig.parts import address_problems
from harness.scenario import BadInput


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("style", help=", ".join(catalog.served()))
    parser.add_argument("--bind", metavar="HOST", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument(
        "--service-time-ms", metavar="MS", type=float, default=0.0, help="work an order, default 0"
    )
    add_addresses(parser)


def main(options: argparse.Namespace) -> int:
    """Run a server until Ctrl-C."""
    if options.style not in catalog.served():
        known = ", ".join(catalog.served())
        raise BadInput([f"serve: {options.style!r} is no style with a server; there are: {known}"])
    if problems := address_problems(given_addresses(options)):
        raise BadInput(f"--{problem}" for problem in problems)
    return asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    from harness.rig.parts import start
    from harness.rig.process import Rig, RigError
    from harness.rig.server import Serving, start_server

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = Serving(
        options.style, options.service_time_ms, host=options.bind, port=options.port, changes=True
    )
    broker = catalog.find(options.style).broker
    async with contextlib.AsyncExitStack() as stack:
        # A broker writes a log that nobody asked for.
        logs = Path(stack.enter_context(TemporaryDirectory())) if broker else None
        rig = await stack.enter_async_context(Rig(logs))
        try:
            if broker:
                part = await start(broker, rig, address=given_addresses(options).get(broker))
                stack.push_async_callback(part.stop)
                serving = replace(serving, broker=part.address)
            server = await start_server(rig, serving)
        except (RigError, Unavailable) as error:
            print(error)
            return 1
        print(f"{options.style} listens at {server.address}; Ctrl-C ends it", flush=True)
        server.process.exited.add_done_callback(lambda _: stop.set())
        await stop.wait()
        if server.process.exited.done():
            print(f"the server ended with code {server.process.exited.result()}")
            return 1
        await rig.stop(server.process)
    return 0
