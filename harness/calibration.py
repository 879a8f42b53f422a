"""Measures the instrument: what a calibration runs, how it is read, and where it is kept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.analysis.calibration import (
    DRAWS,
    THEORY,
    Cells,
    Check,
    Probe,
    Timed,
    checks,
    headline,
    timed,
)
from harness.analysis.queueing import sample_size
from harness.load.messages import OrderSpec
from harness.load.orders import work_times_us
from harness.machine import CALIBRATION, remember
from harness.plan import Plan, make_plan
from harness.results import open_run, read_samples, write_json
from harness.scenario import Scenario
from harness.variant import parse_variant

STYLES = ("rest", "grpc-unary", "websocket")
HALF, HIGH = 0.5, 0.7
"""Loads: the share of time that the worker is busy."""
SHORT_MS, LONG_MS = 1.0, 10.0
"""Lengths of the work."""
BETWEEN, LONG_BETWEEN = 1, 9
"""Orders without work between two with it: they say what the floor is, and keep the way there and
back as warm where the work is long as where it is short."""
WARM = 4
"""The same, where what is late is late by so much that its way back would have cooled."""
STALL_MS, STALL_RATE = 300.0, 250.0
ADDED, MORE = "100us", "1ms,5%"
ADDED_RATE, ADDED_MS = 100.0, 5.0
SEED = 3
"""Its draws come to within 3% of theory's p99 by themselves, so that what is more than that is the
instrument's."""


@dataclass(frozen=True, slots=True)
class Part:
    """One scenario of a calibration, and the name of its folder."""

    name: str
    plan: Plan


def parts(styles: Sequence[str], seed: int = SEED) -> list[Part]:
    """What a calibration runs: the truth server (one worker) under Poisson arrivals.

    The styles share the orders that theory's p99 takes, and so have draws of their own there.
    """
    short, long = (
        [round(load / length * 1e3, 6) for load in (HALF, HIGH)] for length in (SHORT_MS, LONG_MS)
    )
    found = [
        _part(work, styles, seed, short, 8.0, work, SHORT_MS, 2, between=BETWEEN)
        for work in ("exponential", "fixed")
    ]
    found += [
        _part("long", styles, seed, long, 12.0, "fixed", LONG_MS, 2, between=LONG_BETWEEN),
        _part("added", styles, seed, [ADDED_RATE], 10.0, "fixed", ADDED_MS, 3, late=ADDED),
        _part("more", styles, seed, [ADDED_RATE], 12.0, "fixed", ADDED_MS, 2, WARM, late=MORE),
        _part(
            "stall",
            styles,
            seed,
            [STALL_RATE],
            5.0,
            "fixed",
            SHORT_MS,
            1,
            BETWEEN,
            stall_ms=STALL_MS,
        ),
    ]
    for work in ("exponential", "fixed"):
        needed = sample_size(99, HIGH, DRAWS[work]) / len(styles)
        for number, style in enumerate(styles):
            name = f"{THEORY}-{work}-{parse_variant(style).slug}"
            seconds = math.ceil(needed / short[1])
            own = seed + 1 + number
            found.append(_part(name, [style], own, short[1:], seconds, work, SHORT_MS, 1))
    return found


def _part(
    name: str,
    styles: Sequence[str],
    seed: int,
    rates: Sequence[float],
    seconds: float,
    work: str,
    mean_ms: float,
    repeats: int,
    between: int = 0,
    **service: Any,
) -> Part:
    scenario = {
        "question": f"Does the instrument read what is true? Part {name}.",
        "styles": list(styles),
        "repeats": repeats,
        "noise": False,
        "seed": seed,
        "warm_up_s": 0.5,
        "duration_s": float(seconds),
        "load": {"model": "poisson", "rate": [rate * (between + 1) for rate in rates]},
        "service": {
            "time": work,
            "mean_ms": mean_ms,
            "between": between,
            "queue": 1,
            "sharp": True,
            **service,
        },
    }
    return Part(name, make_plan(Scenario.model_validate(scenario)))


def read_cells(folders: Sequence[Path]) -> Cells:
    """The cells of a calibration from its parts' folders. Raises ValueError where one is no run."""
    return dict(cell for folder in folders for cell in _cells_of(folder))


def _cells_of(folder: Path) -> Iterator[tuple[Probe, list[Timed]]]:
    run = open_run(folder)
    for cell in run.info["cells"]:
        condition = cell["condition"]
        probe = Probe(
            folder.name.partition("-")[0],
            cell["variant"],
            cell["load"]["rate"],
            condition["work_time"],
            condition["work_mean_ms"],
            condition["work_between"],
            condition["late"],
            condition["stall_ms"],
        )
        work = OrderSpec(
            work_time=probe.work, work_mean_ms=probe.mean_ms, work_between=probe.between
        )
        trials = []
        for path in run.trials[cell["id"]]:
            samples = read_samples(path)
            drawn = work_times_us(work, samples.meta["seed"], samples.meta["block"])
            trials.append(timed(samples, drawn, probe.stall_ms))
        yield probe, trials


def conclude(folder: Path, names: Sequence[str]) -> list[Check]:
    """Judge what a calibration has measured, and keep it: in its folder, and for later reports from
    this machine. Raises OSError where the cache cannot be written."""
    folders = [folder / name for name in names]
    found = checks(read_cells(folders))
    info = open_run(folders[0]).info
    kept = {
        "format": 1,
        "calibrated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": info["environment"]["project"]["commit"],
        "headline": asdict(headline(found)),
        "checks": [check.to_json() for check in found],
        "environment": info["environment"],
        "placement": info["placement"],
    }
    write_json(folder / "calibration.json", kept)
    remember(info["environment"], CALIBRATION, kept)
    return found
