"""`bench.py COMMAND`: finds the command's file and hands over.

Exit codes: 0 complete; 1 a style failed or an account does not balance; 2 bad input, nothing
written; 3 skipped under --strict; 130 interrupted, results partial.
"""

import argparse
import importlib
import sys

from harness.scenario import BadInput

COMMANDS = {
    "run": "run a scenario and write its report",
    "list": "the scenarios, what each answers and how long it takes",
    "report": "make a run's summary and report again from its samples",
    "serve": "start one style's server by hand",
    "test": "run this project's own tests",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description="One order service behind every way two services can talk.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((word for word in words if not word.startswith("-")), None)
    for name, words_for_help in COMMANDS.items():
        command = commands.add_parser(name, help=words_for_help, description=words_for_help)
        if name == named:
            importlib.import_module(f"harness.cli.{name}").arguments(command)
    # A test's own options are pytest's.
    options, rest = parser.parse_known_args(words)
    if rest and named != "test":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        code: int = importlib.import_module(f"harness.cli.{options.command}").main(options)
    except BadInput as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
