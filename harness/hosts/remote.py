"""A worker as the run sees it, and the generators that it runs."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from harness import results
from harness.hosts.clock import Clock, Exchange, clock_of
from harness.hosts.link import Door, Message, pieces
from harness.hosts.parcel import packed
from harness.hosts.translation import translate
from harness.load.consumption import shifted
from harness.load.messages import TrialSpec
from harness.load_process import Load, PartLost, TrialFailed

QUESTIONS = 40
"""By which a clock is measured."""
ANSWER_LIMIT_S = 60.0
LARGEST_FILE = 4 << 30
"""Bytes of one that a worker sends."""
LARGEST_PARCEL = 512 << 20
"""Bytes of all files that a trial names."""
KINDS = ("started", "line", "ended", "taken", "file", "seen")
"""What a worker says of a generator."""
MOST_UNHEARD = 1000
"""Messages of a kind; those of files are answered one by one."""


class Member:
    """A worker that has come."""

    def __init__(self, number: int, sender: bytes, hello: Message, door: Door) -> None:
        """Raises KeyError, TypeError or ValueError where it does not say who it is."""
        self.number = number
        """From 1."""
        self.host = str(hello["host"])
        self.name = f"worker {number} ({self.host}, pid {int(hello['pid'])})"
        self.pid = int(hello["pid"])
        self.boot = str(hello["boot"])
        self.cpus = [int(cpu) for cpu in hello["cpus"]]
        self.environment: Mapping[str, Any] = dict(hello["environment"])
        self.sender = sender
        self.awake = False
        """Whether its processors are kept awake while it is in the run."""
        self.clock = Clock()
        self.heard_at = time.monotonic()
        self.lost = ""
        """Why it is no more; empty while it is there."""
        self._door = door
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._loads: dict[int, RemoteLoad] = {}
        self._left = asyncio.Event()
        self._attends = False
        """Whether it has said anything since it was let in."""

    async def say(self, kind: str, data: bytes = b"", **fields: Any) -> None:
        """Send it a message."""
        await self._door.say(self.sender, Message(kind, fields, data))

    async def start(self, role: str, cpus: Sequence[int] | None) -> "RemoteLoad":
        """A fresh generator there. Raises TrialFailed."""
        load = RemoteLoad(self, next(self._numbers), role)
        self._loads[load.number] = load
        await self.say("start", load=load.number, role=role, cpus=cpus)
        load.pid_there = int((await load.told_of("started"))["pid"])
        return load

    async def leave(self) -> None:
        """Let it wait for another run, and wait until it knows."""
        if not self.lost:
            await self.say("bye")
            await self._left.wait()

    def forget(self, load: "RemoteLoad") -> None:
        """It has ended."""
        self._loads.pop(load.number, None)

    async def measure(self) -> Clock:
        """How far its clock is from this one's now. Raises TrialFailed when it does not answer."""
        exchanges = [await self._exchange() for _ in range(QUESTIONS)]
        self.clock = clock_of(exchanges)
        return self.clock

    async def _exchange(self) -> Exchange:
        if self.lost:
            raise PartLost(self.lost)
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        asked = time.monotonic_ns()
        await self.say("ping", number=number)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return Exchange(asked, *await answer)
        except TimeoutError:
            raise TrialFailed(f"{self.name} did not tell its time") from None
        finally:
            del self._answers[number]

    def hear(self, message: Message, now_ns: int) -> None:
        """Take in what it says. Raises KeyError, TypeError or ValueError for what makes no
        sense."""
        if message.kind == "hello" and not self._attends:
            # It knocks until it hears that it is in, which is no sign that it has heard.
            return
        self._attends = True
        self.heard_at = now_ns / 1e9
        match message.kind:
            case "pong":
                answer = self._answers.get(message["number"])
                if answer is not None and not answer.done():
                    answer.set_result((int(message["at"]), now_ns))
            case "awake":
                self.awake = bool(message["kept"])
            case "bye":
                self.lose(str(message["why"]))
            case "left":
                self._left.set()
            case "hello":
                if not self._left.is_set():
                    self.lose("it has left this run, and waits for another")
            case _:
                if (load := self._loads.get(message["load"])) is not None:
                    load.take(message)

    def lose(self, why: str) -> None:
        """It is no more."""
        if self.lost:
            return
        self.lost = f"{self.name} was lost: {why}"
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(PartLost(self.lost))
        for load in self._loads.values():
            load.lose(PartLost(self.lost))


