"""What Locust's start form offers, and what `bench.py run` is told of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clients import catalog
from harness.cli.paths import RESULTS, SCENARIOS
from harness.swarm.shape import name_of, steps
from harness.variant import parse_variant

Given = Mapping[str, Sequence[str]]
"""What somebody has filled in, by field."""

AS_IT_IS = "the scenario's own"
SHAPES = ("ramp", "steps")
"""Loads through several rates."""
DETAILS = {"burst": ("burst_size", "every_s"), "closed": ("think_s",)}
"""Fields of one load only, by its model; they are called as in a scenario."""
LOADS = (AS_IT_IS, "constant", "poisson", "burst", "closed", *SHAPES)
ITEMS = (AS_IT_IS, "1", "3", "10", "30", "100", "300", "1000")
IN_TURN, TOGETHER = "one after the other", "together"
DEFAULT_SCENARIO = "smoke"
NO_BUDGET_S = 86_400
"""A day: who started a run by hand can stop it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the command line adds to the form, which a page may not."""

    own: Sequence[str] = ()
    """Drivers of the user's own (`path/file.py:Class`)."""
    items: str = ""
    """Lines an order, which may be any."""
    shape: str = ""
    """A LoadTestShape of the user's own (`path/file.py:Class`)."""
    targets: Sequence[str] = ()
    """Services that run already (`style=address`)."""
    out: Path | None = None
    """Where results go; None for the usual place."""
    workers: Sequence[str] = ()
    """Words for every run that name its workers on other machines, where it is to have such."""

    @property
    def load(self) -> str:
        """The shape as a load; empty where there is none."""
        return f"the shape {name_of(self.shape)}" if self.shape else ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form, and the option of Locust's command line that fills it beforehand."""

    name: str
    says: str
    """Short: beside the name it is cut on a small screen."""
    default: str = ""
    choices: Sequence[str] = ()
    """A drop-down; without, a text."""
    several: bool = False


