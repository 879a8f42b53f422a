"""`bench.py list`"""

import argparse

from clients import catalog
from harness.cli.paths import SCENARIOS
from harness.plan import make_plan
from harness.scenario import load_scenario


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def main(_: argparse.Namespace) -> int:
    """One line for each scenario with its length, and its question below."""
    for path in sorted(SCENARIOS.glob("*.toml")):
        plan = make_plan(load_scenario(path, {}))
        minutes, seconds = divmod(round(plan.seconds), 60)
        print(
            f"{path.stem:<10} {minutes}:{seconds:02d}  {len(plan.cells)} cells, "
            f"{plan.scenario.repeats} trials each"
        )
        print(f"{'':<10} {plan.scenario.question}")
    print("\nstyles, each with its clients; the first stands for the style")
    for style in catalog.styles():
        clients = ", ".join(e.client for e in catalog.ENTRIES if e.style == style)
        print(f"{style:<12} {clients}")
    return 0
