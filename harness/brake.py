"""How a run is ended before its time without losing what was sent."""

from collections.abc import Callable


class Brake:
    """Pulled once; the trial that is under load then stops planning, drains, and is kept."""

    def __init__(self) -> None:
        self.pulled = False
        self.stop: Callable[[], None] | None = None
        """Stops the load of the trial that has begun to send; None where there is none."""

    def pull(self) -> bool:
        """Whether there is a trial that will end by itself; if not, nothing was sent."""
        again, self.pulled = self.pulled, True
        if self.stop is None:
            return False
        if not again:
            self.stop()
        return True
