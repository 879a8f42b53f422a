"""Processes of a run, each started and guarded by the warden, that speak JSON lines."""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, Signals
from types import TracebackType
from typing import Any, Self

from harness.rig import warden
from harness.rig.tree import OWN, Tree

STOP_LIMIT_S = 8.0
KILL_LIMIT_S = 10.0
LINE_LIMIT = 1 << 20


class RigError(Exception):
    """Something that should have been started or stopped was not; the text names it."""


class Process:
    """A child that speaks JSON lines on its standard output and ends when its input does."""

    def __init__(
        self,
        name: str,
        stdin: int,
        stdout: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        self.name = name
        self.pid = 0
        self._stdin: int | None = stdin
        self._stdout = stdout
        self._transport = transport
        self._started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit code, negative for a signal, once it has ended."""

    def say(self, line: str) -> None:
        """Send a line. A child that has ended hears nothing; its end is seen elsewhere."""
        if self._stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._stdin, line.encode())

    async def hear(self) -> dict[str, Any] | None:
        """The next message, or None when its output has ended. Other output is passed over."""
        while line := await self._stdout.readline():
            try:
                message = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(message, dict) and "event" in message:
                return message
        self._transport.close()
        return None

    def end_input(self) -> None:
        """Close its input, which asks it to end."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def hang_up(self) -> None:
        """Close both of its pipes."""
        self.end_input()
        self._transport.close()


class Rig:
    """Starts processes through one warden, and stops what is left when the block ends."""

    def __init__(self, logs: Path | None = None, tree: Tree = OWN) -> None:
        """`logs`: the folder that gets each process's standard error; None: it is inherited.
        `tree`: where our own programs come from."""
        self._logs = logs
        self._tree = tree
        self._ids = itertools.count(1)
        self._processes: dict[int, Process] = {}
        self._link: socket.socket
        self._warden: subprocess.Popen[bytes]

    async def __aenter__(self) -> Self:
        self._link, self._warden = warden.start()
        self._link.setblocking(False)
        asyncio.get_running_loop().add_reader(self._link, self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._link)
        self._link.close()
        for process in self._processes.values():
            process.hang_up()
        await asyncio.to_thread(self._warden.wait)

    async def spawn(
        self,
        name: str,
        argv: Sequence[str],
        cpus: Sequence[int] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        speaks: bool = True,
    ) -> Process:
        """Start a command, on `cpus` only where given. Raises RigError.

        `env` comes on top of this process's own environment. What does not speak JSON lines
        (`speaks` false) has its standard output in the log as well.
        """
        loop = asyncio.get_running_loop()
        child_in, our_in = os.pipe()
        if self._logs is None:
            child_err = os.dup(2)
        else:
            self._logs.mkdir(parents=True, exist_ok=True)
            child_err = os.open(
                self._logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
            )
        our_out, child_out = os.pipe()
        if not speaks:
            os.dup2(child_err, child_out)
        stdout = asyncio.StreamReader(limit=LINE_LIMIT)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(our_out, "rb")
        )
        number = next(self._ids)
        process = self._processes[number] = Process(name, our_in, stdout, transport)
        request = {
            "op": "spawn",
            "id": number,
            "argv": list(argv),
            "cwd": None if cwd is None else str(cwd),
            "env": None if env is None else {**os.environ, **env},
            "cpus": None if cpus is None else list(cpus),
        }
        try:
            warden.send(self._link, request, (child_in, child_out, child_err))
        except OSError as error:
            process.end_input()
            raise RigError(f"{name}: the warden is gone ({error})") from None
        finally:
            for fd in (child_in, child_out, child_err):
                os.close(fd)
        process.pid = await process._started
        return process

    async def program(
        self,
        name: str,
        words: Sequence[str],
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a module of ours, from this rig's tree, with its words. Raises RigError."""
        told = {**self._tree.environment, **(env or {})}
        return await self.spawn(name, self._tree.command(words), cpus, env=told)

    def last_words(self, name: str) -> str:
        """The last line that processes of a name left in their log, or nothing."""
        if self._logs is None:
            return ""
        try:
            lines = (self._logs / f"{name}.log").read_text(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")

    def signal(self, process: Process, number: Signals) -> None:
        """Send a signal to a process; nothing happens when it has ended."""
        for key, known in self._processes.items():
            if known is process:
                warden.send(self._link, {"op": "signal", "id": key, "signal": int(number)})

    async def stop(self, process: Process, number: Signals | None = None) -> int:
        """End a process by ending its input, and by a signal where given; by force after
        STOP_LIMIT_S. Returns its exit code."""
        process.end_input()
        if number is not None:
            self.signal(process, number)
        try:
            return await asyncio.wait_for(asyncio.shield(process.exited), STOP_LIMIT_S)
        except TimeoutError:
            return await self.kill(process)

    async def kill(self, process: Process) -> int:
        """End a process by force; returns its exit code. Raises RigError if it does not end."""
        self.signal(process, SIGKILL)
        try:
            return await asyncio.wait_for(asyncio.shield(process.exited), KILL_LIMIT_S)
        except TimeoutError:
            raise RigError(f"{process.name} (pid {process.pid}) does not end") from None
        finally:
            process.end_input()

    def _read(self) -> None:
        try:
            event = warden.receive(self._link)
        except BlockingIOError:
            return
        if event is None:
            asyncio.get_running_loop().remove_reader(self._link)
            lost = RigError("the warden was killed, and all that it had started with it")
            for process in self._processes.values():
                if not process._started.done():
                    process._started.set_exception(lost)
                if not process.exited.done():
                    process.exited.set_result(-SIGKILL)
            return
        process = self._processes[event["id"]]
        match event["event"]:
            case "spawned":
                process._started.set_result(event["pid"])
            case "failed":
                process._started.set_exception(RigError(f"{process.name}: {event['error']}"))
            case "exited":
                process.exited.set_result(event["code"])
