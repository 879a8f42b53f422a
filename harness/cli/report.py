"""`bench.py report RUN`"""

import argparse
from pathlib import Path

from harness.scenario import BadInput


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", type=Path, help="a run's folder")


def main(options: argparse.Namespace) -> int:
    """Rebuild everything after trials/."""
    from harness.report.build import build_report
    from harness.report.console import console, print_summary

    try:
        summary = build_report(options.run)
    except (ValueError, OSError) as error:
        raise BadInput([str(error)]) from None
    screen = console()
    print_summary(summary, screen)
    screen.print(f"report: {options.run / 'report.html'}", highlight=False, soft_wrap=True)
    return 0
