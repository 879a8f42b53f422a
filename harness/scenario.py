"""A question in TOML, checked strictly: every mistake is reported at once, by file and key."""

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from clients import catalog
from harness.variant import parse_variant
from orders.samples import orders_from_file
from orders.validation import MAX_ATTACHMENT_BYTES


class BadInput(Exception):
    """What the user gave cannot be run; `problems` has one line for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


T = TypeVar("T")
Axis = Annotated[list[T], BeforeValidator(_listed), Field(min_length=1)]
"""Values that are tried one after the other; one value alone needs no list."""
Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Rates = Axis[Rate]
Switch = Annotated[list[bool], BeforeValidator(_listed), Field(min_length=1, max_length=2)]


class Section(BaseModel):
    """A strict table: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClosedLoad(Section):
    """`users` that each wait for their answer, think, and ask again."""

    model: Literal["closed"]
    users: Axis[Annotated[int, Field(ge=1, le=100_000)]]
    think_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 0.0


class ConstantLoad(Section):
    """`rate` operations a second, evenly spaced."""

    model: Literal["constant"]
    rate: Rates


class PoissonLoad(Section):
    """`rate` operations a second on average, arriving independently."""

    model: Literal["poisson"]
    rate: Rates


class BurstLoad(Section):
    """A constant `rate`, and `burst_size` more at one instant every `every_s` seconds."""

    model: Literal["burst"]
    rate: Rates
    burst_size: Annotated[int, Field(ge=1, le=1_000_000)]
    every_s: Seconds


Load = Annotated[ClosedLoad | ConstantLoad | PoissonLoad | BurstLoad, Field(discriminator="model")]
LOADS: dict[str, type[Section]] = {
    "closed": ClosedLoad,
    "constant": ConstantLoad,
    "poisson": PoissonLoad,
    "burst": BurstLoad,
}


class OrderShape(Section):
    """The orders that are placed: `items` lines each, or those of a JSON Lines `file`; and a
    document of `attachment_bytes` with each."""

    items: Axis[Annotated[int, Field(ge=1, le=10_000)]] = [3]
    attachment_bytes: Axis[Annotated[int, Field(ge=0, le=MAX_ATTACHMENT_BYTES)]] = [0]
    file: str | None = None

    @field_validator("file")
    @classmethod
    def _readable(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        path = Path((info.context or {}).get("folder", "."), value)
        try:
            orders_from_file(path)
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return str(path.resolve())


WORKING = ("fixed", "exponential")


class ServiceTime(Section):
    """How long the service works on an order: the same draws for every style of a block."""

    time: Literal["none", "fixed", "exponential"] = "none"
    mean_ms: Annotated[
        list[Annotated[float, Field(ge=0, le=30_000, allow_inf_nan=False)]],
        BeforeValidator(_listed),
        Field(min_length=1, validate_default=True),
    ] = [0.0]
    store: Axis[Literal["memory", "postgres"]] = ["memory"]

    @field_validator("mean_ms")
    @classmethod
    def _fits(cls, value: list[float], info: ValidationInfo) -> list[float]:
        time = info.data.get("time", "unknown")
        if (time == "none" and value != [0.0]) or (time in WORKING and min(value) == 0):
            raise ValueError('goes together with time = "fixed" or "exponential", and is above 0')
        return value


class Connection(Section):
    """The same limits for every style."""

    in_flight: Annotated[int, Field(ge=1, le=100_000)] = 1024
    connections: Annotated[int, Field(ge=1, le=10_000)] = 4
    kept: Switch = [True]


class WireShape(Section):
    """How styles talk, where they leave a choice; `own` is the style's own codec."""

    codec: Axis[Literal["own", "json", "protobuf"]] = ["own"]
    tls: Switch = [False]
    compression: Switch = [False]


class PollShape(Section):
    """How styles that poll do it; see clients.base.Poll."""

    policy: Axis[Literal["fixed", "backoff", "long"]] = ["fixed"]
    interval_ms: Axis[Annotated[float, Field(ge=1, le=60_000, allow_inf_nan=False)]] = [100.0]
    longest_ms: Annotated[float, Field(ge=1, le=60_000, allow_inf_nan=False)] = 2000.0


class Subscribers(Section):
    """Who watches: how many, and how many of them take nothing from their connections."""

    subscribers: Axis[Annotated[int, Field(ge=1, le=5_000)]] = [1]
    stalled: Axis[Annotated[int, Field(ge=0, le=5_000)]] = [0]


class Gateway(Section):
    """What stands between client and server: a relay that cuts connections on which nothing moved
    for `cuts_idle_s` seconds; 0 for nothing."""

    cuts_idle_s: Axis[Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]] = [0.0]


