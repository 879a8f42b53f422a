"""`bench.py test [PYTEST'S OPTIONS]`: the project's own tests, linters and types included."""

import argparse
import os
import sys

from harness.cli.paths import ROOT


def main(options: argparse.Namespace) -> int:
    """Become pytest, in the project's folder."""
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *options.words])
