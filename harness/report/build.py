"""Everything in a run's folder that follows from its trials."""

from pathlib import Path
from typing import Any

from harness.analysis.summary import Summary, summarize
from harness.report.charts.every import make_charts, standalone
from harness.report.headline import headline
from harness.report.markdown import to_markdown
from harness.report.page import render_page
from harness.report.rows import parquet_schema, rows, to_csv
from harness.results import open_run, write_json, write_table, write_text


def build_report(folder: Path) -> Summary:
    """Write summary.json, .csv, .parquet and .md, charts/ and report.html from a run's trials.

    Raises ValueError where the folder holds no run that this program can read, OSError where it
    cannot be written.
    """
    summary = summarize(open_run(folder))
    charts = make_charts(summary)
    write_json(folder / "summary.json", summary_json(summary))
    write_text(folder / "summary.csv", to_csv(summary))
    write_table(folder / "summary.parquet", rows(summary), parquet_schema())
    write_text(folder / "summary.md", to_markdown(summary))
    for chart in charts:
        write_text(folder / "charts" / f"{chart.name}.svg", standalone(chart))
    write_text(folder / "report.html", render_page(summary, charts))
    return summary


def summary_json(summary: Summary) -> dict[str, Any]:
    """What summary.json has, as docs/summary.schema.json says."""
    return {**summary.to_json(), "headline": headline(summary)}
