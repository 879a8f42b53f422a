"""The decision guide: for each need of a reader what this run measured of each style, or what is
known of it and from where, or which run would measure it.

All figures of a need come from cells at one load that are asked for the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clients.catalog import ENTRIES
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Code
from harness.report.answers import USABLE
from harness.report.guide.properties import PROPERTIES, Source
from harness.report.words import class_of, durability, figure, groups, labels, milliseconds, ms
from harness.report.words import whole_number as number


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure of this run."""

    text: str
    way: str
    """What tells its cell from others of the style; empty where nothing does."""
    cell: str
    """The id of its row."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A property that nobody needs to measure."""

    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What would measure it."""

    command: str


Entry = Measured | Stated | Unmeasured


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run measured for a need, at which load, and by style, way after way."""

    at: str
    by_style: Mapping[str, Sequence[Measured]]


NOTHING = Figures("", {})
MOST = 4
"""Ways of a style that are shown; the table of every cell has them all."""
Say = Callable[[CellResult], str]
"""A cell's figure in words; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a reader may need of a way to talk."""

    key: str
    """Of PROPERTIES."""
    title: str
    what: str
    """The figures, or the statement."""
    measure: Callable[[Summary], Figures] = lambda _: NOTHING
    scenario: str = ""
    """Measures it; empty for what is not measured."""
    usual: Sequence[str] = ()
    """The styles that the scenario has by itself."""
    operation: str = "place"
    """What a style must be able to do for it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A need, and what there is to say of each style."""

    title: str
    what: str
    unmeasured: str
    """The command that would measure it, where this run has no figure of any style."""
    entries: Sequence[Sequence[Entry]]


@dataclass(frozen=True, slots=True)
class Guide:
    """The table."""

    styles: Sequence[str]
    rows: Sequence[Row]


def guide(summary: Summary) -> Guide:
    """A row a need; a column a style, of the catalog and of the run."""
    once = summary.once
    known = [entry.style for entry in ENTRIES if entry.server]
    styles = list(dict.fromkeys([*known, *(cell.info["style"] for cell in once.cells)]))
    styles = [style for style in styles if style != "noop"]
    return Guide(styles, [_row(need, once, styles) for need in NEEDS])


def _row(need: Need, summary: Summary, styles: Sequence[str]) -> Row:
    found = need.measure(summary)
    measured = found.by_style
    return Row(
        need.title,
        f"{need.what}, {found.at}" if found.at else need.what,
        "" if measured or not need.scenario else f"python3 bench.py run {need.scenario}",
        [_entries(need, style, measured) for style in styles],
    )


def _entries(need: Need, style: str, measured: Mapping[str, Sequence[Measured]]) -> list[Entry]:
    entries: list[Entry] = list(measured.get(style, ())[:MOST])
    if not entries and measured and need.scenario and _is_able(style, need.operation):
        with_it = "" if style in need.usual else f" --styles {style}"
        entries.append(Unmeasured(f"python3 bench.py run {need.scenario}{with_it}"))
    if stated := PROPERTIES.get(style, {}).get(need.key):
        entries.append(Stated(stated.text, stated.source))
    return entries


def _is_able(style: str, operation: str) -> bool:
    return any(e.style == style and operation in e.operations for e in ENTRIES)


def _of_cells(say: Say, whatever_verdict: bool = False) -> Callable[[Summary], Figures]:
    """Takes the load that has a figure of most styles."""

    def measure(summary: Summary) -> Figures:
        best = NOTHING
        named = labels(summary.cells)
        for group in groups(summary):
            found: dict[str, list[Measured]] = {}
            for cell in group.cells:
                usable = whatever_verdict or cell.verdict.status in USABLE
                if usable and (text := say(cell)):
                    found.setdefault(cell.info["style"], []).append(_measured(text, cell, named))
            if len(found) > len(best.by_style):
                best = Figures(f"at {group.title}", found)
        return best

    return measure


def _measured(text: str, cell: CellResult, named: Mapping[str, str]) -> Measured:
    style, *ways = named[cell.info["id"]].removeprefix(cell.info["style"]).split(", ")
    if durability(cell) == "A" and not cell.info["condition"].get("broker"):
        # It promises what every service does that keeps its orders in memory.
        ways = [way for way in ways if way != class_of("A")]
    way = ", ".join([*filter(None, [style.lstrip(":")]), *ways])
    return Measured(text, way, cell.info["id"])


def _answered(cell: CellResult) -> str:
    condition = cell.info["condition"]
    if cell.info["operation"] != "place" or condition["work_mean_ms"]:
        return ""
    within = [(name, getattr(cell.latency, name)) for name in ("p50", "p99")]
    timeout_s = float(condition["timeout_s"])
    known = [f"{name} {milliseconds(v, timeout_s)}" for name, v in within if not math.isnan(v)]
    return ", ".join(known)


def _after_work(cell: CellResult) -> str:
    if not cell.info["condition"]["work_mean_ms"] or cell.excess is None:
        return ""
    return ms(cell.excess.value)


def _last_knew(cell: CellResult) -> str:
    if cell.watched is None or not math.isfinite(cell.watched.last.p50):
        return ""
    return ms(cell.watched.last.p50)


