"""`bench.py COMMAND`: finds the command's file and hands over.

Exit codes: 0 complete; 1 a style failed or an account does not balance; 2 bad input, nothing
written; 3 skipped under --strict; 4 a gate is not met; 130 interrupted, results partial.
"""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Iterable

from harness.scenario import BadInput

COMMANDS = {
    "run": "run a scenario and write its report",
    "list": "the scenarios, what each answers and how long it takes",
    "report": "make a run's summary and report again from its samples",
    "calibrate": "measure the instrument: does it read what is true on this machine?",
    "locust": "Locust's page: choose, start, watch and stop runs",
    "compare": "what is different between two runs, cell by cell",
    "doctor": "where brokers and stores come from, and what is missing",
    "serve": "start one style's server by hand",
    "test": "run this project's own tests",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parse(words)
        code: int = importlib.import_module(f"harness.cli.{options.command}").main(options)
    except BadInput as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read it has gone, as `| head` does; the interpreter must not flush to them at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def parse(words: list[str]) -> argparse.Namespace:
    """The command and its options. Ends the program with 2 and a usage line if they are none."""
    if words[:1] == ["test"]:  # what follows is pytest's, to the letter
        return argparse.Namespace(command="test", words=words[1:])
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description="One order service behind every way two services can talk.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((word for word in words if not word.startswith("-")), "")
    if named and named not in COMMANDS:
        raise BadInput([f"{named}: unknown command{_nearest(named, COMMANDS)}"])
    known: list[str] = []
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        if name == named:
            importlib.import_module(f"harness.cli.{name}").arguments(command)
            known = [o for o in command.format_help().replace(",", " ").split() if o[:2] == "--"]
    options, rest = parser.parse_known_args(words)
    unknown = [word for word in rest if word.startswith("-")] or rest
    if unknown:
        raise BadInput(f"{u}: unknown option{_nearest(u, known)}" for u in unknown)
    return options


def _nearest(word: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


if __name__ == "__main__":
    sys.exit(main())
