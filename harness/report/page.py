"""The report as one HTML page that needs nothing but itself."""

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.analysis.polling import expected_excess_ms
from harness.analysis.stats import PERCENTILES, Distribution
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import RULES, Code, Reason, Status
from harness.condition import DURABILITY
from harness.report import look, words
from harness.report.answers import answers
from harness.report.capacity import HEADS as CAPACITY_HEADS
from harness.report.capacity import capacity_table, objective_words
from harness.report.findings import FLOOR_HEADS, finding_table, floor_table, repeats_words
from harness.report.instrument import quoted
from harness.report.look import Look
from harness.report.messages import HEADLINE, HEADS, fates
from harness.report.overhead import tables
from harness.report.panels import Chart
from harness.report.stack_chart import stack_table
from harness.report.svg import mark_points
from harness.report.words import ALIKE

STATES = {
    "complete": "Complete: the run went to its end.",
    "partial": "Partial: the run was interrupted; what was finished is here.",
    "running": "Unfinished: the run was still going, or was killed, when this report was made.",
}
LATENCY = (*PERCENTILES, "max")
COUNTS = ("planned", "sent", "dropped", "done", "failed", "timed_out", "late")


def render_page(summary: Summary, charts: Sequence[Chart]) -> str:
    """The report, self-contained. Every text of the run is escaped."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    info = summary.info
    return pages.get_template("page.html.j2").render(
        info=info,
        state=STATES.get(info["status"], f"State of the run: {info['status']}."),
        answers=answers(summary),
        steps=_steps(summary.once),
        fates=fates(summary),
        overhead=tables(summary.once),
        stack=stack_table(summary.once),
        findings=finding_table(summary),
        floors=floor_table(summary),
        floor_heads=FLOOR_HEADS,
        repeats=repeats_words(summary),
        capacity=capacity_table(summary),
        capacity_heads=CAPACITY_HEADS,
        objective=objective_words(summary),
        headline=HEADLINE,
        fate_heads=HEADS,
        finished=sum(len(cell.trials) for cell in summary.cells),
        validity=_validity(summary),
        instrument=quoted(info),
        charts=[
            (chart, _promise(chart, chart is charts[0]), [(p, Markup(p.svg)) for p in chart.panels])
            for chart in charts
        ],
        missing=_missing(summary.once),
        theme=Markup(look.css(":root")),
        fonts=Markup(look.FONTS),
        groups=_rows(summary),
        latency_names=[*(words.percent(p) for p in PERCENTILES.values()), "max"],
        count_names=[name.replace("_", " ") for name in COUNTS],
        verdicts=_verdicts(summary),
        when=_when(info),
        scenario=_pairs(
            {k: v for k, v in info["scenario"].items() if k != "question"}
            | {"targets": info["targets"] or "servers of its own"},
            "none",
        ),
        environment=[
            *((words.name(str(k)), _pairs(v)) for k, v in info["environment"].items()),
            ("processors", _pairs(info["placement"] | _awake(info))),
            *_parts(info.get("parts", {})),
            *_standing_still(summary),
        ],
        durabilities=[
            (words.class_of(promise), said.rpartition(": ")[2])
            for promise, said in DURABILITY.items()
        ],
        command=shlex.join(info["command"]),
        timeout=f"{info['scenario']['timeout_s']:g} s",
    )


def _awake(info: Mapping[str, Any]) -> dict[str, Any]:
    return {"kept awake": info["awake"]} if "awake" in info else {}


def _promise(chart: Chart, first: bool) -> str:
    """What is said of durability beside a chart: where classes differ they stand in its labels, and
    their meaning beside the first one."""
    return chart.durability if first or chart.durability.startswith(ALIKE) else ""


def _when(info: Mapping[str, Any]) -> str:
    ends = [info[key] for key in ("started_at", "ended_at") if info[key]]
    return " to ".join(end.replace("T", " ").replace("+00:00", " UTC") for end in ends)


def _validity(summary: Summary) -> str:
    by_status = Counter(cell.verdict.status for cell in summary.cells)
    total = len(summary.cells)
    counted = ", ".join(f"{by_status[s]} {s.value}" for s in Status if by_status[s])
    return f"{total} {'cell' if total == 1 else 'cells'}: {counted}."


STEPS = (
    "accepted",
    "processed",
    "seen",
    "acknowledged",
    "acknowledged and processed",
    "mean delay of the result",
    "in theory",
    "polls",
    "empty polls",
    "other steps",
    "bytes to the server",
    "bytes from it",
    "connections held",
    "work done an order",
    "age of progress when seen",
    "first knew",
    "last knew",
    "bare loop",
    "server memory a subscriber",
    "server memory grew by",
    "CPU of the broker, µs",
    "broker memory",
)


def _steps(summary: Summary) -> tuple[list[str], list[tuple[str, str, str, list[str]]]]:
    """The second table: heads, and id, name, load and figures of each cell. Columns without any
    figure are left out."""
    named = words.labels(summary.cells)
    timeout_s = float(summary.info["scenario"]["timeout_s"])
    rows = [
        (
            cell.info["id"],
            named[cell.info["id"]],
            ", ".join([cell.info["load"]["words"], *cell.info["condition"]["asked"]]),
            _step_figures(cell, timeout_s),
        )
        for cell in summary.cells
        if cell.trials
    ]
    used = [head for i, head in enumerate(STEPS) if any(figures[i] != "–" for *_, figures in rows)]
    kept = [STEPS.index(head) for head in used]
    return used, [(*row, [figures[i] for i in kept]) for *row, figures in rows]


def _step_figures(cell: CellResult, timeout_s: float) -> list[str]:
    def p50(found: Distribution | None) -> str:
        if found is None or math.isnan(found.p50):
            return "–"
        return words.milliseconds(found.p50, timeout_s)

    def count(value: float | None) -> str:
        return "–" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")

    sends = cell.ledger is not None
    watched, memory = cell.watched, cell.server_memory
    # Nobody waits for a message's result.
    mean = None if sends else cell.excess
    floors = [f["last_us"] / 1e3 for t in cell.trials if (f := t.health.get("floor_us"))]
    delay = "–"
    if mean is not None:
        delay = f"{mean.value:,.2f}"
        if math.isfinite(mean.low):
            delay += f" [{mean.low:,.2f}, {mean.high:,.2f}]"
    theory, bare = cell.expected_excess_ms, expected_excess_ms(cell.info["condition"])
    others = [
        f"{name.replace('_', ' ')} {count(value)}"
        for name, value in cell.notes.items()
        if name not in ("polls", "empty_polls")
    ]
    grown = memory["window_end"] - memory["window_start"] if memory else None
    return [
        p50(None if sends else cell.ack),
        p50(cell.processed),
        p50(None if sends else cell.latency),
        p50(cell.ack if sends else None),
        p50(cell.latency if sends else None),
        delay,
        "–" if theory is None else f"{theory:,.2f} (without a round trip {bare:,.2f})",
        count(cell.notes.get("polls")),
        count(cell.notes.get("empty_polls")),
        ", ".join(others) or "–",
        words.whole_number(cell.bytes_per_op and cell.bytes_per_op[0]),
        words.whole_number(cell.bytes_per_op and cell.bytes_per_op[1]),
        words.whole_number(cell.connections),
        count(cell.worked_per_order),
        p50(cell.progress) if watched is None else "–",
        p50(watched.first if watched else None),
        p50(watched.last if watched else None),
        f"{median(floors):,.2f}" if floors else "–",
        f"{memory['per_subscriber'] / 1024:,.1f} KiB" if "per_subscriber" in memory else "–",
        "–" if grown is None else f"{grown / 2**20:,.1f} MiB",
        words.whole_number(cell.cpu_us_per_op.get("broker")),
        "–" if cell.broker_memory is None else f"{cell.broker_memory / 2**20:,.0f} MiB",
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    """A cell as the table shows it."""

    id: str
    variant: str
    way: str
    """What tells it from other cells of its variant."""
    mark: Markup
    status: str
    verdict: str | None
    """The id of its verdict's explanation."""
    throughput: str
    latency: Sequence[str]
    service_time: str
    send_lag: str
    cpu: Sequence[str]
    lanes: str
    counts: Sequence[str]


