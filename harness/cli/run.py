"""`bench.py run [SCENARIO]`"""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from clients import catalog
from harness.cli.addresses import add_addresses, given_addresses
from harness.cli.paths import RESULTS, scenario_path
from harness.plan import Plan, make_plan
from harness.rig.parts import BROKERS, address_problems
from harness.scenario import BadInput, load_scenario

DEFAULT = "compare"


def numbers(text: str) -> list[Any]:
    """`1,2.5` as [1, 2.5]; a word that is no number stays one, for the scenario to refuse."""
    return [number(word) for word in text.split(",")]


def number(text: str) -> Any:
    """A whole number where it is one, else a fraction, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options. Values are checked with the scenario, to report all at once."""
    parser.add_argument(
        "scenario", nargs="?", default=DEFAULT, help=f"a name or a .toml file (default: {DEFAULT})"
    )
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
    parser.add_argument("--rate", metavar="R,...", type=numbers, help="operations a second")
    parser.add_argument("--users", metavar="N,...", type=numbers, help="users of closed loops")
    parser.add_argument("--duration", metavar="S", type=number, help="measured seconds a trial")
    parser.add_argument("--repeats", metavar="N", type=number, help="trials a cell")
    parser.add_argument("--seed", metavar="N", type=number, help="of schedule, orders and order")
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


def main(options: argparse.Namespace) -> int:
    """Plan, run, report."""
    plan, targets, folder = prepare(options)
    addresses = given_addresses(options)
    command = ["python3", "bench.py", *sys.argv[1:]]

    from harness.report.console import ConsoleWatcher, console, print_summary
    from harness.run import execute

    screen = console()
    minutes, seconds = divmod(round(plan.seconds), 60)
    screen.print(plan.scenario.question, style="bold", markup=False, highlight=False)
    screen.print(
        f"cells: {len(plan.cells)}, trials: {len(plan.trials)}, about {minutes}:{seconds:02d};"
        f" results in {_shown(folder)}",
        highlight=False,
        soft_wrap=True,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput([f"--out: {folder} cannot be made: {error.strerror}"]) from None
    watcher = ConsoleWatcher(plan, screen)
    try:
        complete = execute(
            plan, folder, targets, command, watcher, _trace(options.trace), addresses
        )
    finally:
        watcher.close()

    from harness.report.build import build_report

    summary = build_report(folder)
    print_summary(summary, screen)
    screen.print(f"report: {_shown(folder / 'report.html')}", highlight=False, soft_wrap=True)
    if not complete:
        screen.print("interrupted: the results are partial", style="red")
        return 130
    if summary.failed:
        return 1
    return 3 if options.strict and summary.skipped else 0


def prepare(options: argparse.Namespace) -> tuple[Plan, dict[str, str], Path]:
    """Check everything that the user gave. Raises BadInput with every mistake; writes nothing."""
    problems: list[str] = []
    plan: Plan | None = None
    names: list[str] = ["styles", "driver", "rate", "users", "duration", "repeats", "seed", "items"]
    names += [f"{broker}-nodes" for broker in BROKERS]
    overrides = {f"--{name}": getattr(options, name.replace("-", "_")) for name in names}
    problems += [f"--{problem}" for problem in address_problems(given_addresses(options))]
    try:
        path = scenario_path(options.scenario)
        plan = make_plan(load_scenario(path, overrides, options.thorough))
    except BadInput as error:
        problems += error.problems
    targets = _targets(options.target, plan, problems)
    for style in _without_service(plan, targets):
        problems.append(
            f'--driver: {style} has nothing to talk to; say server = "rest" (or another style) in'
            f" its class, or give --target {style}=ADDRESS"
        )
    name = f"{Path(options.scenario).stem}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = options.out if options.out is not None else _unused(RESULTS / name)
    if folder.exists() and not folder.is_dir():
        problems.append(f"--out: {folder} is a file; name a folder that does not exist")
    elif folder.exists() and any(folder.iterdir()):
        problems.append(f"--out: {folder} is not empty; name a folder that does not exist")
    trace = _trace(options.trace)
    if trace is not None and "://" not in trace and not Path(trace).parent.is_dir():
        problems.append(f"--trace: {Path(trace).parent} is no folder; name a file in one that is")
    if problems or plan is None:
        raise BadInput(problems)
    return plan, targets, folder


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


def _unused(folder: Path) -> Path:
    candidate, number = folder, 2
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}-{number}")
        number += 1
    return candidate


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
