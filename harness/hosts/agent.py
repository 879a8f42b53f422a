"""A worker: it runs a generator for whichever run opens its door, one run after the other."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, BinaryIO

from harness.hosts.identity import boot_id, code_digest, software
from harness.hosts.link import Line, Message, pieces
from harness.hosts.parcel import unpacked
from harness.journal import Notes
from harness.load.messages import TrialSpec
from harness.observe.environment import collect_environment
from harness.results import arrivals_path, sightings_path
from harness.rig.awake import awake
from harness.rig.process import Process, Rig, RigError
from harness.sampling import Sampler

HELLO_S = 0.5
SILENCE_S = 10.0
"""After which a run that says nothing is gone."""
LEAVE_LIMIT_S = 3.0
WINDOW = 8
QUIET_S = 15.0
"""How long nobody opens before that is said."""


class Refused(Exception):
    """The run does not take this worker; the text says why."""


async def work(address: str, token: str) -> None:
    """Serve the runs at HOST:PORT until SIGTERM or SIGINT. Raises Refused."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    with TemporaryDirectory(prefix="orderbench-worker-") as name:
        async with Line(address, token) as line, Rig(Path(name) / "logs") as rig:
            worker = Worker(line, rig, Path(name), address)
            serving = asyncio.create_task(worker.serve())
            ending = asyncio.create_task(ended.wait())
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await worker.leave("it was told to end")


