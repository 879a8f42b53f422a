"""From a scenario to its cells and trials, and the order in which they run. Pure."""

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise, product
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.condition import BrokerWay, Condition, PollWay, counted
from harness.recording import read_recording
from harness.scenario import BadInput, Scenario
from harness.search import Search, operations_to_judge
from harness.sections import BurstLoad, ClosedLoad, Load, RampLoad, ReplayLoad, StepsLoad
from harness.variant import Variant, parse_variant
from protos.broker import Durability

TRIAL_OVERHEAD_S = 1.2
"""Starting and stopping a server and a generator, as seen on two cores; for the estimate only."""
BROKER_START_S = 8.0
"""Starting a broker from the cache, likewise."""
IDLE_S = 1.0
"""How long each variant is seen at rest, once for all cells that cost the same then."""
MAX_OPERATIONS = 50_000_000
MOST_NAMED = 16
"""Steps whose rates are in a cell's id, and said one by one."""
MOST_HELD = 6
"""Steps of unlike lengths that are."""
LEAST_REPEATS = 3
"""An A/A pair of fewer has no interval, and is not run."""


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One load: a model, and a rate (operations a second) or a number of users."""

    model: str
    rate: float | None = None
    users: int | None = None
    think_s: float = 0.0
    burst_size: int = 0
    every_s: float = 0.0
    rates: tuple[float, ...] = ()
    """Of a ramp or of steps; `rate` is then their mean over the window."""
    hold_s: float = 0.0
    file: str | None = None
    """Of a recording, which has `count` operations in its `column`; `rate` is then their mean."""
    column: str | None = None
    count: int = 0

    @property
    def slug(self) -> str:
        """The load as a part of a cell's id."""
        if self.model == "closed":
            think = f"-think-{self.think_s:g}" if self.think_s else ""
            return f"closed-{self.users}{think}"
        if self.file is not None:
            return f"replay-{re.sub('[^a-z0-9]+', '-', Path(self.file).stem.lower())}"
        if self.rates:
            hold = f"-hold-{self.hold_s:g}" if self.hold_s else ""
            if len(self.rates) > MOST_NAMED:
                told = hashlib.sha256(repr(self.rates).encode()).hexdigest()[:8]
                return f"{self.model}-{len(self.rates)}-{told}{hold}"
            return "-".join([self.model, *(f"{rate:.10g}" for rate in self.rates)]) + hold
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
            case "ramp":
                return f"ramp {_through(self.rates)}/s"
            case "steps":
                return _steps(self.rates, self.hold_s)
            case "replay":
                return f"replay of {Path(self.file or '').name}, {self.rate:.4g}/s on average"
        return f"{self.rate:g}/s"

    @property
    def mean_rate(self) -> float:
        """Planned operations a second; 0 in a closed loop."""
        return (self.rate or 0.0) + (self.burst_size / self.every_s if self.burst_size else 0.0)


def _through(rates: Sequence[float]) -> str:
    return " → ".join(f"{rate:g}" for rate in rates)


def _steps(rates: Sequence[float], hold_s: float) -> str:
    held = [(rate, hold_s * len(list(same))) for rate, same in groupby(rates)]
    if len(held) == len(rates) <= MOST_NAMED:
        return f"steps {_through(rates)}/s, {hold_s:g} s each"
    if len(held) <= MOST_HELD:
        return f"steps {' → '.join(f'{rate:g}/s for {span:g} s' for rate, span in held)}"
    span_s = hold_s * len(rates)
    return f"{len(held)} steps of {min(rates):g} to {max(rates):g}/s in {span_s:g} s"


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant at one load under one condition."""

    id: str
    variant: Variant
    load: LoadPoint
    condition: Condition
    window_s: float
    """Seconds that are measured in each of its trials."""
    skipped: str = ""
    """Why it is not run: what the style cannot do."""
    again: str = ""
    """The id of the cell that it is the same as, where it is there only to be held against it."""

    @property
    def at_rest(self) -> tuple[Any, ...]:
        """What cells have in common that cost the same while nothing is sent."""
        return (self.variant.name, *self.condition.at_rest)

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
    """All that a run will do, in order; of a search all that is known before it begins, which is
    its first trials."""

    scenario: Scenario
    cells: tuple[Cell, ...]
    trials: tuple[Trial, ...]
    turns: int = 1
    """How often each trial is run: once, or once for each of two revisions."""
    generators: int = 1
    """Processes that each trial's schedule is dealt to."""

    @property
    def search(self) -> Search | None:
        """How each variant's capacity is searched for; None where the rates are known."""
        capacity = self.scenario.capacity
        rate = self.cells[0].load.rate
        if capacity is None or rate is None:
            return None
        return Search(rate, capacity.limit, capacity.width, self.scenario.repeats)

    @property
    def most_trials(self) -> int:
        """Trials, or the most of them that a search may take."""
        return len(self.trials) * (self.search.most if self.search else 1) * self.turns

    @property
    def trial_seconds(self) -> float:
        """The planned length of one trial, its set-up included: of different ones the mean, of a
        search the longest."""
        windows = [trial.cell.window_s for trial in self.trials] or [0.0]
        tail = max(self.scenario.service.mean_ms) / 1e3
        return self.scenario.warm_up_s + fmean(windows) + tail + TRIAL_OVERHEAD_S

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
        """The planned length of the run, of a search the most that it may take."""
        brokers = [part for part in self.parts if part in ("kafka", "rabbitmq")]
        starting = BROKER_START_S + self.scenario.broker.warm_up_s if brokers else 0.0
        resting = IDLE_S * len({t.cell.at_rest for t in self.trials})
        return len(brokers) * starting + resting + self.most_trials * self.trial_seconds


