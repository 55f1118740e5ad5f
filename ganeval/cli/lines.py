"""Lines of a table: aligned, no wider than the terminal, coloured where that is allowed.

Each line holds all that belongs to it, so that it can be cut out and pasted. Away from a terminal nothing is wrapped:
there a line of text is a line of the table.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ganeval.results import one_line

if TYPE_CHECKING:
    from typing import TextIO

_BETWEEN = 3  # spaces from column to column
_INDENT = "    "  # of what does not fit on a line
_NARROWEST = 40  # columns; a narrower terminal wraps as it likes


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry.

    Attributes:
        look: of ``click.style``: ``{"bold": True}``.
        loose: it takes no part in the width of its column; a sentence among numbers.
    """

    text: str
    look: Mapping[str, Any] | None = None
    loose: bool = False


def show(rows: Sequence[Sequence[Cell]], *, wrapped: bool = True) -> None:
    """Rows on stdout; ``wrapped``: on a terminal, none longer than that."""
    for line in aligned(rows, width=terminal_width() if wrapped else None, colour=coloured(sys.stdout)):
        write(line)


def write(text: str, stream: TextIO | None = None) -> None:
    """A line that may be coloured, on stdout or another stream; click would strip what FORCE_COLOR asks for."""
    stream = stream or sys.stdout
    click.echo(text, file=stream, color=coloured(stream))


def coloured(stream: TextIO) -> bool:
    """Whether to use colour: NO_COLOR forbids it, FORCE_COLOR asks for it, else a terminal that can show it decides."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none, or where hardly a word fits."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return width if width >= _NARROWEST else None


def aligned(rows: Sequence[Sequence[Cell]], *, width: int | None = None, colour: bool = False) -> list[str]:
    """Lines in which each column begins at one place; a row that is too long goes on in indented lines.

    >>> aligned([[Cell("FID"), Cell("7.25")], [Cell("precision"), Cell("0.9")]])
    ['FID         7.25', 'precision   0.9']
    """
    places = range(max((len(row) for row in rows), default=0))
    widths = [max((len(r[i].text) for r in rows if i < len(r) and not r[i].loose), default=0) for i in places]
    return [line for row in rows for line in _row(row, widths, width, colour)]


def _row(row: Sequence[Cell], widths: Sequence[int], width: int | None, colour: bool) -> list[str]:
    lines, line, at, left = [], "", 0, 0  # the place that the line has reached, and spaces still to be written
    for cell, column in zip(row, widths, strict=False):
        text = one_line(cell.text)
        if not text and not column:  # nobody has anything here
            continue
        if width is not None and at and at + left + len(text.rstrip()) > width:
            lines.append(line)
            *full, text = _wrapped(text, width - len(_INDENT))
            lines += [_INDENT + styled(piece, cell.look, colour) for piece in full]
            line, at, left, column = _INDENT, len(_INDENT), 0, 0
        line += " " * left + styled(text, cell.look, colour)
        at += left + len(text)
        left = max(0, column - len(text)) + _BETWEEN
    return [*lines, line]


def _wrapped(text: str, width: int) -> list[str]:
    """Pieces of at most this width; a path or another long word stays whole, so that it can be copied."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def styled(text: str, look: Mapping[str, Any] | None, colour: bool) -> str:
    return click.style(text, **look) if colour and look and text else text


def at_the_point(numbers: Sequence[str]) -> list[str]:
    """Numbers with their decimal points below each other.

    >>> at_the_point(["45.07", "0.986", "7"])
    ['45.07 ', ' 0.986', ' 7    ']
    """
    parts = [number.partition(".") for number in numbers]
    before, after = (max((len(p[i]) for p in parts), default=0) for i in (0, 2))
    point = 1 if after else 0
    return [f"{whole:>{before}}{dot:<{point}}{rest:<{after}}" for whole, dot, rest in parts]
