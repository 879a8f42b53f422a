"""One trial, from fresh servers to samples on disk."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from harness import results
from harness.analysis.summary import noted_by_trial, observed
from harness.analysis.trial import TrialResult, summarize_trial
from harness.brake import Brake
from harness.fault import Fault, prepare_fault
from harness.generators import Generators
from harness.hosts.crew import Crew
from harness.hosts.remote import RemoteLoad
from harness.hosts.sampling import RemoteSampler, wires
from harness.journal import Journal, Notes
from harness.load.messages import LoadSpec, OrderSpec, TrialSpec, WireSpec
from harness.load_process import Figures, Load, LoadProcess
from harness.observe import telemetry, wire
from harness.plan import IDLE_S, Plan, Trial
from harness.rig.authority import Certificates
from harness.rig.parts import BROKERS, Parts, numbered, variable
from harness.rig.placement import Placement
from harness.rig.ports import LOOPBACK
from harness.rig.process import Process, Rig
from harness.rig.server import (
    Server,
    Serving,
    drain,
    start_gateway,
    start_relay,
    start_server,
)
from harness.sampling import Sampler
from protos.broker import BrokerAddress, Durability, read_broker

STOP_DELAY_NS = 300_000_000
"""From being told to stop to the instant from which nothing is planned, so that all who plan, and
those who watch them, know of it before (harness.sampling.SAMPLE_S)."""


class Watcher(Protocol):
    """Who is told how a run goes."""

    def said(self, words: str) -> None:
        """Something was prepared."""

    def hosts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The workers on other machines, each as harness.hosts.crew.Crew.states, have come or
        gone."""

    def trial_started(self, trial: Trial, number: int, revision: str = "") -> None:
        """Trial `number` (from 1) of the plan begins; of a `revision` where two take turns."""

    def trial_progress(self, elapsed_s: float, rate: float, failed: int) -> None:
        """So far, and operations ended a second since the last time."""

    @property
    def figures(self) -> Figures | None:
        """Who is told what becomes of operations meanwhile; None where nobody is, and nothing is
        worked out."""

    def trial_ended(self, trial: Trial, result: TrialResult) -> None:
        """Its samples are on disk."""

    def trial_failed(self, trial: Trial, reason: str) -> None:
        """It has no samples."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the trials of a run share."""

    plan: Plan
    folder: Path
    targets: Mapping[str, str]
    placement: Placement
    certificates: Certificates | None
    parts: Parts
    trace: str | None
    rig: Rig
    journal: Journal
    watch: Watcher
    brake: Brake
    crew: Crew | None = None
    """Who runs the generators, where that is not this machine."""
    host: str = LOOPBACK
    """The IPv4 address by which generators reach what is started here, those on other machines
    too: all that they connect to listens there, and nowhere else."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the generator talks to."""

    address: str
    pids: Mapping[str, int]
    """By role; further processes of a role are `server.2`, `broker.2`..."""
    workers: tuple[Server, ...] = ()
    broker: BrokerAddress | None = None

    @property
    def meets_clients(self) -> bool:
        """Whether what generators connect to is a process of the run."""
        return "broker" in self.pids if self.broker else bool(self.pids)


