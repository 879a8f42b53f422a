"""A trial as it goes to a generator on another machine: with the files that it names. Pure, but for
reading and writing them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.load.messages import TrialSpec

Files = Mapping[str, bytes]
"""By what of the trial names them: `driver`, `load`, `order`, `ca`."""


def pack(spec: TrialSpec) -> tuple[str, Files]:
    """The trial's line, and its files. Raises OSError."""
    return spec.to_line(), {name: path.read_bytes() for name, path in _named(spec).items()}


def unpack(line: str, files: Files, folder: Path) -> TrialSpec:
    """The trial with its files, and its samples to be, in a folder. Raises OSError."""
    spec = TrialSpec.from_line(line)
    at = {}
    for name, path in _named(spec).items():
        at[name] = folder / f"{name}{path.suffix}"
        at[name].write_bytes(files[name])
    if "driver" in at:
        spec = replace(spec, driver=f"{at['driver']}:{spec.driver.rpartition(':')[2]}")
    if "load" in at:
        spec = replace(spec, load=replace(spec.load, file=str(at["load"])))
    if "order" in at:
        spec = replace(spec, order=replace(spec.order, file=str(at["order"])))
    if "ca" in at:
        spec = replace(spec, wire=replace(spec.wire, ca=str(at["ca"])))
    return replace(spec, samples_path=str(folder / "samples.parquet"))


def _named(spec: TrialSpec) -> dict[str, Path]:
    own = spec.driver.rpartition(":")[0]
    named = {
        "driver": own if own.endswith(".py") else None,
        "load": spec.load.file,
        "order": spec.order.file,
        "ca": spec.wire.ca,
    }
    return {name: Path(path) for name, path in named.items() if path}


def joined(files: Files) -> tuple[dict[str, int], bytes]:
    """Files as one piece of data, and the size of each in order."""
    return {name: len(data) for name, data in files.items()}, b"".join(files.values())


def parted(sizes: Mapping[str, int], data: bytes) -> Files:
    """The files of one piece of data. Raises ValueError where it is of another size."""
    if sum(sizes.values()) != len(data):
        raise ValueError(f"{len(data)} bytes, and not {sum(sizes.values())}")
    files, begun = {}, 0
    for name, size in sizes.items():
        files[name] = data[begun : begun + size]
        begun += size
    return files
