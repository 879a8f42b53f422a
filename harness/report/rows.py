"""A row a cell for other programs: summary.csv, and the same with types as summary.parquet."""

import csv
from dataclasses import fields
from io import StringIO
from typing import TYPE_CHECKING, Any

from harness.analysis.ledger import Ledger
from harness.analysis.overhead import RoleCost
from harness.analysis.summary import Summary
from harness.report.cell_table import COUNTS, LATENCY

if TYPE_CHECKING:
    import pyarrow as pa

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
"""Of summary.csv and summary.parquet. New ones go to the end, so that readers by place keep
working."""
_MESSAGES = {f"messages_{field.name}": field.type for field in fields(Ledger)}
_TEXT = {
    *("run", "cell", "style", "variant", "operation"),
    *("load_model", "verdict", "reasons", "durability"),
}
_WHOLE = {
    *("load_users", "load_burst_size", "items", "connections", "in_flight", "trials"),
    *(*COUNTS, "lanes_opened"),
    *(name for name, kind in _MESSAGES.items() if kind is int),
    *(f"{role}_peak_bytes" for role in ROLES),
}
_FLAGS = {"latency_censored", *(name for name, kind in _MESSAGES.items() if kind is bool)}


def to_csv(summary: Summary) -> str:
    """A row a cell under COLUMNS. What has no number is empty; reasons are joined by spaces."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(summary))
    return out.getvalue()


def rows(summary: Summary) -> list[dict[str, Any]]:
    """A row a cell, of columns among COLUMNS; what has no number is None, or left out."""
    run = summary.info["run"]
    return [{"run": run, **_flat(cell)} for cell in summary.to_json()["cells"]]


def parquet_schema() -> "pa.Schema":
    """The columns of summary.parquet, which are those of summary.csv, with their types."""
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name in _TEXT:
            return pa.string()
        if name in _FLAGS:
            return pa.bool_()
        return pa.int64() if name in _WHOLE else pa.float64()

    return pa.schema([(name, kind(name)) for name in COLUMNS])


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
