"""The table of an operation's steps, and of what they took."""

import math
from statistics import median

from harness.analysis.polling import expected_excess_ms
from harness.analysis.stats import Distribution
from harness.analysis.summary import CellResult, Summary
from harness.report import words

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


def steps_table(summary: Summary) -> tuple[list[str], list[tuple[str, str, str, list[str]]]]:
    """Heads, and id, name, load and figures of each cell. Columns without any
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

    def across(text: str) -> str:
        if cell.clock_error_ms is None or text == "–":
            return text
        return f"{text} ± {cell.clock_error_ms:,.2f} between clocks"

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
        across(p50(cell.processed)),
        p50(None if sends else cell.latency),
        p50(cell.ack if sends else None),
        across(p50(cell.latency if sends else None)),
        across(delay),
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
