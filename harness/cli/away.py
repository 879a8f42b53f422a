"""`--expect-workers` and `--listen`: generators on other machines."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.cli.addresses import given_addresses
from harness.cli.numeric import number
from harness.cli.reach import hosts_of, on_loopback
from harness.hosts import PORT
from harness.rig.parts import BROKERS
from harness.rig.ports import LOOPBACK

if TYPE_CHECKING:
    from harness.hosts.crew import Wanted
    from harness.plan import Plan

LISTEN = f"{LOOPBACK}:{PORT}"


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--expect-workers",
        metavar="N",
        type=number,
        help="deal each trial's schedule to N workers, on this or other machines, and wait for them"
        " first (bench.py locust --worker); ORDERBENCH_TOKEN is what they know the run by",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="where workers come to, and the address at which servers and brokers are reached"
        f" (default: {LISTEN})",
    )


def asked_workers(options: argparse.Namespace, problems: list[str]) -> int | None:
    """How many generators are asked for, here (`--workers`) or elsewhere; None where that is not
    said, or is no number. Mistakes go to `problems`."""
    option, asked = "--workers", options.workers
    if options.expect_workers is not None:
        from harness.hosts.link import listening_problems, token_problems

        if asked is not None:
            problems.append(
                "--workers: each worker is one generator; start more workers, and take it out"
            )
        option, asked = "--expect-workers", options.expect_workers
        problems += listening_problems(options.listen or LISTEN) + token_problems()
    elif options.listen is not None:
        problems.append("--listen: nobody is expected; say --expect-workers N as well")
    if asked is None:
        return None
    if not isinstance(asked, int) or asked < 1:
        problems.append(f"{option}: {asked!r} is no whole number of 1 or more")
        return None
    return asked


def unreachable(
    options: argparse.Namespace,
    trace: str | None,
    targets: Mapping[str, str],
    plan: "Plan | None",
) -> list[str]:
    """What of a run cannot be had from other machines. `targets` are services by their style; of
    brokers and stores, workers connect only to the brokers that the plan's styles talk by."""
    if options.expect_workers is None:
        return []
    found = []
    if options.interleave is not None:
        found.append(
            "--interleave: workers have one revision; run it twice, each with workers of its own"
        )
    if options.resume is not None:
        found.append("--expect-workers: a run that goes on has its own generators; take it out")
    if trace is not None and "://" not in trace:
        found.append("--trace: workers do not reach a file of this machine; give http://HOST:4318")
    brokers = {
        f"--{part}": address
        for part, address in given_addresses(options).items()
        if plan is not None and part in BROKERS and part in plan.parts and part not in targets
    }
    collector = {} if trace is None else {"--trace": trace}
    return found + astray(options, {**at_targets(targets), **brokers, **collector})


def at_targets(targets: Mapping[str, str]) -> dict[str, str]:
    """Addresses of services, by what names them on the command line."""
    return {f"--target {style}": address for style, address in targets.items()}


def astray(options: argparse.Namespace, addresses: Mapping[str, str]) -> list[str]:
    """Which of the addresses, each by its option, lead a worker elsewhere than this machine: to
    its own, unless all workers are here."""
    if options.expect_workers is None or any(map(on_loopback, hosts_of(options.listen or LISTEN))):
        return []
    return [
        f"{option}: workers elsewhere would take {host} for their own machine; give an address that"
        " they reach"
        for option, address in addresses.items()
        for host in filter(on_loopback, dict.fromkeys(hosts_of(address)))
    ]


def wanted(options: argparse.Namespace) -> "Wanted | None":
    """The workers to wait for, of options without problems; None without."""
    if options.expect_workers is None:
        return None
    from harness.hosts.crew import Wanted
    from harness.hosts.link import TOKEN

    return Wanted(options.listen or LISTEN, options.expect_workers, os.environ[TOKEN])
