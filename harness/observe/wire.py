"""What goes over TCP between the processes of a trial, read from outside: the kernel's own count of
each socket, those included that were closed meanwhile (harness.observe.sock_diag).

A connection is counted once, wherever its two ends are: what its sender says of bytes, and of
segments the larger of what its sender and its receiver say, since each misses one or two of an
opening or a closing. Nothing but this network namespace is seen.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.observe.sock_diag import ESTABLISHED, LISTEN, Ended, Place, Socket, Traffic, dump

CLIENT = "generator"
OUTSIDE = "outside"
"""Whoever is none of the processes of the trial."""
_WAY = (CLIENT, "relay", "gateway", "server")
"""Who calls whom, as far as they are there."""
_WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A client of which no process is here: whoever calls one of the trial's, and nobody whom one
    of them calls, such as a store or a broker at an address."""

    called_by: str = ""
    """The role that calls it back, at an address from which it calls; empty for none."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What went one way, from all processes of a role to all of another."""

    sender: str
    receiver: str
    bytes: int
    """Payload of TCP: TLS and framing included, headers of TCP and IP not."""
    segments: int
    """With those that only acknowledge. On loopback one holds up to 64 KiB."""
    data_segments: int
    """Those that carry payload."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What went over TCP between two snapshots."""

    flows: tuple[Flow, ...]
    connections: int
    """The client's, at the second snapshot."""
    opened: int
    """The client's that were opened between the snapshots."""
    closed: int
    """The client's that were closed between the snapshots."""
    uncounted: int
    """Sockets that were closed in between without the kernel's saying so: what they carried is
    missing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The sockets of one instant."""

    sockets: Mapping[int, Socket]
    """By cookie, without listeners."""
    owners: Mapping[int, str]
    """The role of whoever holds a socket, by its cookie."""
    listening: Mapping[int, str]
    """The role of whoever listens on a port."""


class Meter:
    """Counts what goes over TCP from `begin` to `end`, in a block of its own."""

    def __init__(self, pids: Mapping[str, int], client: Elsewhere | None = None) -> None:
        """`pids`: processes by role; further processes of a role are `server.2`, `server.3`...
        `client`: the client, where it is none of them and talks to them.

        Raises OSError where this system does not count.
        """
        self._client = client
        self._pids = dict(pids)
        self._events = Ended()
        self._ended: list[Socket] = []
        self._before: Snapshot

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._take)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._events.fileno())
        self._events.__exit__()

    async def begin(self) -> None:
        """Count from now on."""
        self._take()
        self._ended.clear()
        self._before = await asyncio.to_thread(snapshot, self._pids)

    async def end(self) -> Wire:
        """What has gone over TCP since the beginning."""
        after = await asyncio.to_thread(snapshot, self._pids)
        self._take()
        return moved(self._before, after, self._ended, self._events.overflowed, self._client)

    def _take(self) -> None:
        self._ended += self._events.take()


def available() -> bool:
    """Whether this system counts."""
    try:
        dump()
    except OSError:
        return False
    return True


def snapshot(pids: Mapping[str, int]) -> Snapshot:
    """The sockets that there are, and who of `pids` (see Meter) holds which. A process that has
    ended, or is another user's, holds none. Raises OSError."""
    found = dump()
    roles = {inode: role.partition(".")[0] for role, pid in pids.items() for inode in _held(pid)}
    owners = {each.cookie: roles[each.inode] for each in found if each.inode in roles}
    return Snapshot(
        {each.cookie: each for each in found if each.state != LISTEN},
        owners,
        {
            each.local[1]: owners[each.cookie]
            for each in found
            if each.state == LISTEN and each.cookie in owners
        },
    )


def _held(pid: int) -> list[int]:
    """The inodes of the sockets that a process holds."""
    found = []
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                held = str(each.readlink())
                if held.startswith("socket:["):
                    found.append(int(held[8:-1]))
    return found


@dataclass(slots=True)
class _End:
    """One end of a connection, and what it has carried between the snapshots."""

    role: str
    other: bytes
    """The address of the other end."""
    step: Traffic
    opened: bool
    """Whether it was opened in between."""
    stands: bool
    """Whether it was there at the second snapshot."""


@dataclass(slots=True)
class _Connection:
    caller: _End | None = None
    callee: _End | None = None
    stranger: str = OUTSIDE
    """The role of an end that is not there."""

    @property
    def ends(self) -> list[_End]:
        return [end for end in (self.caller, self.callee) if end is not None]

    @property
    def roles(self) -> list[str]:
        return [end.role if end else self.stranger for end in (self.caller, self.callee)]