class Worker:
    """This machine's side of one run after the other."""

    def __init__(self, line: Line, rig: Rig, folder: Path, address: str) -> None:
        self._line = line
        self._rig = rig
        self._folder = folder
        self._address = address
        self._loads: dict[int, _Own] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_run = False
        self._hello = Message(
            "hello",
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "boot": boot_id(),
                "cpus": _cpus(),
                "code": code_digest(),
                "software": software(),
                "environment": collect_environment(),
            },
        )

    async def serve(self) -> None:
        """Wait for a run, serve it, and wait for the next. Raises Refused."""
        while True:
            await self._find()
            _say("a run has begun")
            with awake() as kept:
                await self._line.call(Message("awake", {"kept": kept}))
                why = await self._attend()
                await self._end_all()
            _say(f"the run is over{why}")

    async def leave(self, why: str) -> None:
        """Say good-bye to the run, where there is one, and end what was started for it."""
        if self._in_run and await self._line.call(Message("bye", {"why": why})):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_LIMIT_S):
                    while (await self._line.hear()).kind != "left":
                        pass
        await self._end_all()

    async def _find(self) -> None:
        self._in_run, since = False, time.monotonic()
        _say(f"waiting for a run at {self._address}")
        while True:
            came = await self._line.call(self._hello)
            if not came and time.monotonic() - since > QUIET_S:
                since = time.monotonic()
                _say(f"nobody at {self._address} yet, or nobody with this token")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HELLO_S):
                    message = await self._line.hear()
                    if message.kind == "refused":
                        raise Refused(str(message["why"]))
                    if message.kind == "welcome":
                        self._in_run = True
                        return

    async def _attend(self) -> str:
        """Do what the run says until it ends; returns why, where it did not say so."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    message = await self._line.hear()
            except TimeoutError:
                return f": nothing was heard of it for {SILENCE_S:g} s"
            match message.kind:
                case "ping":
                    now = {"number": message["number"], "at": time.monotonic_ns()}
                    await self._line.call(Message("pong", now))
                case "bye":
                    await self._line.call(Message("left"))
                    return ""
                case "left":
                    return ": it goes on without this worker"
                case "start":
                    self._later(self._start(message))
                case _:
                    if (own := self._loads.get(message["load"])) is not None:
                        self._spawn(own, message)

    async def _start(self, message: Message) -> None:
        number = message["load"]
        folder = Path(mkdtemp(dir=self._folder))
        try:
            process = await self._rig.program("generator", ["harness.load"], message["cpus"])
        except RigError as error:
            await self._line.say(Message("bye", {"why": str(error)}))
            return
        own = _Own(number, message["role"], self._rig, process, folder, self._line)
        self._loads[number] = own
        self._later(own.relay())
        await self._line.say(Message("started", {"load": number, "pid": process.pid}))

    def _spawn(self, own: "_Own", message: Message) -> None:
        match message.kind:
            case "piece":
                self._later(own.take(message))
            case "open":
                own.open(message["line"])
            case "got":
                own.window.release()
            case "say":
                own.process.say(message["line"])
            case "cut":
                own.cut(message["at"])
            case "close":
                own.close(message["arrivals"])
            case "rest" | "watch":
                self._later(own.see(message))
            case "fetch":
                self._later(own.send_files())
            case "end":
                self._later(self._end(own, message["by_force"]))

    def _later(self, doing: Any) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, own: "_Own", by_force: bool) -> None:
        with contextlib.suppress(RigError):
            await (self._rig.kill if by_force else self._rig.stop)(own.process)
        self._loads.pop(own.number, None)
        shutil.rmtree(own.folder, ignore_errors=True)

    async def _end_all(self) -> None:
        for own in list(self._loads.values()):
            await self._end(own, by_force=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Own:
    """A generator of this machine."""

    def __init__(
        self, number: int, role: str, rig: Rig, process: Process, folder: Path, line: Line
    ) -> None:
        self.number = number
        self._rig = rig
        self.process = process
        self.folder = folder
        self._role = role
        self._line = line
        self._samples = folder / "samples.parquet"
        self._sampler: Sampler | None = None
        self.window = asyncio.Semaphore(WINDOW)
        """Of pieces that are under way."""

    async def relay(self) -> None:
        """Pass on what it says until it ends, and how it ended."""
        while (said := await self.process.hear()) is not None:
            await self._tell("line", message=said)
        code = await self.process.exited
        words = self._rig.last_words(self.process.name)
        await self._tell("ended", code=code, words=words)
        await self._tell("line", message=None)

    async def take(self, message: Message) -> None:
        """A piece of a file that is to be beside it: of those that its trial names, or of what a
        worker at a broker took."""
        why = ""
        try:
            with (self.folder / message["name"]).open("ab") as file:
                file.write(message.data)
        except OSError as error:
            why = str(error)
        await self._tell("taken", why=why)

    def open(self, line: str) -> None:
        """Give it its trial, whose files have come."""
        self.process.say(unpacked(TrialSpec.from_line(line), self.folder).to_line())

    def close(self, arrivals: Sequence[str]) -> None:
        """Tell it to close, with what has come by these names."""
        files = [str(self.folder / name) for name in arrivals]
        self.process.say(json.dumps({"event": "close", "arrivals": files}) + "\n")

    async def see(self, message: Message) -> None:
        """Look at it, at rest or at work, and tell what was seen."""
        notes = Notes(message["cell"], message["trial"], [], [])
        part = int(self._role.partition(".")[2] or 1)
        # The first is the run's own.
        others = {f"harness.{part + 1}": os.getpid()}
        sampler = Sampler(notes, {self._role: self.process.pid}, others)
        if message.kind == "rest":
            await sampler.rest(message["seconds"])
        else:
            self._sampler = sampler
            await sampler.watch(message["began"], message["start"], message["end"])
        seen = {"telemetry": notes.telemetry, "events": notes.events, "wire": sampler.wire}
        await self._send("seen", BytesIO(json.dumps(seen).encode()))

    def cut(self, at: int) -> None:
        """The load ends before its time."""
        if self._sampler is not None:
            self._sampler.stop(at)

    async def send_files(self) -> None:
        """All that it has left."""
        files = {
            "samples": self._samples,
            "sightings": sightings_path(self._samples),
            "arrivals": arrivals_path(self._samples),
        }
        for name, path in files.items():
            if path.exists():
                with path.open("rb") as file:
                    await self._send("file", file, name=name)
        await self._tell("file", name=None)

    async def _send(self, kind: str, file: BinaryIO, **fields: Any) -> None:
        for data, last in pieces(file):
            await self.window.acquire()
            await self._tell(kind, data, last=last, **fields)

    async def _tell(self, kind: str, data: bytes = b"", **fields: Any) -> None:
        await self._line.say(Message(kind, {"load": self.number, **fields}, data))


def _cpus() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
