"""Options for brokers and stores that already run."""

import argparse
import os

from harness.rig.parts import PARTS, variable


def add_addresses(parser: argparse.ArgumentParser) -> None:
    """An option for each part."""
    for part in PARTS:
        parser.add_argument(
            f"--{part}",
            metavar="ADDRESS",
            help=f"a {part} that already runs, instead of one that is started; or {variable(part)}",
        )


def given_addresses(options: argparse.Namespace) -> dict[str, str]:
    """Addresses of parts, by option, else by the environment."""
    given = {part: getattr(options, part) or os.environ.get(variable(part)) for part in PARTS}
    return {part: address for part, address in given.items() if address}
