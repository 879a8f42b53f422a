"""Executes a plan: the only module that knows rig, trials and results together."""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import results
from harness.analysis.trial import TrialResult
from harness.brake import Brake
from harness.hosts.crew import Crew, Wanted
from harness.journal import Journal
from harness.load_process import TrialFailed
from harness.machine import calibration_of
from harness.observe.environment import collect_environment
from harness.plan import Cell, Plan, Trial
from harness.record import Record, now
from harness.redaction import redacted
from harness.rig.authority import make_authority
from harness.rig.awake import awake
from harness.rig.parts import Parts, start_parts
from harness.rig.placement import Placement, this_machine
from harness.rig.ports import LOOPBACK
from harness.rig.process import Rig, RigError
from harness.rig.tree import OWN, Tree
from harness.scenario import BadInput
from harness.trial import OneTrial, Setting, Watcher, read_result
from harness.trials import trials_of


@dataclass(frozen=True, slots=True)
class Side:
    """A tree of this project, and the folder of what is measured of it."""

    folder: Path
    tree: Tree = OWN


def execute(
    plan: Plan,
    sides: Sequence[Side],
    targets: Mapping[str, str],
    command: list[str],
    watch: Watcher,
    trace: str | None = None,
    addresses: Mapping[str, str] | None = None,
    resume: bool = False,
    orders: int | None = None,
    wanted: Wanted | None = None,
    beside: Sequence[str] = (),
    host: str = LOOPBACK,
) -> bool:
    """Run all trials of a plan for each side; returns whether the run was complete.

    Two sides take turns at every trial, in an order that is drawn. `targets` maps a style to the
    address of a service that already runs, `addresses` a broker or a store to its own. `trace` is
    where spans go, a file or an OTLP address. With `resume` the folder has a part of the run, and
    only what is missing is run; raises BadInput where a broker or a store is not what it was.
    SIGINT or SIGTERM ends the run after what is finished has been kept. `orders` is a descriptor on
    which `{"event": "stop"}` comes, which ends it after what was sent has been answered, and whose
    end does as a signal does. `wanted`: the workers that run the generators; raises RigError, with
    nothing written, where they do not come. `beside` names what other runs measure on this machine
    meanwhile. `host`: see Setting.
    """
    return asyncio.run(
        _execute(
            plan,
            sides,
            targets,
            command,
            watch,
            trace,
            addresses or {},
            resume,
            orders,
            wanted,
            beside,
            host,
        )
    )


async def _execute(
    plan: Plan,
    sides: Sequence[Side],
    targets: Mapping[str, str],
    command: list[str],
    watch: Watcher,
    trace: str | None,
    addresses: Mapping[str, str],
    resume: bool,
    orders: int | None,
    wanted: Wanted | None,
    beside: Sequence[str],
    host: str,
) -> bool:
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(interrupt, running.cancel)
    brake = Brake()
    if orders is not None:
        _obey(loop, orders, brake, running.cancel)
    complete = False
    records: list[Record] = []
    try:
        async with contextlib.AsyncExitStack() as stack:
            kept_awake = stack.enter_context(awake())
            placement, crew = this_machine(plan.generators), None
            around: dict[str, Any] = {"awake": kept_awake, "beside": list(beside)}
            if wanted is not None:
                crew = await stack.enter_async_context(Crew(wanted, watch.said, watch.hosts))
                await crew.gather()
                placement = crew.placement
                around["hosts"] = crew.told
            infos = [
                {**info, **around} for info in _run_infos(plan, sides, targets, command, placement)
            ]
            for warning in infos[0]["environment"]["before"]["warnings"]:
                watch.said(warning)
            for side, info in zip(sides, infos, strict=True):
                record = (
                    Record.resumed(side.folder, _resumption(info))
                    if resume
                    else Record(side.folder, info, Journal(side.folder))
                )
                records.append(stack.enter_context(record))
            rigs = [
                await stack.enter_async_context(Rig(side.folder / "logs", side.tree))
                for side in sides
            ]
            private = Path(stack.enter_context(TemporaryDirectory(prefix="orderbench-")))
            encrypts = any(cell.condition.tls for cell in plan.cells)
            certificates = make_authority(private, host) if encrypts else None
            needed = {part: n for part, n in plan.parts.items() if part not in targets}
            fast = plan.scenario.broker.boot == "fast"
            # Below the run, where it is found should the harness be killed.
            data = Path(
                stack.enter_context(
                    TemporaryDirectory(
                        prefix=".brokers-", dir=sides[0].folder, ignore_cleanup_errors=True
                    )
                )
            )
            parts = await start_parts(rigs[0], needed, addresses, watch.said, fast, data, host)
            stack.push_async_callback(_stop, parts, records[0].journal)
            for record in records:
                _note_parts(record, parts)
            if placement.words:
                watch.said(placement.words)
            turns = [
                _Turn(
                    record,
                    Setting(
                        plan,
                        record.folder,
                        targets,
                        placement,
                        certificates,
                        parts,
                        trace,
                        rig,
                        record.journal,
                        watch,
                        brake,
                        crew,
                        host,
                    ),
                    side.tree.revision,
                )
                for record, rig, side in zip(records, rigs, sides, strict=True)
            ]
            await _warm_up_brokers(turns[0].setting, private)
            trials = trials_of(plan)
            number = 0
            while not brake.pulled and (trial := trials.next()) is not None:
                result = None
                for turn in _in_turn(turns, plan, trial):
                    if brake.pulled:
                        break
                    number += 1
                    if len(trials.cells) > len(turn.record.info["cells"]):
                        turn.record.note(cells=[_cell_info(plan, cell) for cell in trials.cells])
                    result = await _one(turn, trial, number)
                    if crew is not None:
                        _note_workers(turn.record, crew)
                trials.tell(trial, result)
            if brake.pulled:
                for record in records:
                    record.journal.event("interrupted")
            else:
                for record in records:
                    record.complete()
        complete = not brake.pulled
    except asyncio.CancelledError:
        running.uncancel()
    finally:
        for interrupt in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(interrupt)
        if orders is not None:
            loop.remove_reader(orders)
    return complete


