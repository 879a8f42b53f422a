"""Executes a plan: the only module that knows rig, load, observe and results together."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from harness import results
from harness.analysis.trial import TrialResult, summarize_trial
from harness.load.messages import LoadSpec, OrderSpec, TrialSpec, WireSpec
from harness.load_process import LoadProcess, TrialFailed
from harness.observe import wire
from harness.observe.environment import collect_environment
from harness.observe.telemetry import cpu_ns, rss_bytes
from harness.plan import Cell, Plan, Trial
from harness.rig.authority import Certificates, make_authority
from harness.rig.placement import Placement, this_machine
from harness.rig.process import Process, Rig, RigError
from harness.rig.server import Server, Serving, start_gateway, start_relay, start_server

SAMPLE_S = 0.25
WIRE_MARGIN_NS = 100_000_000


class Watcher(Protocol):
    """Who is told how a run goes."""

    def trial_started(self, trial: Trial, number: int) -> None:
        """Trial `number` (from 1) of the plan begins."""

    def trial_progress(self, elapsed_s: float, rate: float, failed: int) -> None:
        """So far, and operations ended a second since the last time."""

    def trial_ended(self, trial: Trial, result: TrialResult) -> None:
        """Its samples are on disk."""

    def trial_failed(self, trial: Trial, reason: str) -> None:
        """It has no samples."""


@dataclass
class Journal:
    """What the harness itself saw, written again after every trial so that a kill loses little."""

    folder: Path
    telemetry: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def event(self, kind: str, detail: str = "", trial: Trial | None = None) -> None:
        """Note that something happened now."""
        self.events.append(
            {
                "at": time.monotonic_ns(),
                "cell": trial.cell.id if trial else None,
                "trial": trial.block + 1 if trial else None,
                "kind": kind,
                "detail": detail,
            }
        )

    def sample(self, trial: Trial, pids: Mapping[str, int], mark: str = "") -> None:
        """Note CPU time and memory of each role's process; one that has ended is passed over."""
        for role, pid in pids.items():
            with contextlib.suppress(ProcessLookupError):
                self.telemetry.append(
                    {
                        "at": time.monotonic_ns(),
                        "cell": trial.cell.id,
                        "trial": trial.block + 1,
                        "role": role,
                        "cpu_ns": cpu_ns(pid),
                        "rss_bytes": rss_bytes(pid),
                        "mark": mark,
                    }
                )

    def write(self) -> None:
        """Put both files on disk."""
        folder = self.folder
        results.write_table(
            folder / "telemetry.parquet", self.telemetry, results.telemetry_schema()
        )
        results.write_table(folder / "events.parquet", self.events, results.events_schema())


def execute(
    plan: Plan,
    folder: Path,
    targets: Mapping[str, str],
    command: list[str],
    watch: Watcher,
    trace: str | None = None,
) -> bool:
    """Run all trials of a plan into `folder`; returns whether the run was complete.

    `targets` maps a style to the address of a service that already runs. `trace` is where spans go,
    a file or an OTLP address. SIGINT or SIGTERM ends the run after what is finished has been kept.
    """
    return asyncio.run(_execute(plan, folder, targets, command, watch, trace))