class Memory(Section):
    """What a repeat is known by (P1); see Condition.remember."""

    remember: Axis[Literal["nothing", "keys", "requests", "gateway", "redis"]] = ["keys"]


class RetryShape(Section):
    """How often a call that does not answer is made, each time but the last for `timeout_s`."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 1
    timeout_s: Seconds = 1.0


Count = Annotated[int, Field(ge=1, le=1000)]


class BrokerShape(Section):
    """How styles that have a broker use it; see protos.broker.BrokerAddress. `workers` share the
    orders. A broker has the nodes that its durability needs, or more where that is asked for; it
    carries load for `warm_up_s` before the first trial, which is thrown away. `boot = "fast"`
    starts Kafka with little of the JVM: for a smoke test, never for figures."""

    durability: Axis[Literal["A", "B", "C", "D"]] = ["B"]
    partitions: Axis[Count] = [4]
    workers: Axis[Annotated[int, Field(ge=1, le=64)]] = [1]
    prefetch: Axis[Annotated[int, Field(ge=1, le=100_000)]] = [100]
    commit: Axis[Literal["batch", "each", "auto"]] = ["batch"]
    safe: Switch = [True]
    linger_ms: Axis[Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]] = [0.0]
    batch_bytes: Axis[Annotated[int, Field(ge=1, le=8 * 2**20)]] = [16_384]
    replies: Axis[Literal["queue", "direct"]] = ["queue"]
    kafka_nodes: Literal[1, 3] = 1
    rabbitmq_nodes: Literal[1, 3] = 1
    warm_up_s: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = 4.0
    boot: Literal["usual", "fast"] = "usual"


class IngestShape(Section):
    """What `ingest` sends: messages about `keys` orders in turn. Workers `consume` during the load,
    or after it; what is left is drained, for `drain_limit_s` at most; with `read_again` a further
    consumer then reads what the broker still has."""

    keys: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    consume: Literal["during", "after"] = "during"
    drain_limit_s: Seconds = 60.0
    read_again: bool = False


class Fault(Section):
    """What happens to a broker `at_s` seconds after the start of every trial: the `leader` of the
    first partition is killed (SIGKILL); with `wipe` its folder is removed too. It is started again
    `back_s` seconds later."""

    kill: Literal["leader"]
    at_s: Seconds
    back_s: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = 0.5
    wipe: bool = False


class Objective(Section):
    """What a user of the service would call fast enough."""

    percentile: Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)] = 99
    latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
    "wire": WireShape,
    "poll": PollShape,
    "watch": Subscribers,
    "gateway": Gateway,
    "memory": Memory,
    "retry": RetryShape,
    "broker": BrokerShape,
    "ingest": IngestShape,
    "fault": Fault,
}


_INDEX = re.compile(r"\[\d+\]")


def load_scenario(path: Path, overrides: dict[str, Any], thorough: bool = False) -> Scenario:
    """The scenario in a TOML file with the command line's `overrides` on top.

    `overrides` has option names (`--rate`) as keys, all but None applied. A file may have a table
    `thorough` of keys that are put in the place of its own with `thorough`. Raises BadInput with
    every mistake.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise BadInput([f"{path}: is not UTF-8 text: {error.reason}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput([f"{path}: is not TOML: {error}"]) from None
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


def _apply(raw: dict[str, Any], overrides: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Write overrides into `raw`; returns the problems, and which key came from which option."""
    problems: list[str] = []
    sources: dict[str, str] = {}
    for option, value in overrides.items():
        if value is None:
            continue
        match option:
            case "--rate" | "--users":
                key = option.removeprefix("--")
                loads = [x for x in _listed(raw.get("load", [])) if isinstance(x, dict)]
                closed = option == "--users"
                fitting = [x for x in loads if (x.get("model") == "closed") == closed]
                if not fitting:
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
            case "--duration":
                raw["duration_s"] = value
                sources["duration_s"] = option
            case _:
                raw[option.removeprefix("--")] = value
                sources[option.removeprefix("--")] = option
    return problems, sources


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
            return _with_nearest("unknown key", str(location[-1]), _names_beside(location))
        case "union_tag_invalid":
            given = mistake["ctx"]["tag"]
            return _with_nearest(
                f"model {given!r} is not one of {', '.join(LOADS)}", given, list(LOADS)
            )
        case "union_tag_not_found":
            return f"model is missing; one of {', '.join(LOADS)}"
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
