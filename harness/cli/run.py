"""`bench.py run [SCENARIO]`"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING

from clients import catalog
from harness.cli.addresses import add_addresses, given_addresses
from harness.cli.away import add_workers, asked_workers, unreachable, wanted
from harness.cli.dealing import dealt
from harness.cli.gating import NOT_MET, add_gate, fitting, given_gate, judge_gate
from harness.cli.indexing import keep_index
from harness.cli.interleaving import revision_problems, side_folders, sides_of
from harness.cli.list import size
from harness.cli.numeric import number, numbers
from harness.cli.paths import RESULTS, make, scenario_path, shown, taken, unused
from harness.cli.resuming import given_options, prepare_resumed
from harness.gate import Gate
from harness.plan import Plan, make_plan
from harness.rig.parts import BROKERS, address_problems
from harness.rig.ports import LOOPBACK
from harness.rig.process import RigError
from harness.scenario import BadInput, load_scenario

if TYPE_CHECKING:
    from rich.console import Console

    from harness.analysis.summary import Summary

DEFAULT = "compare"
OVERRIDES = (
    *("styles", "driver", "load", "rate", "users", "duration", "repeats", "budget", "seed"),
    *("price", "items"),
    *(f"{broker}-nodes" for broker in BROKERS),
)
"""Options that change the scenario."""
FOR_PROGRAMS = re.compile(r"--lines$|--beside=")
"""Left out of the command that a report gives: who runs it again is no program, and alone."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the user asked for, checked."""

    plan: Plan
    targets: Mapping[str, str]
    folders: Sequence[Path]
    """One, or one for each of two revisions that take turns."""
    gate: Gate | None


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options. Values are checked with the scenario, to report all at once."""
    parser.add_argument("scenario", nargs="?", help=f"a name or a .toml file (default: {DEFAULT})")
    parser.add_argument(
        "--styles",
        metavar="S,...",
        type=lambda text: text.split(","),
        help=f"each style[:client][=label]; styles: {', '.join(catalog.styles())}",
    )
    parser.add_argument(
        "--driver",
        metavar="FILE.py:CLASS",
        action="append",
        help="a driver of your own, beside the styles (see README); may be repeated",
    )
    parser.add_argument(
        "--load",
        metavar="MODEL|TOML",
        help="another load than the scenario's: closed, constant or poisson, or a whole table such"
        """ as 'model = "ramp", rates = [100, 500]'""",
    )
    parser.add_argument("--rate", metavar="R,...", type=numbers, help="operations a second")
    parser.add_argument("--users", metavar="N,...", type=numbers, help="users of closed loops")
    parser.add_argument("--duration", metavar="S", type=number, help="measured seconds a trial")
    parser.add_argument("--repeats", metavar="N", type=number, help="trials a cell")
    parser.add_argument(
        "--budget", metavar="S", type=number, help="seconds that the run may be planned to take"
    )
    parser.add_argument("--seed", metavar="N", type=number, help="of schedule, orders and order")
    parser.add_argument(
        "--price", metavar="P", type=number, help="of a processor for an hour: shows what is paid"
    )
    parser.add_argument("--items", metavar="N,...", type=numbers, help="lines an order")
    parser.add_argument(
        "--target",
        metavar="STYLE=ADDRESS",
        action="append",
        default=[],
        help="drive a service that already runs, instead of starting one; may be repeated",
    )
    add_addresses(parser)
    for broker in BROKERS:
        parser.add_argument(
            f"--{broker}-nodes", metavar="N", type=number, help=f"nodes of a {broker}: 1 or 3"
        )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=number,
        help="deal each trial's schedule to N generator processes (default: 1)",
    )
    add_workers(parser)
    parser.add_argument(
        "--thorough", action="store_true", help="what the scenario has under [thorough]: curves"
    )
    parser.add_argument(
        "--trace",
        metavar="FILE|URL",
        help="export spans by OpenTelemetry: JSON lines to a file, or OTLP to http://host:4318",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="default: results/<scenario>-<time>"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 3 if anything had to be skipped"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        type=Path,
        help="go on with a run that was interrupted: only what is missing is run",
    )
    parser.add_argument(
        "--interleave",
        nargs=2,
        metavar=("A", "B"),
        help="two revisions take turns at every trial ('.' is the work tree as it stands); B is"
        " compared with A",
    )
    parser.add_argument(
        "--lines",
        action="store_true",
        help="for programs: tell the run as JSON lines on standard output; begin it and stop it"
        ' when {"event": "begin"} and {"event": "stop"} come on standard input (see'
        " harness/report/lines.py)",
    )
    parser.add_argument(
        "--beside",
        metavar="S,...",
        default=[],
        type=lambda text: text.split(","),
        help="for programs: what other runs measure on this machine meanwhile; the report says so",
    )
    add_gate(parser)


def main(options: argparse.Namespace) -> int:
    """Plan, run, report."""
    task = prepare(options)
    plan = task.plan
    command = ["python3", "bench.py", *filterfalse(FOR_PROGRAMS.match, sys.argv[1:])]

    from harness.report.console import ConsoleWatcher, console
    from harness.report.lines import LinesWatcher
    from harness.run import execute, may_begin

    screen = console(stderr=options.lines)
    screen.print(plan.scenario.question, style="bold", markup=False, highlight=False)
    screen.print(
        f"{size(plan)}; results in {' and '.join(map(shown, task.folders))}",
        highlight=False,
        soft_wrap=True,
    )
    watcher: ConsoleWatcher | LinesWatcher
    if options.lines:
        watcher = LinesWatcher(plan, task.folders[-1], sys.stdout)
        if not may_begin(sys.stdin.fileno()):
            return 130
    else:
        watcher = ConsoleWatcher(plan, screen)
    with sides_of(options.interleave, task.folders) as sides:
        for folder in task.folders:
            make(folder)
        workers = wanted(options)
        try:
            complete = execute(
                plan,
                sides,
                task.targets,
                command,
                watcher,
                _trace(options.trace),
                given_addresses(options),
                resume=options.resume is not None,
                orders=sys.stdin.fileno() if options.lines else None,
                wanted=workers,
                host=LOOPBACK if workers is None else workers.host,
                beside=options.beside,
            )
        except RigError as error:
            return _nothing(task, str(error), 1)
        finally:
            watcher.close()
    if not (task.folders[0] / "run.json").exists():
        return _nothing(task, "interrupted", 130)
    summaries = [_reported(folder, screen) for folder in task.folders]
    keep_index(task.folders, screen)
    met = _held_against(options, task, summaries[-1], screen)
    code = _code(options, summaries, complete, met)
    if isinstance(watcher, LinesWatcher):
        watcher.end(code, task.folders[-1] / "report.html")
    if not complete:
        screen.print("interrupted: the results are partial", style="red")
    return code


def _nothing(task: Task, why: str, code: int) -> int:
    """Leave nothing of a run that had not begun."""
    for folder in task.folders:
        folder.rmdir()
    print(f"{why}; nothing was run", file=sys.stderr)
    return code


def _code(
    options: argparse.Namespace, summaries: Sequence["Summary"], complete: bool, met: bool
) -> int:
    if not complete:
        return 130
    if not met:
        return NOT_MET
    if any(summary.failed for summary in summaries):
        return 1
    skipped = any(summary.skipped for summary in summaries)
    return 3 if options.strict and skipped else 0


def _reported(folder: Path, screen: "Console") -> "Summary":
    from harness.report.build import build_report
    from harness.report.console import print_summary

    summary = build_report(folder)
    print_summary(summary, screen)
    screen.print(f"report: {shown(folder / 'report.html')}", highlight=False, soft_wrap=True)
    return summary


def _held_against(
    options: argparse.Namespace, task: Task, summary: "Summary", screen: "Console"
) -> bool:
    """Say what is different from the other revision, or from the baseline; returns whether the
    gate, if there is one, is met."""
    from harness.cli.compare import compared, tell

    base = task.folders[0] if options.interleave else options.baseline
    against = None if base is None else compared(base, task.folders[-1], [])
    if against is not None:
        tell(against, screen)
    return task.gate is None or judge_gate(task.gate, summary, against, options.junit, screen)


def prepare(options: argparse.Namespace) -> Task:
    """Check everything that the user gave. Raises BadInput with every mistake; writes nothing."""
    problems = [f"--{problem}" for problem in address_problems(given_addresses(options))]
    gate = given_gate(options, problems, has_base=options.interleave is not None)
    if options.resume is None:
        plan, folders = _planned(options, problems)
        targets = _targets(options.target, plan, problems)
    else:
        own = [*OVERRIDES, "workers", "thorough", "out", "interleave"]
        given = given_options(options, own) + ([options.scenario] if options.scenario else [])
        targets = _targets(options.target, None, problems)
        plan = prepare_resumed(options.resume, given, targets, problems)
        folders = [options.resume]
    problems += [
        f'--driver: {style} has nothing to talk to; say server = "rest" (or another style) in'
        f" its class, or give --target {style}=ADDRESS"
        for style in _without_service(plan, targets)
    ]
    if plan is not None:
        fitting(gate, [cell.id for cell in plan.cells], problems)
    trace = _trace(options.trace)
    if trace is not None and "://" not in trace and not Path(trace).parent.is_dir():
        problems.append(f"--trace: {Path(trace).parent} is no folder; name a file in one that is")
    problems += unreachable(options, trace, targets, plan)
    if problems or plan is None:
        raise BadInput(problems)
    return Task(plan, targets, folders, gate)


def _planned(
    options: argparse.Namespace, problems: list[str]
) -> tuple[Plan | None, Sequence[Path]]:
    """The plan of a scenario, and where its results go."""
    overrides = {f"--{name}": getattr(options, name.replace("-", "_")) for name in OVERRIDES}
    scenario = options.scenario or DEFAULT
    plan = None
    try:
        path = scenario_path(scenario)
        plan = make_plan(load_scenario(path, overrides, options.thorough))
    except BadInput as error:
        problems += error.problems
    name = f"{Path(scenario).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = options.out if options.out is not None else unused(RESULTS / name)
    folders: Sequence[Path] = [folder]
    if options.interleave is not None:
        folders = side_folders(folder)
        problems += revision_problems(options.interleave)
        if plan is not None and plan.search is not None:
            problems.append("--interleave: a search goes by what it sees of one; run it twice")
        plan = None if plan is None else replace(plan, turns=2)
    workers = asked_workers(options, problems)
    if plan is not None and workers is not None:
        option = "--workers" if options.expect_workers is None else "--expect-workers"
        plan = dealt(plan, workers, problems, option)
    for each in folders:
        problems += taken(each)
    return plan, folders


def _targets(given: list[str], plan: Plan | None, problems: list[str]) -> dict[str, str]:
    targets: dict[str, str] = {}
    planned = {cell.variant.style for cell in plan.cells} if plan is not None else set()
    for word in given:
        style, equals, address = word.partition("=")
        if not equals or not address:
            problems.append(f"--target: {word!r} is not STYLE=ADDRESS, as in rest=http://host:8080")
        elif style not in {*planned, *catalog.styles()}:
            problems.append(
                f"--target: unknown style {style!r}; styles: {', '.join(catalog.styles())}"
            )
        elif plan is not None and style not in planned:
            problems.append(f"--target: {style} is not in this run; add it with --styles")
        else:
            targets[style] = address
    return targets


def _without_service(plan: Plan | None, targets: dict[str, str]) -> list[str]:
    """Styles of the user's own drivers that have neither a server nor a target."""
    variants = {c.variant.style: c.variant for c in plan.cells} if plan is not None else {}
    return [
        style
        for style, variant in variants.items()
        if variant.entry.client == "own" and not variant.entry.server and style not in targets
    ]


def _trace(given: str | None) -> str | None:
    """Where spans go; a file by its whole path, since servers have their own folder."""
    if given is None or given.startswith(("http://", "https://")):
        return given
    return str(Path(given).resolve())