def moved(
    before: Snapshot,
    after: Snapshot,
    ended: Iterable[Socket] = (),
    overflowed: bool = False,
    client: Elsewhere | None = None,
) -> Wire:
    """What was carried between two snapshots. `ended`: the sockets that were destroyed meanwhile;
    `overflowed`: not all of them are there; `client`: see Meter."""
    known = Roles(before, after)
    lasts = {each.cookie: each for each in ended} | dict(after.sockets)
    connections: dict[frozenset[Place], list[_Connection]] = {}
    for cookie, last in lasts.items():
        if (role := known.of(last)) is None:
            continue
        first = before.sockets.get(cookie)
        end = _End(
            role,
            last.remote[0],
            _step(first.traffic if first else Traffic(), last.traffic),
            first is None,
            cookie in after.sockets and last.state == ESTABLISHED,
        )
        # Ports may be used again: who finds its place taken belongs to another connection.
        these = connections.setdefault(frozenset((last.local, last.remote)), [_Connection()])
        place = "callee" if last.local[1] in known.listening else "caller"
        if getattr(these[-1], place) is not None:
            these.append(_Connection())
        setattr(these[-1], place, end)
    all_of_them = [each for these in connections.values() for each in these]
    if client is not None:
        _find(client, all_of_them)
    clients = [each for each in all_of_them if CLIENT in each.roles]
    gone = [
        first
        for cookie, first in before.sockets.items()
        if cookie not in lasts and known.of(first) is not None
    ]
    return Wire(
        _flows(all_of_them),
        connections=sum(any(end.stands for end in each.ends) for each in clients),
        opened=sum(all(end.opened for end in each.ends) for each in clients),
        closed=sum(not any(end.stands for end in each.ends) for each in clients),
        uncounted=len(gone) + overflowed,
    )


def _find(client: Elsewhere, connections: Sequence[_Connection]) -> None:
    """Give a client that is elsewhere its role, at the connections that it has an end of."""
    hosts = {each.callee.other for each in connections if each.callee and not each.caller}
    for each in connections:
        caller = each.caller
        if caller is None or (caller.role == client.called_by and caller.other in hosts):
            each.stranger = CLIENT


class Roles:
    """Whose a socket is, or was."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self._owners = {**before.owners, **after.owners}
        self.listening = {**before.listening, **after.listening}
        """Roles by port."""
        calls: dict[Place, Counter[str]] = {}
        for each in (*before.sockets.values(), *after.sockets.values()):
            role = self._owners.get(each.cookie)
            if role is not None and each.local[1] not in self.listening:
                calls.setdefault(each.remote, Counter())[role] += 1
        self._callers = {place: seen.most_common(1)[0][0] for place, seen in calls.items()}

    def of(self, socket: Socket) -> str | None:
        """A socket's role; None for one of nobody here. Of one that was not seen in anyone's hands
        it is the role that listens on its port, or the one that mostly calls where it called, or
        else comes before it on the way from the client."""
        if (role := self._owners.get(socket.cookie)) is not None:
            return role
        if (role := self.listening.get(socket.local[1])) is not None:
            return role
        if socket.inode:
            return None
        if (role := self._callers.get(socket.remote)) is not None:
            return role
        callee = self.listening.get(socket.remote[1])
        return None if callee is None else self._before(callee)

    def _before(self, callee: str) -> str:
        here = {CLIENT, *self._owners.values(), *self.listening.values()}
        way = [role for role in _WAY if role in here]
        # A client that is called is called back.
        return way[way.index(callee) - 1] if callee in way else CLIENT


def _step(first: Traffic, last: Traffic) -> Traffic:
    return Traffic(
        last.bytes_sent - first.bytes_sent,
        last.bytes_received - first.bytes_received,
        (last.segs_out - first.segs_out) % _WRAP,
        (last.segs_in - first.segs_in) % _WRAP,
        (last.data_segs_out - first.data_segs_out) % _WRAP,
        (last.data_segs_in - first.data_segs_in) % _WRAP,
    )


def _flows(connections: Iterable[_Connection]) -> tuple[Flow, ...]:
    found: dict[tuple[str, str], list[int]] = {}
    for each in connections:
        roles = each.roles
        for sender, receiver, names in (
            (each.caller, each.callee, roles),
            (each.callee, each.caller, roles[::-1]),
        ):
            out = sender.step if sender else None
            into = receiver.step if receiver else None
            # A SYN-ACK is on no sender's account.
            answered = sender is not None and sender is each.callee and sender.opened
            total = found.setdefault((names[0], names[1]), [0, 0, 0])
            total[0] += out.bytes_sent if out else into.bytes_received if into else 0
            total[1] += max(out.segs_out + answered if out else 0, into.segs_in if into else 0)
            total[2] += max(out.data_segs_out if out else 0, into.data_segs_in if into else 0)
    return tuple(Flow(*names, *total) for names, total in sorted(found.items()))
