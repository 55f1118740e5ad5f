"""Standard streams that are closed, or whose reader has gone: their text is dropped, and the run goes on.

The run still measures, writes its files, and ends with the exit code of its result.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from ganeval.errors import GanEvalError

_NO_READER = (errno.EPIPE, errno.EBADF, errno.ESHUTDOWN, errno.ECONNRESET)
_NAMES = ("stdin", "stdout", "stderr")


class OutputError(GanEvalError):
    """A result exists and could not be written."""

    kind = "output"


def open_descriptors() -> None:
    """Open the descriptors 0 to 2 that were closed at the start, so that no other file gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


@contextlib.contextmanager
def closed_ones_are_silent() -> Iterator[None]:
    """Make every standard stream writable inside the block."""
    before = {name: getattr(sys, name) for name in _NAMES}
    for name, stream in before.items():
        if stream is None or stream.closed:  # closed before the program started: `>&-`
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends
        elif name != "stdin":
            setattr(sys, name, Listened(stream, _NO_READER if name == "stdout" else None))
    try:
        yield
    finally:
        for name in _NAMES:
            stream = getattr(sys, name)
            if isinstance(stream, Listened):
                with contextlib.suppress(OutputError):  # the write that failed has raised it before
                    stream.flush()
            if before[name] is not None and not before[name].closed:
                setattr(sys, name, before[name])


@contextlib.contextmanager
def only_answers() -> Iterator[None]:
    """Send text that any code prints to stdout to stderr inside the block, except within ``answering``."""
    with _set_answering(False):
        yield


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Let stdout take the answer of the command inside the block."""
    with _set_answering(True):
        yield


@contextlib.contextmanager
def _set_answering(value: bool) -> Iterator[None]:
    before, Listened.answers = Listened.answers, value
    try:
        yield
    finally:
        Listened.answers = before


class Listened:
    """A text stream that drops all text after a write failed for a reason outside the run.

    Args:
        silent: the numbers of these errors; None for all. Another error, such as a full disk, is an ``OutputError``.
    """

    answers = True  # for all instances: whether text for stdout goes there or to stderr

    def __init__(self, stream: TextIO, silent: tuple[int, ...] | None) -> None:
        self._stream, self._silent = stream, silent

    def write(self, text: str) -> int:
        if text == "":  # click probes the stream with it, and would swallow the error of a full disk
            return 0
        if self._silent is not None and not self.answers and sys.stderr is not self:
            return sys.stderr.write(text)
        with self._or_silence():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._or_silence():
            self._stream.flush()

    @contextlib.contextmanager
    def _or_silence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._silence()
            if self._silent is not None and error.errno not in self._silent:
                reason = error.strerror or str(error)
                raise OutputError(f"cannot write to stdout: {reason}. Redirect it to another file.") from error

    def _silence(self) -> None:
        """Point the file descriptor to the null device, so that nothing fails on it later, not even at exit."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Do nothing: the stream belongs to the caller."""
