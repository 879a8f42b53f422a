"""What a worker sees of a generator that it runs, in this machine's clock."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from harness.hosts.identity import boot_id
from harness.hosts.remote import ANSWER_LIMIT_S, RemoteLoad
from harness.journal import Notes
from harness.load_process import TrialFailed
from harness.sampling import Sampler

LARGEST_SEEN = 512 << 20
"""Bytes of what a worker has seen of a trial: some 150 MB in a day."""


class RemoteSampler:
    """As harness.sampling.Sampler, of a generator and its worker."""

    def __init__(self, load: RemoteLoad, notes: Notes) -> None:
        self._load = load
        self._notes = notes
        self._stopping: asyncio.Task[None]
        self.wire: dict[str, Any] | None = None
        """See Sampler."""

    async def rest(self, seconds: float) -> None:
        """See Sampler."""
        await self._ask("rest", seconds, seconds=seconds)

    async def watch(self, began: int, start: int, end: int) -> None:
        """See Sampler."""
        there, length_s = self._load.clock.there, (end - time.monotonic_ns()) / 1e9
        await self._ask("watch", length_s, began=there(began), start=there(start), end=there(end))

    def stop(self, at: int) -> None:
        """See Sampler."""
        load = self._load
        told = load.member.say("cut", load=load.number, at=load.clock.there(at))
        self._stopping = asyncio.create_task(told)

    async def _ask(self, what: str, length_s: float, **fields: Any) -> None:
        load, notes = self._load, self._notes
        await load.member.say(what, load=load.number, cell=notes.cell, trial=notes.trial, **fields)
        first = await load.told_of("seen", length_s + ANSWER_LIMIT_S)
        try:
            seen = b"".join([data async for data in load.data_from(first, LARGEST_SEEN)])
            self._note(json.loads(seen))
        except (KeyError, TypeError, ValueError) as error:
            words = f"{load.member.name} saw what makes no sense"
            raise TrialFailed(f"{words} ({type(error).__name__}: {error})") from None

    def _note(self, seen: Mapping[str, Any]) -> None:
        here, notes = self._load.clock.here, self._notes
        notes.telemetry.extend({**row, "at": here(row["at"])} for row in seen["telemetry"])
        for event in seen["events"]:
            detail = json.loads(event["detail"])
            if event["kind"] == "processors":
                boot = self._load.member.boot
                machine = "" if boot == boot_id() else boot
                detail |= {"at": here(detail["at"]), "machine": machine}
                event = {**event, "at": here(event["at"]), "detail": json.dumps(detail)}
                notes.events.append(event)
        if (counted := seen["wire"]) is not None:
            self.wire = {**counted, "from": here(counted["from"]), "to": here(counted["to"])}


def wires(samplers: Sequence[Sampler | RemoteSampler]) -> dict[str, Any] | None:
    """What all have counted, as one; None where one did not count."""
    counted = [each.wire for each in samplers if each.wire is not None]
    if not counted or len(counted) < len(samplers):
        return None
    return {
        "from": min(each["from"] for each in counted),
        "to": max(each["to"] for each in counted),
        "flows": [flow for each in counted for flow in each["flows"]],
        **{
            name: sum(each[name] for each in counted)
            for name in ("connections", "opened", "closed", "uncounted")
        },
    }
