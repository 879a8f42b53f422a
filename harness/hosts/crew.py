"""The workers of a run: who has come, who is lost, and which machine runs which generator."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from harness.hosts.identity import boot_id, unlike
from harness.hosts.link import Door, Message
from harness.hosts.remote import Member, RemoteLoad
from harness.load_process import TrialFailed
from harness.rig.placement import Placement, place_on, this_machine
from harness.rig.process import RigError

JOIN_LIMIT_S = 120.0
REJOIN_LIMIT_S = 30.0
"""How long a run waits for a worker in the place of one that it has lost."""
PING_S = 1.0
LOST_S = 6.0
LEAVE_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The workers that a run waits for."""

    address: str
    """HOST:PORT, where it listens for them."""
    size: int
    token: str = field(repr=False)

    @property
    def host(self) -> str:
        """By which workers reach this machine."""
        return self.address.rpartition(":")[0]


class Crew:
    """The workers of a run, in a block of its own."""

    def __init__(
        self,
        wanted: Wanted,
        say: Callable[[str], None],
        show: Callable[[Sequence[Mapping[str, Any]]], None],
    ) -> None:
        """`say` is told who comes and goes, and `show` is given `states` then. Raises RigError
        where the address is taken, or none of this machine's."""
        self._wanted = wanted
        self._say = say
        self._show = show
        try:
            self._door = Door(wanted.address, wanted.token)
        except OSError as error:
            raise RigError(f"--listen {wanted.address}: {error.strerror}") from None
        self._places: list[Member | None] = [None] * wanted.size
        self._by_sender: dict[bytes, Member] = {}
        self._refused: set[bytes] = set()
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._gave_up = False
        self._strangers = 0
        self._sent: list[Member] = []
        self._shown: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(each())
            for each in (self._listen, self._keep_watch, self._count_strangers)
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What is still unread when a connection is closed takes along what was just sent, so each
        # says that it has heard.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await asyncio.gather(*(each.leave() for each in self.members))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._door.__aexit__(kind, error, trace)

    @property
    def members(self) -> list[Member]:
        """Those that are there or were last, in their order."""
        return [each for each in self._places if each is not None]

    @property
    def placement(self) -> Placement:
        """Servers are on this machine; so are the generators of workers that share its kernel."""
        each = [(member.boot, self._processors(member)) for member in self.members]
        distinct = list(dict.fromkeys(each))
        here = [cpu for boot, cpus in distinct if boot == boot_id() for cpu in cpus]
        return Placement(
            tuple(sorted(set(here))) or None,
            this_machine().server,
            self._wanted.size,
            elsewhere=not here,
            of_workers=tuple(map(distinct.index, each)),
        )

    def _processors(self, member: Member) -> tuple[int, ...]:
        """Those that a worker's generator has: one of its own where those that share what the
        worker may use leave one."""
        alike = [m for m in self.members if (m.boot, m.cpus) == (member.boot, member.cpus)]
        place = place_on(member.cpus, len(alike)).of_generator(alike.index(member))
        return place or tuple(member.cpus)

    @property
    def told(self) -> list[dict[str, Any]]:
        """As in run.json: who has sent a part of the load, or is to."""
        return [
            {
                "host": member.host,
                "clock": asdict(member.clock),
                "processors": len(member.cpus),
                "awake": member.awake,
                "environment": member.environment,
            }
            for member in self._sent or self.members
        ]

    @property
    def states(self) -> list[dict[str, Any]]:
        """Who is there now: `worker` (its number), `host`, `pid`, `processors`, `state` (`there`,
        or why not), `offset_us` and `error_us` of its clock."""
        return [
            {
                "worker": member.number,
                "host": member.host,
                "pid": member.pid,
                "processors": len(member.cpus),
                "state": member.lost or "there",
                "offset_us": round(member.clock.offset_ns / 1e3, 1),
                "error_us": round(member.clock.error_ns / 1e3, 1),
            }
            for member in self.members
        ]

    async def gather(self) -> None:
        """Wait until all have come. Raises RigError that says who has not."""
        self._say(
            f"waiting for {self._wanted.size} workers at {self._wanted.address}: on each machine"
            f" python3 bench.py locust --worker --master-host {self._wanted.host}"
        )
        if not await self._complete(JOIN_LIMIT_S):
            raise RigError(
                f"{len(self.members)} of {self._wanted.size} workers came within {JOIN_LIMIT_S:g} s"
                + self._unheard()
            )
        for member in self.members:
            try:
                clock = await member.measure()
            except TrialFailed as error:
                raise RigError(f"before the run began, {error}") from None
            self._say(
                f"{member.name}: {len(member.cpus)} processors, clock"
                f" {clock.offset_ns / 1e3:+,.1f} \u00b5s from here,"
                f" \u00b1 {clock.error_ns / 1e3:,.1f}"
            )
        self._show_states()

    async def start(self, part: int, role: str) -> RemoteLoad:
        """A generator of the worker with that place, from 0. Raises TrialFailed."""
        if not await self._complete(0.0 if self._gave_up else REJOIN_LIMIT_S):
            self._gave_up = True
            raise TrialFailed("; ".join(m.lost for m in self.members if m.lost) + self._unheard())
        self._gave_up = False
        member = self._places[part]
        assert member is not None
        load = await member.start(role, self._processors(member))
        if member not in self._sent:
            self._sent.append(member)
        return load

    async def _complete(self, limit_s: float) -> bool:
        def complete() -> bool:
            return all(each is not None and not each.lost for each in self._places)

        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._changed.wait_for(complete)
            return complete()

    def _unheard(self) -> str:
        if not self._strangers:
            return ""
        return f"; somebody with another token was refused ({self._strangers} times)"

    async def _listen(self) -> None:
        while True:
            sender, message = await self._door.hear()
            now = time.monotonic_ns()
            member = self._by_sender.get(sender)
            try:
                if member is not None:
                    member.hear(message, now)
                elif message.kind == "hello":
                    await self._greet(sender, message)
            except (KeyError, TypeError, ValueError) as error:
                if member is not None:
                    member.lose(f"it said what makes no sense ({type(error).__name__}: {error})")
            if member is not None and member.lost:
                await member.say("left")
                await self._note_loss(member)

    async def _greet(self, sender: bytes, hello: Message) -> None:
        if other := unlike(hello["code"], hello.fields.get("software", {})):
            if sender not in self._refused:
                self._say(f"a worker at {hello['host']} was refused: it has {other}")
            self._refused.add(sender)
            why = f"this worker has {other}; take the run's commit, and set it up anew"
            await self._door.say(sender, Message("refused", {"why": why}))
            return
        free = [n for n, each in enumerate(self._places) if each is None or each.lost]
        if not free:
            return
        member = Member(free[0] + 1, sender, hello, self._door)
        self._places[free[0]] = self._by_sender[sender] = member
        await member.say("welcome")
        self._say(f"{member.name} has come")
        self._show_states()
        async with self._changed:
            self._changed.notify_all()

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            for member in self.members:
                if member.lost:
                    continue
                if time.monotonic() - member.heard_at > LOST_S:
                    member.lose(f"nothing was heard of it for {LOST_S:g} s")
                    await self._note_loss(member)
                else:
                    await member.say("ping", number=-1)
            self._show_states()

    def _show_states(self) -> None:
        if (states := self.states) != self._shown:
            self._shown = states
            self._show(states)

    async def _note_loss(self, member: Member) -> None:
        self._by_sender.pop(member.sender, None)
        self._say(member.lost)
        self._show_states()
        async with self._changed:
            self._changed.notify_all()

    async def _count_strangers(self) -> None:
        while True:
            await self._door.stranger()
            self._strangers += 1
