"""`bench.py locust`"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from harness.cli.away import add_workers, asked_workers, astray, at_targets
from harness.cli.paths import ROOT
from harness.hosts import PORT as MASTER_PORT
from harness.rig.ports import LOOPBACK, LOOPBACK_NAMES
from harness.rig.process import Process, Rig, RigError
from harness.rig.waiting import answer, until_ready
from harness.scenario import BadInput

PORT = 8089
KILLED = 1
"""The exit code where a signal ended Locust."""
FORM = {
    "scenario": "which one the form starts with",
    "styles": "as in bench.py run",
    "load": "constant, poisson, burst, closed, ramp or steps",
    "rate": "operations a second",
    "burst-size": "of a burst load",
    "every-s": "of a burst load: from one burst to the next",
    "users": "users of a closed load",
    "think-s": "of a closed load: what a user waits before the next",
    "items": "lines an order, any number of them",
    "duration": "measured seconds a trial",
    "repeats": "trials a cell",
}
"""What the start form has, which is filled beforehand."""
NAMES = {"users": "closed-users"}
"""Options that Locust knows by another name, having one of its own."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    for name, says in FORM.items():
        parser.add_argument(f"--{name}", metavar="X", help=says)
    parser.add_argument(
        "--together",
        action="store_true",
        help="all styles at the same time, a run of each: they share the processors, and their"
        " figures tell of the mix",
    )
    parser.add_argument(
        "--driver", metavar="FILE.py:CLASS", action="append", default=[], help="one of your own"
    )
    parser.add_argument(
        "--shape",
        metavar="FILE.py:CLASS",
        help="a LoadTestShape of your own: its users, second by second, are operations a second",
    )
    parser.add_argument("--target", metavar="STYLE=ADDRESS", action="append", default=[])
    parser.add_argument("--out", metavar="DIR", help="default: results/<scenario>-<time>")
    parser.add_argument(
        "--master", action="store_true", help="let workers send: each start waits for them"
    )
    add_workers(parser)
    parser.add_argument(
        "--worker", action="store_true", help="be a worker: send for the runs of a master"
    )
    parser.add_argument("--master-host", metavar="HOST", help="whose worker this is")
    parser.add_argument("--master-port", metavar="PORT", type=int, default=MASTER_PORT)
    parser.add_argument("--headless", action="store_true", help="start at once, without a page")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the page, default {PORT}")
    parser.add_argument(
        "--bind",
        metavar="HOST",
        default=LOOPBACK,
        help=f"default {LOOPBACK}; another one needs ORDERBENCH_WEB_USER and"
        " ORDERBENCH_WEB_PASSWORD",
    )


def main(options: argparse.Namespace) -> int:
    """Run Locust until it ends, or is interrupted; a second interrupt does not wait."""
    if options.worker:
        return _work(options)
    more = _distributed(options)
    words = [sys.executable, "-P", "-m", "locust", "-f", str(ROOT / "locustfile.py")]
    given = {name: getattr(options, name.replace("-", "_")) for name in FORM}
    words += [f"--{NAMES.get(name, name)}={v}" for name, v in given.items() if v is not None]
    if options.together:
        words.append("--turns=together")
    words += [f"--driver={driver}" for driver in options.driver]
    words += [f"--target={target}" for target in options.target]
    if options.shape is not None:
        words.append(f"--shape={options.shape}")
    if options.out is not None:
        words.append(f"--out={options.out}")
    words += [f"--more={word}" for word in more]
    if options.headless:
        return asyncio.run(_run([*words, "--headless"], None))
    if not 0 < options.port < 65_536:
        raise BadInput([f"--port: {options.port} is no port"])
    words += [f"--web-host={options.bind}", f"--web-port={options.port}"]
    return asyncio.run(_run(words, options.port if options.bind in LOOPBACK_NAMES else None))


def _distributed(options: argparse.Namespace) -> list[str]:
    """What every run of a master is told. Raises BadInput."""
    problems: list[str] = []
    if options.master_host is not None:
        problems.append("--master-host: only a worker has a master; say --worker as well")
    if options.master != (options.expect_workers is not None):
        problems.append("--master and --expect-workers N belong together: say both")
    options.workers = None
    asked_workers(options, problems)
    targets = dict(word.partition("=")[::2] for word in options.target)
    problems += astray(options, at_targets(targets))
    if problems:
        raise BadInput(problems)
    given = {"expect-workers": options.expect_workers, "listen": options.listen}
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def _work(options: argparse.Namespace) -> int:
    """Be a worker until SIGTERM or Ctrl-C. Raises BadInput."""
    from harness.hosts.agent import Refused, work
    from harness.hosts.link import TOKEN, master_problems, token_problems

    problems = token_problems()
    if options.master or options.expect_workers is not None or options.listen is not None:
        problems.append("--worker: is no master; take --master, --expect-workers, --listen out")
    if not options.master_host:
        problems.append("--worker: say whose, with --master-host HOST")
    else:
        problems += master_problems(options.master_host)
    if not 0 < options.master_port < 65_536:
        problems.append(f"--master-port: {options.master_port} is no port")
    if problems:
        raise BadInput(problems)
    try:
        asyncio.run(work(f"{options.master_host}:{options.master_port}", os.environ[TOKEN]))
    except Refused as error:
        raise BadInput([str(error)]) from None
    return 0


async def _run(words: Sequence[str], port: int | None) -> int:
    loop = asyncio.get_running_loop()
    code: asyncio.Future[int] = loop.create_future()
    interrupted = False
    async with Rig() as rig:
        process = await rig.spawn("locust", words, speaks=False)

        def end(with_code: int) -> None:
            if not code.done():
                code.set_result(with_code)

        def interrupt() -> None:
            nonlocal interrupted
            if interrupted:
                end(130)
            interrupted = True
            rig.signal(process, signal.SIGTERM)

        process.exited.add_done_callback(lambda exited: end(exited.result()))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        if port is not None:
            await _say_when_ready(rig, process, port)
        ended = await code
        return KILLED if ended < 0 else ended


async def _say_when_ready(rig: Rig, process: Process, port: int) -> None:
    async def is_ready() -> bool:
        return bool(await answer(port, b"HEAD /login HTTP/1.0\r\n\r\n", 4))

    try:
        await until_ready(rig, process, is_ready)
    except RigError as error:
        print(error, file=sys.stderr)
        return
    print(f"Locust: http://127.0.0.1:{port}; Ctrl-C ends it", flush=True)
