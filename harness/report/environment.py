"""Where a run took place, and what was started for it, as names and texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analysis.summary import Summary
from harness.report import words
from harness.report.verdict_list import cell_names

Pairs = list[tuple[str, str]]


def environment(summary: Summary) -> list[tuple[str, Pairs]]:
    """Topics, each with its pairs."""
    info = summary.info
    awake = {"kept awake": info["awake"]} if "awake" in info else {}
    return [
        *((words.name(str(k)), pairs(v)) for k, v in info["environment"].items()),
        ("processors", pairs(info["placement"] | awake)),
        *_hosts(info.get("hosts", ())),
        *_parts(info.get("parts", {})),
        *_standing_still(summary),
    ]


def _hosts(hosts: Sequence[Mapping[str, Any]]) -> list[tuple[str, Pairs]]:
    """Each worker: how far its clock was from the run's, and what it is."""
    found = []
    for number, host in enumerate(hosts, 1):
        clock = host["clock"]
        off = f"{clock['offset_ns'] / 1e3:+,.1f} µs, known to ± {clock['error_ns'] / 1e3:,.1f} µs"
        machine = host["environment"].get("machine", {})
        known = pairs({**machine, "kept awake": host["awake"]})
        found.append((f"worker {number}: {host['host']}", [("clock from the run's", off), *known]))
    return found


def _parts(parts: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Pairs]]:
    """Each broker and store: where it came from, and all that it was started with."""
    found = []
    for name, part in parts.items():
        told = pairs({key: value for key, value in part.items() if key != "settings"})
        for key, value in part.get("settings", {}).items():
            if isinstance(value, Mapping):
                # A broker's own names stay as they are.
                told += [(str(k), words.plain(v, "none")) for k, v in value.items()]
            elif isinstance(value, list | tuple):
                told.append((words.name(str(key)), " ".join(map(str, value)) or "none"))
            else:
                told.append((words.name(str(key)), words.plain(value, "none") or "none"))
        found.append((name, told))
    return found


def _standing_still(summary: Summary) -> list[tuple[str, Pairs]]:
    """What brokers that were not being measured took all the same: a check, ought to be nothing."""
    named = cell_names(summary)
    seen = [
        (cpu, cell.info["id"])
        for cell in summary.cells
        if (cpu := cell.cpu_us_per_op.get("rival")) is not None
    ]
    if not seen:
        return []
    most, where = max(seen)
    said = f"{words.whole_number(most)} µs an operation at most, beside {named[where]}"
    return [("check: brokers that stood still", [("CPU", said)])]


def pairs(value: Any, nothing: str = "not known") -> Pairs:
    """A mapping as names and texts for a definition list; sizes in GiB, null as `nothing`."""
    if not isinstance(value, Mapping):
        return [("value", words.plain(value, nothing))]
    found = []
    for key, each in value.items():
        if str(key).endswith("_bytes") and isinstance(each, int):
            found.append((words.name(str(key).removesuffix("_bytes")), f"{each / 2**30:.1f} GiB"))
        else:
            found.append((words.name(str(key)), words.plain(each, nothing)))
    return found
