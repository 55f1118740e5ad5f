"""Lines of a table: aligned, no wider than the terminal, coloured where that is allowed.

Each line holds all that belongs to it, so that it can be cut out and pasted. Away from a terminal nothing is wrapped:
there a line of text is a line of the table.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ganeval import result_text
from ganeval.cli.streams import answering
from ganeval.result_text import Cell as Cell

if TYPE_CHECKING:
    from typing import TextIO

_NARROWEST = 40  # columns; a narrower terminal wraps as it likes


def show(rows: Sequence[Sequence[Cell]], *, wrapped: bool = True) -> None:
    """Rows on stdout; ``wrapped``: on a terminal, none longer than that."""
    for line in aligned(rows, width=terminal_width() if wrapped else None, colour=coloured(sys.stdout)):
        write(line)


def write(text: str, stream: TextIO | None = None) -> None:
    """A line that may be coloured, on stdout or another stream; click would strip what FORCE_COLOR asks for."""
    stream = stream or sys.stdout
    with answering():  # what is written to stdout here is of the command
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
    """``ganeval.result_text.aligned``, coloured if so wanted."""
    return result_text.aligned(rows, width=width, style=partial(styled, colour=colour))


def styled(text: str, look: Mapping[str, Any] | None, colour: bool) -> str:
    return click.style(text, **look) if colour and look and text else text
