"""From a template to a page. Every text is escaped."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.charts import look


def rendered(template: str, **values: Any) -> str:
    """A page by its template's file name."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"theme": Markup(look.css(":root")), "fonts": Markup(look.FONTS)}
    return found
