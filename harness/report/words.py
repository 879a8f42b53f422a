"""What cells and figures are called wherever the report speaks of them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.summary import CellResult, Summary
from harness.analysis.verdicts import Status
from harness.condition import DURABILITY, counted

COUNTED: Mapping[str, Callable[[int], str]] = {
    "workers": lambda number: counted(number, "worker"),
    "partitions": lambda number: counted(number, "partition"),
    "prefetch": lambda number: f"prefetch {number}",
}
"""What a broker's users choose in numbers, in the words of conditions."""
ALIKE = "All "
"""How durability_words begins where all cells have one class."""
STORES = ("PostgreSQL",)
"""As conditions call the stores that a synchronous style commits to."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cells at one load under one condition: what may stand side by side."""

    title: str
    loop: str
    """`open loop` or `closed loop`."""
    cells: Sequence[CellResult]


def groups(summary: Summary) -> list[Group]:
    """All cells by load, then by what was asked, in the order of the run."""
    sorted_in: dict[tuple[str, tuple[str, ...]], list[CellResult]] = {}
    for cell in summary.cells:
        key = (cell.info["load"]["words"], tuple(cell.info["condition"]["asked"]))
        sorted_in.setdefault(key, []).append(cell)
    every = [asked for _, asked in sorted_in]
    alike = {part for asked in every for part in asked if all(part in other for other in every)}
    return [
        Group(
            ", ".join([load, *(part for part in asked if part not in alike)]),
            "closed loop" if cells[0].info["load"]["model"] == "closed" else "open loop",
            cells,
        )
        for (load, asked), cells in sorted_in.items()
    ]


def labels(cells: Sequence[CellResult], whole: bool = False, but: str = "") -> dict[str, str]:
    """The shortest name of each cell, by its id: of its variant, how it was done, and its class of
    durability where not all have the same. `whole`: variants by their whole names; `but`: without
    what is said of how many there were of one thing, as in `worker`."""
    named = {c.info["variant"]: c.info["variant"] for c in cells} if whole else {}
    named = named or _variant_labels(cells)
    every = {name: without(how, but) for name, how in _how(cells).items()}
    if not whole:
        every = _without_own(cells, every)
    # What all do alike tells none apart.
    alike = set.intersection(*map(set, every.values())) if every else set()
    mixed = len({durability(cell) for cell in cells}) > 1
    if mixed:
        # A store is what makes its class, and that is named.
        alike |= set(STORES)
    return {
        cell.info["id"]: ", ".join(
            [
                named[cell.info["variant"]],
                *(part for part in every[cell.info["id"]] if part not in alike),
                *([class_of(durability(cell))] if mixed else []),
            ]
        )
        for cell in cells
    }


def _how(cells: Sequence[CellResult]) -> dict[str, list[str]]:
    """How each cell was done, by its id. A number that differs between them is said of all, the
    usual one too."""
    found = {cell.info["id"]: list(cell.info["condition"]["how"]) for cell in cells}
    ways = {c.info["id"]: way for c in cells if (way := c.info["condition"].get("broker"))}
    for key, words in COUNTED.items():
        said = {name: words(way[key]) for name, way in ways.items()}
        if len(set(said.values())) > 1:
            for name, part in said.items():
                found[name] += [] if part in found[name] else [part]
    return found


