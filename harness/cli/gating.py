"""`--gate`, as several commands take it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.gate import Gate, load_gate
from harness.scenario import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from harness.analysis.summary import Summary
    from harness.analysis.two_runs import TwoRuns

NOT_MET = 4
"""The exit code of a gate that is not met."""


def add_gate(parser: argparse.ArgumentParser, baseline: bool = True) -> None:
    """`--gate`, `--junit`, and `--baseline` where the command does not name one anyway."""
    parser.add_argument(
        "--gate", metavar="FILE.toml", type=Path, help="exit with 4 unless the run meets its rules"
    )
    parser.add_argument("--junit", metavar="FILE", type=Path, help="what the gate found, for CI")
    if baseline:
        parser.add_argument(
            "--baseline",
            metavar="RUN",
            type=Path,
            help="the run's folder that the gate's [[regression]] rules are about",
        )


def given_gate(
    options: argparse.Namespace, problems: list[str], has_base: bool = False
) -> Gate | None:
    """The gate that the user gave; mistakes go to `problems`. `has_base`: what regressions are held
    against is given in another way."""
    baseline = getattr(options, "baseline", None)
    if options.junit is not None and not options.junit.parent.is_dir():
        problems.append(f"--junit: {options.junit.parent} is no folder; name a file in one that is")
    if baseline is not None and has_base:
        problems.append("--baseline: the first of two revisions is the baseline; take it out")
    elif baseline is not None and not (baseline / "run.json").is_file():
        problems.append(f"--baseline: {baseline}: no run (there is no run.json in it)")
    if options.gate is None:
        problems += [
            f"--{name}: only with --gate FILE.toml"
            for name in ("junit", "baseline")
            if getattr(options, name, None) is not None
        ]
        return None
    try:
        gate = load_gate(options.gate)
    except BadInput as error:
        problems += error.problems
        return None
    if gate.regressions and baseline is None and not has_base:
        problems.append(f"--gate: {options.gate} has [[regression]] rules; give --baseline RUN")
    return gate


def fitting(gate: Gate | None, cells: Sequence[str], problems: list[str]) -> None:
    """A rule that is for no cell is a mistake: it would be met by nothing."""
    if gate is not None:
        problems += gate.unmatched(cells)


def judge_gate(
    gate: Gate,
    summary: "Summary",
    against: "TwoRuns | None",
    junit: Path | None,
    screen: "Console",
) -> bool:
    """Print and write what a gate finds; returns whether it is met."""
    from harness.analysis.gate import all_met, check
    from harness.report.junit import to_junit
    from harness.report.two_runs import print_gate
    from harness.results import write_text

    checks = check(gate, summary, against)
    print_gate(checks, screen)
    if junit is not None:
        write_text(junit, to_junit(summary.info["run"], checks))
    return all_met(checks)
