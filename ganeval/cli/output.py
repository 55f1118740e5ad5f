"""Messages of the command line: stdout has the result alone; notes, warnings, progress and errors go to stderr."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from ganeval.cli.outputs import Outputs
from ganeval.cli.streams import OutputError, answering
from ganeval.parsing.layout import Cell, aligned, markdown_table, one_line, to_json
from ganeval.parsing.variables import flag, rank_and_size

if TYPE_CHECKING:
    from pathlib import Path

    from ganeval.engine.config import Progress

_NARROWEST = 40  # columns; a narrower terminal wraps as it likes


class _State:
    """The output options, for messages that are written outside a command."""

    json = False
    quiet = False
    verbose = False
    first = True  # whether this process writes: under torchrun only the first rank does
    answered = False  # whether stdout has its document


def begin(arguments: Sequence[str]) -> None:
    """Look for ``--json`` before parsing, so that a usage error is one JSON document too.

    Raises:
        ConfigError: a variable of torchrun is not a number.
    """
    pairs = pairwise(arguments)
    _State.json = (
        "--json" in arguments
        or "--format=json" in arguments
        or ("--format", "json") in pairs
        or os.environ.get("GANEVAL_FORMAT") == "json"
    )
    _State.quiet = _State.verbose = _State.answered = False
    _State.first = True  # until the variables are read: reading them can fail
    _State.json = _State.json or flag("GANEVAL_JSON")
    _State.first = rank_and_size()[0] == 0
    configure(json=_State.json, quiet=False, verbose=False)  # plugins may fail before the options are read


def speaks() -> bool:
    """Whether this process writes to stdout and to files: under torchrun only the first rank does."""
    return _State.first


def also_json(asked: bool) -> None:
    """Write JSON where the configuration file asks for it."""
    _State.json = _State.json or asked


def configure(*, json: bool, quiet: bool, verbose: bool) -> None:
    """Apply the parsed options; messages that the library logs become notes."""
    _State.json, _State.quiet, _State.verbose = json, quiet, verbose
    logger = logging.getLogger("ganeval")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    logger.handlers = [_Notes()]


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        start = "note: " if record.levelno >= logging.INFO else ""
        click.echo(f"{start}{record.getMessage()}", err=True)  # --quiet does not hide downloads


def failure(kind: str, message: str, code: int) -> int:
    """Print one line on stderr, and with ``--json`` one document on stdout; return the exit code."""
    if not _State.first and kind != "internal":  # the first rank fails with the same message
        return code
    if _State.json and _State.first and not _State.answered:
        with suppress(OSError, OutputError):  # stdout itself may be what failed
            say(to_json({"error": {"kind": kind, "message": message}}))
    _say(one_line(" ".join(message.split())), "error:", "red")
    return code


def note(message: str) -> None:
    if _State.first and not _State.quiet:
        click.echo(f"note: {one_line(message)}", err=True)


def warning(message: str) -> None:
    if _State.first:
        _say(one_line(message), "warning:", "yellow")


def detail(message: str) -> None:
    """Print a message with ``--verbose`` only."""
    if _State.first and _State.verbose:
        click.echo(message, err=True)


def answer(
    fields: Mapping[str, Any],
    text: str | Sequence[Sequence[Cell | str]] | Callable[[], None],
    *,
    fmt: str,
    target: Path | None,
    header: Sequence[str] = (),
    outputs: Outputs | None = None,
) -> None:
    """Write the answer of a command: the document to a file, if one was named, and one of the two forms to stdout.

    Args:
        text: the text form: lines, the rows of a table, or a function that prints it.
        header: the columns of these rows, for a table in Markdown.
        outputs: the outputs that were attempted already.

    Raises:
        OutputError: an output could not be written; stdout has the result all the same.
    """
    outputs = outputs or Outputs()
    if not _State.first:
        return
    if target is not None:
        from ganeval.files import write_text

        with outputs.attempt(target):
            write_text(target, to_json({**fields, **outputs.fields}) + "\n")
    with outputs.attempt("stdout"):
        if fmt == "json":
            document({**fields, **outputs.fields})
        elif callable(text):
            text()
        elif isinstance(text, str):
            if text:
                say(text)
        elif fmt == "md":
            rows = [[cell if isinstance(cell, str) else cell.text for cell in row] for row in text]
            say(markdown_table(header, rows))
        else:
            show(text)
    outputs.finish()


def document(fields: Mapping[str, Any]) -> None:
    """Print the one JSON document of a run."""
    _State.answered = True
    say(to_json(fields))


def say(text: str) -> None:
    """Print text of the answer on stdout."""
    with answering():
        click.echo(text)


def show(rows: Sequence[Sequence[Cell | str]], *, wrapped: bool = True) -> None:
    """Print the rows of a table on stdout: aligned, in colour where that is allowed.

    Each line holds all that belongs to it, so that it can be cut out and pasted. Away from a terminal nothing is
    wrapped: there a line of text is a line of the table.

    Args:
        wrapped: on a terminal, no line is longer than its width.
    """
    width = shutil.get_terminal_size().columns if wrapped and sys.stdout.isatty() else 0
    style = partial(styled, colour=coloured(sys.stdout))
    for line in aligned(rows, width=width if width >= _NARROWEST else None, style=style):
        write(line)


def write(text: str, stream: TextIO | None = None) -> None:
    """Print a line that may be coloured; click alone would strip the colour that FORCE_COLOR asks for."""
    stream = stream or sys.stdout
    with answering():
        click.echo(text, file=stream, color=coloured(stream))


def coloured(stream: TextIO) -> bool:
    """Whether to use colour: NO_COLOR forbids it, FORCE_COLOR asks for it, else a terminal that can show it decides."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, look: Mapping[str, Any] | None, colour: bool) -> str:
    return click.style(text, **look) if colour and look and text else text


def _say(message: str, kind: str, colour: str) -> None:
    """Print a line on stderr, its kind in colour where that is allowed."""
    write(f"{styled(kind, {'fg': colour, 'bold': True}, coloured(sys.stderr))} {message}", sys.stderr)


def progress(what: str, total: int | None) -> Progress:
    """A progress bar on a terminal; elsewhere a plain line every 30 seconds; nothing with ``--quiet``."""
    if _State.quiet or not _State.first:
        return _Lines(what, total, every=float("inf"))
    if sys.stderr.isatty():
        from tqdm import tqdm

        return cast("Progress", tqdm(desc=what, total=total, unit="img", leave=False, dynamic_ncols=True))
    return _Lines(what, total, every=30.0)


class _Lines:
    """Progress as lines of a log."""

    def __init__(self, what: str, total: int | None, *, every: float) -> None:
        self.what, self.total, self.every = what, total, every
        self.done, self.started = 0, time.monotonic()
        self.last = self.started
        detail(f"{what}: {'' if total is None else f'{total} '}images")

    def update(self, n: int) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            rate = self.done / (now - self.started)
            of, left = "", ""
            if self.total:
                of, left = f" of {self.total}", f", about {(self.total - self.done) / rate:.0f} s left"
            click.echo(f"{self.what}: {self.done}{of} images, {rate:.1f} a second{left}", err=True)

    def close(self) -> None:
        pass