def may_begin(orders: int) -> bool:
    """Wait for `{"event": "begin"}` on a descriptor; whether that came, and no other word, nor its
    end. Blocks."""
    heard = b""
    while not heard.endswith(b"\n"):
        # One at a time: what comes after this line is for the run.
        if not (byte := os.read(orders, 1)):
            return False
        heard += byte
    return bool(json.loads(heard)["event"] == "begin")


def _obey(
    loop: asyncio.AbstractEventLoop, orders: int, brake: Brake, cancel: Callable[[], object]
) -> None:
    """Stop when that is said on a descriptor, or when it ends."""
    heard = b""

    def hear() -> None:
        nonlocal heard
        data = os.read(orders, 4096)
        if not data:
            loop.remove_reader(orders)
            cancel()
        *lines, heard = (heard + data).split(b"\n")
        if any(json.loads(line)["event"] == "stop" for line in lines) and not brake.pull():
            cancel()

    loop.add_reader(orders, hear)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A side while the run goes on."""

    record: Record
    setting: Setting
    revision: str


def _in_turn(turns: Sequence[_Turn], plan: Plan, trial: Trial) -> list[_Turn]:
    """The sides in the order in which they run a trial: what drifts on the machine, or is left by
    the trial before, meets both alike."""
    order = list(turns)
    random.Random(f"turns/{plan.scenario.seed}/{trial.block}/{trial.cell.id}").shuffle(order)
    return order


async def _one(turn: _Turn, trial: Trial, number: int) -> TrialResult | None:
    """One trial, as it is on disk where an earlier start ran it; None where it left no samples,
    which is noted."""
    setting = turn.setting
    if turn.record.has(trial):
        return read_result(setting, trial)
    if lacks := _lacking(setting, trial.cell):
        if trial.block == 0:
            setting.journal.event("unavailable", lacks, trial)
        return None
    whose = turn.revision if setting.plan.turns > 1 else ""
    setting.watch.trial_started(trial, number, whose)
    try:
        return await OneTrial(setting, trial).run()
    except (TrialFailed, RigError) as error:
        setting.journal.event("trial_failed", str(error), trial)
        setting.watch.trial_failed(trial, str(error))
        return None
    finally:
        setting.journal.write()


def _note_workers(record: Record, crew: Crew) -> None:
    """Who has come in the place of a worker that was lost."""
    if len(told := crew.told) > len(record.info["hosts"]):
        placement = _placement_info(crew.placement)
        placement["shared"] |= record.info["placement"]["shared"]
        record.note(hosts=told, placement=placement)


async def _stop(parts: Parts, journal: Journal) -> None:
    try:
        await parts.stop()
    except RigError as error:
        journal.event("part_failed", str(error))


def _lacking(setting: Setting, cell: Cell) -> str:
    """Why what a cell needs beside its service is not there; empty if all is."""
    if cell.variant.style in setting.targets:
        return ""
    called_back = cell.variant.entry.called_back
    if setting.crew is not None and cell.condition.cut_idle_s and called_back:
        return (
            "webhook: a service behind a relay does not see who asks to be called back, and calls"
            " nobody on another machine; run it without workers"
        )
    missing = setting.parts.missing
    return "; ".join(str(missing[part]) for part in cell.parts if part in missing)


async def _warm_up_brokers(setting: Setting, folder: Path) -> None:
    """Let each broker carry the load of its first trial for a fixed time, which is thrown away: a
    broker lives for the run, and a cold one would cost whoever comes first."""
    seconds = setting.plan.scenario.broker.warm_up_s
    if not seconds:
        return
    firsts = {trial.cell.variant.entry.broker: trial for trial in reversed(setting.plan.trials)}
    for broker, trial in firsts.items():
        if broker not in setting.parts.running or trial.cell.variant.style in setting.targets:
            continue
        setting.watch.said(f"{broker}: warming up for {seconds:g} s")
        try:
            await OneTrial(setting, trial).rehearse(seconds, folder)
        except (TrialFailed, RigError) as error:
            setting.journal.event("warm_up_failed", f"{broker}: {error}")
        else:
            setting.journal.event("warmed_up", json.dumps({"broker": broker, "seconds": seconds}))


def _parts_info(parts: Parts) -> dict[str, Any]:
    """What runs beside the services, as in run.json."""
    return {
        name: {
            "version": part.source.version,
            "origin": part.source.origin,
            "address": redacted(part.address),
            "settings": dict(part.settings),
        }
        for name, part in sorted(parts.running.items())
    }


def _note_parts(record: Record, parts: Parts) -> None:
    """Raises BadInput where a part was of another version before."""
    found, before = _parts_info(parts), record.info["parts"]
    unlike = [
        f"--resume: {name} is {found[name]['version']}, and was {part['version']}; give the one"
        f" that the run began with (--{name}), or run the scenario again"
        for name, part in before.items()
        if name in found and found[name]["version"] != part["version"]
    ]
    if unlike:
        raise BadInput(unlike)
    record.note(parts={**before, **found})


def surroundings(targets: Mapping[str, str], placement: Placement) -> dict[str, Any]:
    """Where a run takes place, and against whose services, as in run.json."""
    return {
        "environment": collect_environment(),
        "placement": _placement_info(placement),
        "targets": {style: redacted(address) for style, address in targets.items()},
    }


def _placement_info(placement: Placement) -> dict[str, Any]:
    return {
        "generator": placement.generator,
        "server": placement.server,
        "shared": placement.shared,
        "generators": placement.generators,
        "places": placement.places,
    }


def _run_infos(
    plan: Plan,
    sides: Sequence[Side],
    targets: Mapping[str, str],
    command: list[str],
    placement: Placement,
) -> list[dict[str, Any]]:
    """run.json of each side, as a run begins with it."""
    around = surroundings(targets, placement)
    begun = {
        "format": results.FORMAT,
        "status": "running",
        "question": plan.scenario.question,
        "scenario": plan.scenario.model_dump(mode="json"),
        "command": [redacted(word) for word in command],
        "started_at": now(),
        "ended_at": None,
        "parts": {},
        "instrument": calibration_of(around["environment"]),
        "cells": [_cell_info(plan, cell) for cell in plan.cells],
        "planned_trials": plan.most_trials // plan.turns,
    }
    token = secrets.token_hex(8)
    return [
        {
            **begun,
            **around,
            "run": side.folder.name,
            "environment": {**around["environment"], **side.tree.told},
            "interleaved": {"id": token, "revision": side.tree.revision}
            if len(sides) > 1
            else None,
        }
        for side in sides
    ]


def _resumption(info: Mapping[str, Any]) -> dict[str, Any]:
    """How a run goes on, as in run.json, by how it would begin now."""
    return {
        "at": info["started_at"],
        "command": info["command"],
        "before": info["environment"].get("before"),
    }


def _cell_info(plan: Plan, cell: Cell) -> dict[str, Any]:
    scenario = plan.scenario
    return {
        "id": cell.id,
        "style": cell.variant.style,
        "variant": cell.variant.name,
        "operation": scenario.operation,
        "load": {**asdict(cell.load), "words": cell.load.words},
        "condition": {
            **cell.condition.to_json(),
            "connections": scenario.connection.connections,
            "in_flight": scenario.connection.in_flight,
            "attempts": scenario.retry.attempts,
            "timeout_s": scenario.timeout_s,
        },
        "has_server": bool(cell.variant.entry.server),
        "null": cell.variant.entry.null,
        "connections_a_lane": cell.variant.entry.per_lane,
        "skipped": cell.skipped,
        "family": cell.variant.entry.family,
        "again": cell.again,
    }
