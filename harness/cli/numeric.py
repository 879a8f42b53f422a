"""Numbers on a command line. A word that is none stays a word, to be refused with all else that is
wrong."""

from typing import Any


def numbers(text: str) -> list[Any]:
    """`1,2.5` as [1, 2.5]."""
    return [number(word) for word in text.split(",")]


def number(text: str) -> Any:
    """A whole number where it is one, else a fraction, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
