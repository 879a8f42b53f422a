"""A question in TOML, checked strictly: every mistake is reported at once, by file and key."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from clients import catalog
from harness.sections import (
    LOADS,
    Axis,
    BrokerShape,
    CapacitySearch,
    ClosedLoad,
    Connection,
    Fault,
    Gateway,
    IngestShape,
    Load,
    Memory,
    Objective,
    OrderShape,
    PollShape,
    Price,
    RetryShape,
    Seconds,
    Section,
    ServiceTime,
    Subscribers,
    WireShape,
    listed,
)
from harness.variant import parse_variant


class BadInput(Exception):
    """What the user gave cannot be run; `problems` has one line for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def _variant(text: str) -> str:
    try:
        parse_variant(text)
    except LookupError as error:
        near = difflib.get_close_matches(str(text), catalog.styles(), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near and near[0] != text else ""
        raise ValueError(f"{error}{hint}") from None
    return text


class Scenario(Section):
    """One question, and the conditions under which it is asked."""

    question: Annotated[str, Field(min_length=1, max_length=500)]
    operation: Literal["place", "job", "watch", "ingest"] = "place"
    styles: Annotated[list[Annotated[str, BeforeValidator(_variant)]], Field(min_length=1)]
    repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 1
    warm_up_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 1.0
    duration_s: Seconds = 4.0
    timeout_s: Seconds = 2.0
    budget_s: Seconds | None = None
    objective: Objective | None = None
    noise: bool = True
    """Whether each family's first variant also runs against itself (A/A)."""
    capacity: CapacitySearch | None = None
    load: Axis[Load]
    order: OrderShape = OrderShape()
    service: ServiceTime = ServiceTime()
    connection: Connection = Connection()
    wire: WireShape = WireShape()
    poll: PollShape = PollShape()
    watch: Subscribers = Subscribers()
    gateway: Gateway = Gateway()
    memory: Memory = Memory()
    retry: RetryShape = RetryShape()
    broker: BrokerShape = BrokerShape()
    ingest: IngestShape = IngestShape()
    fault: Fault | None = None
    price: Price | None = None

    @field_validator("styles")
    @classmethod
    def _different(cls, styles: list[str]) -> list[str]:
        variants = [parse_variant(style) for style in styles]
        for index, variant in enumerate(variants):
            if variant in variants[:index]:
                raise ValueError(
                    f"{styles[index]!r} is there twice; a label tells two apart: "
                    f"{styles[index]}=again"
                )
        return styles


SECTIONS: dict[str, type[Section]] = {
    "order": OrderShape,
    "service": ServiceTime,
    "connection": Connection,
    "objective": Objective,
    "capacity": CapacitySearch,
    "wire": WireShape,
    "poll": PollShape,
    "watch": Subscribers,
    "gateway": Gateway,
    "memory": Memory,
    "retry": RetryShape,
    "broker": BrokerShape,
    "ingest": IngestShape,
    "fault": Fault,
    "price": Price,
}


def usual() -> dict[str, Any]:
    """What a scenario has, as run.json has it, that says nothing of it."""
    return {
        name: field.default.model_dump(mode="json")
        if isinstance(field.default, Section)
        else field.default
        for name, field in Scenario.model_fields.items()
        if not field.is_required()
    }


def resolved_scenario(resolved: Mapping[str, Any]) -> Scenario:
    """The scenario that run.json has. Raises BadInput where this program has no such scenario."""
    defaults = usual()
    said = {
        key: value
        for key, value in resolved.items()
        if key not in defaults or value != defaults[key]
    }
    try:
        return Scenario.model_validate(said)
    except ValidationError as error:
        raise BadInput(
            f"scenario: {_key(mistake['loc'], said)}: {_words(dict(mistake))}"
            for mistake in error.errors()
        ) from None


CHANGING = ("ramp", "steps", "replay")
"""Loads whose rate changes."""
_INDEX = re.compile(r"\[\d+\]")


def load_scenario(path: Path, overrides: dict[str, Any], thorough: bool = False) -> Scenario:
    """The scenario in a TOML file with the command line's `overrides` on top.

    `overrides` has option names (`--rate`) as keys, all but None applied. A file may have a table
    `thorough` of keys that are put in the place of its own with `thorough`. Raises BadInput with
    every mistake.
    """
    raw = read_toml(path)
    more = raw.pop("thorough", None)
    if thorough:
        if not isinstance(more, dict):
            raise BadInput([f"{path}: --thorough: the scenario has no table [thorough]"])
        raw |= more
    problems, from_options = _apply(raw, overrides)
    try:
        scenario = Scenario.model_validate(raw, context={"folder": path.parent})
    except ValidationError as error:
        for mistake in error.errors():
            key = _key(mistake["loc"], raw)
            option = from_options.get(key) or from_options.get(_INDEX.sub("", key))
            if option is None and key.startswith("load.") and "load" in from_options:
                option = f"--{key}"
            where = option or f"{path}: {key}"
            problems.append(f"{where}: {_words(dict(mistake))}")
        raise BadInput(problems) from None
    if problems:
        raise BadInput(problems)
    users = [u for load in scenario.load if isinstance(load, ClosedLoad) for u in load.users]
    window = scenario.connection.in_flight
    if max(users, default=0) > window:
        said = f"{max(users)} users do not fit into connection.in_flight = {window}; raise it"
        raise BadInput([f"{path}: load.users: {said}"])
    return scenario


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's tables. Raises BadInput."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise BadInput([f"{path}: is not UTF-8 text: {error.reason}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput([f"{path}: is not TOML: {error}"]) from None


def _apply(raw: dict[str, Any], overrides: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Write overrides into `raw`; returns the problems, and which key came from which option."""
    problems: list[str] = []
    sources: dict[str, str] = {}
    for option, value in overrides.items():
        if value is None:
            continue
        match option:
            case "--load":
                load, problem = _load(value, raw.get("load"))
                raw["load"] = load
                sources["load"] = option
                problems += problem
            case "--rate" | "--users":
                key = option.removeprefix("--")
                loads = [x for x in listed(raw.get("load", [])) if isinstance(x, dict)]
                closed = option == "--users"
                fitting = [
                    x
                    for x in loads
                    if (x.get("model") == "closed") == closed and x.get("model") not in CHANGING
                ]
                if not fitting and any(x.get("model") in CHANGING for x in loads):
                    problems.append(f"{option}: the scenario's loads have no one rate; change them")
                elif not fitting:
                    other = "--rate" if closed else "--users"
                    kind = "closed" if closed else "open"
                    problems.append(f"{option}: the scenario has no {kind}-loop load; use {other}")
                for load in fitting:
                    load[key] = value
                    sources[f"load.{key}"] = option
            case "--items":
                order = raw.setdefault("order", {})
                if isinstance(order, dict):
                    order["items"] = value
                    order.pop("file", None)
                    sources["order.items"] = option
            case "--driver":
                styles = raw.get("styles")
                if isinstance(styles, list):
                    first = len(styles)
                    raw["styles"] = [*styles, *value]
                    sources |= {f"styles[{first + n}]": option for n in range(len(value))}
            case "--kafka-nodes" | "--rabbitmq-nodes":
                key = option.removeprefix("--").replace("-", "_")
                broker = raw.setdefault("broker", {})
                if isinstance(broker, dict):
                    broker[key] = value
                    sources[f"broker.{key}"] = option
            case "--price":
                price = raw.setdefault("price", {})
                if isinstance(price, dict):
                    price["core_hour"] = value
                    sources["price.core_hour"] = option
            case "--duration":
                loads = [x for x in listed(raw.get("load", [])) if isinstance(x, dict)]
                if loads and all(x.get("model") in ("steps", "replay") for x in loads):
                    said = "steps and recordings are as long as they are; change them"
                    problems.append(f"{option}: {said}")
                raw["duration_s"] = value
                sources["duration_s"] = option
            case "--budget":
                raw["budget_s"] = value
                sources["budget_s"] = option
            case _:
                raw[option.removeprefix("--")] = value
                sources[option.removeprefix("--")] = option
    return problems, sources


def _load(text: str, before: Any) -> tuple[Any, list[str]]:
    """The load that `--load` gives, and what is wrong with its words. A model alone keeps what it
    can of the load before."""
    if text in LOADS:
        kept = before if isinstance(before, dict) else {}
        fields = LOADS[text].model_fields
        return {**{k: v for k, v in kept.items() if k in fields}, "model": text}, []
    try:
        return tomllib.loads(f"load = {{ {text} }}")["load"], []
    except tomllib.TOMLDecodeError:
        said = f"{text!r} is no model ({', '.join(LOADS)}), nor a table such as"
        return before, [f"""--load: {said} 'model = "ramp", rates = [100, 500]'"""]


def _key(location: tuple[int | str, ...], raw: dict[str, Any]) -> str:
    """A pydantic location as the user would write it: `load.rate[0]`."""
    parts: list[str] = []
    single = not isinstance(raw.get("load"), list)
    for index, piece in enumerate(location):
        in_load = location[0] == "load"
        if in_load and index == 2 and piece in LOADS:
            continue
        if isinstance(piece, int):
            if not (in_load and index == 1 and single) and not _was_scalar(raw, location[:index]):
                parts[-1] += f"[{piece}]"
        else:
            parts.append(piece)
    return ".".join(parts)


def _was_scalar(raw: Any, location: tuple[int | str, ...]) -> bool:
    for index, piece in enumerate(location):
        if index == 2 and piece in LOADS and location[0] == "load":
            continue
        if isinstance(piece, int) and not isinstance(raw, list):
            continue
        try:
            raw = raw[piece]
        except (KeyError, IndexError, TypeError):
            return False
    return not isinstance(raw, list)


def _words(mistake: dict[str, Any]) -> str:
    location = mistake["loc"]
    match mistake["type"]:
        case "extra_forbidden":
            return in_words(mistake, _names_beside(location))
        case "union_tag_invalid":
            given = mistake["ctx"]["tag"]
            return _with_nearest(
                f"model {given!r} is not one of {', '.join(LOADS)}", given, list(LOADS)
            )
        case "union_tag_not_found":
            return f"model is missing; one of {', '.join(LOADS)}"
    return in_words(mistake)


def in_words(mistake: dict[str, Any], known: Iterable[str] = ()) -> str:
    """One of pydantic's errors as a user would say it; `known` keys may stand there."""
    match mistake["type"]:
        case "extra_forbidden":
            return _with_nearest("unknown key", str(mistake["loc"][-1]), list(known))
        case "missing":
            return "is missing"
        case "too_short":
            return "needs at least one value"
        case "value_error":
            return str(mistake["msg"]).removeprefix("Value error, ")
    said = str(mistake["msg"])
    shown = repr(mistake["input"])
    return f"{said[0].lower()}{said[1:]}, not {shown if len(shown) < 80 else shown[:77] + '...'}"


def _names_beside(location: tuple[int | str, ...]) -> list[str]:
    if len(location) == 1:
        return list(Scenario.model_fields)
    tags = [piece for piece in location if isinstance(piece, str)]
    section = LOADS.get(tags[1]) if tags[0] == "load" else SECTIONS.get(tags[0])
    return list(section.model_fields) if section else []


def _with_nearest(said: str, given: str, names: list[str]) -> str:
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return f"{said}; did you mean {near[0]!r}?" if near else f"{said}; known: {', '.join(names)}"
