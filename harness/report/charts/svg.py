"""From a matplotlib figure to SVG that lives in a page: themed by CSS variables, text as text."""

import re
import textwrap
from collections.abc import Callable, Sequence
from html import escape
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

from harness.report.charts import look

# Colours that stand for CSS variables while matplotlib draws; nothing else may use them.
SENTINELS = {name: f"#{number:02x}fe01" for number, name in enumerate(look.LIGHT, 1)}
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_COLOUR = re.compile("|".join(SENTINELS.values()))
_VARIABLES = {colour: f"var(--{name})" for name, colour in SENTINELS.items()}
_DECIMALS = {"style": re.compile(r"(\d+\.\d{2})\d+")} | dict.fromkeys(
    ("d", "transform", "x", "y"), re.compile(r"(\d+\.\d)\d+")
)
"""What is left of the numbers in each attribute: a tenth of a pixel is more than a screen has."""
_URL = re.compile(r"url\(#([^)]+)\)")
_FAMILY = re.compile(r"font:\s*(?:(bold|\d+)\s+)?([\d.]+)px[^;]*")
GAP = 16
TITLE = 30
NOTE_LINE, NOTE_CHARACTER = 17, 6.6


def colour(name: str) -> str:
    """What to give matplotlib for a theme's colour; a plain colour stays as it is."""
    return SENTINELS.get(name, name)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in CSS pixels."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    return figure


def to_svg(draw: Callable[[], Figure], prefix: str, alt: str) -> str:
    """What `draw` makes as an SVG element for inlining: the same for the same figure.

    Every id begins with `prefix`, so that pictures with different prefixes can share a page. `alt`
    is read out in the picture's place. `draw` runs under matplotlib's defaults, whatever the user's
    own are, and takes no text for mathematics.
    """
    out = StringIO()
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": prefix,
        "text.parse_math": False,
    }
    with style.context(["default", settings]):
        canvas: Any = FigureCanvasSVG(draw())
        canvas.print_svg(out, metadata={"Date": None})
    root = ElementTree.fromstring(out.getvalue())
    _strip(root)
    _rename_ids(root, prefix)
    width, height = (root.attrib.pop(side).removesuffix("pt") for side in ("width", "height"))
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": alt,
        "stroke-linejoin": "round",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _strip(root: ElementTree.Element) -> None:
    """Take out what only an SVG file of its own needs, and what the theme decides."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_NAMESPACE}metadata", f"{_NAMESPACE}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
        element.tail = None
        if element.text and not element.text.strip():
            element.text = None
        if _HREF in element.attrib:
            element.attrib["href"] = element.attrib.pop(_HREF)
        for key, decimals in _DECIMALS.items():
            if key in element.attrib:
                value = " ".join(decimals.sub(r"\1", element.attrib[key]).split())
                value = _FAMILY.sub(_font, value)
                element.attrib[key] = _COLOUR.sub(lambda m: _VARIABLES[m[0]], value)


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}px"


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href":
                used.add(value.removeprefix("#"))
                element.attrib[key] = f"#{prefix}-{value.removeprefix('#')}"
            elif key != "aria-label":
                used.update(_URL.findall(value))
                element.attrib[key] = _URL.sub(rf"url(#{prefix}-\1)", value)
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in used:
            element.attrib["id"] = f"{prefix}-{own}"


def composed(title: str, alt: str, panels: Sequence[str], note: str = "", columns: int = 3) -> str:
    """Pictures made by `to_svg`, put side by side below a `note` as one SVG file that works
    alone."""
    sizes = [[float(side) for side in re.findall(r"[\d.]+", _view_box(svg))[2:]] for svg in panels]
    columns = max(1, min(columns, len(panels)))
    width = max((w for w, _ in sizes), default=360.0)
    whole = GAP + columns * (width + GAP)
    lines = textwrap.wrap(note, int((whole - 2 * GAP) / NOTE_CHARACTER))
    placed, top = [], float(TITLE + GAP + NOTE_LINE * len(lines))
    for start in range(0, len(panels), columns):
        row = range(start, min(start + columns, len(panels)))
        for i in row:
            left = GAP + (i - start) * (width + GAP)
            wide, tall = sizes[i]
            place = f'<svg x="{left:g}" y="{top:g}" width="{wide:g}" height="{tall:g}"'
            placed.append(panels[i].replace("<svg", place, 1))
        top += max(sizes[i][1] for i in row) + GAP
    noted = "".join(
        f'<text x="{GAP}" y="{TITLE + NOTE_LINE * number}"'
        f' style="font-size:12px;fill:var(--muted)">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
    )
    rules = f"{look.css('svg')}text{{font-family:{look.FONTS};}}svg{{background:var(--paper);}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {top:g}" width="{whole:g}"'
        f' height="{top:g}" role="img" aria-label="{escape(alt)}"><style>{rules}</style>'
        f'<text x="{GAP}" y="{TITLE}" style="font-size:16px;font-weight:600;fill:var(--ink)">'
        f"{escape(title)}</text>{noted}{''.join(placed)}</svg>\n"
    )


def _view_box(svg: str) -> str:
    found = re.search(r'viewBox="([^"]*)"', svg)
    assert found is not None
    return found[1]


def mark_points(mark: str, size: float) -> str:
    """A mark as the points of an SVG polygon around 0, 0; `size` is its width in pixels."""
    shape = MarkerStyle(mark)
    path = shape.get_path().transformed(shape.get_transform() + Affine2D().scale(size, -size))
    polygon = np.asarray(path.to_polygons(closed_only=True)[0])
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in polygon)
