"""Which lane takes the next operation: the rule that decides how many connections a style needs."""

from collections import deque


class Lanes:
    """`connections` lanes from the start.

    A style that multiplexes keeps them and takes them in turn. One that does not takes the lane
    that was busy last, as most connection pools do, or a further one when all are busy. Without
    `kept` every operation takes a lane that was never used.
    """

    def __init__(self, connections: int, multiplexes: bool, kept: bool = True) -> None:
        self.opened = connections if kept else 0
        self._multiplexes = multiplexes and kept
        self.kept = kept
        self._free = deque(range(connections if kept else 0))

    def take(self) -> int:
        """A lane for one operation."""
        free = self._free
        if self._multiplexes:
            free.rotate(-1)
            return free[-1]
        if free:
            return free.pop()
        self.opened += 1
        return self.opened - 1

    def give(self, lane: int) -> None:
        """The operation on a lane has ended, or only waits."""
        if self.kept and not self._multiplexes:
            self._free.append(lane)

    def hold(self) -> "Hold":
        """A lane for one operation, to be released."""
        return Hold(self, self.take())


class Hold:
    """See clients.base.Held."""

    __slots__ = ("_lanes", "lane")

    def __init__(self, lanes: Lanes, lane: int) -> None:
        self._lanes = lanes
        self.lane = lane

    def rest(self) -> None:
        """See Held.rest."""
        if self._lanes.kept and self.lane >= 0:
            self._lanes.give(self.lane)
            self.lane = -1

    def resume(self) -> int:
        """See Held.resume."""
        if self.lane < 0:
            self.lane = self._lanes.take()
        return self.lane

    def release(self) -> None:
        """The operation has ended."""
        if self.lane >= 0:
            self._lanes.give(self.lane)