async def _execute(
    plan: Plan,
    folder: Path,
    targets: Mapping[str, str],
    command: list[str],
    watch: Watcher,
    trace: str | None,
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
            certificates = None
            if any(cell.condition.tls for cell in plan.cells):
                private = stack.enter_context(TemporaryDirectory(prefix="orderbench-"))
                certificates = make_authority(Path(private))
            setting = _Setting(
                plan, folder, targets, placement, certificates, trace, rig, journal, watch
            )
            for number, trial in enumerate(plan.trials, 1):
                watch.trial_started(trial, number)
                try:
                    await _OneTrial(setting, trial).run()
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


@dataclass(frozen=True, slots=True)
class _Setting:
    """What the trials of a run share."""

    plan: Plan
    folder: Path
    targets: Mapping[str, str]
    placement: Placement
    certificates: Certificates | None
    trace: str | None
    rig: Rig
    journal: Journal
    watch: Watcher


class _OneTrial:
    """One trial, from a fresh server to samples on disk."""

    def __init__(self, setting: _Setting, trial: Trial) -> None:
        self._trial = trial
        self._plan = setting.plan
        self._path = results.trial_path(setting.folder, trial.cell.id, trial.block + 1)
        self._target = setting.targets.get(trial.cell.variant.style)
        self._placement = setting.placement
        self._certificates = setting.certificates
        self._trace = setting.trace
        self._rig = setting.rig
        self._journal = setting.journal
        self._watch = setting.watch

    async def run(self) -> None:
        """Raises TrialFailed or RigError when there are no samples."""
        generator: LoadProcess | None = None
        async with contextlib.AsyncExitStack() as stack:
            # It imports its libraries while the server does, on another processor.
            generator = await LoadProcess.start(self._rig, self._placement.generator)
            stack.push_async_callback(self._end, generator.process)
            address, pids = await self._serve(stack)
            await self._load(generator, address, pids)
        samples = results.read_samples(self._path)
        timeout_s = self._plan.scenario.timeout_s
        self._watch.trial_ended(
            self._trial, summarize_trial(samples, self._trial.block + 1, timeout_s)
        )

    async def _serve(self, stack: contextlib.AsyncExitStack) -> tuple[str, dict[str, int]]:
        """Start what the generator talks to; returns its address, and the pid of each role."""
        entry, condition = self._trial.cell.variant.entry, self._trial.cell.condition
        if self._target is not None or not entry.server:
            return self._target or "", {}
        certificates = self._certificates if condition.tls else None
        certificate = certificates.certificate if certificates else None
        key = certificates.key if certificates else None
        # Clients encrypt to whom they talk to.
        behind = condition.remember == "gateway"
        serving = Serving(
            entry.speaks or entry.style,
            remember="nothing" if behind else condition.remember,
            compression=condition.compression,
            certificate=None if behind else certificate,
            key=None if behind else key,
            trace=self._trace,
        )
        server = await start_server(self._rig, serving, self._placement.server)
        stack.push_async_callback(self._end_server, server)
        self._journal.event("server_ready", server.address, self._trial)
        pids = {"server": server.process.pid}
        address = server.address
        if behind:
            gateway = await start_gateway(
                self._rig, address, self._placement.server, certificate, key
            )
            stack.push_async_callback(self._end, gateway.process)
            pids["gateway"] = gateway.process.pid
            address = gateway.address
        if condition.cut_idle_s:
            relay = await start_relay(
                self._rig, authority_of(address), condition.cut_idle_s, self._placement.server
            )
            stack.push_async_callback(self._end_relay, relay)
            address = address.removesuffix(authority_of(address)) + relay.address
        return address, pids

    @property
    def _hurried(self) -> bool:
        """An interrupted trial is not worth waiting for."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def _end(self, process: Process) -> None:
        await (self._rig.kill if self._hurried else self._rig.stop)(process)

    async def _end_relay(self, relay: Server) -> None:
        await self._end(relay.process)
        if not self._hurried and (said := await relay.process.hear()) is not None:
            self._journal.event("relay_stopped", json.dumps(said), self._trial)

    async def _end_server(self, server: Server) -> None:
        if server.process.exited.done():
            code = server.process.exited.result()
            self._journal.event(
                "server_died", f"the server ended with code {code} during the trial", self._trial
            )
            return
        await self._end(server.process)
        if not self._hurried and (said := await server.process.hear()) is not None:
            self._journal.event("server_stopped", json.dumps(said), self._trial)

    async def _load(self, generator: LoadProcess, address: str, served: Mapping[str, int]) -> None:
        self._journal.sample(self._trial, served, "before_open")
        await generator.open(self._spec(address))
        pids = {**served, "generator": generator.process.pid}
        # Behind a gateway the service's own port would count everything twice.
        ends = [pid for role, pid in pids.items() if role != "server" or "gateway" not in pids]
        ports = [await asyncio.to_thread(wire.listening_ports, pid) for pid in ends]
        began = generator.send()
        self._journal.event("trial_started", str(began), self._trial)
        watching = [
            asyncio.create_task(self._sample(pids, began)),
            asyncio.create_task(self._watch_wire(set().union(*ports), began)),
        ]
        try:
            await generator.drained(self._watch.trial_progress)
            await asyncio.gather(*watching)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        await generator.finish()

    async def _sample(self, pids: Mapping[str, int], began: int) -> None:
        start, end = self._window(began)
        pids = {**pids, "harness": os.getpid()}
        for at, mark in ((start, "window_start"), (end, "window_end")):
            while (left := (at - time.monotonic_ns()) / 1e9) > 0:
                await asyncio.sleep(min(left, SAMPLE_S))
                if left > SAMPLE_S:
                    self._journal.sample(self._trial, pids)
            self._journal.sample(self._trial, pids, mark)

    async def _watch_wire(self, ports: set[int], began: int) -> None:
        """Bytes and connections, counted just outside the window: counting takes time itself."""
        if not ports or not wire.available():
            return
        start, end = self._window(began)
        seen = []
        for at in (max(began, start - WIRE_MARGIN_NS), end + WIRE_MARGIN_NS):
            await asyncio.sleep(max(0.0, (at - time.monotonic_ns()) / 1e9))
            counted = await asyncio.to_thread(wire.sockets, ports)
            seen.append((time.monotonic_ns(), counted))
        (first, before), (last, after) = seen
        moved = asdict(wire.moved(before, after))
        self._journal.event("wire", json.dumps({"from": first, "to": last, **moved}), self._trial)

    def _window(self, began: int) -> tuple[int, int]:
        scenario = self._plan.scenario
        start = began + round(scenario.warm_up_s * 1e9)
        return start, start + round(scenario.duration_s * 1e9)

    def _spec(self, target: str) -> TrialSpec:
        scenario, cell = self._plan.scenario, self._trial.cell
        load, condition = cell.load, cell.condition
        return TrialSpec(
            cell=cell.id,
            trial=self._trial.block + 1,
            block=self._trial.block,
            operation=scenario.operation,
            driver=cell.variant.entry.driver,
            target=target,
            load=LoadSpec(
                load.model, load.rate, load.users, load.think_s, load.burst_size, load.every_s
            ),
            seed=scenario.seed,
            warm_up_s=scenario.warm_up_s,
            duration_s=scenario.duration_s,
            timeout_s=scenario.timeout_s,
            in_flight=scenario.connection.in_flight,
            connections=scenario.connection.connections,
            key_prefix=f"{secrets.token_hex(6)}-",
            samples_path=str(self._path),
            order=OrderSpec(
                condition.items,
                scenario.order.file,
                condition.attachment_bytes,
                condition.work_time,
                condition.work_mean_ms,
            ),
            wire=self._wire_spec(),
            subscribers=condition.subscribers,
            stalled=condition.stalled,
            request_ids=condition.remember in ("requests", "gateway"),
            attempts=scenario.retry.attempts,
            attempt_timeout_s=scenario.retry.timeout_s,
            trace=self._trace,
        )

    def _wire_spec(self) -> WireSpec:
        condition = self._trial.cell.condition
        spec = WireSpec(
            codec=condition.codec,
            ca=str(self._certificates.ca) if condition.tls and self._certificates else None,
            compression=condition.compression,
            kept=condition.kept,
        )
        if (poll := condition.poll) is None:
            return spec
        return replace(
            spec,
            poll_policy=poll.policy,
            poll_interval_s=poll.interval_ms / 1e3,
            poll_longest_s=poll.longest_ms / 1e3,
        )


def authority_of(address: str) -> str:
    """The host:port at the end of an address."""
    return re.split(r"[/@]", address)[-1]


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


_USER_INFO = re.compile(r"(?<=//)[^/@\s]+@")
_QUERY = re.compile(r"([?&][^=&#\s]+)=[^&#\s]*")


def redacted(text: str) -> str:
    """A word of a command line without the secrets that an address in it may carry."""
    if "://" not in text and "@" not in text:
        return text
    return _QUERY.sub(r"\1=***", _USER_INFO.sub("***@", text))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
