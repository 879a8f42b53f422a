"""`bench.py calibrate`"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from harness.calibration import STYLES, conclude, parts
from harness.cli.indexing import keep_index
from harness.cli.paths import RESULTS, make, shown, taken, unused
from harness.scenario import BadInput
from harness.variant import parse_variant


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--styles",
        metavar="S,...",
        type=lambda text: text.split(","),
        default=list(STYLES),
        help=f"over which it is asked, each style[:client] (default: {','.join(STYLES)})",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="default: results/calibrate-<time>")


def main(options: argparse.Namespace) -> int:
    """Measure the instrument; returns 1 where it does not read what is true."""
    name = f"calibrate-{datetime.now():%Y%m%d-%H%M%S}"
    folder = options.out if options.out is not None else unused(RESULTS / name)
    if problems := [*_unfit(options.styles), *taken(folder)]:
        raise BadInput(problems)

    from harness.report.console import ConsoleWatcher, console
    from harness.report.instrument import print_checks
    from harness.run import Side, execute

    screen = console()
    asked = parts(options.styles)
    minutes, seconds = divmod(round(sum(part.plan.seconds for part in asked)), 60)
    screen.print("Does the instrument read what is true?", style="bold")
    screen.print(
        f"parts: {len(asked)}, trials: {sum(len(part.plan.trials) for part in asked)}, about"
        f" {minutes}:{seconds:02d}; results in {shown(folder)}",
        highlight=False,
        soft_wrap=True,
    )
    make(folder)
    command = ["python3", "bench.py", *sys.argv[1:]]
    for part in asked:
        make(folder / part.name)
        watcher = ConsoleWatcher(part.plan, screen)
        try:
            if not execute(part.plan, [Side(folder / part.name)], {}, command, watcher):
                screen.print("interrupted: nothing is concluded", style="red")
                return 130
        finally:
            watcher.close()
    found = conclude(folder, [part.name for part in asked])
    print_checks(found, screen)
    keep_index([folder], screen)
    return 0 if all(check.met for check in found) else 1


def _unfit(styles: Sequence[str]) -> list[str]:
    """Why styles cannot be asked, as problems of --styles."""
    problems = []
    for style in styles:
        try:
            entry = parse_variant(style).entry
        except LookupError as error:
            problems.append(f"--styles: {error}")
            continue
        if styles.count(style) > 1:
            problems.append(f"--styles: {style} is there twice; take one out")
        if not entry.server or entry.broker or entry.polls or "place" not in entry.operations:
            problems.append(
                f"--styles: {style} has no server of its own that answers at once when the work is"
                f" done; take one that has, as {', '.join(STYLES)}"
            )
    return list(dict.fromkeys(problems))
