"""Charts of an operation's steps, and of what travelled for it."""

import math

from harness.analysis.summary import CellResult
from harness.report.drawing import draw_bars, draw_steps
from harness.report.frame import Frame, drawn_chart
from harness.report.panels import Chart, Missing, Series
from harness.report.words import whole_number as number

_OF_ORDERS = (
    "Medians. An order is accepted when the service has promised to do it, processed when its work"
    " is done, and seen when its client has the result in hand: only that is completion. A style"
    " without an acknowledgement of its own has a dash for it."
)
_OF_MESSAGES = (
    "Medians. A message is acknowledged when its broker has promised to keep it, as far as its"
    " class of durability goes, and processed when a worker has done its work; the mark stands"
    " where both are true. Where nothing is acknowledged there is a dash."
)
_IN_TIME = {"seen": "seen", "both": "processed"}


def step_charts(frame: Frame) -> list[Chart]:
    """Accepted, processed, seen: where a style acknowledges early, or an order takes work. Of a
    message: acknowledged, processed, and both."""
    if not any(c.ack is not None or c.info["condition"]["work_mean_ms"] for c in frame.cells):
        return []

    last = "both" if frame.ingests else "seen"

    def row(cell: CellResult) -> Series | Missing:
        steps = {"processed": cell.processed.p50, last: cell.latency.p50}
        if cell.ack is not None:
            steps = {"accepted": cell.ack.p50, **steps}
        known = {name: value for name, value in steps.items() if math.isfinite(value)}
        if last not in known:
            few = math.isnan(cell.latency.p50)
            why = "too few operations" if few else f"half not {_IN_TIME[last]} in time"
            return frame.missing(cell, why)
        figures = " / ".join(number(known.get(name)) for name in ("accepted", "processed", last))
        return frame.series(cell, list(known), list(known.values()), "ms", figures)

    first = "acknowledged" if frame.ingests else "accepted"
    panels = frame.panels(
        "ms after the planned instant, from 0", f"{first} | / processed \u25cb / {last}, ms", row
    )
    longest = max((s.y[-1] for panel in panels for s in panel.series), default=1.0)
    return [
        drawn_chart(
            "steps",
            "Acknowledged and processed" if frame.ingests else "Accepted, processed, seen",
            _OF_MESSAGES if frame.ingests else _OF_ORDERS,
            panels,
            lambda panel: draw_steps(panel, longest),
        )
    ]


def traffic_charts(frame: Frame) -> list[Chart]:
    """Bytes of an operation, where they were counted."""
    if not any(cell.bytes_per_op for cell in frame.cells):
        return []

    def row(cell: CellResult) -> Series | Missing:
        if cell.bytes_per_op is None:
            kept = cell.info["condition"]["kept"]
            why = "not counted" if kept else "not counted: connections come and go"
            return frame.missing(cell, why)
        to, back = cell.bytes_per_op
        figures = f"to the server {number(to)} + from it {number(back)} bytes"
        return frame.series(
            cell, ["to server", "from server"], [to, back], "bytes", figures, parts=2
        )

    brokers = any(cell.info["condition"].get("broker") for cell in frame.cells)
    at_broker = ", of a broker on all connections to its nodes" if brokers else ""
    panels = frame.panels("bytes an operation, from 0", "bytes: to the server + from it, pale", row)
    return [
        drawn_chart(
            "traffic",
            "Bytes of a completed operation",
            "What TCP carried for each completed operation, headers, framing and encryption"
            f" included, as the server's kernel counted it{at_broker}; every panel has a scale of"
            " its own.",
            panels,
            draw_bars,
        )
    ]
