"""What a run must meet, in TOML: objectives, and how much worse than a baseline it may be."""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from harness.scenario import BadInput, in_words, read_toml
from harness.sections import Axis, Section

Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Worse = Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Cells = Axis[Annotated[str, Field(min_length=1)]]


class _Rules(Section):
    """Limits, each for all cells whose id one of the patterns fits (`*` and `?`)."""

    cells: Cells = Field(default=["*"])

    @model_validator(mode="after")
    def _limits_something(self) -> "_Rules":
        if not any(name != "cells" and value is not None for name, value in self):
            known = ", ".join(name for name in type(self).model_fields if name != "cells")
            raise ValueError(f"limits nothing; give one of: {known}")
        return self


class Objectives(_Rules):
    """What a cell's own figures must be: at most so many ms or µs, at least so many a second."""

    p50_ms: Limit | None = None
    p90_ms: Limit | None = None
    p99_ms: Limit | None = None
    p99_9_ms: Limit | None = None
    throughput_per_s: Limit | None = None
    client_cpu_us: Limit | None = None
    server_cpu_us: Limit | None = None


class Regressions(_Rules):
    """The ratio to the baseline that a cell may have: 1.1 allows a tenth more, and a throughput of
    0.9 a tenth less."""

    p50: Worse | None = None
    p99: Worse | None = None
    throughput: Share | None = None
    client_cpu: Worse | None = None
    server_cpu: Worse | None = None


class _File(Section):
    objective: list[Objectives] = Field(default=[])
    regression: list[Regressions] = Field(default=[])


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit and the cells that it is for."""

    where: str
    """Its key in the file, as in `objective[0].p99_ms`."""
    patterns: tuple[str, ...]
    key: str
    limit: float

    def matches(self, cell: str) -> bool:
        """Whether the rule is for a cell, by its id."""
        return any(fnmatch.fnmatchcase(cell, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Gate:
    """All rules of a file, in its order."""

    path: Path
    objectives: tuple[Rule, ...]
    regressions: tuple[Rule, ...]

    def unmatched(self, cells: Sequence[str]) -> list[str]:
        """A problem for each rule that is for none of these cells, which would pass in silence."""
        found = {}
        for rule in (*self.objectives, *self.regressions):
            if not any(map(rule.matches, cells)):
                table = rule.where.rpartition(".")[0]
                patterns = ", ".join(map(repr, rule.patterns))
                found[table] = (
                    f"{self.path}: {table}.cells: {patterns} fits no cell of this run; its cells:"
                    f" {', '.join(dict.fromkeys(cells))}"
                )
        return list(found.values())


def load_gate(path: Path) -> Gate:
    """The rules of a file. Raises BadInput with every mistake."""
    raw = read_toml(path)
    try:
        file = _File.model_validate(raw)
    except ValidationError as error:
        raise BadInput(
            f"{path}: {_key(mistake['loc'])}: {in_words(dict(mistake), _known(mistake['loc']))}"
            for mistake in error.errors()
        ) from None
    gate = Gate(
        path,
        tuple(_rules("objective", file.objective)),
        tuple(_rules("regression", file.regression)),
    )
    if not (gate.objectives or gate.regressions):
        raise BadInput([f"{path}: has no rule; give [[objective]] or [[regression]] tables"])
    return gate


def _rules(table: str, found: Sequence[_Rules]) -> Iterator[Rule]:
    for number, rules in enumerate(found):
        for name, value in rules:
            if name != "cells" and value is not None:
                yield Rule(f"{table}[{number}].{name}", tuple(rules.cells), name, value)


def _key(location: Iterable[int | str]) -> str:
    key = ""
    for piece in location:
        key += f"[{piece}]" if isinstance(piece, int) else f".{piece}" if key else piece
    return key


def _known(location: tuple[Any, ...]) -> list[str]:
    tables: dict[str, type[Section]] = {"objective": Objectives, "regression": Regressions}
    table = tables.get(location[0], _File) if len(location) > 1 else _File
    return list(table.model_fields)
