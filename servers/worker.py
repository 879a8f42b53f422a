"""What a worker does with a message, whatever broker it came from."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orders.errors import OrderError
from orders.model import Confirmation
from protos.arrivals import Arrivals
from protos.codec import Codec
from protos.codecs import BY_MEDIA_TYPE, JSON
from protos.context import NOTHING, Context
from protos.problems import Problem
from protos.stamp import read_stamp
from servers.base import Desk, refusal


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: `problem` is the code of a refusal, whose detail is the body; else empty."""

    body: bytes
    problem: str = ""


class Worker:
    """The order core behind a broker.

    A message that wants a reply is a command: many are worked on at a time, as many as the consumer
    takes in advance. One that wants none is an event: a worker does one after the other, so that
    their order is kept as far as the broker keeps it.
    """

    def __init__(self, desk: Desk, number: int) -> None:
        self._desk = desk
        self.arrivals = Arrivals(number)

    async def answer(self, body: bytes, media_type: str = "", context: Context = NOTHING) -> Answer:
        """The reply to an order, refusals included."""
        codec = codec_for(media_type)
        result: Confirmation | Problem
        try:
            result = await self._desk.place(codec.decode_order(body), context)
        except Exception as error:
            result = refusal(error)
        if isinstance(result, Problem):
            return Answer(result.detail.encode(), result.code)
        return Answer(codec.encode_confirmation(result))

    async def process(
        self, body: bytes, stamp: bytes, partition: int, media_type: str = ""
    ) -> None:
        """Work on an order that nobody waits for, and note that it arrived, whatever it holds."""
        read = read_stamp(stamp)
        intact = read is not None and read.fits(body)
        if intact:
            try:
                await self._desk.place(codec_for(media_type).decode_order(body))
            except OrderError:
                intact = False
        producer, sequence = (read.producer, read.sequence) if read is not None else (0, 0)
        self.arrivals.add(producer, sequence, time.monotonic_ns(), partition, intact)


def codec_for(media_type: str) -> Codec:
    """The codec of a message; JSON where none is named."""
    return BY_MEDIA_TYPE.get(media_type, JSON)


def changes_wanted() -> bool:
    """Whether somebody will watch: a broker cannot tell, so whoever starts a worker does."""
    return os.environ.get("ORDERBENCH_CHANGES") == "1"


async def every(
    interval_s: float, action: Callable[[], None] | Callable[[], Awaitable[None]]
) -> None:
    """Do something again and again, first after `interval_s` seconds, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        awaited = action()
        if awaited is not None:
            await awaited
