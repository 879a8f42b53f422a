"""`bench.py report RUN`"""

import argparse
from pathlib import Path

from harness.cli.compare import compared, tell
from harness.cli.gating import NOT_MET, add_gate, fitting, given_gate, judge_gate
from harness.scenario import BadInput


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("run", type=Path, help="a run's folder")
    add_gate(parser)


def main(options: argparse.Namespace) -> int:
    """Rebuild everything after trials/, and hold it against a gate where one is given."""
    from harness.report.build import build_report
    from harness.report.console import console, print_summary
    from harness.results import open_run

    problems: list[str] = []
    gate = given_gate(options, problems)
    try:
        fitting(gate, [cell["id"] for cell in open_run(options.run).info["cells"]], problems)
        if not problems:
            summary = build_report(options.run)
    except (ValueError, OSError) as error:
        problems.append(str(error))
    if problems:
        raise BadInput(problems)
    screen = console()
    print_summary(summary, screen)
    screen.print(f"report: {options.run / 'report.html'}", highlight=False, soft_wrap=True)
    against = None
    if options.baseline is not None:
        against = compared(options.baseline, options.run, [])
        tell(against, screen)
    met = gate is None or judge_gate(gate, summary, against, options.junit, screen)
    return 0 if met else NOT_MET
