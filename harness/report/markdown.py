"""A run in short as Markdown, for a pull request or an issue."""

import re
import shlex

from harness.analysis.summary import Summary
from harness.analysis.verdicts import Status
from harness.report.brief import Row, brief
from harness.report.earlier import earlier
from harness.report.words import beside, workers

_SPECIAL = re.compile(r"[\\`*_\[\]#|~<>&@]|^[-+=]|^\d(?=\d*[.)]\s)")


def to_markdown(summary: Summary) -> str:
    """Question, answer, a table with a row a cell, reasons, and the command. Nothing of the user's
    is taken for Markdown, HTML or a mention."""
    made, info = brief(summary), summary.info
    heads = ["style", "load", *made.heads, "verdict"]
    notes = [*made.notes, beside(info), workers(info), *earlier(summary)]
    aligned = [":-", ":-", *("-:" for _ in made.heads), ":-"]
    lines = [
        f"## {plain(info['question'])}",
        *(plain(sentence) for sentence in made.answer),
        "\n".join(_line(cells) for cells in (heads, aligned, *map(_cells, made.rows))),
        *(plain(note) for note in notes if note),
        f"Run {plain(info['run'])}, {plain(info['status'])}:",
        _fenced(shlex.join(info["command"])),
    ]
    return "\n\n".join(lines) + "\n"


def plain(text: str) -> str:
    """A text of one line as it is read, whatever is in it."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def _cells(row: Row) -> list[str]:
    verdict = row.status.value if row.status is Status.VALID else f"**{row.status.value}**"
    return [plain(row.name), plain(row.load), *map(plain, row.figures), verdict]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fenced(text: str) -> str:
    """With a fence that the text does not hold."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
