"""How far another machine's clock is from this one's. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer, in nanoseconds of CLOCK_MONOTONIC."""

    asked: int
    """Here."""
    there: int
    """What the other clock showed meanwhile."""
    heard: int
    """Here."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Another machine's CLOCK_MONOTONIC, seen from here."""

    offset_ns: int = 0
    """How far it is ahead."""
    error_ns: int = 0
    """How wrong that can be, either way."""

    def there(self, at_ns: int) -> int:
        """An instant here as that clock shows it."""
        return at_ns + self.offset_ns

    def here(self, at_ns: int) -> int:
        """What that clock shows, as an instant here."""
        return at_ns - self.offset_ns


def clock_of(exchanges: Iterable[Exchange]) -> Clock:
    """By the exchange that took the least time, as NTP's clock filter does (RFC 5905, 10): the
    answer was given at some instant of it, so that half of its length bounds the error.

    Raises ValueError without exchanges.
    """
    best = min(exchanges, key=lambda each: each.heard - each.asked)
    length = best.heard - best.asked
    return Clock(best.there - (best.asked + length // 2), length - length // 2)