class RemoteLoad(Load):
    """A generator that a worker runs. Its instants become those of this machine's clock."""

    def __init__(self, member: Member, number: int, role: str) -> None:
        super().__init__()
        self.member = member
        self.number = number
        self.role = role
        self._told: dict[str, asyncio.Queue[Message | TrialFailed]] = {
            kind: asyncio.Queue() for kind in KINDS
        }
        self.pid_there = 0
        self.clock = Clock()
        """As it was just before the load."""
        self._saying: set[asyncio.Task[None]] = set()
        self._code: int | None = None
        self._words = ""

    @property
    def pid(self) -> int:
        """See Load."""
        return self.pid_there

    async def open(self, spec: TrialSpec) -> None:
        """See Load; what the trial names of this machine's files goes along."""
        self._spec = spec
        await self._give_parcel(packed(spec))
        self.clock = await self.member.measure()
        await self.member.say("open", load=self.number, line=spec.to_line())
        await self._ready()

    async def _give_parcel(self, files: Mapping[str, Path]) -> None:
        try:
            size = sum(path.stat().st_size for path in files.values())
            if size > LARGEST_PARCEL:
                named = ", ".join(str(path) for path in files.values())
                raise TrialFailed(
                    f"the trial's files ({named}) have {size} B, and more than {LARGEST_PARCEL} B"
                    " do not go to a worker; take smaller ones"
                )
            for name, path in files.items():
                with path.open("rb") as file:
                    await self._give(name, file)
        except OSError as error:
            raise TrialFailed(f"what goes to {self.member.name} cannot be read: {error}") from None

    async def _give(self, name: str, file: BinaryIO) -> None:
        """Let a file of that name be beside the generator."""
        for data, _ in pieces(file):
            await self.member.say("piece", data, load=self.number, name=name)
            if why := (await self.told_of("taken"))["why"]:
                raise TrialFailed(f"{self.member.name} cannot keep {name}: {why}")

    async def finish(self, arrivals: Sequence[Path] = ()) -> dict[str, Any]:
        """See Load; then what it has left there is here, in this machine's clock."""
        names = [f"{number}.arrivals" for number in range(len(arrivals))]
        for name, path in zip(names, arrivals, strict=True):
            data = shifted(await asyncio.to_thread(path.read_bytes), self.clock.offset_ns)
            await self._give(name, BytesIO(data))
        await self.member.say("close", load=self.number, arrivals=names)
        health = await self._done()
        await self._fetch(Path(self._spec.samples_path))
        return health

    async def _fetch(self, path: Path) -> None:
        after = await self.member.measure()
        await self.member.say("fetch", load=self.number)
        places = {
            "samples": path,
            "sightings": results.sightings_path(path),
            "arrivals": results.arrivals_path(path),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        while (name := (message := await self.told_of("file"))["name"]) is not None:
            with results.whole(places[name]) as partial, partial.open("wb") as file:
                async for data in self.data_from(message, LARGEST_FILE):
                    file.write(data)
        clock = {
            "host": self.member.host,
            "offset_ns": self.clock.offset_ns,
            "error_ns": self.clock.error_ns,
            "drift_ns": after.offset_ns - self.clock.offset_ns,
        }
        try:
            await asyncio.to_thread(translate, path, self.clock, clock)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrialFailed(f"what {self.member.name} sent cannot be read: {error}") from None

    async def end(self, by_force: bool = False) -> int:
        """See Load. One whose worker is lost has ended with it."""
        if self._code is None and not self.member.lost:
            await self.member.say("end", load=self.number, by_force=by_force)
            with contextlib.suppress(TrialFailed):
                await self._until_ended()
        self.member.forget(self)
        return -9 if self._code is None else self._code

    def take(self, message: Message) -> None:
        """What its worker says of it. Raises KeyError for a kind that there is not, ValueError for
        more than is asked for."""
        queue = self._told[message.kind]
        if queue.qsize() > MOST_UNHEARD:
            raise ValueError(f"{MOST_UNHEARD} times {message.kind!r} unheard")
        queue.put_nowait(message)

    async def data_from(self, first: Message, most: int) -> AsyncIterator[bytes]:
        """The data of a message, and of those of its kind that follow to the last. Raises
        TrialFailed, also for more than `most` bytes."""
        size, message = 0, first
        while True:
            size += len(message.data)
            if size > most:
                raise TrialFailed(f"{self.member.name} sends more than {most} B as {first.kind!r}")
            await self.member.say("got", load=self.number)
            yield message.data
            if message["last"]:
                return
            message = await self.told_of(first.kind)

    async def told_of(self, kind: str, limit_s: float | None = ANSWER_LIMIT_S) -> Message:
        """The next message of a kind, which comes within `limit_s` seconds. Raises TrialFailed
        where it does not, and PartLost when the worker is lost."""
        if self.member.lost:
            raise PartLost(self.member.lost)
        try:
            async with asyncio.timeout(limit_s):
                heard = await self._told[kind].get()
        except TimeoutError:
            raise TrialFailed(f"{self.member.name} did not say {kind!r} in {limit_s:g} s") from None
        if isinstance(heard, TrialFailed):
            raise heard
        return heard

    def lose(self, why: TrialFailed) -> None:
        """Its worker is lost: whoever waits hears so."""
        for queue in self._told.values():
            queue.put_nowait(why)

    def _there(self, at_ns: int) -> int:
        return self.clock.there(at_ns)

    def _say(self, line: str) -> None:
        task = asyncio.create_task(self.member.say("say", load=self.number, line=line))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _hear(self) -> Mapping[str, Any] | None:
        said = (await self.told_of("line", None))["message"]
        if said is None:
            await self._until_ended()
        return None if said is None else dict(said)

    def _last_words(self) -> str:
        return self._words

    async def _until_ended(self) -> None:
        ended = await self.told_of("ended")
        self._code, self._words = int(ended["code"]), str(ended["words"])
