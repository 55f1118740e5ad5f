"""stdout carries the result and nothing else; notes, warnings, progress and errors go to stderr."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from ganeval.cli.lines import coloured, styled, write
from ganeval.cli.outputs import Outputs
from ganeval.cli.streams import OutputError, answering
from ganeval.parsing.variables import flag, rank_and_size
from ganeval.results import SCHEMA, one_line, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from ganeval.engine.loop import Progress


class _State:
    """What the options said, for messages that are written outside a command."""

    json = False
    quiet = False
    verbose = False
    first = True  # under torchrun, whether this is the rank that speaks and writes
    answered = False  # whether stdout has its document


def begin(arguments: Sequence[str]) -> None:
    """Look for ``--json`` before parsing, so that a usage error too is one JSON document.

    Raises:
        ConfigError: a variable of torchrun that is not a number.
    """
    pairs = pairwise(arguments)
    _State.json = (
        "--json" in arguments or "--format=json" in arguments or ("--format", "json") in pairs
        or os.environ.get("GANEVAL_FORMAT") == "json"
    )  # fmt: skip
    _State.quiet = _State.verbose = _State.answered = False
    _State.first = True  # until the variables are read, which can fail
    _State.json = _State.json or flag("GANEVAL_JSON")
    _State.first = rank() == 0


def rank() -> int:
    """That of this process under torchrun, else 0."""
    return rank_and_size()[0]


def ranks() -> int:
    """How many processes torchrun started, else 1."""
    return rank_and_size()[1]


def speaks() -> bool:
    """Whether this process writes to stdout and to files: under torchrun only the first rank does."""
    return _State.first


def also_json(asked: bool) -> None:
    """The configuration file may ask for JSON too."""
    _State.json = _State.json or asked


def configure(*, json: bool, quiet: bool, verbose: bool) -> None:
    """Set up from the parsed options; what the library logs becomes notes."""
    _State.json, _State.quiet, _State.verbose = json, quiet, verbose
    logger = logging.getLogger("ganeval")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    logger.handlers = [_Notes()]


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        start = "note: " if record.levelno >= logging.INFO else ""
        click.echo(f"{start}{record.getMessage()}", err=True)  # downloads are announced whatever --quiet says


def failure(kind: str, message: str, code: int) -> int:
    """One line on stderr, and under ``--json`` one document on stdout; returns the exit code."""
    if not _State.first and kind != "internal":  # the first rank fails with the same message
        return code
    if _State.json and _State.first and not _State.answered:
        with suppress(OSError, OutputError):  # stdout itself may be what failed
            say(to_json({"schema": SCHEMA, "error": {"kind": kind, "message": message}}))
    _say(one_line(" ".join(message.split())), "error:", "red")
    return code


def note(message: str) -> None:
    if _State.first and not _State.quiet:
        click.echo(f"note: {one_line(message)}", err=True)


def warning(message: str) -> None:
    if _State.first:
        _say(one_line(message), "warning:", "yellow")


def detail(message: str) -> None:
    """Said only with ``--verbose``."""
    if _State.first and _State.verbose:
        click.echo(message, err=True)


def answer(
    fields: Mapping[str, Any], text: str | Callable[[], None], *, fmt: str, target: Path | None,
    outputs: Outputs | None = None,
) -> None:  # fmt: skip
    """What a command found: the document into the file, if one was named, and one of the two forms on stdout.

    Args:
        text: the text form, or what prints it.
        outputs: what was tried already.

    Raises:
        OutputError: an output could not be written; stdout has the result all the same.
    """
    outputs = outputs or Outputs()
    if not _State.first:
        return
    if target is not None:
        from ganeval.files import write_text

        with outputs.attempt(target):
            write_text(target, to_json({"schema": SCHEMA, **fields, **outputs.fields}) + "\n")
    with outputs.attempt("stdout"):
        if fmt == "json":
            document({**fields, **outputs.fields})
        elif callable(text):
            text()
        elif text:
            say(text)
    outputs.finish()


def document(fields: Mapping[str, Any]) -> None:
    """The one JSON document of a run."""
    _State.answered = True
    say(to_json({"schema": SCHEMA, **fields}))


def say(text: str) -> None:
    """Text of the answer, on stdout."""
    with answering():
        click.echo(text)


def _say(message: str, kind: str, colour: str) -> None:
    """A line on stderr, its kind in colour where that is allowed."""
    write(f"{styled(kind, {'fg': colour, 'bold': True}, coloured(sys.stderr))} {message}", sys.stderr)


def progress(what: str, total: int | None) -> Progress:
    """A bar on a terminal; elsewhere a plain line every 30 seconds; nothing with ``--quiet``."""
    if _State.quiet or not _State.first:
        return _Lines(what, total, every=float("inf"))
    if sys.stderr.isatty():
        return _Bar(what, total)
    return _Lines(what, total, every=30.0)


class _Bar:
    """Progress for people."""

    def __init__(self, what: str, total: int | None) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=what, total=total, unit="img", file=sys.stderr, leave=False, dynamic_ncols=True)

    def update(self, n: int) -> None:
        self._bar.update(n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """Progress for logs."""

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
