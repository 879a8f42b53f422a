"""What a run that an earlier version wrote did not note."""

from harness.analysis.summary import Summary
from harness.results import FORMAT


def earlier(summary: Summary) -> list[str]:
    """Sentences about a run of an earlier format; none for a run of this one."""
    written = summary.info.get("format", 0)
    if written >= FORMAT:
        return []
    trials = [trial.seen for cell in summary.cells for trial in cell.trials]
    families = [cell.info["family"] for cell in summary.cells]
    noted = {
        "whether the instrument was calibrated": "instrument" in summary.info,
        "how much a style differs from itself": any(each is not None for each in families),
        "what other programs did meanwhile": any(s.other_busy is not None for s in trials),
        "what went over the wire": any(s.wire is not None for s in trials),
        "what processes use at rest": any(s.idle is not None for s in trials),
    }
    unknown = ", ".join(what for what, known in noted.items() if not known)
    said = f"An earlier version wrote this run: it is of format {written}; now it is {FORMAT}."
    return [said, f"Not noted then, and not known: {unknown}."] if unknown else [said]
