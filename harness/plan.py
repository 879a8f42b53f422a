"""From a scenario to its cells and trials, and the order in which they run. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from harness.condition import BrokerWay, Condition, PollWay, counted
from harness.scenario import BadInput, Scenario
from harness.sections import BurstLoad, ClosedLoad, Load
from harness.variant import Variant, parse_variant
from protos.broker import Durability

TRIAL_OVERHEAD_S = 2.0
"""Starting and stopping a server and a generator, as seen on two cores; for the estimate only."""
BROKER_START_S = 8.0
"""Starting a broker from the cache, likewise."""
MAX_OPERATIONS = 50_000_000


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One load: a model, and a rate (operations a second) or a number of users."""

    model: str
    rate: float | None = None
    users: int | None = None
    think_s: float = 0.0
    burst_size: int = 0
    every_s: float = 0.0

    @property
    def slug(self) -> str:
        """The load as a part of a cell's id."""
        if self.model == "closed":
            think = f"-think-{self.think_s:g}" if self.think_s else ""
            return f"closed-{self.users}{think}"
        burst = f"-{self.burst_size}-every-{self.every_s:g}" if self.model == "burst" else ""
        return f"{self.model}-{self.rate:.10g}{burst}"

    @property
    def words(self) -> str:
        """The load as a reader would say it."""
        match self.model:
            case "closed":
                think = f", {self.think_s:g} s think time" if self.think_s else ""
                return f"closed loop, {counted(self.users or 0, 'user')}{think}"
            case "burst":
                return f"{self.rate:g}/s and bursts of {self.burst_size} every {self.every_s:g} s"
            case "poisson":
                return f"Poisson {self.rate:g}/s"
        return f"{self.rate:g}/s"

    @property
    def mean_rate(self) -> float:
        """Planned operations a second; 0 in a closed loop."""
        return (self.rate or 0.0) + (self.burst_size / self.every_s if self.burst_size else 0.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant at one load under one condition."""

    id: str
    variant: Variant
    load: LoadPoint
    condition: Condition
    skipped: str = ""
    """Why it is not run: what the style cannot do."""

    @property
    def parts(self) -> list[str]:
        """What must run beside its service, by name."""
        found = [self.variant.entry.broker] if self.condition.broker is not None else []
        if self.condition.store == "postgres":
            found.append("postgres")
        if self.condition.remember == "redis":
            found.append("redis")
        return found


@dataclass(frozen=True, slots=True)
class Trial:
    """One repeat of a cell. `block` seeds its schedule, which all cells of a block share."""

    cell: Cell
    block: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run will do, in order."""

    scenario: Scenario
    cells: tuple[Cell, ...]
    trials: tuple[Trial, ...]

    @property
    def trial_seconds(self) -> float:
        """The planned length of one trial, its set-up included."""
        tail = max(self.scenario.service.mean_ms) / 1e3
        return self.scenario.warm_up_s + self.scenario.duration_s + tail + TRIAL_OVERHEAD_S

    @property
    def parts(self) -> dict[str, int]:
        """What must run beside the services, by name, and on how many nodes."""
        needed: dict[str, int] = {}
        for cell in (trial.cell for trial in self.trials):
            for part in cell.parts:
                nodes = 1
                if cell.condition.broker is not None and part == cell.variant.entry.broker:
                    asked = getattr(self.scenario.broker, f"{part}_nodes")
                    nodes = max(asked, Durability(cell.condition.broker.durability).nodes)
                needed[part] = max(nodes, needed.get(part, 1))
        return needed

    @property
    def seconds(self) -> float:
        """The planned length of the run."""
        brokers = [part for part in self.parts if part in ("kafka", "rabbitmq")]
        starting = BROKER_START_S + self.scenario.broker.warm_up_s if brokers else 0.0
        return len(brokers) * starting + len(self.trials) * self.trial_seconds


def make_plan(scenario: Scenario) -> Plan:
    """The plan of a scenario: the same for the same scenario.

    Raises BadInput where the scenario asks for two equal cells, more than MAX_OPERATIONS in a
    trial, or more than its budget.
    """
    cells = tuple(
        _cell(scenario, variant, point, condition)
        for variant in map(parse_variant, scenario.styles)
        for point in (point for load in scenario.load for point in _points(load))
        for condition in _conditions(scenario, variant)
    )
    trials = []
    for block in range(scenario.repeats):
        order = [cell for cell in cells if not cell.skipped]
        random.Random(f"order/{scenario.seed}/{block}").shuffle(order)
        trials += [Trial(cell, block) for cell in order]
    plan = Plan(scenario, cells, tuple(trials))
    _check(plan)
    return plan


def _points(load: Load) -> list[LoadPoint]:
    if isinstance(load, ClosedLoad):
        return [LoadPoint("closed", users=u, think_s=load.think_s) for u in load.users]
    if isinstance(load, BurstLoad):
        return [
            LoadPoint("burst", rate=r, burst_size=load.burst_size, every_s=load.every_s)
            for r in load.rate
        ]
    return [LoadPoint(load.model, rate=r) for r in load.rate]


def _conditions(scenario: Scenario, variant: Variant) -> Iterator[Condition]:
    """The product of a scenario's axes, as far as they concern a variant."""
    order, wire, poll = scenario.order, scenario.wire, scenario.poll
    watches = scenario.operation == "watch"
    ways: list[PollWay | None] = [None]
    if variant.entry.polls:
        # The interval does not matter to a long poll, nor its limit to the others.
        ways = list(
            dict.fromkeys(
                PollWay(policy, 0.0 if policy == "long" else interval, poll.longest_ms)
                for policy, interval in product(poll.policy, poll.interval_ms)
            )
        )
    has_broker = bool(variant.entry.broker)
    axes: dict[str, Sequence[Any]] = {
        "items": order.items if order.file is None else [None],
        "attachment_bytes": order.attachment_bytes,
        "work_mean_ms": scenario.service.mean_ms,
        "subscribers": scenario.watch.subscribers if watches else [0],
        "stalled": scenario.watch.stalled if watches else [0],
        "codec": ["" if codec == "own" else codec for codec in wire.codec],
        "tls": wire.tls,
        "compression": wire.compression,
        "kept": scenario.connection.kept,
        "poll": ways,
        "broker": _broker_ways(scenario, variant) if has_broker else [None],
        "store": ["memory"] if has_broker else scenario.service.store,
        "cut_idle_s": scenario.gateway.cuts_idle_s,
        "remember": scenario.memory.remember,
    }
    for values in product(*axes.values()):
        yield Condition(work_time=scenario.service.time, **dict(zip(axes, values, strict=True)))


def _broker_ways(scenario: Scenario, variant: Variant) -> list[BrokerWay]:
    """The product of what a broker's users can choose, as far as it concerns this broker."""
    broker = scenario.broker
    kafka = variant.entry.broker == "kafka"
    axes: dict[str, Sequence[Any]] = {
        "durability": broker.durability,
        "partitions": broker.partitions,
        "workers": broker.workers,
        "prefetch": broker.prefetch,
        "commit": broker.commit,
        "safe": broker.safe,
        # RabbitMQ's producers do not wait for more, and Kafka has no direct replies.
        "linger_ms": broker.linger_ms if kafka else [0.0],
        "batch_bytes": broker.batch_bytes if kafka else [16_384],
        "replies": ["queue"] if kafka else broker.replies,
    }
    ways = [BrokerWay(**dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    # Classes C and D cannot be had from an unsafe producer, nor class A from a safe one.
    safe = [way if way.durability == "B" else replace(way, safe=True) for way in ways]
    return list(dict.fromkeys(safe))


def _cell(scenario: Scenario, variant: Variant, load: LoadPoint, condition: Condition) -> Cell:
    parts = [scenario.operation, variant.slug, load.slug, *condition.slugs]
    skipped = _cannot(scenario.operation, variant, condition)
    return Cell(".".join(parts), variant, load, condition, skipped)


def _cannot(operation: str, variant: Variant, condition: Condition) -> str:
    """What of this the variant cannot do, in words; empty if it can do all."""
    entry = variant.entry
    if operation not in entry.operations:
        return f"{entry.style} has no way to {operation}"
    wanted = {
        "tls": condition.tls,
        "compression": condition.compression,
        condition.codec: bool(condition.codec),
        "gateway": condition.remember == "gateway",
    }
    lacking = [entry.lacks[ability] for ability in entry.lacks if wanted.get(ability)]
    if condition.store == "postgres" and condition.remember in ("nothing", "gateway"):
        lacking.append("a service that commits its orders does not forget them")
    return "; ".join(lacking)


def _check(plan: Plan) -> None:
    problems = []
    if "watch" in plan.scenario.model_fields_set and plan.scenario.operation != "watch":
        problems.append(
            'scenario: watch: only with operation = "watch"; take the section out, or set it'
        )
    scenario = plan.scenario
    ingests = scenario.operation == "ingest"
    if "ingest" in scenario.model_fields_set and not ingests:
        problems.append(
            'scenario: ingest: only with operation = "ingest"; take the section out, or set it'
        )
    if scenario.fault is not None and not all(cell.condition.broker for cell in plan.cells):
        problems.append(
            "scenario: fault: it is a broker that is killed, and not every style has one; take the"
            " others out of styles"
        )
    if ingests and any(isinstance(load, ClosedLoad) and load.think_s for load in scenario.load):
        problems.append("scenario: load.think_s: a producer does not think; take it out")
    ids = [cell.id for cell in plan.cells]
    problems += [
        f"scenario: cell {repeated} is planned twice; take one of the two out"
        for repeated in sorted({i for i in ids if ids.count(i) > 1})
    ]
    watching = {(cell.condition.stalled, cell.condition.subscribers) for cell in plan.cells}
    problems += [
        f"scenario: watch.stalled: {stalled} of {subscribers} subscribers cannot be stalled, since"
        " one must be left that reads; more watch.subscribers or fewer stalled"
        for stalled, subscribers in sorted(watching)
        if stalled >= subscribers > 0
    ]
    length = plan.scenario.warm_up_s + plan.scenario.duration_s
    most = max(cell.load.mean_rate for cell in plan.cells) * length
    if most > MAX_OPERATIONS:
        problems.append(
            f"scenario: load.rate: a trial of {most:.3g} operations is more than {MAX_OPERATIONS};"
            " lower load.rate or duration_s"
        )
    budget = plan.scenario.budget_s
    if budget is not None and plan.seconds > budget:
        problems.append(
            f"scenario: budget_s: the plan comes to {plan.seconds:.0f} s, more than {budget:g};"
            " fewer styles, loads or repeats, or a larger budget_s"
        )
    if problems:
        raise BadInput(problems)
