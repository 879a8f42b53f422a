"""A LoadTestShape of a user's own, as steps of the harness.

It is asked ahead, once a second of the run, and its users are taken as operations a second. So the
schedule is known before the load begins, is drawn like any other, and can be dealt to several
generators.
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.sections import MOST_STEPS

UNTIL_S = 3600
"""So long it is asked where nobody said how long the run is."""


@dataclass(frozen=True, slots=True)
class Steps:
    """See harness.sections.StepsLoad."""

    rates: Sequence[float]
    hold_s: int


def name_of(shape: str) -> str:
    """The class of `FILE.py:CLASS`."""
    return shape.rpartition(":")[2]


def steps(shape: str, length_s: float | None) -> Steps:
    """What `FILE.py:CLASS` asks for until its `tick` returns None, and within `length_s` seconds;
    held as long as they can be in equal parts. Raises ValueError saying what is wrong."""
    users = _asked(_made(shape), name_of(shape), length_s)
    if not any(users):
        raise ValueError(f"{name_of(shape)} asks for no users at all")
    hold_s = math.gcd(*(len(list(same)) for _, same in groupby(users)))
    rates = users[::hold_s]
    if len(rates) > MOST_STEPS:
        raise ValueError(
            f"{name_of(shape)} comes to {len(rates)} steps, more than {MOST_STEPS}; let it hold"
            " longer, or say a shorter duration"
        )
    return Steps(rates, hold_s)


def _asked(made: Any, name: str, length_s: float | None) -> list[float]:
    users: list[float] = []
    end = UNTIL_S if length_s is None else math.floor(length_s)
    for second in range(end):
        made.get_run_time = lambda second=second: second
        made.get_current_user_count = lambda: users[-1] if users else 0
        try:
            told = made.tick()
        except Exception as error:
            raise ValueError(
                f"{name}.tick() raised {type(error).__name__} at {second} s: {error}"
            ) from None
        if told is None:
            return users
        if not _is_answer(told):
            raise ValueError(
                f"{name}.tick() returned {told!r} at {second} s, which is neither None nor"
                " (users, spawn rate)"
            )
        users.append(float(told[0]))
    if length_s is None:
        raise ValueError(f"{name} has not ended after {UNTIL_S} s; say a duration, which cuts it")
    return users


def _is_answer(told: Any) -> bool:
    return (
        isinstance(told, tuple | list)
        and len(told) in (2, 3)
        and isinstance(told[0], int | float)
        and 0 <= told[0] < math.inf
    )


def _made(shape: str) -> Any:
    """A new one of its class, which nobody has asked."""
    file, _, name = shape.rpartition(":")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise ValueError(f"{shape!r} is not FILE.py:CLASS of a file that is there")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        kind = getattr(module, name, None)
        made = kind() if isinstance(kind, type) else None
    except Exception as error:
        raise ValueError(f"{shape}: {type(error).__name__}: {error}") from None
    if not callable(getattr(made, "tick", None)):
        raise ValueError(f"{path} has no class {name!r} with a method tick")
    return made
