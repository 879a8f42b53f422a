"""`bench.py list`"""

import argparse

from clients import catalog
from harness.cli.paths import SCENARIOS
from harness.plan import Plan, make_plan
from harness.scenario import load_scenario


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def size(plan: Plan) -> str:
    """How long a plan takes, and what of; of a search the most that it may come to."""
    minutes, seconds = divmod(round(plan.seconds), 60)
    length = f"{minutes}:{seconds:02d}"
    if plan.search is None:
        return f"{length}  {len(plan.cells)} cells, {plan.scenario.repeats} trials each"
    return f"{length} at most  {len(plan.trials)} searches of {plan.search.most} trials at most"


def main(_: argparse.Namespace) -> int:
    """One line for each scenario with its length, and its question below."""
    for path in sorted(SCENARIOS.glob("*.toml")):
        plan = make_plan(load_scenario(path, {}))
        print(f"{path.stem:<11} {size(plan)}")
        print(f"{'':<11} {plan.scenario.question}")
    print("\nstyles, each with its clients and servers; the first stands for the style")
    for style in catalog.styles():
        entries = [e for e in catalog.ENTRIES if e.style == style and not e.null]
        clients, servers = (
            ", ".join(dict.fromkeys(name for name in names if name))
            for names in zip(*((e.client, e.server) for e in entries), strict=True)
        )
        print(f"{style:<12} {clients}{' + ' if servers else ''}{servers}")
    return 0
