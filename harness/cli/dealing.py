"""`--workers`: each trial's schedule is dealt to several generators."""

from collections.abc import Iterator
from dataclasses import replace

from harness.condition import counted
from harness.plan import Plan


def dealt(plan: Plan, workers: int, problems: list[str], option: str = "--workers") -> Plan:
    """The plan with so many generators as `option` asks for; what cannot be dealt to them goes to
    `problems`."""
    if workers > 1:
        problems += [f"{option}: {said}" for said in _undealable(plan, workers, option)]
    return replace(plan, generators=workers)


def _undealable(plan: Plan, workers: int, option: str) -> Iterator[str]:
    """Every generator needs one of each thing that is dealt; and what ends in one place, or has an
    order, cannot be spread over several."""
    scenario = plan.scenario
    if scenario.operation == "watch":
        yield (
            "watch is not dealt: an operation ends when the last subscriber has seen it, and all of"
            f" them are in one generator; take {option} out"
        )
    connection = scenario.connection
    users = [cell.load.users for cell in plan.cells if cell.load.users is not None]
    amounts = {
        "connection.connections": connection.connections,
        "connection.in_flight": connection.in_flight,
        "load.users": min(users, default=workers),
    }
    for key, least in amounts.items():
        if least < workers:
            yield (
                f"{key} = {least} cannot be dealt to {workers} generators, each of which needs one;"
                f" raise it, or {option} {least}"
            )
    keys = scenario.ingest.keys
    if scenario.operation == "ingest" and keys % workers:
        yield (
            f"ingest.keys = {keys} cannot be dealt evenly to {workers} generators: messages with"
            " one key are in order only where one producer sends them all; take"
            f" {counted(keys - keys % workers or workers, 'key')}, or another {option}"
        )