def _in_order(cell: CellResult) -> str:
    if cell.ledger is None:
        return ""
    return f"{cell.ledger.reordered:,} of {cell.ledger.arrived:,} out of order"


def _survived(cell: CellResult) -> str:
    """Claimed of cells alone in which a node did die."""
    if cell.ledger is None or not any(r.code is Code.FAULT for r in cell.verdict.reasons):
        return ""
    return f"{cell.ledger.lost_acknowledged:,} of {cell.ledger.acknowledged:,} lost"


def _carried(summary: Summary) -> Figures:
    """The highest rate that met the objective; without a search, what a closed loop got done."""
    if not summary.capacities:
        return _of_cells(_closed_loop)(summary)
    named = labels(summary.cells)
    found: dict[str, list[Measured]] = {}
    for each in summary.capacities:
        if each.held:
            one = _measured(f"{number(each.held.rate)}/s", each.held.cell, named)
            found.setdefault(each.cell.info["style"], []).append(one)
    return Figures("at the objective", found)


def _closed_loop(cell: CellResult) -> str:
    if cell.info["load"]["model"] != "closed" or cell.throughput_per_s is None:
        return ""
    return f"{number(cell.throughput_per_s)}/s"


def _larger_orders(summary: Summary) -> Figures:
    """The medians with the fewest and with the most items; at the load that has them of most."""
    named = labels(summary.cells)
    by_load: dict[str, dict[str, dict[int, CellResult]]] = {}
    for cell in summary.cells:
        condition = cell.info["condition"]
        known = cell.verdict.status in USABLE and math.isfinite(cell.latency.p50)
        if known and condition["items"] and not condition["attachment_bytes"]:
            by_style = by_load.setdefault(cell.info["load"]["words"], {})
            by_style.setdefault(cell.info["style"], {}).setdefault(condition["items"], cell)
    best = NOTHING
    for load, by_style in by_load.items():
        found: dict[str, list[Measured]] = {}
        for style, sizes in by_style.items():
            few, many = min(sizes), max(sizes)
            if few < many:
                ends = " / ".join(figure(sizes[each].latency.p50) for each in (few, many))
                text = f"{ends} ms with {few:,} / {many:,} items"
                found[style] = [_measured(text, sizes[many], named)]
        if len(found) > len(best.by_style):
            best = Figures(f"at {load}", found)
    return best


def _held(cell: CellResult) -> str:
    count = cell.lanes_opened if cell.connections is None else cell.connections
    return number(count) if count else ""


def _looked_after(cell: CellResult) -> str:
    if cell.info["condition"].get("broker") is None:
        return "nothing"
    if cell.broker_memory is None:
        return ""
    used = cell.cpu_us_per_op["broker"]
    cpu = "" if used is None else f", {number(used)} µs of CPU an order"
    return f"a broker: {number(cell.broker_memory / 2**20)} MiB{cpu}"


CALLS = ("rest", "grpc-unary", "grpc-stream", "websocket", "rest-poll", "sse", "webhook", "zeromq")
COMPARED = (*CALLS, "kafka", "rabbitmq")
NEEDS = (
    Need(
        "now",
        "The answer is needed now",
        "latency in ms of an order without work",
        _of_cells(_answered),
        "compare",
        COMPARED,
    ),
    Need(
        "later",
        "The answer takes work and may come later",
        "mean time from the end of the work to the result in the client's hand",
        _of_cells(_after_work),
        "async",
        ("rest", "rest-poll", "sse", "webhook", "zeromq"),
    ),
    Need(
        "fan-out",
        "Many must know",
        "time until the last subscriber knows, for half of the changes",
        _of_cells(_last_knew),
        "watch",
        ("grpc-stream", "websocket", "sse", "rest-poll", "zeromq"),
        "watch",
    ),
    Need(
        "order",
        "Order matters",
        "messages that arrived behind a later one of their key",
        _of_cells(_in_order, whatever_verdict=True),
        "consumers",
        ("kafka", "rabbitmq"),
        "ingest",
    ),
    Need(
        "survive",
        "What was acknowledged must survive a crash",
        "acknowledged messages that were lost when a node died",
        _of_cells(_survived, whatever_verdict=True),
        "failover",
        ("kafka", "rabbitmq"),
        "ingest",
    ),
    Need(
        "throughput",
        "As many as possible",
        "orders a second",
        _carried,
        "capacity",
        ("rest", "grpc-unary", "grpc-stream", "websocket", "zeromq"),
    ),
    Need(
        "payload",
        "Orders are large",
        "median latency of small and of large orders",
        _larger_orders,
        "payload",
        ("rest", "grpc-unary", "websocket", "zeromq"),
    ),
    Need(
        "connections",
        "Connections are scarce",
        "connections that the client held",
        _of_cells(_held),
        "compare",
        COMPARED,
    ),
    Need("browser", "The client is a browser", "whether it can, by itself"),
    Need(
        "operations",
        "Nobody wants to operate much",
        "what must run beside client and service",
        _of_cells(_looked_after),
        "compare",
        COMPARED,
    ),
    Need("languages", "Clients are in many languages", "which have a client"),
    Need("standard", "The wire must be a standard", "where it is written down"),
)
