"""What happens to a broker in the middle of a trial, on purpose."""

import asyncio
import time
from collections.abc import Callable

from harness.rig.broker import Broker
from harness.sections import Fault as FaultShape
from protos.broker import BrokerAddress


class Fault:
    """The death of a node that was chosen before the load began, and its return."""

    def __init__(
        self, shape: FaultShape, broker: Broker, node: str, tell: Callable[[str, str], None]
    ) -> None:
        self._shape = shape
        self._broker = broker
        self._node = node
        self._tell = tell

    async def happen(self, began_ns: int) -> None:
        """Kill the node at its instant and start it again; returns when it takes part. Raises
        RigError when it does not."""
        shape = self._shape
        await asyncio.sleep(max(0.0, (began_ns - time.monotonic_ns()) / 1e9 + shape.at_s))
        killing = asyncio.create_task(self._broker.kill(self._node, shape.wipe))
        try:
            await asyncio.shield(killing)
            wiped = ", its folder removed" if shape.wipe else ""
            self._tell("killed", f"{self._node}, the leader of the first partition{wiped}")
            await asyncio.sleep(shape.back_s)
        finally:
            # The next trial needs it, even where this one is given up.
            await killing
            await self._broker.restart(self._node)
        self._tell("restarted", self._node)


async def prepare_fault(
    shape: FaultShape,
    broker: Broker,
    address: BrokerAddress,
    tell: Callable[[str, str], None],
) -> Fault:
    """Choose whom it will hit; `tell` takes what happens (kind, detail). Raises RigError."""
    name = address.orders if address.kind == "kafka" else address.queue(0)
    return Fault(shape, broker, await broker.leader(name), tell)
