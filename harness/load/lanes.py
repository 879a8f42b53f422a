"""Which lane takes the next operation: the rule that decides how many connections a style needs."""

from collections import deque


class Lanes:
    """`connections` lanes from the start.

    A style that multiplexes keeps them and takes them in turn. One that does not takes the lane
    that was busy last, as most connection pools do, or a further one when all are busy.
    """

    def __init__(self, connections: int, multiplexes: bool) -> None:
        self.opened = connections
        self._multiplexes = multiplexes
        self._free = deque(range(connections))

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
        """The operation on a lane has ended."""
        if not self._multiplexes:
            self._free.append(lane)
