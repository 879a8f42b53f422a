"""`bench.py report RUN`"""

import argparse
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.compare import compared, tell
from harness.cli.gating import NOT_MET, add_gate, fitting, given_gate, judge_gate
from harness.cli.indexing import keep_index, make_index
from harness.cli.resuming import given_options
from harness.scenario import BadInput

if TYPE_CHECKING:
    from rich.console import Console


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "run", type=Path, help="a run's folder, or the folder around runs: makes its index"
    )
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    add_gate(parser)


def main(options: argparse.Namespace) -> int:
    """Rebuild everything after trials/, and hold it against a gate where one is given."""
    from harness.report.build import build_report
    from harness.report.console import console, print_summary
    from harness.report.runs.index import NAME
    from harness.report.runs.past import holds_runs
    from harness.results import open_run

    if not (options.run / "run.json").exists() and holds_runs(options.run):
        if given := given_options(options, ["gate", "junit", "baseline"]):
            raise BadInput(f"{name}: is about one run; {options.run} has several" for name in given)
        screen = console()
        if not make_index(options.run, screen):
            return 2
        if options.open:
            _open(options.run / NAME, screen)
        return 0
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
    page = options.run / "report.html"
    screen.print(f"report: {page}", highlight=False, soft_wrap=True)
    keep_index([options.run], screen)
    if options.open:
        _open(page, screen)
    against = None
    if options.baseline is not None:
        against = compared(options.baseline, options.run, [])
        tell(against, screen)
    met = gate is None or judge_gate(gate, summary, against, options.junit, screen)
    return 0 if met else NOT_MET


def _open(page: Path, screen: "Console") -> None:
    if not webbrowser.open(page.resolve().as_uri()):
        screen.print("no browser could be started; open that file in one", soft_wrap=True)
