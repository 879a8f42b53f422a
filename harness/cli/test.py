"""`bench.py test`: the project's own tests, linters and types included."""

import argparse
import os
import sys

from harness.cli.paths import ROOT


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whatever follows is pytest's."""
    parser.add_argument("paths", nargs="*", help="tests to run; other options are pytest's own")


def main(options: argparse.Namespace) -> int:
    """Become pytest."""
    os.chdir(ROOT)
    words = [*options.rest, *options.paths]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])
