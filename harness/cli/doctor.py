"""`bench.py doctor`"""

import argparse

from harness.cli.addresses import add_addresses, given_addresses
from harness.redaction import redacted
from harness.rig.broker import Unavailable
from harness.rig.obtain import find
from harness.rig.parts import PARTS, address_problems
from harness.scenario import BadInput


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_addresses(parser)


def main(options: argparse.Namespace) -> int:
    """Say of each part of a run where it would come from, and how to mend what is missing; changes
    nothing. Returns 1 if something cannot be had."""
    addresses = given_addresses(options)
    if problems := address_problems(addresses):
        raise BadInput(f"--{problem}" for problem in problems)
    missing = 0
    for part in PARTS:
        try:
            source = find(part, addresses.get(part))
        except Unavailable as error:
            missing += 1
            print(f"{part:<10} missing: {error.reason}\n{'':<10} remedy: {error.remedy}")
        else:
            where = f"{source.origin:<8} {source.version:<10} {redacted(source.detail)}"
            print(f"{part:<10} {where}")
    return 1 if missing else 0
