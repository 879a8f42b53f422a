"""The report as one HTML page that needs nothing but itself."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.analysis.stats import PERCENTILES
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Status
from harness.condition import DURABILITY
from harness.report import words
from harness.report.capacity import HEADS as CAPACITY_HEADS
from harness.report.capacity import capacity_table, objective_words
from harness.report.cell_table import COUNTS, cell_table
from harness.report.charts.panels import Chart
from harness.report.charts.stack import stack_table
from harness.report.earlier import earlier
from harness.report.environment import environment, pairs
from harness.report.findings import FLOOR_HEADS, finding_table, floor_table, repeats_words
from harness.report.guide.needs import guide
from harness.report.guide.rules import rules
from harness.report.headline import figures, headline
from harness.report.instrument import quoted
from harness.report.messages import HEADLINE, HEADS, fates
from harness.report.method import thresholds, verdict_rules
from harness.report.overhead import tables
from harness.report.rendering import rendered
from harness.report.steps_table import steps_table
from harness.report.styles.sections import FIGURES, style_sections
from harness.report.verdict_list import not_shown, verdict_list
from harness.report.words import ALIKE

STATES = {
    "complete": "Complete: the run went to its end.",
    "partial": "Partial: the run was interrupted; what was finished is here.",
    "running": "Unfinished: the run was still going, or was killed, when this report was made.",
}


def render_page(summary: Summary, charts: Sequence[Chart]) -> str:
    """The report, self-contained. Every text of the run is escaped."""
    info = summary.info
    return rendered(
        "page.html.j2",
        info=info,
        state=STATES.get(info["status"], f"State of the run: {info['status']}."),
        headline=headline(summary),
        figures=figures(summary),
        guide=guide(summary),
        rules=rules(summary),
        steps=steps_table(summary.once),
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
        fate_first=HEADLINE,
        fate_heads=HEADS,
        finished=sum(len(cell.trials) for cell in summary.cells),
        beside=[said for said in (words.beside(info), words.workers(info)) if said],
        validity=_validity(summary),
        instrument=quoted(info),
        earlier=earlier(summary),
        charts=[
            (chart, _promise(chart, chart is charts[0]), [(p, Markup(p.svg)) for p in chart.panels])
            for chart in charts
        ],
        missing=not_shown(summary.once),
        groups=cell_table(summary),
        latency_names=[*(words.percent(p) for p in PERCENTILES.values()), "max"],
        count_names=[name.replace("_", " ") for name in COUNTS],
        styles=style_sections(summary),
        style_heads=FIGURES,
        verdicts=verdict_list(summary),
        method=thresholds(),
        verdict_rules=verdict_rules(),
        when=_when(info),
        scenario=pairs(
            {k: v for k, v in info["scenario"].items() if k != "question"}
            | {"targets": info["targets"] or "servers of its own"},
            "none",
        ),
        environment=environment(summary),
        durabilities=[
            (words.class_of(promise), said.rpartition(": ")[2])
            for promise, said in DURABILITY.items()
        ],
        command=shlex.join(info["command"]),
        timeout=f"{info['scenario']['timeout_s']:g} s",
    )


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
