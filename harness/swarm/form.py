"""What Locust's start form offers, and what `bench.py run` is told of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clients import catalog
from harness.cli.paths import SCENARIOS

AS_IT_IS = "the scenario's own"
SHAPES = ("ramp", "steps")
"""Loads through several rates."""
LOADS = (AS_IT_IS, "constant", "poisson", "closed", *SHAPES)
DEFAULT_SCENARIO = "smoke"
NO_BUDGET_S = 86_400
"""Who started a run by hand can stop it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form, and the option of Locust's command line that fills it beforehand."""

    name: str
    says: str
    default: str = ""
    choices: Sequence[str] = ()
    """A drop-down; without, a text."""
    several: bool = False


def fields(own: Sequence[str] = ()) -> list[Field]:
    """The form; `own` are drivers of the user's own (`path/file.py:Class`)."""
    return [
        Field("scenario", "what is asked", DEFAULT_SCENARIO, scenarios()),
        Field("styles", "one or several", "rest", styles(own), several=True),
        Field("load", "how operations arrive", AS_IT_IS, LOADS),
        Field("rate", "operations a second; several with commas: one after the other"),
        Field("closed_users", "of a closed load, each waiting for its answer"),
        Field("items", "lines an order"),
        Field("duration", "measured seconds a trial"),
        Field("repeats", "trials of each", "1"),
    ]


def scenarios() -> list[str]:
    """Those that come with the project."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def styles(own: Sequence[str] = ()) -> list[str]:
    """Every style, by itself for its own libraries; then every other variant; then `own`."""
    names = catalog.styles()
    others = [
        f"{e.style}:{e.client}" + (f"+{e.server}" if e.server else "")
        for e in catalog.ENTRIES
        if e != catalog.find(e.style)
    ]
    return [*names, *others, *own]


def problems(given: Mapping[str, Sequence[str]], own: Sequence[str] = ()) -> list[str]:
    """What is not among what the form offers: it comes from whoever can reach the page, and a style
    may be a file that is run. What the harness itself finds wrong, it says."""
    found = [
        f"{field.name}: {value!r} is none of {', '.join(field.choices)}"
        for field in fields(own)
        for value in given.get(field.name, ())
        if field.choices and value not in field.choices
    ]
    return found + _load(given)[1]


def words(given: Mapping[str, Sequence[str]]) -> list[str]:
    """The words of `bench.py run` for what the form says, which has no problems."""
    load, _ = _load(given)
    options = {
        "styles": ",".join(given.get("styles", ())),
        "load": load,
        "rate": "" if _first(given, "load") in SHAPES else _first(given, "rate"),
        "users": _first(given, "closed_users"),
        "items": _first(given, "items"),
        "duration": "" if _first(given, "load") == "steps" else _first(given, "duration"),
        "repeats": _first(given, "repeats"),
        "budget": str(NO_BUDGET_S),
    }
    said = [f"--{name}={value}" for name, value in options.items() if value]
    return [_first(given, "scenario") or DEFAULT_SCENARIO, *said]


def _first(given: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(given.get(name, ())), "").strip()


def _load(given: Mapping[str, Sequence[str]]) -> tuple[str, list[str]]:
    """`--load`, and what is wrong with what it is made of."""
    model = _first(given, "load")
    if model not in SHAPES:
        return ("" if model == AS_IT_IS else model), []
    found = []
    rates = _numbers(_first(given, "rate"))
    if not rates:
        found.append(f"rate: a load of {model} goes through several, as in 100, 200, 400")
    if model == "ramp":
        return f'model = "ramp", rates = {rates}', found
    length = _numbers(_first(given, "duration"))
    if len(length) != 1:
        found.append("duration: the steps share it; say how many seconds")
        return "", found
    hold = length[0] / max(len(rates), 1)
    return f'model = "steps", rates = {rates}, hold_s = {hold}', found


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        return []