def _rows(summary: Summary) -> Iterator[tuple[str, str, list[_Row]]]:
    drawn = look.looks(summary.cells)
    named = words.labels(summary.cells, whole=True)
    timeout_s = float(summary.info["scenario"]["timeout_s"])
    for group in words.groups(summary):
        rows = []
        for cell in group.cells:
            way = named[cell.info["id"]].removeprefix(cell.info["variant"]).removeprefix(", ")
            rows.append(_row(cell, way, drawn[cell.info["id"]], timeout_s))
        yield group.title, group.loop, rows


def _row(cell: CellResult, way: str, drawn: Look, timeout_s: float) -> _Row:
    ran = bool(cell.trials)

    def ms(value: float) -> str:
        return words.milliseconds(value, timeout_s) if ran else "–"

    lag = cell.send_lag_us.p99
    status = cell.verdict.status
    return _Row(
        id=cell.info["id"],
        variant=cell.info["variant"],
        way=way,
        mark=_mark(drawn),
        status=status.value,
        verdict=None if status is Status.VALID else f"why.{cell.info['id']}",
        throughput=words.whole_number(cell.throughput_per_s),
        latency=[ms(getattr(cell.latency, name)) for name in LATENCY],
        service_time=ms(cell.service_time.p99),
        send_lag=ms(lag) if math.isnan(lag) else words.whole_number(lag),
        cpu=[words.whole_number(cell.cpu_us_per_op[role]) for role in ("generator", "server")],
        lanes=words.whole_number(cell.lanes_opened),
        counts=[f"{getattr(cell.counts, name):,}" if ran else "–" for name in COUNTS],
    )


