"""For each style of a run: what it is, how it was set up, an exchange, figures, and what speaks
against them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import RULES, Code, Status
from harness.condition import counted
from harness.report import words
from harness.report.cell_table import mark_of
from harness.report.charts import look
from harness.report.styles.given_options import given_options
from harness.report.styles.texts import ABOUT, OWN, Fixed, fixed_for
from harness.report.styles.wire_examples import Example, wire_example
from harness.report.verdict_list import cell_names

Pairs = list[tuple[str, str]]

FIGURES = (
    "p50, ms",
    "p99, ms",
    "CPU, µs: client",
    "server",
    "broker",
    "bytes: there",
    "back",
    "connections opened",
)
MOST_VALUES = 6
"""Of a setting that differs between the cells of a style; the number of others is said."""
BENEATH: Mapping[str, Sequence[str]] = {
    "fastapi": ("uvicorn", "httptools"),
    "hypercorn": ("fastapi", "h2", "hpack"),
}
"""Libraries that do a server's work on the wire, or above it."""
BARE = {
    "asyncio": "asyncio alone, Python's own",
    "null": "null (what is sent is as long as an order, and not read)",
    "none": "none",
    "own": "your own driver",
}

KNOWN_BY = {
    "keys": "its idempotency key",
    "requests": "its request id, or its idempotency key",
    "gateway": "its request id, by a gateway in front",
    "redis": "its request id, in Redis",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A cell's figures."""

    id: str
    name: str
    status: str
    why: str | None
    """The id of its verdict's explanation."""
    figures: Sequence[str]


@dataclass(frozen=True, slots=True)
class Against:
    """A reason that some cells are not valid."""

    status: str
    what: str
    why: str
    """The id of the first cell's explanation."""
    cells: str
    """How many of the style's have it."""
    remedy: str


@dataclass(frozen=True, slots=True)
class StyleSection:
    """All that the page says of a style."""

    style: str
    mark: Markup
    text: str
    settings: Pairs
    given: Sequence[tuple[str, Pairs]]
    """What a library was given, under a title."""
    fixed: Sequence[Fixed]
    example: Example | None
    rows: Sequence[Row]
    against: Sequence[Against]


def style_sections(summary: Summary) -> list[StyleSection]:
    """In the order of the run."""
    named = cell_names(summary.once)
    drawn = look.looks(summary.cells)
    by_style: dict[str, list[CellResult]] = {}
    for cell in summary.once.cells:
        by_style.setdefault(cell.info["style"], []).append(cell)
    return [
        _section(style, cells, summary, named, mark_of(drawn[cells[0].info["id"]]))
        for style, cells in by_style.items()
    ]


def _section(
    style: str,
    cells: Sequence[CellResult],
    summary: Summary,
    named: Mapping[str, str],
    mark: Markup,
) -> StyleSection:
    timeout_s = float(summary.info["scenario"]["timeout_s"])
    target = style in summary.info.get("targets", {})
    sides = [_libraries(cell) for cell in cells]
    clients, servers = (
        list(dict.fromkeys(filter(None, each))) for each in zip(*sides, strict=True)
    )
    return StyleSection(
        style,
        mark,
        ABOUT.get(style, OWN).text,
        [
            *_settings(cells, style, summary.info["environment"].get("libraries", {}), target),
            *_broker(cells, summary.info.get("parts", {})),
        ],
        _given(style, cells),
        fixed_for(style, clients, () if target else servers),
        wire_example(style),
        [_row(cell, named, timeout_s) for cell in cells],
        _against(cells),
    )


def _libraries(cell: CellResult) -> tuple[str, str]:
    """The client's and the server's, as a variant names them."""
    both = cell.info["variant"].partition(":")[2].partition("=")[0]
    client, _, server = both.partition("+")
    return client, server


def _settings(
    cells: Sequence[CellResult], style: str, versions: Mapping[str, str], target: bool
) -> Pairs:
    known = style in ABOUT

    def library(name: str) -> str:
        if name in BARE:
            return BARE[name]
        names = [name, *(each for each in BENEATH.get(name, ()) if each in versions)]
        return ", ".join(f"{each} {versions.get(each, '')}".strip() for each in names)

    def server(cell: CellResult) -> str:
        if target:
            return "your own service, by --target"
        return library(_libraries(cell)[1]) if cell.info["has_server"] else "none"

    def condition(key: str, say: Callable[[Any], str]) -> Callable[[CellResult], str]:
        def said(cell: CellResult) -> str:
            value = cell.info["condition"].get(key)
            return "" if value is None else say(value)

        return said

    def broker(key: str, say: Callable[[Any], str] = str) -> Callable[[CellResult], str]:
        def said(cell: CellResult) -> str:
            way = cell.info["condition"].get("broker") or {}
            return say(way[key]) if key in way else ""

        return said

    def connections(cell: CellResult) -> str:
        number = cell.info["condition"]["connections"]
        lane = cell.info.get("connections_a_lane", 1)
        return f"{number} at the start" + (f", each of {lane}" if lane > 1 else "")

    def codec(cell: CellResult) -> str:
        name = cell.info["condition"].get("codec")
        own = ABOUT.get(style, OWN).codec
        return {"json": "JSON"}.get(name, name) if name else own

    say_poll = condition("poll", _poll)
    settings: list[tuple[str, Callable[[CellResult], str]]] = [
        ("operation", lambda cell: str(cell.info["operation"])),
        ("order", lambda cell: ", ".join(cell.info["condition"]["asked"])),
        ("load", lambda cell: str(cell.info["load"]["words"])),
        ("client library", lambda cell: library(_libraries(cell)[0]) if known else BARE["own"]),
        ("server library", server),
        ("codec", codec),
        ("connections", connections),
        ("a connection", condition("kept", lambda kept: "kept" if kept else "new for each order")),
        ("in flight at most", condition("in_flight", lambda number: f"{number:,}")),
        ("waited for an answer", condition("timeout_s", lambda limit: f"{limit:g} s")),
        ("attempts", condition("attempts", str)),
        ("TLS", condition("tls", _on)),
        ("compression", condition("compression", _on)),
        ("polls", say_poll),
        ("orders are kept in", condition("store", _store)),
        ("a repeat is known by", condition("remember", lambda how: KNOWN_BY.get(how, how))),
        ("an acknowledgement promises", condition("durability_words", str)),
        ("partitions, or queues", broker("partitions")),
        ("workers", broker("workers")),
        ("prefetch", broker("prefetch")),
        ("commits", broker("commit")),
        ("safe producer", broker("safe", lambda safe: "yes" if safe else "no")),
    ]
    match style:
        case "kafka":
            settings += [
                ("linger", broker("linger_ms", lambda ms: f"{ms:g} ms")),
                ("batches of at most", broker("batch_bytes", lambda size: f"{size:,} bytes")),
            ]
        case "rabbitmq":
            settings.append(("replies", broker("replies")))
    said = [(name, _values([say(cell) for cell in cells])) for name, say in settings]
    return [(name, text) for name, text in said if text]


def _broker(cells: Sequence[CellResult], parts: Mapping[str, Mapping[str, Any]]) -> Pairs:
    """The broker that the run had for a style, shortly: the rest is under the environment."""
    style = cells[0].info["style"]
    if style not in parts or not any(c.info["condition"].get("broker") for c in cells):
        return []
    part = parts[style]
    nodes = part.get("settings", {}).get("nodes")
    said = [f"version {part['version']}"] if part.get("version") else []
    said += [counted(nodes, "node")] if isinstance(nodes, int) else []
    said.append(f"from: {part.get('origin', 'not known')}")
    return [("broker", ", ".join(said))]


def _values(texts: Sequence[str]) -> str:
    """What the cells say, each once."""
    different = [text for text in dict.fromkeys(texts) if text]
    more = len(different) - MOST_VALUES
    shown = different if more <= 0 else [*different[:MOST_VALUES], f"{more} more"]
    return "; ".join(shown)


def _on(value: bool) -> str:
    return "on" if value else "off"


def _poll(poll: Mapping[str, Any]) -> str:
    if poll["policy"] == "long":
        return f"long, of at most {poll['longest_ms']:g} ms"
    every = f"every {poll['interval_ms']:g} ms"
    if poll["policy"] == "backoff":
        return f"{every}, then twice as long each time, up to {poll['longest_ms']:g} ms"
    return every


def _store(store: str) -> str:
    return {"memory": "memory", "postgres": "PostgreSQL, committed before the answer"}.get(
        store, store
    )


def _given(style: str, cells: Sequence[CellResult]) -> list[tuple[str, Pairs]]:
    """Each set of options once, with the class that it makes."""
    found: dict[str, Pairs] = {}
    for cell in cells:
        client, _ = _libraries(cell)
        condition = cell.info["condition"]
        pairs = given_options(style, client, condition)
        if pairs and pairs not in found.values():
            title = f"{client}, {words.class_of(words.durability(cell))}"
            number = sum(t.partition(" (")[0] == title for t in found) + 1
            found[title if number == 1 else f"{title} ({number})"] = pairs
    return list(found.items())


def _row(cell: CellResult, named: Mapping[str, str], timeout_s: float) -> Row:
    id_, status = cell.info["id"], cell.verdict.status
    ran = bool(cell.trials)
    latency = [
        words.milliseconds(value, timeout_s) if ran else "–"
        for value in (cell.latency.p50, cell.latency.p99)
    ]
    cpu = [cell.cpu_us_per_op[role] for role in ("generator", "server", "broker")]
    moved = cell.bytes_per_op or (None, None)
    rest = [words.whole_number(value) for value in (*cpu, *moved, cell.lanes_opened)]
    why = None if status is Status.VALID else f"why.{id_}"
    return Row(id_, named[id_], status.value, why, [*latency, *rest])


def _against(cells: Sequence[CellResult]) -> list[Against]:
    having: dict[Code, list[str]] = {}
    for cell in cells:
        for code in dict.fromkeys(reason.code for reason in cell.verdict.reasons):
            having.setdefault(code, []).append(cell.info["id"])
    return [
        Against(
            RULES[code][0].value,
            code.value.replace("_", " "),
            f"why.{ids[0]}",
            f"{len(ids)} of {len(cells)}",
            RULES[code][1],
        )
        for code, ids in having.items()
    ]