def make_plan(scenario: Scenario) -> Plan:
    """The plan of a scenario: the same for the same scenario.

    Raises BadInput where the scenario asks for two equal cells, more than MAX_OPERATIONS in a
    trial, or more than its budget.
    """
    points = [point for load in scenario.load for point in _points(load)]
    cells = tuple(
        _cell(scenario, variant, point, condition)
        for variant in map(parse_variant, scenario.styles)
        for point in points
        for condition in _conditions(scenario, variant)
    )
    cells += tuple(_again(scenario, cells))
    trials = []
    for block in range(1 if scenario.capacity else scenario.repeats):
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
    if isinstance(load, RampLoad):
        mean = fmean(map(fmean, pairwise(load.rates)))
        return [LoadPoint("ramp", rate=mean, rates=tuple(load.rates))]
    if isinstance(load, StepsLoad):
        rates = tuple(load.rates)
        return [LoadPoint("steps", rate=fmean(rates), rates=rates, hold_s=load.hold_s)]
    if isinstance(load, ReplayLoad):
        offsets = read_recording(Path(load.file), load.column)
        rate = (len(offsets) - 1) / offsets[-1]
        point = LoadPoint("replay", rate, file=load.file, column=load.column, count=len(offsets))
        return [point]
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
        "queue": scenario.service.queue,
        "late": scenario.service.late,
        "stall_ms": scenario.service.stall_ms,
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
        yield Condition(
            work_time=scenario.service.time,
            work_between=scenario.service.between,
            sharp=scenario.service.sharp,
            **dict(zip(axes, values, strict=True)),
        )


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
    return Cell(".".join(parts), variant, load, condition, _window_s(scenario, load), skipped)


def at_rate(scenario: Scenario, cell: Cell, rate: float) -> Cell:
    """The cell of a search that asks the same at another rate."""
    return _cell(scenario, cell.variant, replace(cell.load, rate=rate), cell.condition)


def _again(scenario: Scenario, cells: Sequence[Cell]) -> Iterator[Cell]:
    """A/A: of each family's first variant the cells of its first condition, under a second label;
    none where the family has two labels of one variant already."""
    if not scenario.noise or scenario.capacity or scenario.repeats < LEAST_REPEATS:
        return
    families: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.variant.entry.family and not cell.skipped:
            families.setdefault(cell.variant.entry.family, []).append(cell)
    for first, *others in families.values():
        own = {cell.variant.name for cell in (first, *others)}
        if len(own) > len({name.partition("=")[0] for name in own}):
            continue
        label = "-".join(filter(None, [first.variant.label, "again"]))
        variant = replace(first.variant, label=label)
        for cell in (first, *others):
            if (cell.variant, cell.condition) == (first.variant, first.condition):
                yield replace(_cell(scenario, variant, cell.load, cell.condition), again=cell.id)


def _window_s(scenario: Scenario, load: LoadPoint) -> float:
    if load.model == "steps":
        return load.hold_s * len(load.rates)
    if load.model == "replay":
        assert load.rate is not None
        # As long after the last instant as they are apart on average.
        return load.count / load.rate
    if scenario.capacity is None or scenario.objective is None or load.rate is None:
        return scenario.duration_s
    return max(scenario.duration_s, operations_to_judge(scenario.objective.percentile) / load.rate)


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
    problems += _search_problems(plan)
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
    highest = scenario.capacity.limit if scenario.capacity else 0.0
    most = max(
        max(cell.load.mean_rate, highest) * (scenario.warm_up_s + cell.window_s)
        for cell in plan.cells
    )
    if most > MAX_OPERATIONS:
        problems.append(
            f"scenario: load.rate: a trial of {most:.3g} operations is more than {MAX_OPERATIONS};"
            " lower load.rate or duration_s"
        )
    budget = plan.scenario.budget_s
    if budget is not None and plan.seconds > budget:
        problems.append(
            f"scenario: budget_s: the plan comes to {plan.seconds:.0f} s, more than {budget:g};"
            " fewer styles, loads or repeats, or a larger budget_s (--budget)"
        )
    if problems:
        raise BadInput(problems)


def _search_problems(plan: Plan) -> list[str]:
    scenario, capacity = plan.scenario, plan.scenario.capacity
    if capacity is None:
        return []
    problems = []
    if scenario.objective is None:
        problems.append("scenario: capacity: needs an objective that is to hold; add [objective]")
    loads = {cell.load for cell in plan.cells}
    load = plan.cells[0].load
    if len(loads) > 1 or load.model not in ("constant", "poisson") or load.rate is None:
        problems.append(
            "scenario: capacity: needs one constant or poisson load, whose rate is where the search"
            " begins"
        )
        return problems
    if capacity.limit <= load.rate:
        problems.append(
            f"scenario: capacity.limit: the search begins at {load.rate:g}/s, which is not below"
            f" {capacity.limit:g}; a lower load.rate or a higher limit"
        )
    window_s = plan.cells[0].window_s
    if window_s > max(capacity.longest_s, scenario.duration_s):
        problems.append(
            f"scenario: load.rate: a trial at {load.rate:g}/s takes {window_s:.0f} s until the"
            " objective's percentile can be judged, more than capacity.longest_s ="
            f" {capacity.longest_s:g}; a higher load.rate, or a larger longest_s"
        )
    if scenario.fault is not None:
        problems.append("scenario: fault: not in a search for capacity; take one of the two out")
    return problems
