"""`bench.py compare A B`"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.gating import NOT_MET, add_gate, fitting, given_gate, judge_gate
from harness.scenario import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from harness.analysis.two_runs import TwoRuns


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("a", type=Path, metavar="A", help="a run's folder: what B is held against")
    parser.add_argument("b", type=Path, metavar="B", help="a run's folder")
    parser.add_argument(
        "--same",
        action="store_true",
        help="both measured the same, whatever git says: keep how much they differ as this"
        " machine's (done unasked for two runs of one clean commit)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all of it, for programs")
    add_gate(parser, baseline=False)


def main(options: argparse.Namespace) -> int:
    """Say what is different in B, and whether B meets the gate with A as its baseline."""
    from harness.report.console import console
    from harness.results import write_json

    problems: list[str] = []
    gate = given_gate(options, problems, has_base=True)
    if options.a.exists() and options.b.exists() and options.a.samefile(options.b):
        problems.append(f"{options.b}: is A and B; name two runs")
    if options.json is not None and not options.json.parent.is_dir():
        problems.append(f"--json: {options.json.parent} is no folder; name a file in one that is")
    screen = console()
    found = compared(options.a, options.b, problems)
    fitting(gate, [row.cell for row in found.rows], problems)
    if problems:
        raise BadInput(problems)
    tell(found, screen, options.same)
    if options.json is not None:
        write_json(options.json, found.to_json())
    met = gate is None or judge_gate(gate, found.other, found, options.junit, screen)
    return 0 if met else NOT_MET


def compared(a: Path, b: Path, problems: list[str]) -> "TwoRuns":
    """Two runs on disk, compared. Raises BadInput with the problems and what is wrong with them."""
    from harness.analysis.summary import summarize
    from harness.analysis.two_runs import compare
    from harness.known_pairs import known_pairs
    from harness.results import open_run

    found = []
    for folder in (a, b):
        try:
            found.append(summarize(open_run(folder)))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise BadInput(problems)
    base, other = found
    return compare(base, other, known_pairs(base.info))


def tell(found: "TwoRuns", screen: "Console", same: bool = False) -> None:
    """Print a comparison. Two runs of the same, or of what is said to be the `same`, add to what is
    known of their machine."""
    from harness.analysis.two_runs import Hindrance, same_code
    from harness.known_pairs import keep_pair
    from harness.report.two_runs import print_two_runs

    print_two_runs(found, screen)
    whole = (Hindrance.MACHINE, Hindrance.SCENARIO)
    if found.interleaved or any(row.hindrance in whole and not row.metric for row in found.rows):
        return
    base, other = found.base.info, found.other.info
    if (same or same_code(base, other)) and keep_pair(base, found.pair):
        screen.print(
            "Two runs of the same: how much they differ is kept, and is part of this machine's"
            " floor for other pairs of runs.",
            highlight=False,
            soft_wrap=True,
        )