def _mark(drawn: Look) -> Markup:
    """The look of a cell's line, for beside its name."""
    colour = f"var(--{drawn.colour})" if drawn.colour in look.LIGHT else drawn.colour
    dash = " ".join(f"{1.7 * length:g}" for length in drawn.dash)
    return Markup(
        '<svg class="mark" viewBox="-13 -6 26 12" width="26" height="12" aria-hidden="true">'
        '<path d="M-13 0H13" style="stroke:{}" stroke-width="1.7" stroke-dasharray="{}"/>'
        '<polygon points="{}" style="fill:{}"/></svg>'
    ).format(colour, dash or "none", mark_points(drawn.mark, 7.5), colour)


def _missing(summary: Summary) -> list[tuple[str, str, str]]:
    """Id, name and reason of the cells that no chart shows. Of one that could not be run the reason
    says what would mend it."""
    named = _names(summary)
    found = []
    for cell in summary.cells:
        if why := words.missing(cell):
            lacks = [r.detail for r in cell.verdict.reasons if r.code is Code.UNAVAILABLE]
            why = f"{cell.verdict.status.value}: {'; '.join(lacks)}" if lacks else why
            found.append((cell.info["id"], named[cell.info["id"]], why))
    return found


def _names(summary: Summary) -> dict[str, str]:
    """What a cell is called where it stands without others of its load, by its id."""
    named = words.labels(summary.cells, whole=True)
    return {
        cell.info["id"]: f"{named[cell.info['id']]} at {group.title}"
        for group in words.groups(summary)
        for cell in group.cells
    }


@dataclass(frozen=True, slots=True)
class _Explained:
    """Cells that share their verdict and every reason for it."""

    status: str
    cells: Sequence[tuple[str, str]]
    """Id and name of each."""
    reasons: Sequence[tuple[str, str, str]]
    """What, what was seen, and what to do."""


def _verdicts(summary: Summary) -> list[_Explained]:
    named = _names(summary)
    alike: dict[tuple[Reason, ...], list[CellResult]] = {}
    for cell in summary.cells:
        if cell.verdict.status is not Status.VALID:
            alike.setdefault(cell.verdict.reasons, []).append(cell)
    return [
        _Explained(
            cells[0].verdict.status.value,
            [(cell.info["id"], named[cell.info["id"]]) for cell in cells],
            [(r.code.value.replace("_", " "), r.detail, RULES[r.code][1]) for r in reasons],
        )
        for reasons, cells in alike.items()
    ]


def _parts(parts: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each broker and store: where it came from, and all that it was started with."""
    found = []
    for name, part in parts.items():
        pairs = _pairs({key: value for key, value in part.items() if key != "settings"})
        for key, value in part.get("settings", {}).items():
            if isinstance(value, Mapping):
                # A broker's own names stay as they are.
                pairs += [(str(k), words.plain(v, "none")) for k, v in value.items()]
            elif isinstance(value, list | tuple):
                pairs.append((words.name(str(key)), " ".join(map(str, value)) or "none"))
            else:
                pairs.append((words.name(str(key)), words.plain(value, "none") or "none"))
        found.append((name, pairs))
    return found


def _standing_still(summary: Summary) -> list[tuple[str, list[tuple[str, str]]]]:
    """What brokers that were not being measured took all the same: a check, ought to be nothing."""
    named = _names(summary)
    seen = [
        (cpu, cell.info["id"])
        for cell in summary.cells
        if (cpu := cell.cpu_us_per_op.get("rival")) is not None
    ]
    if not seen:
        return []
    most, where = max(seen)
    said = f"{words.whole_number(most)} µs an operation at most, beside {named[where]}"
    return [("check: brokers that stood still", [("CPU", said)])]


def _pairs(value: Any, nothing: str = "not known") -> list[tuple[str, str]]:
    """A mapping as names and texts for a definition list; sizes in GiB, null as `nothing`."""
    if not isinstance(value, Mapping):
        return [("value", words.plain(value, nothing))]
    pairs = []
    for key, each in value.items():
        if str(key).endswith("_bytes") and isinstance(each, int):
            pairs.append((words.name(str(key).removesuffix("_bytes")), f"{each / 2**30:.1f} GiB"))
        else:
            pairs.append((words.name(str(key)), words.plain(each, nothing)))
    return pairs
