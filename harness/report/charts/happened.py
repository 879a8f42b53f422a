"""What was done to a run on purpose, as charts over time mark it."""

from collections.abc import Sequence

from harness.analysis.summary import CellResult
from harness.report.charts.panels import Panel

WORDS = {"killed": "killed", "restarted": "back"}


def happened(cell: CellResult) -> tuple[tuple[float, str], ...]:
    """Seconds since the window's start, and what happened then, as it was seen to happen."""
    return tuple((at, WORDS[what]) for at, what in cell.faults)


def fault_words(panels: Sequence[Panel]) -> str:
    """What a caption says of the marks; empty where nothing is marked."""
    if not any(one.instants for panel in panels for one in panel.series):
        return ""
    return (
        " Dashed lines mark when a node was seen to die and when it took part again, in the middle"
        " of the trials."
    )
