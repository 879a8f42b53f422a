"""Which lane takes the next operation: the rule that decides how many connections a style needs."""

from collections import deque


class Lanes:
    """`connections` lanes from the start.

    A style that multiplexes keeps them and takes them in turn. One that does not takes the lane
    that has rested longest, or a further one when all are busy.
    """

    def __init__(self, connections: int, multiplexes: bool) -> None:
        self.opened = connections
        self._multiplexes = multiplexes
        self._free = deque(range(connections))

    def take(self) -> int:
        """A lane for one operation."""
        if not self._free:
            self.opened += 1
            return self.opened - 1
        lane = self._free.popleft()
        if self._multiplexes:
            self._free.append(lane)
        return lane

    def give(self, lane: int) -> None:
        """The operation on a lane has ended."""
        if not self._multiplexes:
            self._free.append(lane)
