"""A trial as it goes to a generator on another machine: with the files that it names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.load.messages import TrialSpec


def packed(spec: TrialSpec) -> Mapping[str, Path]:
    """The files that go along, each by the name that it has in the folder where it arrives."""
    return {_name(what, path): path for what, path in _named(spec).items()}


def unpacked(spec: TrialSpec, folder: Path) -> TrialSpec:
    """The trial with its files, which have arrived in a folder, and its samples to be there."""
    at = {what: str(folder / _name(what, path)) for what, path in _named(spec).items()}
    if "driver" in at:
        spec = replace(spec, driver=f"{at['driver']}:{spec.driver.rpartition(':')[2]}")
    if "load" in at:
        spec = replace(spec, load=replace(spec.load, file=at["load"]))
    if "order" in at:
        spec = replace(spec, order=replace(spec.order, file=at["order"]))
    if "ca" in at:
        spec = replace(spec, wire=replace(spec.wire, ca=at["ca"]))
    return replace(spec, samples_path=str(folder / "samples.parquet"))


def _name(what: str, path: Path) -> str:
    # What reads it may go by its ending.
    return what + path.suffix


def _named(spec: TrialSpec) -> dict[str, Path]:
    own = spec.driver.rpartition(":")[0]
    named = {
        "driver": own if own.endswith(".py") else None,
        "load": spec.load.file,
        "order": spec.order.file,
        "ca": spec.wire.ca,
    }
    return {name: Path(path) for name, path in named.items() if path}
