"""Charts of an operation's steps, and of what travelled for it."""

import math
from collections.abc import Callable

from harness.analysis.summary import CellResult
from harness.report.charts.drawing import draw_bars, draw_steps
from harness.report.charts.frame import Frame, drawn_chart
from harness.report.charts.panels import Chart, Missing, Series
from harness.report.words import short
from harness.report.words import whole_number as number

_OF_ORDERS = (
    "Medians, each counted from the planned instant, with a dot where the order was sent. An order"
    " is accepted when the service has promised to do it, processed when its work is done, and seen"
    " when its client has the result in hand: only that is completion. A style without an"
    " acknowledgement of its own has a dash for it. Every panel has a scale of its own."
)
_OF_MESSAGES = (
    "Medians, each counted from the planned instant, with a dot where the message was sent. A"
    " message is acknowledged when its broker has promised to keep it, as far as its"
    " class of durability goes, and processed when a worker has done its work; the mark stands"
    " where both are true. Where nothing is acknowledged there is a dash. Every panel has a scale"
    " of its own."
)
_IN_TIME = {"seen": "seen", "both": "processed"}


def early(frame: Frame) -> bool:
    """Whether a style acknowledges early, or an order takes work: the steps lie apart."""
    return any(c.ack is not None or c.info["condition"]["work_mean_ms"] for c in frame.cells)


def step_charts(frame: Frame) -> list[Chart]:
    """Sent, accepted, processed, seen; of a message: sent, acknowledged, processed, and both."""
    first = "acknowledged" if frame.ingests else "accepted"
    last = "both" if frame.ingests else "seen"

    def row(cell: CellResult) -> Series | Missing:
        steps = {
            "sent": cell.send_lag_us.p50 / 1e3,
            first: math.nan if cell.ack is None else cell.ack.p50,
            "processed": cell.processed.p50,
            last: cell.latency.p50,
        }
        known = {name: value for name, value in steps.items() if math.isfinite(value)}
        if last not in known:
            few = math.isnan(cell.latency.p50)
            why = "too few operations" if few else f"half not {_IN_TIME[last]} in time"
            return frame.missing(cell, why)
        figures = ", ".join(f"{name} {short(value)}" for name, value in steps.items()) + " ms"
        return frame.series(cell, list(known), list(known.values()), "ms", figures)

    offs = [off for cell in frame.cells if (off := cell.clock_error_ms) is not None]
    panels = frame.panels(
        "ms after the planned instant, from 0", f"{first} | / processed \u25cb / {last}, ms", row
    )
    return [
        drawn_chart(
            "steps",
            "Acknowledged and processed" if frame.ingests else "Accepted, processed, seen",
            (_OF_MESSAGES if frame.ingests else _OF_ORDERS) + _between_clocks(offs),
            panels,
            lambda panel: draw_steps(panel, (first, "processed", last)),
        )
    ]


def _between_clocks(offs: list[float]) -> str:
    if not offs:
        return ""
    return (
        " Generators are on other machines than the service: processed compares two clocks, and may"
        f" be off by {max(offs):,.2f} ms; what is seen is by one clock."
    )


def traffic_charts(frame: Frame) -> list[Chart]:
    """Bytes of an operation, and segments, where they were counted."""
    brokers = any(cell.info["condition"].get("broker") for cell in frame.cells)
    at_broker = ", of a broker on all connections to its nodes" if brokers else ""
    counted = f"as the server's kernel counted it{at_broker}; every panel has a scale of its own."
    return [
        *_traffic(
            frame,
            "traffic",
            "bytes",
            lambda cell: cell.bytes_per_op,
            "What TCP carried for each completed operation, headers, framing and encryption"
            f" included, {counted}",
        ),
        *_traffic(
            frame,
            "segments",
            "segments",
            lambda cell: cell.segments_per_op,
            "In how many segments TCP carried it, those that only acknowledge included,"
            f" {counted} On loopback a segment may be as large as 64 KiB, and many answers may"
            " share one.",
        ),
    ]


def _traffic(
    frame: Frame,
    name: str,
    unit: str,
    read: Callable[[CellResult], tuple[float, float] | None],
    caption: str,
) -> list[Chart]:
    if not any(read(cell) for cell in frame.cells):
        return []

    def row(cell: CellResult) -> Series | Missing:
        moved = read(cell)
        if moved is None:
            kept = cell.info["condition"]["kept"] or unit == "segments"
            why = "not counted" if kept else "not counted: connections come and go"
            return frame.missing(cell, why)
        to, back = map(number, moved)
        figures = f"to the server {to} + from it {back} {unit}"
        return frame.series(cell, ["to server", "from server"], moved, unit, figures, parts=2)

    panels = frame.panels(
        f"{unit} an operation, from 0", f"{unit}: to the server + from it, pale", row
    )
    title = f"{unit.capitalize()} of a completed operation"
    return [drawn_chart(name, title, caption, panels, draw_bars)]
