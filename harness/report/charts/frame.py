"""What all charts of a run have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Status
from harness.report.charts.look import Look, looks
from harness.report.charts.panels import Chart, Missing, Panel, Series
from harness.report.charts.svg import to_svg
from harness.report.words import Group, groups, labels, missing

QUALIFIED = "*"
"""Marks a cell that is qualified."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all charts of a run have in common."""

    groups: Sequence[Group]
    labels: Mapping[str, str]
    looks: Mapping[str, Look]
    timeout_s: float
    operation: str

    @classmethod
    def of(cls, summary: Summary) -> "Frame":
        """A run's own, without the cells that are there only for their A/A pair."""
        summary = summary.once
        scenario = summary.info["scenario"]
        return cls(
            groups(summary),
            labels(summary.cells),
            looks(summary.cells),
            float(scenario["timeout_s"]),
            scenario["operation"],
        )

    @property
    def ingests(self) -> bool:
        """Whether messages were sent, and not calls made."""
        return self.operation == "ingest"

    @property
    def cells(self) -> list[CellResult]:
        """Every cell, group by group."""
        return [cell for group in self.groups for cell in group.cells]

    def panels(
        self, x_label: str, y_label: str, row: Callable[[CellResult], Series | Missing]
    ) -> list[Panel]:
        """A panel a group; cells that failed or were skipped are missing from each."""

        def any_row(cell: CellResult) -> Series | Missing:
            why = missing(cell)
            return self.missing(cell, why) if why else row(cell)

        return [
            Panel(g.title, g.loop, x_label, y_label, tuple(any_row(c) for c in g.cells))
            for g in self.groups
        ]

    def missing(self, cell: CellResult, why: str) -> Missing:
        """What stands for a cell that cannot be drawn."""
        return Missing(cell.info["id"], self.labels[cell.info["id"]], why)

    def series(
        self,
        cell: CellResult,
        x: Sequence[float | str],
        y: Sequence[float],
        unit: str,
        figures: str,
        note: str = "",
        censored_at: float | None = None,
        parts: int = 1,
    ) -> Series:
        """A cell's row, named and looking as everywhere."""
        status = cell.verdict.status
        notes = ["invalid"] if status is Status.INVALID else []
        return Series(
            cell=cell.info["id"],
            label=self.labels[cell.info["id"]] + QUALIFIED * (status is Status.QUALIFIED),
            style=cell.info["style"],
            look=self.looks[cell.info["id"]],
            x=tuple(x),
            y=tuple(y),
            unit=unit,
            figures=figures,
            note=", ".join([*notes, *([note] if note else [])]),
            censored_at=censored_at,
            parts=parts,
        )


def drawn_chart(
    name: str, title: str, caption: str, panels: Sequence[Panel], draw: Callable[[Panel], Figure]
) -> Chart:
    """A chart whose panels `draw` has drawn."""
    drawn = (
        replace(panel, svg=to_svg(partial(draw, panel), f"{name}-{i}", panel.alt))
        for i, panel in enumerate(panels)
    )
    return Chart(name, title, caption, tuple(drawn))