def fields(offer: Offer) -> list[Field]:
    """The form."""
    return [
        Field("scenario", "what is asked", DEFAULT_SCENARIO, scenarios()),
        Field("styles", "one or several", "rest", styles(offer.own), several=True),
        Field(
            "turns",
            "together, figures tell of the mix only",
            IN_TURN,
            (IN_TURN, TOGETHER),
        ),
        Field("load", "how operations arrive", offer.load or AS_IT_IS, loads(offer)),
        Field("rate", "operations/s, or 100,200"),
        Field("burst_size", "of a burst load"),
        Field("every_s", "seconds between bursts"),
        Field("closed_users", "of a closed load"),
        Field("think_s", "of a closed load"),
        Field("items", "lines an order", offer.items or AS_IT_IS, items(offer.items)),
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


def loads(offer: Offer) -> list[str]:
    """Every model but recordings, which need a file, and the user's own shape."""
    return [*LOADS, *filter(None, [offer.load])]


def items(asked: str = "") -> list[str]:
    """Numbers of lines an order, and what the command line asks for."""
    return list(dict.fromkeys([*ITEMS, *filter(None, [asked])]))


def problems(given: Given, offer: Offer) -> list[str]:
    """What is not among what the form offers: it comes from whoever can reach the page, and a style
    may be a file that is run. What the harness itself finds wrong, it says."""
    found = [
        f"{field.name}: {value!r} is none of {', '.join(field.choices)}"
        for field in fields(offer)
        for value in given.get(field.name, ())
        if field.choices and value not in field.choices
    ]
    found += [
        f"{name}: is of a {model} load; choose that, or leave it empty"
        for model, names in DETAILS.items()
        for name in names
        if _first(given, name) and _first(given, "load") != model
    ]
    if len(set(given.get("styles", ()))) < len(given.get("styles", ())):
        found.append("styles: one is there twice")
    if offer.workers and _first(given, "turns") == TOGETHER:
        found.append("turns: workers send for one run at a time; let styles take turns")
    return found + _load(given, offer)[1]


def runs(given: Given, offer: Offer, now: datetime) -> dict[str, list[str]]:
    """The words of `bench.py run` for what the form says, which has no problems: one run by the
    name "", or one of each style by its name where they go together."""
    chosen = given.get("styles", ())
    load, _ = _load(given, offer)
    if _first(given, "turns") != TOGETHER or len(chosen) < 2:
        words = [*_words(given, load, chosen), *(f"--target={target}" for target in offer.targets)]
        words += offer.workers
        return {"": words if offer.out is None else [*words, f"--out={offer.out}"]}
    variants = {style: parse_variant(style) for style in chosen}
    out = offer.out or RESULTS / f"{_scenario(given)}-{now:%Y%m%d-%H%M%S}"
    to = [target.partition("=")[0] for target in offer.targets]
    known = {variant.style for variant in variants.values()}
    return {
        style: [
            *_words(given, load, [style]),
            # One that is nobody's is refused by all.
            *(
                f"--target={target}"
                for name, target in zip(to, offer.targets, strict=True)
                if name == variant.style or name not in known
            ),
            f"--out={out.with_name(f'{out.name}-{variant.slug}')}",
            f"--beside={','.join(other for other in chosen if other != style)}",
        ]
        for style, variant in variants.items()
    }


def _scenario(given: Given) -> str:
    return _first(given, "scenario") or DEFAULT_SCENARIO


def _words(given: Given, load: str, styles: Sequence[str]) -> list[str]:
    model = _first(given, "load")
    lines = _first(given, "items")
    options = {
        "styles": ",".join(styles),
        "load": load,
        "rate": "" if model in SHAPES else _first(given, "rate"),
        "users": _first(given, "closed_users"),
        "items": "" if lines == AS_IT_IS else lines,
        # Steps are as long as they are.
        "duration": "" if _is_steps(load) else _first(given, "duration"),
        "repeats": _first(given, "repeats"),
        "budget": str(NO_BUDGET_S),
    }
    said = [f"--{name}={value}" for name, value in options.items() if value]
    return [_scenario(given), *said]


def _first(given: Given, name: str) -> str:
    return next(iter(given.get(name, ())), "").strip()


def _load(given: Given, offer: Offer) -> tuple[str, list[str]]:
    """`--load`, and what is wrong with what it is made of. Without details it is the model alone,
    so that what else the scenario says of such a load holds."""
    model = _first(given, "load")
    if model == AS_IT_IS:
        return "", []
    if offer.load and model == offer.load:
        return _shaped(given, offer.shape)
    if model in SHAPES:
        return _through(model, given)
    named = {name: _first(given, name) for name in DETAILS.get(model, ())}
    details = {name: _number(text) for name, text in named.items() if text}
    wrong = [f"{name}: {named[name]!r} is no number" for name, v in details.items() if v is None]
    table = [f'model = "{model}"', *(f"{name} = {value}" for name, value in details.items())]
    return (", ".join(table) if details else model), wrong


def _through(model: str, given: Given) -> tuple[str, list[str]]:
    found = []
    rates = [_number(word) for word in _first(given, "rate").split(",")]
    if None in rates:
        found.append(f"rate: a load of {model} goes through several, as in 100, 200, 400")
    if model == "ramp":
        return f'model = "ramp", rates = {rates}', found
    length = _number(_first(given, "duration"))
    if length is None:
        found.append("duration: the steps share it; say how many seconds")
        return "", found
    return _steps(rates, length / len(rates)), found


def _shaped(given: Given, shape: str) -> tuple[str, list[str]]:
    said = _first(given, "duration")
    length = _number(said)
    if said and (length is None or not 1 <= length <= NO_BUDGET_S):
        return "", [f"duration: {said!r} is not 1 to {NO_BUDGET_S} seconds"]
    try:
        made = steps(shape, length)
    except ValueError as error:
        return "", [f"--shape: {error}"]
    return _steps([f"{rate:.10g}" for rate in made.rates], made.hold_s), []


def _steps(rates: Sequence[object], hold_s: float) -> str:
    return f'model = "steps", rates = [{", ".join(map(str, rates))}], hold_s = {hold_s}'


def _is_steps(load: str) -> bool:
    return load.startswith('model = "steps"')


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None
