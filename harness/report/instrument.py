"""What is known of the instrument itself: the checks of a calibration, and the sentence that later
reports quote."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.analysis.calibration import Check

UNKNOWN = "not calibrated on this machine: python3 bench.py calibrate"
ELSEWHERE = "a calibration is of a generator beside the service; of workers there is none"


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Every check of a calibration, by what it was asked over, and what follows from them."""
    width = max(len(check.what) for check in checks)
    for variant in dict.fromkeys(check.variant for check in checks):
        console.print(variant.partition("+")[0], style="bold", markup=False, highlight=False)
        for check in checks:
            if check.variant == variant:
                met = "[green]met    [/]" if check.met else "[red]not met[/]"
                line = escape(f"{check.what:<{width}}  {_words(check)}")
                console.print(f"  {met}  {line}", highlight=False, soft_wrap=True)
    failed = sum(not check.met for check in checks)
    if failed:
        console.print(
            f"{failed} of {len(checks)} checks are not met. Remedy: a machine on which nothing else"
            " runs; if it is quiet, report this as a defect of orderbench, with the folder.",
            style="red",
            soft_wrap=True,
        )
    else:
        console.print(
            f"All {len(checks)} checks are met: later reports from this machine say so.",
            soft_wrap=True,
        )


def _words(check: Check) -> str:
    reads = "nothing" if math.isnan(check.reading) else f"{check.reading:.3g} {check.unit}"
    bounds = f"({check.low:g} to {check.high:g})"
    return f"{reads:>8} {bounds:<15} {check.operations:>6,} operations; {check.detail}"


def quoted(info: Mapping[str, Any]) -> str:
    """The sentence about the instrument for a run (as in run.json); empty for runs that did not
    look for one."""
    if "instrument" not in info:
        return ""
    if info.get("hosts"):
        return ELSEWHERE
    found = info["instrument"]
    if found is None:
        return UNKNOWN
    read = found["headline"]
    said = [f"calibrated on {found['calibrated_at'][:10]}"]
    if found["commit"]:
        said[0] += f" at commit {found['commit'][:8]}"
    if read["not_met"]:
        said.append(f"{read['not_met']} of {read['checks']} checks not met")
    if read["p50_error_ms"] is not None:
        said.append(f"p50 of an operation's error at most {read['p50_error_ms']:.2f} ms")
    if read["added_100us"] is not None:
        low, high = (f"{value:.0f}" for value in read["added_100us"])
        said.append(f"+100 µs reads {low if low == high else f'{low} to {high}'} µs")
    if read["theory_percent"] is not None:
        said.append(f"p99 within {read['theory_percent']:.0f}% of queueing theory's")
    return ", ".join(said)
