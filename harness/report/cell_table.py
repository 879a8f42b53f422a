"""The table of every cell."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.analysis.stats import PERCENTILES
from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Status
from harness.report import words
from harness.report.charts import look
from harness.report.charts.look import Look
from harness.report.charts.svg import mark_points

LATENCY = (*PERCENTILES, "max")
COUNTS = ("planned", "sent", "dropped", "done", "failed", "timed_out", "late")


@dataclass(frozen=True, slots=True)
class Row:
    """A cell."""

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


def cell_table(summary: Summary) -> Iterator[tuple[str, str, list[Row]]]:
    """Title, loop and rows of each group of cells at one load."""
    drawn = look.looks(summary.cells)
    named = words.labels(summary.cells, whole=True)
    timeout_s = float(summary.info["scenario"]["timeout_s"])
    for group in words.groups(summary):
        rows = []
        for cell in group.cells:
            way = named[cell.info["id"]].removeprefix(cell.info["variant"]).removeprefix(", ")
            rows.append(_row(cell, way, drawn[cell.info["id"]], timeout_s))
        yield group.title, group.loop, rows


def _row(cell: CellResult, way: str, drawn: Look, timeout_s: float) -> Row:
    ran = bool(cell.trials)

    def ms(value: float) -> str:
        return words.milliseconds(value, timeout_s) if ran else "–"

    lag = cell.send_lag_us.p99
    status = cell.verdict.status
    return Row(
        id=cell.info["id"],
        variant=cell.info["variant"],
        way=way,
        mark=mark_of(drawn),
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


def mark_of(drawn: Look) -> Markup:
    """The look of a cell's line, for beside its name."""
    colour = f"var(--{drawn.colour})" if drawn.colour in look.LIGHT else drawn.colour
    dash = " ".join(f"{1.7 * length:g}" for length in drawn.dash)
    return Markup(
        '<svg class="mark" viewBox="-13 -6 26 12" width="26" height="12" aria-hidden="true">'
        '<path d="M-13 0H13" style="stroke:{}" stroke-width="1.7" stroke-dasharray="{}"/>'
        '<polygon points="{}" style="fill:{}"/></svg>'
    ).format(colour, dash or "none", mark_points(drawn.mark, 7.5), colour)