def _without_own(
    cells: Sequence[CellResult], every: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Without what all cells of a style choose at their broker, and no other style can."""
    by_style: dict[str, list[set[str]]] = {}
    for cell in cells:
        by_style.setdefault(cell.info["style"], []).append(set(every[cell.info["id"]]))
    own: dict[str, set[str]] = {}
    for cell in cells:
        if cell.info["condition"].get("broker"):
            style = cell.info["style"]
            others = (how for other, hows in by_style.items() if other != style for how in hows)
            own[cell.info["id"]] = set.intersection(*by_style[style]).difference(*others)
    return {
        name: [part for part in how if part not in own.get(name, ())] for name, how in every.items()
    }


def without(parts: Iterable[str], thing: str) -> list[str]:
    """The parts of a condition that do not count a thing, as `2 workers` and `prefetch 20` do."""
    return [
        part for part in parts if thing not in (word.removesuffix("s") for word in part.split(" "))
    ]


def durability(cell: CellResult) -> str:
    """What an answer or an acknowledgement of the cell promises: a key of DURABILITY."""
    return str(cell.info["condition"].get("durability", "A"))


def class_of(promise: str) -> str:
    """The name of a key of DURABILITY."""
    return "single-node flush" if promise == "flushed" else f"class {promise}"


def durability_words(cells: Sequence[CellResult]) -> str:
    """What must stand beside every chart: the class of all, or each class where they differ. Empty
    where no cell has a broker and all keep their orders in memory."""
    promises = sorted({durability(cell) for cell in cells})
    if not any(cell.info["condition"].get("broker") for cell in cells) and promises in ([], ["A"]):
        return ""
    meanings = [f"{class_of(p)}: {DURABILITY[p].rpartition(': ')[2]}" for p in promises]
    if len(meanings) == 1:
        return f"{ALIKE}{meanings[0]}."
    said = "; ".join(meanings)
    return f"{said[0].upper()}{said[1:]}."


def _variant_labels(cells: Sequence[CellResult]) -> dict[str, str]:
    """The shortest name of each variant that no other variant of these cells has."""
    again = {c.info["variant"]: c.info["again"] for c in cells if c.info.get("again")}
    variants = {cell.info["id"]: cell.info["variant"] for cell in cells}
    style_of = {c.info["variant"]: c.info["style"] for c in cells if not c.info.get("again")}
    candidates = [
        {
            variant: (style, _without_server(variant), variant)[length]
            for variant, style in style_of.items()
        }
        for length in range(3)
    ]
    short: dict[str, str] = {}
    for variant in style_of:
        short[variant] = next(
            (
                names[variant]
                for names in candidates
                if list(names.values()).count(names[variant]) == 1
            ),
            variant,
        )
    for variant, first in again.items():
        short[variant] = f"{short[variants[first]]} again" if first in variants else variant
    return short


def _without_server(variant: str) -> str:
    head, equals, label = variant.partition("=")
    return head.partition("+")[0] + equals + label


def planned_per_s(cell: CellResult) -> float | None:
    """The planned rate of an open loop, its bursts included; None for a closed one."""
    load = cell.info["load"]
    if load["rate"] is None:
        return None
    bursts = load["burst_size"] / load["every_s"] if load["burst_size"] else 0.0
    return float(load["rate"] + bursts)


def missing(cell: CellResult) -> str:
    """Why a cell has no place in the charts, shortly; empty if it has one."""
    status = cell.verdict.status
    if status not in (Status.FAILED, Status.SKIPPED):
        return ""
    codes = dict.fromkeys(reason.code.value.replace("_", " ") for reason in cell.verdict.reasons)
    return f"{status.value}: {', '.join(codes)}"


def milliseconds(value: float, timeout_s: float) -> str:
    """A figure in ms without its unit, `> 2 s` for a censored one, `n/r` for one not resolvable."""
    if math.isnan(value):
        return "n/r"
    return f"> {timeout_s:g} s" if math.isinf(value) else f"{value:,.2f}"


def whole_number(value: float | None) -> str:
    """A figure without decimals unless it is small; `–` where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.1f}".removesuffix(".0") if abs(value) < 10 else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A figure of two digits or more, as short as it can be; `–` where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.2g}" if abs(value) < 9.95 else f"{value:,.0f}"


def ms(value: float) -> str:
    """A time as sentences give it."""
    return f"{figure(value)} ms"


def figure(value: float) -> str:
    """A figure as sentences give it."""
    # Ranges are as fine as what stands before them, or all of them would seem to overlap.
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def spread(values: Sequence[float]) -> str:
    """The least and the most of several trials, ` (1.00–2.00)`; empty for one, or for no end."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return ""
    return f" ({figure(min(values))}–{figure(max(values))})"


def share(value: float) -> str:
    """A part of a whole in per cent; what is not none or all of it never reads so."""
    percents = 100 * value
    if percents in (0, 100):
        return f"{percents:.0f} %"
    if abs(percents - 100) < 0.05:
        return "more than 99.9 %" if percents < 100 else "more than 100 %"
    return "less than 0.1 %" if percents < 0.05 else f"{percents:.1f} %"


def percent(value: float) -> str:
    """A percentile as on an axis: `99.9 %`."""
    return f"{value:g} %"


def plain(value: Any, nothing: str) -> str:
    """Any value of run.json as a reader would write it; null is `nothing`."""
    match value:
        case None:
            return nothing
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case Mapping():
            return ", ".join(f"{name(str(k))} {plain(v, nothing)}" for k, v in value.items())
        case list() | tuple():
            joint = "; " if any(isinstance(each, Mapping) for each in value) else ", "
            return joint.join(plain(each, nothing) for each in value) or nothing
    return str(value)


def beside(info: Mapping[str, Any]) -> str:
    """What is to be said of a run that was not alone; empty if it was."""
    if not info.get("beside"):
        return ""
    return (
        f"Other runs measured {', '.join(info['beside'])} on this machine at the same time: they"
        " shared its processors, so that these figures tell of the mix, and not of this style."
    )


def workers(info: Mapping[str, Any]) -> str:
    """Who sent the load of a run, where workers did; empty if it did so itself."""
    hosts = info.get("hosts", ())
    if not hosts:
        return ""
    off = max(host["clock"]["error_ns"] for host in hosts) / 1e6
    return (
        f"{counted(len(hosts), 'worker')} sent the load ({', '.join(h['host'] for h in hosts)})."
        f" Their clocks were known to \u00b1 {off:.2f} ms: a time between machines may be off by"
        " that and by what they drift in a trial, a round trip is not."
    )


def name(key: str) -> str:
    """A key of run.json as a reader would write it."""
    for ending, unit in (("_s", " (s)"), ("_ms", " (ms)"), ("_bytes", " (bytes)")):
        if key.endswith(ending):
            return key.removesuffix(ending).replace("_", " ") + unit
    return key.replace("_", " ")


def clipped(text: str, most: int) -> str:
    """At most so many characters, the middle left out: variants differ at both ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"
