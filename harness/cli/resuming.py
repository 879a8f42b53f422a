"""`--resume`: from a run that was interrupted to what is to be done about it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.plan import Plan, make_plan
from harness.scenario import BadInput, resolved_scenario


def prepare_resumed(
    folder: Path, given: Sequence[str], targets: Mapping[str, str], problems: list[str]
) -> Plan | None:
    """The plan of the run in a folder, which may go on; mistakes go to `problems`. `given`: what
    the user gave that a run which goes on already has."""
    from harness.record import being_written
    from harness.results import generators_of, open_run

    problems += [f"{name}: the run that goes on has its own; take it out" for name in given]
    where = f"--resume: {folder}"
    try:
        info = open_run(folder).info
    except ValueError as error:
        problems.append(f"--resume: {error}")
        return None
    if being_written(folder):
        problems.append(f"{where} is still being written; let that process end")
    elif info["status"] == "complete":
        problems.append(f"{where} is complete; there is nothing left to run")
    if info.get("hosts"):
        problems.append(f"{where}: workers on other machines took part; run it again with them")
    if info.get("interleaved"):
        problems.append(f"{where}: two revisions took turns in it; run it again with --interleave")
    problems += [f"{where}: {words}" for words in _changes(info, targets)]
    try:
        plan = make_plan(resolved_scenario(info["scenario"]))
        plan = replace(plan, generators=generators_of(info))
    except BadInput as error:
        problems += [f"{where}: {problem}" for problem in error.problems]
        return None
    cells = {cell["id"] for cell in info["cells"]}
    planned = {cell.id for cell in plan.cells}
    # A search adds cells as it goes.
    if not planned <= cells or (plan.search is None and planned != cells):
        problems.append(f"{where}: this version plans other cells from its scenario; run it again")
    return plan


def _changes(info: Mapping[str, Any], targets: Mapping[str, str]) -> list[str]:
    """What is not as it was when a run began, so that its trials would not be of one kind."""
    from harness.analysis.sameness import machine_differences, software_differences
    from harness.results import generators_of
    from harness.rig.placement import this_machine
    from harness.run import surroundings

    # As it would be in run.json: JSON has lists, and no tuples.
    around = surroundings(targets, this_machine(generators_of(info)))
    now = {**json.loads(json.dumps(around)), "parts": {}}
    # Which brokers and stores there are is seen when they have started.
    then = {**info, "parts": {}}
    changed = [run["environment"].get("project", {}).get("changed") for run in (then, now)]
    found = [*machine_differences(then, now), *software_differences(then, now)]
    if changed[0] != changed[1]:
        found.append(f"work tree changed: {changed[0]} / {changed[1]}")
    return [f"{words} (then / now); run the scenario again" for words in found]


def given_options(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Which of these options the user gave."""
    return [f"--{n}" for n in names if getattr(options, n.replace("-", "_")) not in (None, False)]
