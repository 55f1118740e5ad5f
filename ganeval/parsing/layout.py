"""Text for people and programs: numbers with the digits that their error supports, columns, Markdown, JSON.

Nothing heavy is imported here, so that the command line starts at once.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

SchemaName = Literal["ganeval/1"]
SCHEMA: SchemaName = get_args(SchemaName)[0]
# The `$id` of each JSON Schema that `ganeval schema` prints: that of results has the version of the documents.
SCHEMA_IDS: Mapping[str, str] = {
    "result": f"urn:ganeval:schema:result:{SCHEMA.partition('/')[2]}",
    "config": "urn:ganeval:schema:config:1",
}
_OF_RESULTS = ("results", "gate", "error")  # keys of the documents that the schema of results is for
Style = Callable[[str, Mapping[str, Any] | None], str]
_BETWEEN = 3  # spaces from column to column
_INDENT = "    "  # of what does not fit on a line
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~#@&!])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def to_json(fields: Mapping[str, Any]) -> str:
    """One JSON document of the schema ``ganeval/1``; NaN and Infinity are refused, never printed.

    ``$schema``, the first key, names its JSON Schema where it has one: results, verdicts and failures.
    """
    names = {"$schema": SCHEMA_IDS["result"]} if any(key in fields for key in _OF_RESULTS) else {}
    return json.dumps({**names, "schema": SCHEMA, **fields}, indent=2, allow_nan=False)


def one_line(text: str) -> str:
    """Replace by spaces control characters, which a terminal or a log might obey, and those that turn text round."""
    return _CONTROL.sub(" ", text)


# --- numbers ----------------------------------------------------------------------------------------------------------


def decimals(scale: float) -> int:
    """Decimals that show ``scale`` with two significant digits, between 2 and 8."""
    if not math.isfinite(scale) or scale <= 0:
        return 2
    return min(8, max(2, 1 - math.floor(math.log10(scale))))


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals; beyond a billion with six significant digits and a power of ten."""
    return f"{value:.{digits}f}" if abs(value) < 1e9 else f"{value:.6g}"


def format_number(value: float, standard_error: float | None) -> str:
    """A number with as many decimals as its standard error supports; without one, with four significant digits."""
    if standard_error or abs(value) >= 1e9:
        return fixed(value, decimals(standard_error or 0.0))
    return f"{value:.{max(2, min(8, 3 - math.floor(math.log10(abs(value)))))}f}" if abs(value) > 1e-12 else "0.00"


def span(low: float, high: float) -> str:
    """The ends of an interval, with the digits that its length supports.

    >>> span(11.1, 11.94)
    '11.10 to 11.94'
    """
    digits = decimals(high - low)
    return f"{fixed(low, digits)} to {fixed(high, digits)}"


def image_counts(n_real: int | None, n_fake: int | None, unit: str = "fake") -> str:
    """The numbers of images that are known.

    >>> image_counts(None, 10)
    '10 fake'
    """
    return ", ".join(f"{n} {name}" for n, name in ((n_real, "real"), (n_fake, unit)) if n is not None)


# --- columns ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a table.

    Attributes:
        look: of ``click.style``: ``{"bold": True}``.
        loose: the entry takes no part in the width of its column: a sentence among numbers.
    """

    text: str
    look: Mapping[str, Any] | None = None
    loose: bool = False


def aligned(
    rows: Sequence[Sequence[Cell | str]], *, width: int | None = None, style: Style = lambda text, look: text
) -> list[str]:
    """Lines in which each column begins at one place; a row that is too long goes on in indented lines.

    >>> aligned([["FID", "7.25"], ["precision", "0.9"]])
    ['FID         7.25', 'precision   0.9']
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    places = range(max(map(len, cells), default=0))
    widths = [max((len(r[i].text) for r in cells if i < len(r) and not r[i].loose), default=0) for i in places]
    return [line for row in cells for line in _row(row, widths, width, style)]


def _row(row: Sequence[Cell], widths: Sequence[int], width: int | None, style: Style) -> list[str]:
    lines, line, at, left = [], "", 0, 0  # the place that the line has reached, and spaces still to be written
    for cell, column in zip(row, widths, strict=False):
        text = one_line(cell.text)
        if not text and not column:  # no row has text in this column
            continue
        if width is not None and at and at + left + len(text.rstrip()) > width:
            lines.append(line)
            # A path or another long word stays whole, so that it can be copied.
            *full, text = textwrap.wrap(text, width - len(_INDENT), break_long_words=False, break_on_hyphens=False) or [
                ""
            ]
            lines += [_INDENT + style(piece, cell.look) for piece in full]
            line, at, left, column = _INDENT, len(_INDENT), 0, 0
        line += " " * left + style(text, cell.look)
        at += left + len(text)
        left = max(0, column - len(text)) + _BETWEEN
    return [*lines, line]


def at_the_point(numbers: Sequence[str]) -> list[str]:
    """Numbers with their decimal points below each other.

    >>> at_the_point(["45.07", "0.986", "7"])
    ['45.07 ', ' 0.986', ' 7    ']
    """
    parts = [number.partition(".") for number in numbers]
    before, after = (max((len(p[i]) for p in parts), default=0) for i in (0, 2))
    point = 1 if after else 0
    return [f"{whole:>{before}}{dot:<{point}}{rest:<{after}}" for whole, dot, rest in parts]


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]], fmt: str) -> str:
    """A table with a header, as text or, for the format ``md``, in Markdown."""
    return markdown_table(header, rows) if fmt == "md" else "\n".join(aligned([header, *rows]))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that pastes into a pull request; whatever the cells hold, it stays a table."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *cells])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line.

    >>> escaped("x < 3")
    'x &lt; 3'
    """
    return _MARKDOWN.sub(r"\\\1", one_line(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")
