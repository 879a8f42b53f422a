"""What a chart shows, as data and words: this is what is drawn, read out and tested."""

from dataclasses import dataclass

from harness.report.charts.look import Look


@dataclass(frozen=True, slots=True)
class Series:
    """What one line or one bar shows."""

    cell: str
    label: str
    style: str
    look: Look
    x: tuple[float | str, ...]
    """Percentiles of a line; the names of a bar's parts."""
    y: tuple[float, ...]
    unit: str
    figures: str
    """The figures that matter, in words."""
    note: str = ""
    """What must be said beside the label."""
    parts: int = 1
    """Of how many parts a bar is; some may not have been measured."""
    censored_at: float | None = None
    """The first percentile that was not answered within the timeout, if that ends the line."""
    marked: tuple[float, float] | None = None
    """A point that stands out."""
    band: tuple[tuple[float, float], ...] = ()
    """The lowest and the highest trial at each `x`, where a line is the middle of several."""
    instants: tuple[tuple[float, str], ...] = ()
    """Seconds at which something happened, and what, where a line runs over time."""

    @property
    def said(self) -> str:
        """The label with its note."""
        return f"{self.label} ({self.note})" if self.note else self.label

    @property
    def alt(self) -> str:
        """What is shown, in words."""
        happened = "".join(f", {what} at {at:.3g} s" for at, what in self.instants)
        return f"{self.said} {self.figures}{happened}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A cell that a panel cannot show, and why."""

    cell: str
    label: str
    why: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The cells of one load, in the order of the run."""

    title: str
    loop: str
    """`open loop` or `closed loop`; a panel never holds both."""
    x_label: str
    y_label: str
    rows: tuple[Series | Missing, ...]
    planned_per_s: float | None = None
    """The rate of an open loop, where a chart compares with it."""
    level: tuple[float, str] | None = None
    """A height that is marked across the panel, and what it is."""
    notes: tuple[str, ...] = ()
    """What the curves show together, a line each."""
    svg: str = ""
    """For inlining; themed by the page's CSS variables."""

    @property
    def series(self) -> tuple[Series, ...]:
        """What is drawn."""
        return tuple(row for row in self.rows if isinstance(row, Series))

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What is named in its place."""
        return tuple(row for row in self.rows if isinstance(row, Missing))

    @property
    def alt(self) -> str:
        """The panel in words, with its figures."""
        said = [one.alt for one in self.series]
        said += [f"{one.label} is not shown ({one.why})" for one in self.missing]
        said += [self.level[1]] if self.level else []
        said += self.notes
        loop = "" if self.title.startswith(self.loop) else f" ({self.loop})"
        return f"{self.title}{loop}: {'; '.join(said)}."


@dataclass(frozen=True, slots=True)
class Chart:
    """One kind of figure for the whole run, a panel a load."""

    name: str
    """Also the file's stem."""
    title: str
    caption: str
    """How to read it."""
    panels: tuple[Panel, ...]
    durability: str = ""
    """What an acknowledgement promises in these cells, where that must be said."""
    folded: bool = False
    """Whether it is shown only to who asks for it."""

    @property
    def alt(self) -> str:
        """The chart in words, with its figures."""
        said = [f"{self.title}.", *(panel.alt for panel in self.panels), self.durability]
        return " ".join(part for part in said if part)

    @property
    def series(self) -> tuple[Series, ...]:
        """All that is drawn, panel by panel."""
        return tuple(one for panel in self.panels for one in panel.series)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """All that is named in its place, panel by panel."""
        return tuple(one for panel in self.panels for one in panel.missing)
