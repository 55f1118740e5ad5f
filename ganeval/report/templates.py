"""The templates of the page, with one rule: all text is escaped, and an unknown name is an error."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

HERE = Path(__file__).parent


def render(template: str, **values: Any) -> Markup:
    """Fill in a template of this folder."""
    return Markup(_environment().get_template(template).render(**values))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # An allowed line break before the name of a metric's network.
    environment.filters["label"] = lambda label: Markup("<wbr>[").join(label.split("["))
    return environment
