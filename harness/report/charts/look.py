"""The one visual language: a style has one colour and one mark, a variant of it one line style."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clients import catalog
from harness.analysis.summary import CellResult
from harness.analysis.verdicts import Status

PALETTE = (
    *("#4f5fb1", "#e6670a", "#00a95c", "#de69bc", "#a89320", "#3f97b5", "#ac5ddf"),
    *("#e00049", "#6aa23f", "#a54921", "#1d7423"),
)
"""Hues around Okabe and Ito's and four more, moved apart until any two of them differ for the
colour-blind too, with a luminance that is 3:1 or more on light and on dark paper."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "p", "*", "<", ">", "d")
"""One for each style of the catalog; together with colours they repeat only after 132 styles."""
SIZES = {"*": 1.5, "P": 1.15, "X": 1.15, "d": 1.25, "p": 1.1}
"""How many times as large a mark must be to look as large as the others."""
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 1.5, 1.5, 1.5))
LIGHT = {
    "paper": "#ffffff",
    "panel": "#f5f6f8",
    "ink": "#1b1f24",
    "muted": "#59636e",
    "line": "#dde1e6",
    "invalid": "#8a9199",
    "link": "#0b5cad",
    "valid": "#1a6b3c",
    "qualified": "#7a5200",
    "failed": "#a8201a",
}
DARK = {
    "paper": "#14171a",
    "panel": "#1c2024",
    "ink": "#e6e9ec",
    "muted": "#a2abb4",
    "line": "#33393f",
    "invalid": "#6a7179",
    "link": "#79b4f2",
    "valid": "#6ccb93",
    "qualified": "#e0b354",
    "failed": "#ff938a",
}
FONTS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'


@dataclass(frozen=True, slots=True)
class Look:
    """How a cell is drawn, everywhere."""

    colour: str
    """A colour, or `invalid`."""
    mark: str
    """As matplotlib names it."""
    dash: tuple[float, ...]
    """Lengths of strokes and gaps in line widths; empty for a solid line."""

    def size(self, pixels: float) -> float:
        """What the mark is to measure so that it looks so large."""
        return pixels * SIZES.get(self.mark, 1.0)


def looks(cells: Sequence[CellResult]) -> dict[str, Look]:
    """The look of each cell by its id.

    A style's place in the catalog decides colour and mark; styles that the catalog does not have
    come after it. Variants of a style, ways in which it was done, and classes of durability differ
    in their line.
    """
    styles = list(dict.fromkeys([*catalog.styles(), *(cell.info["style"] for cell in cells)]))
    ways: dict[str, list[tuple[str | None, ...]]] = {}
    found = {}
    for cell in cells:
        style = cell.info["style"]
        condition = cell.info["condition"]
        way = (cell.info["variant"], condition.get("durability"), *condition["how"])
        of_style = ways.setdefault(style, [])
        if way not in of_style:
            of_style.append(way)
        own = replace(look_of(style, styles), dash=DASHES[of_style.index(way) % len(DASHES)])
        if cell.verdict.status is Status.INVALID:
            own = replace(own, colour="invalid")
        found[cell.info["id"]] = own
    return found


def look_of(style: str, styles: Sequence[str]) -> Look:
    """The look of a style by its place among all `styles` of a page."""
    place = styles.index(style)
    return Look(PALETTE[place % len(PALETTE)], MARKS[place % len(MARKS)], DASHES[0])


def css(selector: str) -> str:
    """The colours as CSS variables of `selector`, light, and dark where the reader prefers it."""

    def block(colours: dict[str, str]) -> str:
        return selector + "{" + "".join(f"--{k}:{v};" for k, v in colours.items()) + "}"

    return f"{block(LIGHT)}@media (prefers-color-scheme:dark){{@media screen{{{block(DARK)}}}}}"
