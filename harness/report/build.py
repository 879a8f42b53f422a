"""Everything in a run's folder that follows from its trials."""

import csv
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

from harness.analysis.ledger import Ledger
from harness.analysis.overhead import RoleCost
from harness.analysis.summary import Summary, summarize
from harness.report.cell_table import COUNTS, LATENCY
from harness.report.charts import make_charts, standalone
from harness.report.headline import headline
from harness.report.markdown import to_markdown
from harness.report.page import render_page
from harness.results import open_run, write_json, write_text

LOAD = ("model", "rate", "users", "think_s", "burst_size", "every_s")
DISTRIBUTIONS = ("latency_ms", "ack_ms", "service_time_ms")
MESSAGES = tuple(field.name for field in fields(Ledger))
WAYS = ("to", "from")
ROLES = ("client", "server", "broker")
USE = tuple(field.name for field in fields(RoleCost) if field.name != "cpu_us")
COLUMNS = (
    "run",
    "cell",
    "style",
    "variant",
    "operation",
    *(f"load_{name}" for name in LOAD),
    "items",
    "connections",
    "in_flight",
    "timeout_s",
    "trials",
    *COUNTS,
    "throughput_per_s",
    *(f"{name}_{mark}" for name in DISTRIBUTIONS for mark in LATENCY),
    "latency_censored",
    "send_lag_us_p50",
    "send_lag_us_p99",
    "lanes_opened",
    "client_cpu_us_per_op",
    "server_cpu_us_per_op",
    "verdict",
    "reasons",
    "durability",
    "acked_per_s",
    "broker_cpu_us_per_op",
    "broker_memory_bytes",
    "read_again",
    *(f"messages_{name}" for name in MESSAGES),
    "bytes_to_server_per_op",
    "bytes_from_server_per_op",
    *(f"{role}_{name}" for role in ROLES for name in USE),
    "other_busy",
    "cost_per_million",
)
"""The header of summary.csv. New columns go to the end, so that readers by place keep working."""


def build_report(folder: Path) -> Summary:
    """Write summary.json, summary.csv, summary.md, charts/ and report.html from a run's trials.

    Raises ValueError where the folder holds no run that this program can read, OSError where it
    cannot be written.
    """
    summary = summarize(open_run(folder))
    charts = make_charts(summary)
    write_json(folder / "summary.json", {**summary.to_json(), "headline": headline(summary)})
    write_text(folder / "summary.csv", to_csv(summary))
    write_text(folder / "summary.md", to_markdown(summary))
    for chart in charts:
        write_text(folder / "charts" / f"{chart.name}.svg", standalone(chart))
    write_text(folder / "report.html", render_page(summary, charts))
    return summary


def to_csv(summary: Summary) -> str:
    """A row a cell under COLUMNS. What has no number is empty; reasons are joined by spaces."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in summary.to_json()["cells"]:
        writer.writerow({"run": summary.info["run"], **_flat(cell)})
    return out.getvalue()


def _flat(cell: dict[str, Any]) -> dict[str, Any]:
    condition = cell["condition"]
    return {
        "cell": cell["id"],
        **{name: cell[name] for name in ("style", "variant", "operation", "trials")},
        **{f"load_{name}": cell["load"][name] for name in LOAD},
        **{k: condition[k] for k in ("items", "connections", "in_flight", "timeout_s")},
        **cell["counts"],
        **{
            f"{name}_{mark}": cell[name][mark] if cell[name] else None
            for name in DISTRIBUTIONS
            for mark in LATENCY
        },
        "latency_censored": cell["latency_ms"]["censored"],
        **{f"send_lag_us_{mark}": cell["send_lag_us"][mark] for mark in ("p50", "p99")},
        **{
            name: cell[name]
            for name in (
                "throughput_per_s",
                "lanes_opened",
                "client_cpu_us_per_op",
                "server_cpu_us_per_op",
            )
        },
        "verdict": cell["verdict"]["status"],
        "reasons": " ".join(reason["code"] for reason in cell["verdict"]["reasons"]),
        "durability": condition.get("durability"),
        **{
            name: cell[name]
            for name in (
                "acked_per_s",
                "broker_cpu_us_per_op",
                "broker_memory_bytes",
                "read_again",
            )
        },
        **{f"messages_{name}": value for name, value in (cell["ledger"] or {}).items()},
        **{f"bytes_{way}_server_per_op": cell[f"bytes_{way}_server_per_op"] for way in WAYS},
        **{
            f"{role}_{name}": use[name]
            for role in ROLES
            if (use := cell["overhead"]["roles"].get(role))
            for name in USE
        },
        "other_busy": cell["overhead"]["other_busy"],
        "cost_per_million": (cell["overhead"]["cost_per_million"] or {}).get("total"),
    }
