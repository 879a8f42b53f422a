"""The tables of a scenario: strict, and every list is an axis."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from harness.recording import read_recording
from orders.line import latenesses
from orders.samples import orders_from_file
from orders.validation import MAX_ATTACHMENT_BYTES


def listed(value: Any) -> Any:
    """A value alone as a list of one."""
    return value if isinstance(value, list) else [value]


T = TypeVar("T")
Axis = Annotated[list[T], BeforeValidator(listed), Field(min_length=1)]
"""Values that are tried one after the other; one value alone needs no list."""
Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Rates = Axis[Rate]
MOST_STEPS = 3600
"""As many as fit on a command line; an hour of one a second."""
Switch = Annotated[list[bool], BeforeValidator(listed), Field(min_length=1, max_length=2)]


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


class RampLoad(Section):
    """A rate that grows, or falls, evenly through `rates` over the measured window; the warm-up is
    at the first of them."""

    model: Literal["ramp"]
    rates: Annotated[list[Rate], Field(min_length=2, max_length=16)]


class StepsLoad(Section):
    """`rates`, each held for `hold_s` seconds, which make the measured window; the warm-up is at
    the first of them. 0 is a pause."""

    model: Literal["steps"]
    rates: Annotated[
        list[Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]],
        Field(min_length=1, max_length=MOST_STEPS),
    ]
    hold_s: Seconds

    @field_validator("rates")
    @classmethod
    def _some(cls, value: list[float]) -> list[float]:
        if not any(value):
            raise ValueError("needs one above 0")
        return value


class ReplayLoad(Section):
    """The instants of a `file`, as they are there: they make the measured window, and the warm-up
    is at their mean rate. Of CSV or JSON lines `column` says which hold them."""

    model: Literal["replay"]
    column: str | None = None
    file: str

    @field_validator("file")
    @classmethod
    def _readable(cls, value: str, info: ValidationInfo) -> str:
        path = Path((info.context or {}).get("folder", "."), value)
        try:
            read_recording(path, info.data.get("column"))
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return str(path.resolve())


Load = Annotated[
    ClosedLoad | ConstantLoad | PoissonLoad | BurstLoad | RampLoad | StepsLoad | ReplayLoad,
    Field(discriminator="model"),
]
LOADS: dict[str, type[Section]] = {
    "closed": ClosedLoad,
    "constant": ConstantLoad,
    "poisson": PoissonLoad,
    "burst": BurstLoad,
    "ramp": RampLoad,
    "steps": StepsLoad,
    "replay": ReplayLoad,
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


def _lateness(text: str) -> str:
    latenesses(text)
    return text


class ServiceTime(Section):
    """How long the service works on an order: the same draws for every style of a block; so many
    orders with none to speak of come in `between`. With a `queue` so many workers take one order
    at a time each, in the order of arrival; without, orders are worked on side by side. A `sharp`
    one does not sleep while orders are in line, so that none leaves late, and takes a processor for
    it. On purpose a queue answers some orders `late` (`100us`, `1ms`, `5%` of an order's time, or
    several: orders.line.turn) and takes `stall_ms` longer for some (orders.line.STALL_EVERY)."""

    time: Literal["none", "fixed", "exponential"] = "none"
    mean_ms: Annotated[
        list[Annotated[float, Field(ge=0, le=30_000, allow_inf_nan=False)]],
        BeforeValidator(listed),
        Field(min_length=1, validate_default=True),
    ] = [0.0]
    between: Annotated[int, Field(ge=0, le=1000)] = 0
    queue: Axis[Annotated[int, Field(ge=0, le=1000)]] = [0]
    sharp: bool = False
    late: Axis[Annotated[str, AfterValidator(_lateness)]] = [""]
    stall_ms: Axis[Annotated[float, Field(ge=0, le=30_000, allow_inf_nan=False)]] = [0.0]
    store: Axis[Literal["memory", "postgres"]] = ["memory"]

    @field_validator("sharp", "late", "stall_ms")
    @classmethod
    def _in_line(cls, value: Any, info: ValidationInfo) -> Any:
        asked = any(value) if isinstance(value, list) else value
        if asked and not all(info.data.get("queue", [1])):
            raise ValueError("goes together with a queue of 1 or more")
        return value

    @field_validator("between")
    @classmethod
    def _of_work(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("time") == "none":
            raise ValueError('goes together with time = "fixed" or "exponential"')
        return value

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


class Price(Section):
    """What is paid, in any currency: for a processor in use and for a GiB of memory, by the hour;
    and for 10**9 bytes between two processes."""

    core_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    gib_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Objective(Section):
    """What a user of the service would call fast enough."""

    percentile: Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)] = 99
    latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CapacitySearch(Section):
    """Not the load's rate is what is asked for, but the highest, from it up to `limit`, at which
    the objective holds and nothing is left undone: to a share of `width`. A trial is made so long
    that its percentile can be judged, up to `longest_s` seconds."""

    limit: Rate
    width: Annotated[float, Field(ge=0.005, le=1, allow_inf_nan=False)] = 0.05
    longest_s: Seconds = 30.0
