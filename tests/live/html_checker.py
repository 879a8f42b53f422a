"""The Nu HTML checker, by its Maven coordinates."""

import json
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.rig.cache import filled
from harness.rig.jars import bring_jars
from harness.rig.kafka_source import find_java

CHECKER = "nu.validator:validator:26.5.2"


def complaints(pages: Sequence[Path]) -> list[str]:
    """All that the checker says of HTML files, warnings included: `file:line: what`. Blocks."""
    libs = filled("nu-validator-" + CHECKER.rpartition(":")[2], partial(bring_jars, [CHECKER]))
    command = [find_java()["java"], "-cp", f"{libs}/*"]
    command += ["nu.validator.client.SimpleCommandLineValidator"]
    command += ["--format", "json", "--stdout", "--exit-zero-always", *map(str, pages)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [
        f"{Path(each['url']).name}:{each.get('lastLine', '?')}: {each['message']}"
        for each in json.loads(ended.stdout)["messages"]
    ]
