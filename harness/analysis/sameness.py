"""In what two runs differ, but for what they found. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.results import generators_of
from harness.scenario import usual

MACHINE = {
    "machine": ("architecture", "cpu", "cpus", "memory_bytes", "governor", "turbo", "smt"),
    "kernel": ("system", "release", "tcp_congestion_control", "clock_source"),
}
"""What of a run's environment makes its figures those of another machine."""
NOT_ASKED = ("question", "repeats", "seed", "budget_s", "noise", "objective", "price")
"""What of a scenario does not change what a trial measures."""


def machine_facts(run: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the figures of a run (as run.json has it) its machine's, where noted."""
    found = {
        f"{topic}.{key}": known[key]
        for topic, keys in MACHINE.items()
        for known in [_topic(run, topic)]
        for key in keys
        if key in known
    }
    found |= {f"processors of {role}": run["placement"][role] for role in ("generator", "server")}
    found["runs beside it"] = run.get("beside") or None
    found["workers"] = [_worker(host) for host in run.get("hosts", ())] or None
    return found | ({"processors kept awake": run["awake"]} if "awake" in run else {})


def _worker(host: Mapping[str, Any]) -> str:
    cpu, awake = host["environment"].get("machine", {}).get("cpu"), host["awake"]
    return f"{host['processors']} of {cpu}, {'' if awake else 'not '}kept awake"


def machine_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Where two runs (as run.json has them) were on unlike machines. What one of the two did not
    note is passed over."""
    ours, theirs = machine_facts(a), machine_facts(b)
    return [
        _unlike(key, ours[key], theirs[key])
        for key in ours
        if key in theirs and ours[key] != theirs[key]
    ]


def software_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Unlike versions: of this project, of Python, of libraries, of brokers and stores; and
    services by address."""
    return [
        _unlike(name, ours.get(name), theirs.get(name))
        for ours, theirs in [(_software(a), _software(b))]
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]


def setting_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Where the scenarios of two runs would measure the same cell in unlike ways, or unlike numbers
    of generators would."""
    ours, theirs = (
        settings(run["scenario"]) | {"generators": generators_of(run)} for run in (a, b)
    )
    return [
        _unlike(key, ours.get(key), theirs.get(key))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]


def settings(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario's keys, as in `ingest.keys`, that hold for all of its cells. Its lists are axes,
    and so in the cells; a key that an older run did not know has its default."""
    flat = dict(_flat(usual())) | dict(_flat(scenario))
    # A search's trials are as long as its objective needs them to be.
    asked = ("objective",) if scenario.get("capacity") else ()
    return {
        key: value
        for key, value in flat.items()
        if not isinstance(value, list)
        and (key.partition(".")[0] in asked or key.partition(".")[0] not in NOT_ASKED)
    }


def _flat(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _topic(run: Mapping[str, Any], topic: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = run["environment"].get(topic) or {}
    return found


def _software(run: Mapping[str, Any]) -> dict[str, Any]:
    project, python = _topic(run, "project"), _topic(run, "python")
    parts = {name: part["version"] for name, part in run.get("parts", {}).items()}
    targets = {f"{style} at": address for style, address in run.get("targets", {}).items()}
    return {
        "commit": project.get("commit"),
        "Python": python.get("version"),
        **_topic(run, "libraries"),
        **parts,
        **targets,
    }


def _unlike(name: str, ours: Any, theirs: Any) -> str:
    return f"{name}: {_said(ours)} / {_said(theirs)}"


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