class OneTrial:
    """One trial."""

    def __init__(self, setting: Setting, trial: Trial) -> None:
        self._setting = setting
        self._trial = trial
        self._plan = setting.plan
        self._path = results.trial_path(setting.folder, trial.cell.id, trial.block + 1)
        self._rig = setting.rig
        self._journal = setting.journal

    async def run(self) -> TrialResult:
        """What came of it. Raises TrialFailed or RigError when there are no samples."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                generators, served = await self._start(stack)
                await self._load(generators, served)
            result = read_result(self._setting, self._trial)
            assert result is not None
            self._setting.watch.trial_ended(self._trial, result)
        finally:
            self._setting.brake.stop = None
        return result

    async def rehearse(self, seconds: float, folder: Path) -> None:
        """The same load for `seconds`, of which nothing is kept: to warm up a broker. Raises
        TrialFailed or RigError."""
        self._path = folder / "rehearsal.parquet"
        self._journal = Journal(folder)
        async with contextlib.AsyncExitStack() as stack:
            generators, served = await self._start(stack)
            spec = replace(self._spec(served.address), warm_up_s=0.0, duration_s=seconds)
            await generators.open(spec)
            generators.send()
            await generators.drained()
            await generators.finish(await self._drain(served, folder))

    async def _start(self, stack: contextlib.AsyncExitStack) -> tuple[Generators, Served]:
        # They import their libraries while the server does, on another processor.
        crew, placement = self._setting.crew, self._setting.placement

        async def here(part: int, role: str) -> Load:
            return await LoadProcess.start(self._rig, placement.of_generator(part), role)

        generators = await Generators.start(
            here if crew is None else crew.start,
            placement.generators,
            stack,
            lambda: self._hurried,
        )
        return generators, await self._serve(stack)

    async def _serve(self, stack: contextlib.AsyncExitStack) -> Served:
        """Start what the generator talks to."""
        setting, cell = self._setting, self._trial.cell
        entry, condition = cell.variant.entry, cell.condition
        await setting.parts.let_run(entry.broker)
        target = setting.targets.get(cell.variant.style)
        if target is not None or not entry.server:
            return Served(target or "", {})
        if entry.broker:
            return await self._serve_at_broker(stack)
        certificates = setting.certificates if condition.tls else None
        certificate = certificates.certificate if certificates else None
        key = certificates.key if certificates else None
        # Clients encrypt to whom they talk to.
        behind = condition.remember == "gateway"
        serving = replace(
            self._serving(),
            remember="nothing" if behind else condition.remember,
            certificate=None if behind else certificate,
            key=None if behind else key,
            # Nothing gets past a gateway.
            host=LOOPBACK if behind else setting.host,
        )
        cpus = setting.placement.server
        server = await start_server(self._rig, serving, cpus)
        stack.push_async_callback(self._end_server, server)
        self._journal.event("server_ready", server.address, self._trial)
        pids = {"server": server.process.pid}
        address = server.address
        if behind:
            gateway = await start_gateway(self._rig, address, cpus, certificate, key, setting.host)
            stack.push_async_callback(self._end, gateway.process)
            pids["gateway"] = gateway.process.pid
            address = gateway.address
        if condition.cut_idle_s:
            upstream = authority_of(address)
            relay = await start_relay(self._rig, upstream, condition.cut_idle_s, cpus, setting.host)
            stack.push_async_callback(self._end_relay, relay)
            pids["relay"] = relay.process.pid
            address = address.removesuffix(upstream) + relay.address
        return Served(address, pids)

    async def _serve_at_broker(self, stack: contextlib.AsyncExitStack) -> Served:
        """Start the workers of a style that has a broker, on topics and queues of their own."""
        setting, cell = self._setting, self._trial.cell
        way = cell.condition.broker
        assert way is not None
        broker = setting.parts.broker(cell.variant.entry.broker)
        given = read_broker(broker.address)
        address = replace(
            given,
            namespace=f"{given.namespace}-{secrets.token_hex(4)}",
            **{**way.options, "durability": Durability(way.durability)},
        )
        serving = replace(
            self._serving(), broker=str(address), workers=way.workers, paused=self._paused
        )
        cpus = setting.placement.server
        workers = []
        for number in range(way.workers):
            server = await start_server(self._rig, replace(serving, worker=number), cpus)
            stack.push_async_callback(self._end_server, server)
            workers.append(server)
        self._journal.event("server_ready", json.dumps(way.options), self._trial)
        pids = numbered("server", [worker.process.pid for worker in workers])
        pids |= numbered("broker", list(broker.pids.values()))
        return Served(workers[0].address, pids, tuple(workers), address)

    def _serving(self) -> Serving:
        setting, condition = self._setting, self._trial.cell.condition
        entry = self._trial.cell.variant.entry
        stores = {}
        if condition.store == "postgres":
            stores[variable("postgres")] = setting.parts.address("postgres")
        if condition.remember == "redis":
            stores[variable("redis")] = setting.parts.address("redis")
        return Serving(
            entry.talks_to,
            queue=condition.queue,
            sharp=condition.sharp,
            late=condition.late,
            stall_ms=condition.stall_ms,
            remember=condition.remember,
            compression=condition.compression,
            store=condition.store,
            namespace=f"t{secrets.token_hex(6)}",
            stores=stores,
            changes=self._plan.scenario.operation == "watch",
            trace=setting.trace,
            host=setting.host,
        )

    @property
    def _paused(self) -> bool:
        scenario = self._plan.scenario
        return scenario.operation == "ingest" and scenario.ingest.consume == "after"

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

    async def _load(self, generators: Generators, served: Served) -> None:
        notes = self._journal.of(self._trial)
        notes.sample(served.pids, "before_open")
        for pid in served.pids.values():
            telemetry.forget_peak(pid)
        await generators.open(self._spec(served.address), self._setting.watch.figures)
        eyes = self._eyes(notes, generators, served)
        if self._journal.first(self._trial):
            await asyncio.gather(*(each.rest(IDLE_S) for each in eyes))
        fault = await self._prepare_fault(served)
        began = generators.send()
        self._journal.event("trial_started", str(began), self._trial)
        window = self._window(began)
        looking = [asyncio.create_task(each.watch(began, *window)) for each in eyes]
        stopped = False
        breaking = [] if fault is None else [asyncio.create_task(fault.happen(began))]

        def stop() -> None:
            nonlocal stopped
            stopped = True
            at = time.monotonic_ns() + STOP_DELAY_NS
            self._journal.event("trial_stopped", str(at), self._trial)
            generators.stop(at)
            for each in eyes:
                each.stop(at)
            for task in breaking:
                task.cancel()

        def lose(words: str) -> None:
            self._journal.event("worker_lost", words, self._trial)
            if not stopped:
                stop()

        self._setting.brake.stop = stop
        tasks = [*looking, *breaking]
        # What was sent by a producer that is lost is not known, and so no message's fate.
        losing = None if self._plan.scenario.operation == "ingest" else lose
        try:
            await generators.drained(self._setting.watch.trial_progress, losing)
            self._setting.brake.stop = lambda: None
            await asyncio.gather(*tasks, return_exceptions=stopped)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if (told := counted(eyes, served)) is not None:
            notes.event("wire", json.dumps(told))
        files = await self._drain(served, self._path.parent)
        try:
            await generators.finish(files)
        finally:
            for file in files:
                file.unlink(missing_ok=True)

    def _eyes(
        self, notes: Notes, generators: Generators, served: Served
    ) -> list[Sampler | RemoteSampler]:
        """On this machine and on those of generators that are elsewhere."""
        far = [each for each in generators.all if isinstance(each, RemoteLoad)]
        pids = {**served.pids, **self._stores(), **({} if far else generators.pids)}
        others = {**self._setting.parts.frozen_pids, "harness": os.getpid()}
        client = None
        if far and served.meets_clients:
            called_back = self._trial.cell.variant.entry.called_back
            client = wire.Elsewhere("server" if called_back else "")
        here = Sampler(notes, pids, others, client)
        return [here, *(RemoteSampler(each, notes) for each in far)]

    async def _prepare_fault(self, served: Served) -> Fault | None:
        shape = self._plan.scenario.fault
        if shape is None or served.broker is None:
            return None
        broker = self._setting.parts.broker(served.broker.kind)

        def tell(kind: str, detail: str) -> None:
            self._journal.event(kind, detail, self._trial)

        return await prepare_fault(shape, broker, served.broker, tell)

    async def _drain(self, served: Served, folder: Path) -> list[Path]:
        """Let the workers take what is left; returns the files of what each has taken. Raises
        RigError."""
        shape = self._plan.scenario.ingest
        if self._plan.scenario.operation != "ingest" or not served.workers:
            return []
        taken = await drain(served.workers, folder, shape.drain_limit_s, shape.read_again)
        for each in taken:
            self._journal.event("drained", json.dumps(each.said), self._trial)
        return [each.file for each in taken]

    def _stores(self) -> dict[str, int]:
        """The processes of the stores that the service uses."""
        parts = self._setting.parts.running
        used = [part for part in self._trial.cell.parts if part in parts and part not in BROKERS]
        pids = [pid for part in used for pid in parts[part].pids.values()]
        return numbered("store", [each for pid in pids for each in telemetry.family(pid)])

    def _window(self, began: int) -> tuple[int, int]:
        scenario = self._plan.scenario
        start = began + round(scenario.warm_up_s * 1e9)
        return start, start + round(self._trial.cell.window_s * 1e9)

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
                load.model,
                load.rate,
                load.users,
                load.think_s,
                load.burst_size,
                load.every_s,
                load.rates,
                load.file,
                load.column,
            ),
            seed=scenario.seed,
            warm_up_s=scenario.warm_up_s,
            duration_s=cell.window_s,
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
                condition.work_between,
            ),
            wire=self._wire_spec(),
            subscribers=condition.subscribers,
            stalled=condition.stalled,
            request_ids=condition.remember in ("requests", "gateway", "redis"),
            attempts=scenario.retry.attempts,
            attempt_timeout_s=scenario.retry.timeout_s,
            keys=scenario.ingest.keys,
            acknowledges=condition.durability != "A",
            priced=not cell.variant.entry.null,
            trace=self._setting.trace,
            live=self._setting.watch.figures is not None,
        )

    def _wire_spec(self) -> WireSpec:
        condition, certificates = self._trial.cell.condition, self._setting.certificates
        spec = WireSpec(
            codec=condition.codec,
            ca=str(certificates.ca) if condition.tls and certificates else None,
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


def counted(eyes: Sequence[Sampler | RemoteSampler], served: Served) -> dict[str, Any] | None:
    """What went over TCP in a trial, see Sampler.wire: as seen from here, where all of it can be;
    with what generators elsewhere carried, where they connect to nothing here."""
    here, *far = eyes
    if not far or served.meets_clients:
        return here.wire
    return wires(eyes if served.pids else far)


def read_result(setting: Setting, trial: Trial) -> TrialResult | None:
    """What came of a trial that is on disk; None where it left no samples."""
    number = trial.block + 1
    path = results.trial_path(setting.folder, trial.cell.id, number)
    if not path.exists():
        return None
    scenario = setting.plan.scenario
    live = setting.watch.figures is not None
    return summarize_trial(
        results.read_samples(path),
        number,
        scenario.timeout_s,
        seen=observed(
            *noted_by_trial(setting.journal)[trial.cell.id, number],
            places=setting.placement.places,
        ),
        arrivals=results.read_arrivals(results.arrivals_path(path)) if live else None,
        objective=scenario.objective.percentile if scenario.objective else None,
    )


def authority_of(address: str) -> str:
    """The host:port at the end of an address."""
    return re.split(r"[/@]", address)[-1]
