"""Executes a plan: the only module that knows rig, trials and results together."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import results
from harness.journal import Journal
from harness.load_process import TrialFailed
from harness.observe.environment import collect_environment
from harness.plan import Cell, Plan
from harness.redaction import redacted
from harness.rig.authority import make_authority
from harness.rig.parts import Parts, start_parts
from harness.rig.placement import Placement, this_machine
from harness.rig.process import Rig, RigError
from harness.trial import OneTrial, Setting, Watcher


def execute(
    plan: Plan,
    folder: Path,
    targets: Mapping[str, str],
    command: list[str],
    watch: Watcher,
    trace: str | None = None,
    addresses: Mapping[str, str] | None = None,
) -> bool:
    """Run all trials of a plan into `folder`; returns whether the run was complete.

    `targets` maps a style to the address of a service that already runs, `addresses` a broker or a
    store to its own. `trace` is where spans go, a file or an OTLP address. SIGINT or SIGTERM ends
    the run after what is finished has been kept.
    """
    return asyncio.run(_execute(plan, folder, targets, command, watch, trace, addresses or {}))


async def _execute(
    plan: Plan,
    folder: Path,
    targets: Mapping[str, str],
    command: list[str],
    watch: Watcher,
    trace: str | None,
    addresses: Mapping[str, str],
) -> bool:
    loop = asyncio.get_running_loop()
    trials = asyncio.current_task()
    assert trials is not None
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(interrupt, trials.cancel)
    placement = this_machine()
    info = _run_info(plan, folder, targets, command, placement)
    results.write_json(folder / "run.json", info)
    journal = Journal(folder)
    complete = False
    try:
        async with Rig(folder / "logs") as rig, contextlib.AsyncExitStack() as stack:
            private = Path(stack.enter_context(TemporaryDirectory(prefix="orderbench-")))
            encrypts = any(cell.condition.tls for cell in plan.cells)
            certificates = make_authority(private) if encrypts else None
            wanted = {part: n for part, n in plan.parts.items() if part not in targets}
            fast = plan.scenario.broker.boot == "fast"
            # Below the run, where it is found should the harness be killed.
            data = Path(
                stack.enter_context(
                    TemporaryDirectory(prefix=".brokers-", dir=folder, ignore_cleanup_errors=True)
                )
            )
            parts = await start_parts(rig, wanted, addresses, watch.said, fast, data)
            stack.push_async_callback(_stop, parts, journal)
            info["parts"] = _parts_info(parts)
            results.write_json(folder / "run.json", info)
            setting = Setting(
                plan, folder, targets, placement, certificates, parts, trace, rig, journal, watch
            )
            await _warm_up_brokers(setting, private)
            for number, trial in enumerate(plan.trials, 1):
                lacks = _lacking(setting, trial.cell)
                if lacks:
                    if trial.block == 0:
                        journal.event("unavailable", lacks, trial)
                    continue
                watch.trial_started(trial, number)
                try:
                    await OneTrial(setting, trial).run()
                except (TrialFailed, RigError) as error:
                    journal.event("trial_failed", str(error), trial)
                    watch.trial_failed(trial, str(error))
                journal.write()
        complete = True
    except asyncio.CancelledError:
        journal.event("interrupted")
        trials.uncancel()
    finally:
        for interrupt in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(interrupt)
        journal.write()
        ended = {"status": "complete" if complete else "partial", "ended_at": _now()}
        results.write_json(folder / "run.json", {**info, **ended})
    return complete


async def _stop(parts: Parts, journal: Journal) -> None:
    try:
        await parts.stop()
    except RigError as error:
        journal.event("part_failed", str(error))


def _lacking(setting: Setting, cell: Cell) -> str:
    """Why what a cell needs beside its service is not there; empty if all is."""
    if cell.variant.style in setting.targets:
        return ""
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


def _run_info(
    plan: Plan, folder: Path, targets: Mapping[str, str], command: list[str], placement: Placement
) -> dict[str, Any]:
    return {
        "format": results.FORMAT,
        "run": folder.name,
        "status": "running",
        "question": plan.scenario.question,
        "scenario": plan.scenario.model_dump(mode="json"),
        "command": [redacted(word) for word in command],
        "started_at": _now(),
        "ended_at": None,
        "environment": collect_environment(),
        "placement": {
            "generator": placement.generator,
            "server": placement.server,
            "shared": placement.shared,
        },
        "parts": {},
        "targets": {style: redacted(address) for style, address in targets.items()},
        "cells": [_cell_info(plan, cell) for cell in plan.cells],
        "planned_trials": len(plan.trials),
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
        "connections_a_lane": cell.variant.entry.per_lane,
        "skipped": cell.skipped,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
