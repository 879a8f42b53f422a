"""Interleaved rounds, their medians and spreads."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

NOISY = 0.10
Measure = Callable[[], Awaitable[float]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """The median of some rounds and their spread, (largest - smallest) / median."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def words(self, unit: str, digits: int = 0) -> str:
        """As printed; a spread over NOISY is said."""
        noisy = "  too noisy, run again" if self.spread > NOISY else ""
        return f"{self.median:,.{digits}f} {unit}  (spread {self.spread:.0%}){noisy}"


async def interleaved(measures: Mapping[str, Measure], rounds: int) -> dict[str, Line]:
    """Take all measures in turn; see taken."""
    found = await taken(measures, rounds, float)
    return {name: Line(tuple(values)) for name, values in found.items()}


async def taken(
    takes: Mapping[str, Callable[[], Awaitable[T]]], rounds: int, shown: Callable[[T], float]
) -> dict[str, list[T]]:
    """What all give in turn, `rounds` times over, every other round backwards; `shown` of each is
    printed as it comes."""
    found: dict[str, list[T]] = {name: [] for name in takes}
    for number in range(rounds):
        names = list(takes) if number % 2 == 0 else list(takes)[::-1]
        for name in names:
            found[name].append(await takes[name]())
            figure = shown(found[name][-1])
            print(f"  round {number + 1}/{rounds}  {name}: {figure:,.1f}", flush=True)
    return found


def ratio(of: Line, to: Line) -> Line:
    """Round by round, so that what the machine did to both cancels out."""
    return Line(tuple(a / b for a, b in zip(of.values, to.values, strict=True)))


@dataclass(frozen=True, slots=True)
class Need:
    """What an issue asks of the ratio of two figures; nothing, where neither limit is set."""

    of: str
    to: str
    least: float = 0.0
    most: float = float("inf")

    def words(self, lines: Mapping[str, Line]) -> str:
        """The ratio and the requirement."""
        found = ratio(lines[self.of], lines[self.to])
        met = self.least <= found.median <= self.most
        asked = ""
        if self.least or self.most < float("inf"):
            limit = f"at least {self.least:g}" if self.least else f"at most {self.most:g}"
            asked = f"({limit}: {'met' if met else 'MISSED'})"
        return f"{self.of} / {self.to}: {found.words(asked, 2)}"
